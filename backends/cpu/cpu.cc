#include <rondo/backends/cpu/cpu.h>

#include <algorithm>

#include <rondo/backends/cpu/isa.h>
#include <rondo/backends/cpu/rows.h>

namespace rondo {
namespace cpu {

bool all_of_type(const KernelCall& call, std::initializer_list<DType> types) {
  const DType t = call.out.empty() ? call.in.at(0).dtype : call.out[0].dtype;
  const auto same = [t](const TensorType& x) { return !x.present || x.dtype == t; };
  return std::find(types.begin(), types.end(), t) != types.end() &&
         std::all_of(call.in.begin(), call.in.end(), same) &&
         std::all_of(call.out.begin(), call.out.end(), same);
}

namespace {

class Cpu final : public Backend {
 public:
  Cpu() {
    for (const auto add :
         {add_elementwise, add_fused, add_matmul_onednn, add_matmul_eigen, add_matmul_packed,
          add_product_over_time, add_reduce, add_order, add_shape, add_arrange, add_index, add_nn,
          add_random, add_patches, add_recurrent, add_recurrent_onednn})
      add(rows_);
  }
  std::string_view name() const override { return "cpu"; }
  std::span<const Kernel> kernels() const override { return rows_; }
  std::string description() const override { return cat(isa_name(), ", ", onednn_description()); }

 private:
  std::vector<Kernel> rows_;
};

}  // namespace
}  // namespace cpu

const Backend& cpu_backend() {
  static const auto* const backend =
      new cpu::Cpu;  // lives as long as the program: plans point into it
  return *backend;
}

}  // namespace rondo
