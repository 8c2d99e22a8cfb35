// f32 products by oneDNN, called single-threaded on tiles that shape alone decides, so that every
// team size gives the same bits. A primitive is made once per shape of a tile and kept; its
// scratchpad lies in the run's workspace.
#include <rondo/backends/cpu/rows.h>
#include <rondo/graph/error.h>

#if RONDO_ONEDNN

#include <algorithm>
#include <array>
#include <atomic>
#include <compare>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include <oneapi/dnnl/dnnl.hpp>

#include <rondo/backends/cpu/matmul.h>
#include <rondo/backends/cpu/scratchpads.h>

// oneDNN's build for GNU OpenMP has no call of its own for this. Weak: another build of oneDNN may
// bring no OpenMP.
extern "C" void omp_set_num_threads(int) __attribute__((weak));
extern "C" int omp_get_max_threads() __attribute__((weak));

namespace rondo::cpu {
namespace {

// Below this many multiplications the call costs more than the product; one tile has about the
// second number.
constexpr int64_t kLeastWork = 8192;
constexpr int64_t kTileWork = 1 << 20;
constexpr double kCallCost = 3;  // of a small product: above Eigen's
constexpr int64_t kGrain = 16;

constexpr size_t kMostPrimitives = 512;
constexpr size_t kMostMemories = 64;

// While it lives, oneDNN uses the calling thread alone; the caller's own OpenMP setting comes back.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads != nullptr ? omp_get_max_threads() : 1) {
    if (before_ != 1 && omp_set_num_threads != nullptr) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before_ != 1 && omp_set_num_threads != nullptr) omp_set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

void check(dnnl_status_t status, std::string_view what) {
  if (status == dnnl_success) return;
  const bool memory = status == dnnl_out_of_memory;
  fail(memory ? Fault::kUnsupported : Fault::kInternal,
       memory ? "onednn.memory.exhausted" : "rondo.internal", "oneDNN refuses to ", what,
       " (status ", static_cast<int>(status), ")");
}

template <class F>
auto checked(std::string_view what, F&& f) {
  try {
    return f();
  } catch (const dnnl::error& e) {
    check(e.status, what);
    throw;
  }
}

const dnnl::engine& engine() {
  static const auto* const e = new dnnl::engine(dnnl::engine::kind::cpu, 0);  // outlives all plans
  return *e;
}

// The shape of one tile, and how far apart the rows of the three matrices are.
struct Key {
  int64_t m, n, k, lda, ldb, ldy;
  bool transpose_a, transpose_b;
  auto operator<=>(const Key&) const = default;
};

struct Primitive {
  dnnl::matmul::primitive_desc desc;
  dnnl::matmul run;
  size_t scratch_bytes = 0;
  uint64_t id = 0;
};

std::shared_ptr<const Primitive> make_primitive(const Key& k) {
  using Strides = dnnl::memory::dims;
  constexpr auto f32 = dnnl::memory::data_type::f32;
  static std::atomic<uint64_t> ids{1};
  const OneThread one;  // oneDNN plans for the threads it sees
  return checked("make a product", [&] {
    const dnnl::memory::desc a({k.m, k.k}, f32,
                               k.transpose_a ? Strides{1, k.lda} : Strides{k.lda, 1});
    const dnnl::memory::desc b({k.k, k.n}, f32,
                               k.transpose_b ? Strides{1, k.ldb} : Strides{k.ldb, 1});
    const dnnl::memory::desc y({k.m, k.n}, f32, Strides{k.ldy, 1});
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    auto p = std::make_shared<Primitive>();
    p->desc = dnnl::matmul::primitive_desc(engine(), a, b, y, attributes);
    p->run = dnnl::matmul(p->desc);
    p->scratch_bytes = p->desc.scratchpad_desc().get_size();
    p->id = ids++;
    return std::shared_ptr<const Primitive>(std::move(p));
  });
}

std::shared_ptr<const Primitive> primitive(const Key& key) {
  struct Cache {
    std::mutex mutex;
    std::map<Key, std::shared_ptr<const Primitive>> primitives;
  };
  static auto* const cache = new Cache;  // outlives all plans
  const std::lock_guard lock(cache->mutex);
  if (const auto it = cache->primitives.find(key); it != cache->primitives.end()) return it->second;
  if (cache->primitives.size() >= kMostPrimitives)
    cache->primitives.clear();  // plans keep what they use
  return cache->primitives[key] = make_primitive(key);
}

// A thread's stream, and its memory objects for the primitives it used last: making them allocates.
class ThreadState {
 public:
  void run(const Primitive& p, const float* a, const float* b, float* y, std::byte* scratch) {
    Memories& m = memories_[p.id % kMostMemories];
    if (m.id != p.id) {
      m = checked("describe memory", [&] {
        const auto view = [](const dnnl::memory::desc& d) {
          return dnnl::memory(d, engine(), nullptr);
        };
        return Memories{p.id, view(p.desc.src_desc()), view(p.desc.weights_desc()),
                        view(p.desc.dst_desc()), view(p.desc.scratchpad_desc())};
      });
    }
    const std::pair<dnnl_memory_t, const void*> data[] = {
        {m.a.get(), a}, {m.b.get(), b}, {m.y.get(), y}, {m.scratch.get(), scratch}};
    for (const auto& [memory, pointer] : data)
      check(dnnl_memory_set_data_handle(memory, const_cast<void*>(pointer)),
            "set an address");  // NOLINT
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, m.a.get()},
                                         {DNNL_ARG_WEIGHTS, m.b.get()},
                                         {DNNL_ARG_DST, m.y.get()},
                                         {DNNL_ARG_SCRATCHPAD, m.scratch.get()}};
    check(dnnl_primitive_execute(p.run.get(), stream_.get(), 4, arguments), "multiply");
  }

 private:
  struct Memories {
    uint64_t id = 0;
    dnnl::memory a, b, y, scratch;
  };
  dnnl::stream stream_{engine()};
  std::array<Memories, kMostMemories> memories_;
};

