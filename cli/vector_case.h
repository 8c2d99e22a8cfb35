// A file of test vectors as a call of one of our ops.
//
// The file speaks another system's language: names of ops, tensors and configuration. What they
// mean here is said by the aliases in the op's definition and nowhere else, so that an op that is
// added needs no change here. A file whose metadata says names = "rondo" uses the names of this
// library, as made by tests/vectors/make_ops.py.
#pragma once

#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <rondo/graph/op.h>
#include <rondo/proto/safetensors.h>
#include <rondo/runtime/session.h>

namespace rondo::tool {

/// |got - want| <= absolute + relative * |want|.
struct Tolerance {
  double absolute = 0, relative = 0;
  bool signed_zeros = false;  ///< 0 and -0 differ
};

/// A tensor of the file that belongs to result or operand `at` of the op.
struct NamedTensor {
  std::string name;  ///< as in the file, "out.hL"; "in.xs.2" where an op takes any number
  size_t at = 0;
  Tensor value;
};

struct VectorCase {
  const OpDef* op = nullptr;
  Attributes attributes;
  std::vector<Tensor>
      inputs;  ///< one for each operand, null = absent; floats in the dtype under test
  std::vector<NamedTensor> outputs, cotangents, gradients;  ///< as in the file
  Tolerance tolerance;
  double kink_margin =
      std::numeric_limits<double>::infinity();  ///< how far every value is from a kink
  std::vector<DType> dtypes;                    ///< in which the numbers hold; empty = all
  std::optional<RunOptions> run;                ///< not that of every run: training, a seed
};

/// The op that other systems call `name`, or that has this name here; null when there is none.
const OpDef* op_called(std::string_view name);
/// The op of a file; an Error when there is none.
const OpDef& op_of(const SafeTensors& file);

/// An entry of the file's metadata; an Error when there is none.
const std::string& metadata(const SafeTensors& file, const std::string& key);

/// Reads a case for a run in `dtype`. Whole numbers of floats become i32 where the op takes
/// integers. Errors: `verify.*` for what the file says and this build does not know,
/// `OP.ARGUMENT.whole` for lengths that are not whole.
VectorCase read_vector_case(const SafeTensors& file, DType dtype);

}  // namespace rondo::tool
