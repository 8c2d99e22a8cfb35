// A device that runs plans: a name and a table of kernels. `runtime` is handed its backends and
// knows none by name.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rondo/runtime/kernel.h>

namespace rondo {

/// A device and its kernels.
class Backend {
 public:
  virtual ~Backend() = default;
  /// "reference", "cpu", "cuda".
  virtual std::string_view name() const = 0;
  /// All rows; the order does not matter.
  virtual std::span<const Kernel> kernels() const = 0;
  /// One line on the device, for people: "AVX-512, oneDNN 3.2".
  virtual std::string description() const = 0;
};

/// The backends of this build; defined in backends/backends.cc, of which a shared library shows
/// nothing else.
[[gnu::visibility("default")]] std::span<const Backend* const> linked_backends();

/// The backend called `name`; an Error lists what this build has.
const Backend& backend(std::string_view name);

}  // namespace rondo