class OneDnnMatmul final : public PreparedKernel {
 public:
  explicit OneDnnMatmul(const KernelCall& call) : shape_(call), tiles_(shape_, kTileWork, kGrain) {
    const MatmulTiles::Tile last = tiles_.at(shape_, tiles_.count - 1);
    size_t scratch_bytes = 0;
    for (const int64_t rows : {tiles_.rows, last.rows}) {
      for (const int64_t columns : {tiles_.columns, last.columns}) {
        const MatmulShape& s = shape_;
        primitives_.push_back(primitive(
            {rows, columns, s.k, s.lda(), s.ldb(), s.ldy(), s.transpose_a, s.transpose_b}));
        scratch_bytes = std::max(scratch_bytes, primitives_.back()->scratch_bytes);
      }
    }
    pads_.emplace(tiles_.count, scratch_bytes);
  }

  size_t workspace_bytes() const override { return pads_->workspace_bytes(); }

  void run(const KernelArgs& args) const override {
    pads_->prepare(args.workspace);
    for_pieces(args.context.team, tiles_.count, [&](int64_t piece) {
      const Scratchpads::Use pad(*pads_, args.workspace);
      run_tile(args, tiles_.at(shape_, piece), pad.data());
    });
  }

 private:
  void run_tile(const KernelArgs& args, const MatmulTiles::Tile& t, std::byte* scratch) const {
    const Primitive& p =
        *primitives_[(t.rows != tiles_.rows ? 2U : 0U) + (t.columns != tiles_.columns ? 1U : 0U)];
    thread_local ThreadState state;
    const OneThread one;
    state.run(p, args.in[0].as<float>() + shape_.a_at(t.batch, t.row),
              args.in[1].as<float>() + shape_.b_at(t.batch, t.column),
              args.out[0].as<float>() + shape_.y_at(t.batch, t.row, t.column), scratch);
  }

  MatmulShape shape_;
  MatmulTiles tiles_;
  std::vector<std::shared_ptr<const Primitive>>
      primitives_;  // full, last columns, last rows, last of both
  std::optional<Scratchpads> pads_;
};

}  // namespace

void add_matmul_onednn(std::vector<Kernel>& rows) {
  rows.push_back(
      {.name = "cpu.matmul.onednn",
       .op = "matmul",
       .note = cat("oneDNN: f32 products; worth the call from ", kLeastWork, " multiplications on"),
       .supports =
           [](const KernelCall& call) {
             return all_of_type(call, {f32}) && MatmulShape(call).work() > 0;
           },
       .prepare = [](const KernelCall& call) { return std::make_unique<OneDnnMatmul>(call); },
       .cost_of =
           [](const KernelCall& call) {
             return MatmulShape(call).work() >= kLeastWork ? 1 : kCallCost;
           },
       .allocates = true});
}

std::string onednn_description() {
  const dnnl_version_t& v = *dnnl_version();
  return cat("oneDNN ", v.major, ".", v.minor, ".", v.patch);
}

}  // namespace rondo::cpu

#else

namespace rondo::cpu {
void add_matmul_onednn(std::vector<Kernel>&) {}
std::string onednn_description() { return "no oneDNN"; }
}  // namespace rondo::cpu

#endif
