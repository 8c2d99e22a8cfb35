// Sizes at the edge of what integers hold, on every axis of every op: the call is refused by an
// Error or planned, and a plan knows its bytes before it runs. Nothing overflows, nothing large is
// allocated, nothing runs.
#include <fstream>

#include <catch2/catch_test_macros.hpp>
#include <sys/resource.h>

#include "registry_samples.h"

#include <rondo/autodiff/gradients.h>
#include <rondo/runtime/plan.h>

using namespace rondo;
using namespace rondo::test;

namespace {

constexpr int64_t kSizes[] = {(int64_t{1} << 31) - 1, (int64_t{1} << 31) + 1, int64_t{1} << 40,
                              int64_t{1} << 62, INT64_MAX};
constexpr size_t kBudget = size_t{1} << 30;

// While it lives, the program gets no more than `more` bytes beside those that it has: a large
// allocation throws std::bad_alloc, which is no Error.
class MemoryLimit {
 public:
  explicit MemoryLimit(size_t more) {
    getrlimit(RLIMIT_AS, &before_);
    size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlimit now{pages * 4096 + more, before_.rlim_max};
    setrlimit(RLIMIT_AS, &now);
  }
  ~MemoryLimit() { setrlimit(RLIMIT_AS, &before_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  rlimit before_ = {};
};

struct Count {
  size_t refused = 0, over_budget = 0, planned = 0;
};

// What the op gives for operands of these shapes, and its gradients.
std::shared_ptr<const Plan> plan_of(const NamedSample& s, const std::vector<Shape>& shapes,
                                    bool gradients) {
  Graph g;
  Vars in, by, fetches;
  Subgraph unit{g, {}, {}};
  for (size_t i = 0; i < shapes.size(); ++i) {
    const Sample::Input& input = s.sample.inputs[i];
    in.push_back(input.absent ? Var() : g.placeholder(cat("in", i), input.dtype, shapes[i]));
    if (!in[i]) continue;
    unit.inputs.push_back(in[i].value());
    if (is_float(input.dtype) && s.op->parsed.slot_of(i).differentiable) by.push_back(in[i]);
  }
  Vars floats;
  for (const Var& v : g.call(*s.op, in, s.sample.attributes)) {
    if (!v) continue;
    fetches.push_back(v);
    if (is_float(v.dtype())) floats.push_back(v);
  }
  if (gradients && !s.op->no_gradient && !floats.empty() && !by.empty()) {
    for (const Var& d : vjp(floats, floats, by)) fetches.push_back(d);
  }
  for (const Var& v : fetches) {
    if (v) unit.outputs.push_back(v.value());
  }
  return Plan::compile(unit, {.memory_budget = kBudget});
}

// Runs `f`, which plans; counts what became of it. Whatever is no Error fails the test.
template <class F>
void attempt(Count& count, F&& f) {
  try {
    const MemoryLimit limit(kBudget);
    const std::shared_ptr<const BoundPlan> bound = f();
    if (!bound) return;
    CHECK(bound->arena_bytes() <= kBudget);
    for (const TensorType& t : bound->output_types()) (void)t.bytes();
    ++count.planned;
  } catch (const Error& e) {
    CHECK(e.fault() != Fault::kInternal);
    ++(e.code() == "plan.memory.budget" ? count.over_budget : count.refused);
  } catch (const std::exception& e) {
    FAIL_CHECK("no Error, but " << e.what());
  }
}

std::vector<Shape> shapes_of(const Sample& s) {
  std::vector<Shape> r;
  for (const Sample::Input& in : s.inputs) r.push_back(to_shape(in.dims));
  return r;
}

// The shapes of a sample with symbol "N" in the place of one size: of a letter, of all dimensions
// that are equal, or of one axis alone.
std::vector<std::pair<std::vector<Shape>, std::string>> opened(const NamedSample& s) {
  std::vector<std::pair<std::vector<Shape>, std::string>> r;
  const std::vector<Shape> whole = shapes_of(s.sample);
  const Signature signature = s.op->signature(attributes_of(*s.op, s.sample));
  if (const auto letters = detail::letters_of(signature, s.sample)) {
    for (const auto& [letter, size] : *letters) {
      std::map<std::string, Dim, std::less<>> values;
      for (const auto& [other, value] : *letters)
        values.emplace(other, other == letter ? Dim("N") : Dim(value));
      std::vector<Shape> shapes = whole;
      for (size_t i = 0; i < shapes.size(); ++i) {
        const Slot& slot = signature.slot_of(i);
        for (size_t a = 0; a < shapes[i].size() && !slot.any_shape; ++a)
          shapes[i][a] = slot.axes[a].substitute(values);
      }
      if (shapes != whole) r.emplace_back(shapes, letter + " = N");
    }
  }
  std::set<Dim, decltype([](const Dim& a, const Dim& b) { return a.str() < b.str(); })> sizes;
  for (size_t i = 0; i < whole.size(); ++i) {
    sizes.insert(whole[i].begin(), whole[i].end());
    for (size_t a = 0; a < whole[i].size(); ++a) {
      r.emplace_back(whole, cat("axis ", a, " of operand ", i, " = N"));
      r.back().first[i][a] = Dim("N");
    }
  }
  for (const Dim& size : sizes) {
    r.emplace_back(whole, cat(size, " -> N"));
    for (Shape& shape : r.back().first) std::replace(shape.begin(), shape.end(), size, Dim("N"));
  }
  return r;
}

// With a sanitizer one sample of each op must do.
#ifdef __SANITIZE_ADDRESS__
constexpr bool kSlow = true;
#else
constexpr bool kSlow = false;
#endif

}  // namespace

TEST_CASE("sizes at the edge of 32 and 64 bits are refused or planned, as numbers and as symbols",
          "[registry][overflow]") {
  Count numbers, symbols;
  std::set<std::string> ops;
  for (const NamedSample& s : all_samples()) {
    const bool first = ops.insert(s.op->name).second;
    if (kSlow && !first) continue;
    for (const auto& [open, what] : opened(s)) {
      INFO(s.name << ": " << what);
      for (const int64_t n : kSizes) {
        CAPTURE(n);
        attempt(numbers, [&] {
          std::vector<Shape> shapes = open;
          for (Shape& shape : shapes) {
            for (Dim& d : shape) d = d.bind({{"N", n}});
          }
          return plan_of(s, shapes, true)->bind({});
        });
      }
      std::shared_ptr<const Plan> plan;
      attempt(symbols, [&]() -> std::shared_ptr<const BoundPlan> {
        plan = plan_of(s, open, false);
        return nullptr;
      });
      for (const int64_t n : kSizes) {
        CAPTURE(n);
        if (plan) attempt(symbols, [&] { return plan->bind({{"N", n}}); });
      }
    }
  }
  WARN(ops.size() << " ops; as numbers: " << numbers.refused << " refused, " << numbers.over_budget
                  << " over the budget, " << numbers.planned
                  << " planned; as symbols: " << symbols.refused << " refused, "
                  << symbols.over_budget << " over the budget, " << symbols.planned << " planned");
  for (const Count& c : {numbers, symbols}) {
    CHECK(c.refused > 100);
    CHECK(c.over_budget > 100);
    CHECK(c.planned > 100);
  }
}

TEST_CASE("sizes in attributes that no memory holds are refused", "[registry][overflow]") {
  size_t refused = 0;
  for (const NamedSample& s : all_samples()) {
    const Attributes attributes = attributes_of(*s.op, s.sample);
    for (const auto& [name, value] : attributes.items()) {
      const auto* shape = value.get<Shape>();
      const auto* integers = value.get<std::vector<int64_t>>();
      const size_t count = shape != nullptr                  ? shape->size()
                           : integers != nullptr             ? integers->size()
                           : value.get<int64_t>() != nullptr ? 1
                                                             : 0;
      for (size_t k = 0; k < count; ++k) {
        for (const int64_t n : {kSizes[0], kSizes[2], kSizes[3], kSizes[4], -kSizes[4] - 1}) {
          INFO(s.name << ": " << name << "[" << k << "] = " << n);
          NamedSample changed = s;
          if (shape != nullptr) {
            Shape other = *shape;
            other[k] = n;
            changed.sample.attributes.set(name, other);
          } else if (integers != nullptr) {
            std::vector<int64_t> other = *integers;
            other[k] = n;
            changed.sample.attributes.set(name, other);
          } else {
            changed.sample.attributes.set(name, n);
          }
          Count c;
          attempt(c, [&] { return plan_of(changed, shapes_of(s.sample), true)->bind({}); });
          refused += c.refused + c.over_budget;
        }
      }
    }
  }
  WARN(refused << " sizes in attributes refused");
  CHECK(refused > 50);
}
