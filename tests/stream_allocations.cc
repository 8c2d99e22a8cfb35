// A step of a stream allocates nothing and takes no lock. Memory and locks are counted by functions
// that replace the C library's, so this is a program of its own.
#include <cstdlib>
#include <dlfcn.h>
#include <malloc.h>
#include <new>
#include <pthread.h>
#include <thread>

#include <catch2/catch_test_macros.hpp>

#include "../cli/bench_cells.h"
#include "registry_samples.h"

#include <rondo/rondo.h>
#include <rondo/runtime/recurrence_steps.h>

namespace {

// Of this thread alone: what a step does, it does here.
struct Counts {
  bool on = false;
  int64_t allocations = 0, locks = 0;
};
thread_local Counts counts;

}  // namespace

// Operator new, and vendors' libraries, allocate by these.
extern "C" {
void* __libc_malloc(std::size_t n);                   // NOLINT(bugprone-reserved-identifier)
void* __libc_calloc(std::size_t n, std::size_t of);   // NOLINT(bugprone-reserved-identifier)
void* __libc_realloc(void* p, std::size_t n);         // NOLINT(bugprone-reserved-identifier)
void* __libc_memalign(std::size_t a, std::size_t n);  // NOLINT(bugprone-reserved-identifier)

void* malloc(std::size_t n) noexcept {
  if (counts.on) ++counts.allocations;
  return __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t of) noexcept {
  if (counts.on) ++counts.allocations;
  return __libc_calloc(n, of);
}
void* realloc(void* p, std::size_t n) noexcept {
  if (counts.on) ++counts.allocations;
  return __libc_realloc(p, n);
}
void* aligned_alloc(std::size_t a, std::size_t n) noexcept {
  if (counts.on) ++counts.allocations;
  return __libc_memalign(a, n);
}
int posix_memalign(void** p, std::size_t a, std::size_t n) noexcept {
  if (counts.on) ++counts.allocations;
  *p = __libc_memalign(a, n);
  return *p == nullptr ? ENOMEM : 0;
}
int pthread_mutex_lock(pthread_mutex_t* m) noexcept {
  using Lock = int (*)(pthread_mutex_t*);
  static Lock real = nullptr;
  if (real == nullptr) real = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  if (counts.on) ++counts.locks;
  return real(m);
}
}

