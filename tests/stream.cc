// Streams: what a graph gives for whole sequences it gives step by step, and what cannot is refused
// by name.
#include <rondo/runtime/stream.h>

#include <algorithm>
#include <cmath>

#include <catch2/catch_test_macros.hpp>

#include "../cli/bench_cells.h"
#include "error_code.h"

#include <rondo/rondo.h>

namespace rondo::test {
namespace {

Tensor noise(DType type, const Dims& dims, uint64_t seed) {
  Tensor t(f64, dims);
  for (int64_t i = 0; i < t.size(); ++i)
    t.mutable_data<double>()[i] = uniform_at(seed, 0, 0, static_cast<uint64_t>(i)) - 0.5;
  return t.to(type);
}

// Steps [begin, end) along an axis.
Tensor steps_of(const Tensor& t, size_t axis, int64_t begin, int64_t end) {
  return slice(t, static_cast<int64_t>(axis), begin, end);
}

double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(a.dims() == b.dims());
  double d = 0;
  for (int64_t i = 0; i < a.size(); ++i) d = std::max(d, std::abs(a.at(i) - b.at(i)));
  return d;
}

// A graph whose only streamed placeholder is x, [T,B,...] or with its time elsewhere.
struct Network {
  Graph g;
  Var x, y;
  std::vector<Feed> feeds = {};  // without time
  Var lengths = {};
  size_t x_time = 0, y_time = 0;
  bool y_has_time = true;
};

Dims with_time(const Var& x, size_t axis, int64_t steps, int64_t rows) {
  Dims d = bind(x.shape(), {{"T", 1}, {"B", rows}});
  d[axis] = steps;
  return d;
}

// Each step of a stream against the run of the steps so far: of its y the last one.
void compare(const Network& n, double tolerance, const std::string& kernel = "") {
  const int64_t steps = 6, rows = 3;
  const Tensor xs = noise(n.x.dtype(), with_time(n.x, n.x_time, steps, rows), 7);
  Session session(n.g, {.kernel = kernel});
  Binding sizes;
  for (const Dim& d : n.x.shape()) {
    if (d == Dim("B")) sizes["B"] = rows;
  }
  Stream stream(session, {n.y}, {.sizes = sizes, .feeds = n.feeds, .lengths = n.lengths});
  for (int64_t t = 0; t < steps; ++t) {
    std::vector<Feed> feeds = n.feeds;
    feeds.emplace_back(n.x, steps_of(xs, n.x_time, 0, t + 1));
    if (n.lengths)
      feeds.emplace_back(n.lengths, Tensor::full(n.lengths.dtype(), {rows}, double(t + 1)));
    Tensor want = session.run(n.y, feeds);
    if (n.y_has_time) want = steps_of(want, n.y_time, t, t + 1);
    const Tensor got = stream.step(steps_of(xs, n.x_time, t, t + 1));
    INFO("step " << t);
    CHECK(distance(got, want) <= tolerance);
  }
}

// Sums of products are added up in another order where the batch run makes them for all steps at
// once: in f64 that is the last bits.
constexpr double kOtherOrder = 1e-13;

// Weights are packed when a stream is made.
constexpr const char* kEngine = "cpu.recurrence.engine";

Network lstm(LSTMDirectionMode mode = FWD) {
  Network n;
  n.x = n.g.placeholder("x", f64, {"T", "B", 3});
  const auto w = rnn::lstm_layer_weights(n.g, "encoder", 3, 5, mode, f64);
  n.y = rnn::lstm_layer(n.x, {}, w, {.direction_mode = mode}).y;
  return n;
}

std::string refusal(const Network& n, const StreamOptions& o = {}) {
  Session session(n.g);
  return text_of([&] { Stream(session, {n.y}, o); });
}
void check_refused(const Network& n, const std::string& code,
                   std::initializer_list<const char*> says) {
  Session session(n.g);
  CHECK(code_of([&] { Stream(session, {n.y}); }) == code);
  const std::string text = refusal(n);
  for (const char* word : says) {
    INFO(text);
    CHECK(text.find(word) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("stream: every cell, stacked, as a layer and as a cell of one's own", "[stream]") {
  for (const std::string& cell : tool::bench_cells()) {
    for (const tool::BenchForm form : {tool::BenchForm::fused, tool::BenchForm::scan}) {
      for (const int64_t layers : {1, 2}) {
        INFO(cell << " as form " << static_cast<int>(form) << ", layers " << layers);
        tool::BenchModel m{.cell = cell, .time = 1, .batch = 3, .input = 4, .hidden = 4};
        m.layers = layers;
        m.mode = tool::BenchMode::stream;
        m.dtype = f64;
        m.form = form;
        const tool::BenchNetwork b = tool::bench_network(m);
        compare({b.graph, b.x, b.fetches[0]}, kOtherOrder);
        compare({b.graph, b.x, b.fetches[0]}, kOtherOrder, kEngine);
      }
    }
  }
}

TEST_CASE("stream: the same kernels give the same bits", "[stream]") {
  Network n = lstm();
  const Tensor xs = noise(f64, {6, 3, 3}, 7);
  // As a step is compiled: no product for all steps at once.
  const Tensor want = Session(n.g, {.kernel = kEngine, .one_step = true}).run(n.y, {{n.x, xs}});
  Session session(n.g, {.kernel = kEngine});
  Stream stream(session, {n.y}, {.sizes = {{"B", 3}}});
  for (int64_t t = 0; t < 6; ++t) {
    CHECK(stream.step(steps_of(xs, 0, t, t + 1)).same_bits(steps_of(want, 0, t, t + 1)));
  }
  CHECK(stream.plan().steps().size() == 1);
  CHECK(stream.plan().uses_kernel(kEngine));
}

TEST_CASE("stream: other data formats", "[stream]") {
  for (const bool nts : {true, false}) {
    Network n;
    n.x = n.g.placeholder("x", f64, nts ? Shape{"B", "T", 3} : Shape{"B", 3, "T"});
    const auto w = rnn::lstm_layer_weights(n.g, "lstm", 3, 5, FWD, f64);
    n.y = rnn::lstm_layer(n.x, {}, w, {.data_format = nts ? NTS : NST}).y;
    n.x_time = n.y_time = nts ? 1 : 2;
    compare(n, kOtherOrder);
  }
}

TEST_CASE("stream: a model with lengths, dropout, a head and other ops around its layers",
          "[stream]") {
  Network n;
  n.x = n.g.placeholder("x", f64, {"T", "B", 3});
  n.lengths = n.g.placeholder("lengths", i32, {"B"});
  const Var speaker = n.g.placeholder("speaker", i32, {"B"});
  n.feeds = {{speaker, Tensor::of<int32_t>({3}, {1, 0, 1})}};
  const Var mask = expand_dims(sequence_mask(n.lengths, "T"), -1);
  const Var clean = where(mask, (n.x - 0.1) / 2, 0);
  const Var first = nn::embedding(speaker, 2, 5, "speakers", f64);  // a trained first state
  const auto w = rnn::lstm_layer_weights(n.g, "lstm", 3, 5, FWD, f64);
  Var h =
      rnn::lstm_layer(nn::dropout(clean, 0.3), {.max_ts_length = n.lengths, .y_last = first}, w, {})
          .y;
  const auto gru = rnn::gru_weights(n.g, "gru", 5, 4, f64);
  h = rnn::layer(h, {rnn::zero_state(h, 4)},
                 [&](Var xt, Vars s) -> rnn::Step {
                   const Var next = rnn::gru(xt, s[0], gru).h;
                   return {next, {next}};
                 },
                 {.lengths = n.lengths, .name = "decoder"})
          .y;
  const Var each = rnn::time_distributed(
      h, [](const Var& rows) { return nn::dense(rows, 6, "head"); }, n.lengths);
  n.y = nn::softmax(transpose(transpose(each, {1, 0, 2}), {1, 0, 2}));
  compare(n, kOtherOrder);
}

TEST_CASE("stream: weights that are constants", "[stream]") {
  Network n;
  n.x = n.g.placeholder("x", f64, {"T", "B", 4});
  const Var wx = n.g.constant(noise(f64, {4, 5}, 1)), wh = n.g.constant(noise(f64, {5, 5}, 2));
  const Var b = n.g.constant(noise(f64, {5}, 3));
  const Var h = rnn::layer(n.x, {rnn::zero_state(n.x, 5)}, [&](Var xt, Vars s) -> rnn::Step {
                  const Var next = tanh(matmul(xt, wx) + matmul(s[0], wh) + b);
                  return {next, {next}};
                }).y;
  n.y = matmul(h, n.g.constant(noise(f64, {5, 3}, 4)));
  compare(n, kOtherOrder);
  compare(n, kOtherOrder, kEngine);
  Session session(n.g, {.kernel = kEngine});
  Stream stream(session, {n.y});
  Stream fork = stream.fork();
  const Tensor x = noise(f64, {1, 1, 4}, 5);
  const Tensor first = stream.step(x);
  CHECK(fork.step(x).same_bits(first));
  CHECK_FALSE(stream.refresh());
}

TEST_CASE("stream: what has no time is that of the steps so far", "[stream]") {
  Network n;
  n.x = n.g.placeholder("x", f64, {"T", "B", 3});
  n.lengths = n.g.placeholder("lengths", i32, {"B"});
  const auto w = rnn::lstm_layer_weights(n.g, "lstm", 3, 5, FWD, f64);
  const Var last = rnn::lstm_layer(n.x, {.max_ts_length = n.lengths}, w,
                                   {.ret_full_sequence = false, .ret_last_h = true})
                       .last_h;
  n.y = nn::dense(last, 4, "speakers") / cast(expand_dims(n.lengths, 1), f64);
  n.y_has_time = false;
  compare(n, kOtherOrder);
}

TEST_CASE("stream: positions are counted", "[stream]") {
  Network n;
  n.x = n.g.placeholder("x", f64, {"T", "B", 3});
  n.y = n.x + sin(iota(n.g, f64, {"T", 1, 1}, 0) * 0.1);
  compare(n, 0);
}

TEST_CASE("stream: a body that no kernel runs whole is written out", "[stream]") {
  Network n;
  n.x = n.g.placeholder("x", f64, {"T", "B", 4});
  const Var keys = n.g.placeholder("keys", f64, {"B", 5, 4});
  n.feeds = {{keys, noise(f64, {3, 5, 4}, 3)}};
  n.y = rnn::layer(n.x, {rnn::zero_state(n.x, 4)}, [&](Var xt, Vars s) -> rnn::Step {
          const auto seen = nn::attention(s[0], {.keys = per_row(keys), .values = per_row(keys)});
          const Var h = tanh(xt + seen.context);
          return {h, {h}};
        }).y;
  compare(n, kOtherOrder);
  Session session(n.g);
  Stream stream(session, {n.y}, {.feeds = n.feeds});
  CHECK(stream.plan().ops().count("recurrence") == 0);
}

TEST_CASE("stream: reset, and states to go on with", "[stream]") {
  const Network n = lstm();
  Session session(n.g);
  Stream stream(session, {n.y}, {.sizes = {{"B", 2}}});
  const auto step = [&](Stream& s, uint64_t k) { return s.step(noise(f64, {1, 2, 3}, k)); };
  const Tensor first = step(stream, 0), second = step(stream, 1);
  const StreamState saved = stream.state();
  CHECK(saved.size() == 2);
  CHECK(saved.at("encoder/state0").dims() == Dims{2, 5});
  const Tensor third = step(stream, 2);
  CHECK_FALSE(step(stream, 2).same_bits(third));

  stream.reset();
  CHECK(step(stream, 0).same_bits(first));
  CHECK(step(stream, 1).same_bits(second));
  stream.set_state(saved);
  CHECK(step(stream, 2).same_bits(third));
  stream.set_state(saved);
  Stream other = stream.fork();
  CHECK(step(other, 2).same_bits(third));
  CHECK(step(stream, 2).same_bits(third));  // which has a state of its own

  stream.reset();
  step(stream, 5);
  stream.reset(1);  // one row begins again
  const Tensor now = step(stream, 0);
  CHECK(steps_of(now, 1, 1, 2).same_bits(steps_of(first, 1, 1, 2)));
  CHECK_FALSE(steps_of(now, 1, 0, 1).same_bits(steps_of(first, 1, 0, 1)));
  CHECK(code_of([&] { stream.reset(2); }) == "stream.row.range");

  StreamState broken = saved;
  broken["encoder/state0"] = Tensor(f64, {2, 4});
  CHECK(code_of([&] { stream.set_state(broken); }) == "stream.state.type");
  broken.erase("encoder/state0");
  CHECK(code_of([&] { stream.set_state(broken); }) == "stream.state.missing");
  broken = saved;
  broken["another"] = Tensor(f64, {1});
  CHECK(code_of([&] { stream.set_state(broken); }) == "stream.state.count");
}

TEST_CASE("stream: the version of the weights stays until it is asked for a newer one",
          "[stream]") {
  const Network n = lstm();
  Session session(n.g);
  Stream stream(session, {n.y});
  const Tensor x = noise(f64, {1, 1, 3}, 0);
  const Tensor before = stream.step(x);
  CHECK_FALSE(stream.refresh());
  VariableStore::Values changes = *session.store()->snapshot();
  for (auto& [name, value] : changes) value = value * 2.0;
  session.variables().commit(changes);
  stream.reset();
  CHECK(stream.step(x).same_bits(before));
  CHECK(stream.refresh());
  stream.reset();
  const Tensor after = stream.step(x);
  CHECK_FALSE(after.same_bits(before));
  CHECK(distance(after, session.run(n.y, {{n.x, x}})) < kOtherOrder);
}

TEST_CASE("stream: inputs and outputs stay where they are", "[stream]") {
  Network n = lstm();
  const Var z = n.y * 2;
  Session session(n.g);
  Stream stream(session, {n.y, z});
  const std::span<double> x = stream.input<double>(n.x);
  const std::span<const double> y = stream.output<double>(n.y), twice = stream.output<double>(z);
  CHECK(x.size() == 3);
  CHECK(stream.dims(n.x) == Dims{1, 1, 3});
  CHECK(stream.dims(z) == Dims{1, 1, 5});
  std::fill(x.begin(), x.end(), 0.5);
  for (int i = 0; i < 2; ++i) {
    stream.step();
    CHECK(y[0] != 0);
    CHECK(twice[0] == 2 * y[0]);
    CHECK(stream.output<double>(n.y).data() == y.data());
  }
  CHECK(code_of([&] { stream.input<double>(n.y); }) == "stream.input.unknown");
  CHECK(code_of([&] { stream.input<float>(n.x); }) == "stream.input.dtype");
  CHECK(code_of([&] { stream.output<double>(n.x); }) == "stream.output.unknown");
  CHECK(code_of([&] { stream.output<float>(n.y); }) == "stream.output.dtype");
  CHECK(code_of([&] { stream.step(Tensor(f64, {1, 1, 3})); }) == "stream.step.count");
}

TEST_CASE("stream: an error leaves the states as they were", "[stream]") {
  Graph g;
  const Var word = g.placeholder("word", i32, {"T", "B"});
  const Var x = nn::embedding(word, 4, 3, "words", f64);
  const auto w = rnn::lstm_layer_weights(g, "lstm", 3, 5, FWD, f64);
  const Var y = rnn::lstm_layer(x, {}, w, {}).y;
  Session session(g);
  Stream stream(session, {y});
  stream.step(Tensor::of<int32_t>({1, 1}, {2}));
  const StreamState before = stream.state();
  CHECK(code_of([&] { stream.step(Tensor::of<int32_t>({1, 1}, {4})); }) == "gather.indices.range");
  CHECK(stream.state() == before);
}

TEST_CASE("stream: what needs other steps is refused by name", "[stream]") {
  check_refused(lstm(BIDIR_CONCAT), "streamify.recurrence.reverse",
                {"lstm_layer \"encoder\"", "backwards along T", "built at"});
  check_refused(lstm(BWD), "streamify.recurrence.reverse", {"lstm_layer \"encoder\""});
  struct Case {
    const char* op;
    Var (*build)(const Var& h);
  };
  const Case cases[] = {
      {"reverse", [](const Var& h) { return reverse(h, {0}); }},
      {"sum", [](const Var& h) { return mean(h, {.axes = {0}}); }},
      {"slice", [](const Var& h) { return slice(h, 0, Dim("T") - 1, Dim("T")); }},
      {"cumsum", [](const Var& h) { return cumsum(h); }},
      {"pad", [](const Var& h) { return nn::conv_1d(transpose(h, {1, 0, 2}), 4, 3, "conv"); }},
      {"matmul",
       [](const Var& h) {
         const Var b = transpose(h, {1, 0, 2});
         return nn::dot_product_attention(b, b, b);
       }},
  };
  for (const Case& c : cases) {
    Network n = lstm();
    n.y = c.build(n.y);
    INFO(c.op << ": " << refusal(n));
    Session session(n.g);
    CHECK(code_of([&] { Stream(session, {n.y}); }) == "streamify.node.steps");
    CHECK(refusal(n).find("steps of T together") != std::string::npos);
  }
}

TEST_CASE("stream: what is known at the end only is not used at each step", "[stream]") {
  Network n;
  n.x = n.g.placeholder("x", f64, {"T", "B", 3});
  const auto w = rnn::lstm_layer_weights(n.g, "encoder", 3, 3, FWD, f64);
  const auto r = rnn::lstm_layer(n.x, {}, w, {.ret_last_h = true});
  n.y = r.y + r.last_h;
  check_refused(n, "streamify.node.future", {"add", "all steps of T", "knows"});
  n.y = rnn::lstm_layer(n.x, {.y_last = r.last_h},
                        rnn::lstm_layer_weights(n.g, "decoder", 3, 3, FWD, f64), {})
            .y;
  check_refused(n, "streamify.node.future", {"lstm_layer \"decoder\""});
  n.y = n.x / cast(nn::dimensions(n.g, {"T"}), f64);
  check_refused(n, "streamify.node.count", {"dimensions", "how many steps"});
}

TEST_CASE("stream: what is asked for must be there", "[stream]") {
  const Network n = lstm();
  Session session(n.g);
  const auto code = [&](const Vars& outputs, const StreamOptions& o) {
    return code_of([&] { Stream(session, outputs, o); });
  };
  CHECK(code({}, {}) == "stream.outputs.missing");
  CHECK(code({Var()}, {}) == "stream.outputs.empty");
  CHECK(code({n.y}, {.sizes = {{"N", 2}}}) == "stream.sizes.unknown");
  CHECK(code({n.y}, {.sizes = {{"T", 2}}}) == "stream.sizes.unknown");
  CHECK(code({n.y}, {.sizes = {{"B", -4}}}) == "stream.sizes.range");
  const Var b = const_cast<Graph&>(n.g).placeholder("bias", f64, {"B", 5});
  CHECK(code({n.y + b}, {}) == "placeholder.bias.missing");
  CHECK(code({n.y + b}, {.sizes = {{"B", 2}}, .feeds = {{b, Tensor(f64, {3, 5})}}}) ==
        "stream.sizes.differ");
  Graph fixed;
  const Var x = fixed.placeholder("x", f64, {7, 2, 3});
  const Var y = rnn::lstm_layer(x, {}, rnn::lstm_layer_weights(fixed, "l", 3, 5, FWD, f64), {}).y;
  Session of_fixed(fixed);
  CHECK(code_of([&] { Stream(of_fixed, {y}); }) == "streamify.time.missing");
}

}  // namespace rondo::test
