#include <rondo/backends/reference/reference.h>

#include <iterator>

#include <rondo/backends/reference/common.h>

namespace rondo {
namespace {

class Reference final : public Backend {
 public:
  Reference() {
    for (const auto family :
         {reference::elementwise_kernels, reference::linear_kernels, reference::nn_kernels,
          reference::patches_kernels, reference::random_kernels, reference::reduce_kernels,
          reference::order_kernels, reference::shape_kernels, reference::arrange_kernels,
          reference::index_kernels}) {
      std::vector<Kernel> rows = family();
      for (Kernel& k : rows) k.allocates = true;  // positions, strides: they are written to be read
      std::move(rows.begin(), rows.end(), std::back_inserter(kernels_));
    }
  }
  std::string_view name() const override { return "reference"; }
  std::span<const Kernel> kernels() const override { return kernels_; }
  std::string description() const override { return "plain loops, f64 and f32"; }

 private:
  std::vector<Kernel> kernels_;
};

}  // namespace

const Backend& reference_backend() {
  static const Reference* const backend = new Reference;  // lives as long as the program
  return *backend;
}

}  // namespace rondo