namespace rondo::test {
namespace {

template <class F>
Counts count(F&& f) {
  counts = {.on = true};
  f();
  counts.on = false;
  return counts;
}

#define CHECK_NOTHING(c)         \
  do {                           \
    CHECK((c).allocations == 0); \
    CHECK((c).locks == 0);       \
  } while (false)

Counts of_steps(Stream& stream, int n = 5) {
  stream.step();
  return count([&] {
    for (int i = 0; i < n; ++i) stream.step();
  });
}

}  // namespace

TEST_CASE("what counts allocations and locks does", "[stream]") {
  std::mutex m;
  CHECK(count([] { const Tensor t(f32, {3}); }).allocations > 0);
  CHECK(count([] { std::free(std::malloc(3)); }).allocations == 1);
  CHECK(count([] { ::operator delete(::operator new(3)); }).allocations == 1);
  constexpr std::align_val_t kLine{64};
  CHECK(count([] { ::operator delete(::operator new(3, kLine), kLine); }).allocations == 1);
  CHECK(count([&] { const std::lock_guard lock(m); }).locks == 1);
}

TEST_CASE("kernels of a plan of one step allocate and lock nothing", "[stream]") {
  ThreadTeam team(1);
  for (const NamedSample& sample : all_samples()) {
    std::vector<NamedSample> sizes{sample};
    for (NamedSample& more : enlarged(sample, 24)) sizes.push_back(std::move(more));
    for (const NamedSample& s : sizes) {
      for (const DType type : {f32, f64, bf16}) {
        const std::vector<Tensor> values = draw(s.sample, type);
        OpGraph g;
        try {
          g = graph_of(*s.op, s.sample.attributes, values);
        } catch (const Error&) {
          continue;  // not in this dtype
        }
        Subgraph unit{g.graph, {}, {}};
        for (const auto& [v, t] : g.feeds) unit.inputs.push_back(v.value());
        for (const Var& v : g.present()) unit.outputs.push_back(v.value());
        std::shared_ptr<const BoundPlan> plan;
        try {
          plan = Plan::compile(unit, {.optimize = false, .one_step = true})->bind({});
        } catch (const Error& e) {
          CHECK(e.code().find(".kernel.missing") != std::string::npos);
          continue;
        }
        if (plan->uses_kernel(kRecurrenceSteps)) continue;
        const auto arena = allocate_aligned(plan->arena_bytes());
        Frame frame(*plan, arena.get());
        for (size_t i = 0; i < g.feeds.size(); ++i) frame.set_input(i, g.feeds[i].second.raw());
        std::vector<Tensor> out;
        for (const TensorType& t : plan->output_types()) out.emplace_back(t.dtype, t.dims);
        for (size_t i = 0; i < out.size(); ++i) frame.set_output(i, out[i].raw_mutable());
        RunContext context{team};
        try {
          frame.run(context);
        } catch (const Error&) {
          continue;  // an index that is out of range once the sample is larger
        }
        INFO(s.name << " in " << type << ": " << plan->steps().back().kernel);
        CHECK_NOTHING(count([&] { frame.run(context); }));
      }
    }
  }
}

TEST_CASE("a step of each cell allocates and locks nothing", "[stream]") {
  for (const std::string& cell : tool::bench_cells()) {
    for (const tool::BenchForm form : {tool::BenchForm::fused, tool::BenchForm::scan}) {
      for (const int64_t batch : {1, 20}) {
        INFO(cell << " as form " << static_cast<int>(form) << ", batch " << batch);
        tool::BenchModel m{.cell = cell, .time = 1, .batch = batch, .input = 8, .hidden = 8};
        m.layers = 2;
        m.form = form;
        m.mode = tool::BenchMode::stream;
        const tool::BenchNetwork n = tool::bench_network(m);
        for (const char* kernel : {"", "cpu.recurrence.engine"}) {
          Session session(n.graph, {.kernel = kernel});
          Stream stream(session, n.fetches);
          CHECK_NOTHING(of_steps(stream));
        }
      }
    }
  }
}

// Programs are compiled, and what is of fixed shape is ready, when a plan has been bound once.
TEST_CASE("new sizes allocate for what depends on them alone", "[plan]") {
  const auto binds_lightly = [](Graph g, const Vars& fetches) {
    const auto plan = Session(g).plan(fetches);
    const Counts first = count([&] { plan->bind({{"T", 5}, {"B", 2}}); });
    const Counts next = count([&] { plan->bind({{"T", 6}, {"B", 3}}); });
    INFO(first.allocations << " and then " << next.allocations);
    CHECK(next.allocations * 4 < first.allocations);
  };
  Graph loop;
  const Var x = loop.placeholder("x", f32, {"T", "B", 8});
  const Var y = rnn::lstm_layer(x, {}, rnn::lstm_layer_weights(loop, "lstm", 8, 8)).y;
  binds_lightly(loop, gradients(sum(square(y)), loop.trainable()));
  Graph fixed;
  Var v = fixed.variable("v", Tensor::full(f32, {8}, 1));
  for (int i = 0; i < 40; ++i) v = cumsum(v);
  binds_lightly(fixed, {v, exp(fixed.placeholder("x", f32, {"T", "B"}))});
}

TEST_CASE("a step of a whole model allocates and locks nothing", "[stream]") {
  for (const DType type : {f32, bf16}) {
    for (const int64_t batch : {1, 6}) {
      INFO(type << ", batch " << batch);
      Graph g;
      const Var word = g.placeholder("word", i32, {"B", "T"});
      const Var lengths = g.placeholder("lengths", i32, {"B"});
      const Var mask = expand_dims(sequence_mask(lengths, "T", true), -1);
      const Var x = where(mask, nn::embedding(word, 50, 24, "words", type), 0);
      const auto w = rnn::lstm_layer_weights(g, "lstm", 24, 64, FWD, type);
      const Var h =
          rnn::lstm_layer(nn::dropout(x, 0.2), {.max_ts_length = lengths}, w, {.data_format = NTS})
              .y;
      // Large enough for a vendor's product, and for Eigen to want buffers.
      const Var wide = relu(nn::dense(nn::layer_norm(h, Var(), Var()), 700, "wide"));
      const Var p = nn::softmax(nn::dense(wide, 300, "classes"));
      Session session(g);
      Stream stream(session, {p, argmax(p), cast(argmax(p), f32)}, {.sizes = {{"B", batch}}});
      CHECK_NOTHING(of_steps(stream));
    }
  }
}

}  // namespace rondo::test
