// Every op of the registry has a meaning: a kernel of the reference for it, or a lowering that ends
// in such ops.
#include <cmath>

#include <catch2/catch_test_macros.hpp>

#include "kernel_harness.h"
#include "registry_samples.h"

#include <rondo/backends/reference/reference.h>
#include <rondo/ops/random.h>

using namespace rondo;

namespace {

Tensor draw(const Sample::Input& in, DType float_type, uint64_t stream) {
  if (in.absent) return {};
  Tensor t(f64, in.dims);
  for (int64_t i = 0; i < t.size(); ++i) {
    const double u = uniform_at(1, stream, 0, static_cast<uint64_t>(i));
    const double v = is_float(in.dtype) ? in.low + (in.high - in.low) * u
                                        : std::floor(in.low + (in.high - in.low + 1) * u);
    t.mutable_data<double>()[i] = in.values.empty() ? v : in.values.at(static_cast<size_t>(i));
  }
  return t.to(is_float(in.dtype) ? float_type : in.dtype);
}

}  // namespace

TEST_CASE("names of kernels are unique and begin with that of the backend", "[reference]") {
  std::map<std::string, int> seen;
  for (const Kernel& k : reference_backend().kernels()) {
    CHECK(k.name.rfind("reference.", 0) == 0);
    CHECK(++seen[k.name] == 1);
    if (!k.op.empty()) CHECK(registry().find(k.op) != nullptr);
  }
}

TEST_CASE("every op without a lowering has a kernel for each sample, in f64 and f32",
          "[reference]") {
  for (const OpDef* op : registry().all()) {
    if (op->lower || test::needs_body(*op)) continue;
    CHECK(!op->samples.empty());
    for (const Sample& s : op->samples) {
      for (const DType t : {f64, f32}) {
        INFO(op->name << " " << s.label << " in " << t);
        std::vector<Tensor> inputs;
        for (const Sample::Input& i : s.inputs) inputs.push_back(draw(i, t, inputs.size()));
        CHECK_NOTHROW(test::run_kernel(reference_backend(), op->name, inputs, s.attributes));
      }
    }
  }
}
