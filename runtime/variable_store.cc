#include <rondo/runtime/variable_store.h>

#include <algorithm>

namespace rondo {
namespace {

[[noreturn]] void refuse_name(const VariableStore::Values& values, std::string_view name) {
  std::string known;
  for (const auto& [n, t] : values) known += " " + n;
  fail(Fault::kArgument, "variables.name.unknown", "no variable is called '", name, "'; there are",
       known.empty() ? " none" : known);
}

}  // namespace

VariableStore::VariableStore(const Graph& graph) : values_(std::make_shared<Values>()) {
  extend(graph);
}

void VariableStore::extend(const Graph& graph) {
  const std::lock_guard lock(mutex_);
  auto next = std::make_shared<Values>(*values_);
  for (const Var& v : graph.variables()) {
    const Tensor& initial = v.node().attributes.tensor("initial");
    const auto [at, added] = next->emplace(v.node().name, initial);
    if (!added && (at->second.dtype() != initial.dtype() || at->second.dims() != initial.dims())) {
      fail(Fault::kArgument, "variables.value.type", "the graph's variable '", v.node().name,
           "' is ", initial.dtype(), to_string(initial.dims()), ", the store has ",
           at->second.dtype(), to_string(at->second.dims()), " of that name");
    }
  }
  values_ = std::move(next);
}

std::shared_ptr<const VariableStore::Values> VariableStore::snapshot() const {
  const std::lock_guard lock(mutex_);
  return values_;
}

Tensor VariableStore::value(std::string_view name) const {
  const auto values = snapshot();
  const auto it = values->find(name);
  if (it == values->end()) refuse_name(*values, name);
  return it->second;
}

void VariableStore::commit(const Values& changes) {
  const std::lock_guard lock(mutex_);
  auto next = std::make_shared<Values>(*values_);
  for (const auto& [name, tensor] : changes) {
    const auto it = next->find(name);
    if (it == next->end()) refuse_name(*next, name);
    if (it->second.dtype() != tensor.dtype() || it->second.dims() != tensor.dims()) {
      fail(Fault::kArgument, "variables.value.type", "variable '", name, "' is ",
           it->second.dtype(), to_string(it->second.dims()), ", got ", tensor.dtype(),
           to_string(tensor.dims()));
    }
    it->second = tensor;
  }
  values_ = std::move(next);
  ++version_;
  for (const auto& [name, tensor] : changes) packed_.erase(name);
}

std::shared_ptr<const std::byte> VariableStore::packed(
    const std::string& name, const Tensor& value, std::string_view layout, size_t bytes,
    const std::function<void(const std::byte* from, std::byte* to)>& pack) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto it = packed_.find(name); it != packed_.end()) {
      for (const Packed& p : it->second) {
        if (p.of == value.raw() && p.layout == layout) return p.data;
      }
    }
  }
  const std::shared_ptr<std::byte> made = allocate_aligned(bytes);
  pack(value.raw(), made.get());
  const std::lock_guard lock(mutex_);
  const auto now = values_->find(name);
  if (value.is_owned() && now != values_->end() && now->second.raw() == value.raw()) {
    std::vector<Packed>& kept = packed_[name];
    const auto same = [&](const Packed& p) { return p.of == value.raw() && p.layout == layout; };
    if (std::none_of(kept.begin(), kept.end(), same))
      kept.push_back({value.raw(), std::string(layout), made});
  }
  return made;
}

uint64_t VariableStore::version() const {
  const std::lock_guard lock(mutex_);
  return version_;
}

}  // namespace rondo
