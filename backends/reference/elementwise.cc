#include <cstring>

#include <rondo/backends/reference/common.h>
#include <rondo/graph/op.h>
#include <rondo/ops/formula.h>

namespace rondo::reference {
namespace {

// Operands are of one dtype or bool, the result too: bools count as 0 and 1.
template <class T>
T load(const View& v, int64_t i) {
  return v.type->dtype == boolean ? static_cast<T>(v.as<bool>()[i]) : v.as<T>()[i];
}
template <class T>
void store(const View& v, int64_t i, T value) {
  if (v.type->dtype == boolean) {
    v.as<bool>()[i] = value != 0;
  } else {
    v.as<T>()[i] = value;
  }
}

// The dtype in which a formula is computed: that of its numbers; bool when it has none.
DType computed_in(const KernelCall& call) {
  for (const TensorType& t : call.in) {
    if (t.dtype != boolean) return t.dtype;
  }
  return boolean;
}

template <class T>
void run_program(const Program& program, const KernelArgs& a) {
  const View& y = a.out[0];
  std::vector<Dims> strides;
  for (const View& x : a.in) strides.push_back(broadcast_strides(x.dims(), y.dims()));
  std::vector<T> values(program.code.size());
  const auto value = [&](int32_t i) { return i < 0 ? T{0} : values[static_cast<size_t>(i)]; };
  int64_t n = 0;
  for_each_position(y.dims(), [&](const Dims& at) {
    for (size_t i = 0; i < program.code.size(); ++i) {
      const Instruction& s = program.code[i];
      const auto k = static_cast<size_t>(s.input);
      values[i] = s.fn == Fn::kInput      ? load<T>(a.in[k], offset(at, strides[k]))
                  : s.fn == Fn::kConstant ? static_cast<T>(s.constant)
                                          : evaluate(s.fn, value(s.a), value(s.b), value(s.c));
    }
    store<T>(y, n++, values.back());
  });
}

class Formula final : public PreparedKernel {
 public:
  explicit Formula(const KernelCall& call) : program_(program_of(*call.node.op, call.attributes)) {}
  void run(const KernelArgs& a) const override {
    for_number(computed_in(a.call), [&]<class T>() { run_program<T>(program_, a); });
  }

 private:
  Program program_;
};

void cast(const KernelArgs& a) {
  const View &x = a.in[0], &y = a.out[0];
  const Tensor t = Tensor::view(x.type->dtype, x.dims(), x.data).to(y.type->dtype);
  std::memcpy(y.data, t.raw(), t.bytes());
}

void copy(const KernelArgs& a) { std::memcpy(a.out[0].data, a.in[0].data, a.in[0].type->bytes()); }

}  // namespace

std::vector<Kernel> elementwise_kernels() {
  return {{.name = "reference.formula",
           .op = "",
           .note = "interprets the formula for each element",
           .supports = no_halves,
           .prepare = [](const KernelCall& call) { return std::make_unique<Formula>(call); },
           .cost = kCost},
          row("cast", nullptr, cast),
          row("stop_gradient", nullptr, copy)};
}

}  // namespace rondo::reference
