// A stranger's program: builds a graph, differentiates it and runs it with the installed library.
#include <cstdio>

#include <rondo/rondo.h>

int main() {
  using namespace rondo;
  Graph g;
  Var x = g.placeholder("x", f32, {"T", "B", 3});
  auto lstm = rnn::lstm_layer(x, {}, rnn::lstm_layer_weights(g, "lstm", 3, 4));
  Var loss = sum(square(lstm.y));
  Vars fetches = gradients(loss, g.trainable());
  fetches.push_back(loss);
  Session session(g);
  const auto values = session.run(fetches, {{x, Tensor::full(f32, {5, 2, 3}, 0.5)}});
  std::printf("loss %g over %zu gradients\n", values.back().item(), fetches.size() - 1);
  return values.back().item() > 0 ? 0 : 1;
}
