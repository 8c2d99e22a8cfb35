// An op of this program's own: `leaky_sum`, an exponentially weighted sum over time. One block says
// what it is; then it has what the built-in ops have: both forms, checks, gradients, files, a page
// of documentation, and the proof that all of it is right.
#include <cstdio>
#include <exception>
#include <iostream>

#include <rondo/rondo.h>

using namespace rondo;

// y_t = decay y_{t-1} + x_t, as a loop over time: lengths, gradients and kernels come with it.
Vars lower_leaky_sum(const Call& c) {
  const Var x = c["x"];
  const auto r =
      recurrence({.states = {fill(c.graph(), x.dtype(), {x.dim(1), x.dim(2)}, 0)}, .xs = {x}},
                 [&](const Vars& s, const Vars& xs, const Vars&) -> RecurrenceStep {
                   const Var y = s[0] * c.number("decay") + xs[0];
                   return {.states = {y}, .ys = {y}};
                 });
  return {r.ys[0]};
}

void register_leaky_sum() {
  registry().add(
      {.name = "leaky_sum",
       .sig = "x[T,B,I] -> y[T,B,I]",
       .doc = "Each channel's exponentially weighted sum:\n    y_t = decay y_{t-1} + x_t",
       .family = "This program's",
       .attributes = {{"decay", 0.9, "what is left of the sum a step later", {}, 0, 1}},
       .lower = lower_leaky_sum,
       .samples = {{{{{4, 2, 3}}}, {{"decay", 0.5}}}, {{{{1, 2, 3}}}}, {{{{3, 0, 2}}}}}});
}

// A builder for both forms; `apply("leaky_sum", {x})` would do as well.
template <Operable V>
V leaky_sum(V x, double decay) {
  return apply("leaky_sum", {x}, {{"decay", decay}})[0];
}

int main() try {
  register_leaky_sum();

  // On tensors, now.
  const Tensor ones = Tensor::full(f32, {4, 1, 1}, 1);
  std::cout << "1, 1, 1, 1 summed with decay 0.5: " << leaky_sum(ones, 0.5) << "\n";

  // In a graph, with a gradient; what does not fit is refused as for any op.
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 3});
  Var y = leaky_sum(x, 0.5).named("y");
  Var slope = gradients(sum(y), {x})[0];
  const Tensor sequence = Tensor::full(f32, {4, 1, 3}, 1);
  std::cout << "what each step adds to the sum of all: "
            << slice(Session(g).run(slope, {{x, sequence}}), 2, 0, 1) << "\n";
  try {
    leaky_sum(ones, 1.5);
  } catch (const Error& e) {
    std::cout << e.what() << "\n";
  }

  // Saved and loaded by its name.
  save_bundle({.graphs = {{"model", g}}}, "own_op.rondo");
  const Graph loaded = load_bundle("own_op.rondo", registry()).graphs.at("model");
  const Tensor before = Session(g).run(y, {{x, sequence}});
  const Tensor after = Session(loaded).run(loaded.find("y"), {{loaded.find("x"), sequence}});
  std::cout << "loaded from own_op.rondo: " << (after.same_bits(before) ? "the same" : "different")
            << "\n";

  // What it is, as `rondo ops NAME` says it of the built-in ops; op_markdown gives a page's
  // section.
  std::cout << describe_op(registry().at("leaky_sum")) << "\n";

  // Proven as the library proves its own: gradients against central differences, and so on.
  const OpReport report = check_op(registry().at("leaky_sum"));
  std::cout << report.str() << "\n";
  return report.problems.empty() && after.same_bits(before) ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "own_op: %s\n", e.what());
  return 1;
}
