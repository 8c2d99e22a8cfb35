#include <rondo/runtime/kernel.h>

#include <rondo/graph/op.h>

namespace rondo {
namespace {

class Simple final : public PreparedKernel {
 public:
  explicit Simple(std::function<void(const KernelArgs&)> run) : run_(std::move(run)) {}
  void run(const KernelArgs& args) const override { run_(args); }

 private:
  std::function<void(const KernelArgs&)> run_;
};

}  // namespace

Dims KernelCall::dims(std::string_view attribute) const {
  const auto d = constant_dims(attributes.shape(attribute));
  if (!d) fail_internal("attribute ", attribute, " of ", node.op->name, " is not bound");
  return *d;
}

Kernel simple_kernel(std::string name, std::string op,
                     std::function<bool(const KernelCall&)> supports,
                     std::function<void(const KernelArgs&)> run, double cost, std::string note) {
  return {.name = std::move(name),
          .op = std::move(op),
          .note = std::move(note),
          .supports = std::move(supports),
          .prepare =
              [run = std::move(run)](const KernelCall&) { return std::make_unique<Simple>(run); },
          .cost = cost};
}

}  // namespace rondo
