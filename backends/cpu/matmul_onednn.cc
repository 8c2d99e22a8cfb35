// f32 products by oneDNN, called single-threaded on tiles that shape alone decides, so that every
// team size gives the same bits. A primitive is made once per shape of a tile and kept; its
// scratchpad lies in the run's workspace.
#include <rondo/backends/cpu/rows.h>
#include <rondo/graph/error.h>

#if RONDO_ONEDNN

#include <algorithm>
#include <compare>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include <rondo/backends/cpu/matmul.h>
#include <rondo/backends/cpu/onednn.h>
#include <rondo/backends/cpu/scratchpads.h>

namespace rondo::cpu {
namespace {

// Below this many multiplications the call costs more than the product; one tile has about the
// second number.
constexpr int64_t kLeastWork = 8192;
constexpr int64_t kTileWork = 1 << 20;
constexpr double kCallCost = 3;  // of a small product: above Eigen's
constexpr int64_t kGrain = 16;

constexpr size_t kMostPrimitives = 512;

// The shape of one tile, and how far apart the rows of the three matrices are.
struct Key {
  int64_t m, n, k, lda, ldb, ldy;
  bool transpose_a, transpose_b;
  auto operator<=>(const Key&) const = default;
};

struct Product {
  onednn::Primitive primitive;
  size_t scratch_bytes = 0;
};

std::shared_ptr<const Product> make_product(const Key& k) {
  using Strides = dnnl::memory::dims;
  constexpr auto f32 = dnnl::memory::data_type::f32;
  const onednn::OneThread one;  // oneDNN plans for the threads it sees
  return onednn::checked("make a product", [&] {
    const dnnl::memory::desc a({k.m, k.k}, f32,
                               k.transpose_a ? Strides{1, k.lda} : Strides{k.lda, 1});
    const dnnl::memory::desc b({k.k, k.n}, f32,
                               k.transpose_b ? Strides{1, k.ldb} : Strides{k.ldb, 1});
    const dnnl::memory::desc y({k.m, k.n}, f32, Strides{k.ldy, 1});
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::matmul::primitive_desc desc(onednn::engine(), a, b, y, attributes);
    auto p = std::make_shared<Product>();
    p->primitive.run = dnnl::matmul(desc);
    p->primitive.arguments = {{DNNL_ARG_SRC, desc.src_desc()},
                              {DNNL_ARG_WEIGHTS, desc.weights_desc()},
                              {DNNL_ARG_DST, desc.dst_desc()},
                              {DNNL_ARG_SCRATCHPAD, desc.scratchpad_desc()}};
    p->scratch_bytes = desc.scratchpad_desc().get_size();
    return std::shared_ptr<const Product>(std::move(p));
  });
}

std::shared_ptr<const Product> product(const Key& key) {
  struct Cache {
    std::mutex mutex;
    std::map<Key, std::shared_ptr<const Product>> products;
  };
  static auto* const cache = new Cache;  // outlives all plans
  const std::lock_guard lock(cache->mutex);
  if (const auto it = cache->products.find(key); it != cache->products.end()) return it->second;
  if (cache->products.size() >= kMostPrimitives)
    cache->products.clear();  // plans keep what they use
  return cache->products[key] = make_product(key);
}

class OneDnnMatmul final : public PreparedKernel {
 public:
  explicit OneDnnMatmul(const KernelCall& call)
      : shape_(call),
        tiles_(shape_, kTileWork, kGrain),
        epilogue_(call),
        pads_at_(align_up(epilogue_.workspace_bytes())) {
    const MatmulTiles::Tile last = tiles_.at(shape_, tiles_.count - 1);
    size_t scratch_bytes = 0;
    for (const int64_t rows : {tiles_.rows, last.rows}) {
      for (const int64_t columns : {tiles_.columns, last.columns}) {
        const MatmulShape& s = shape_;
        products_.push_back(
            product({rows, columns, s.k, s.lda(), s.ldb(), s.ldy(), s.transpose_a, s.transpose_b}));
        scratch_bytes = std::max(scratch_bytes, products_.back()->scratch_bytes);
      }
    }
    pads_.emplace(tiles_.count, scratch_bytes);
  }

  size_t workspace_bytes() const override { return pads_at_ + pads_->workspace_bytes(); }

  void run(const KernelArgs& args) const override {
    std::byte* const pads = args.workspace + pads_at_;
    std::byte* const y = epilogue_.product(args, args.workspace);
    pads_->prepare(pads);
    for_pieces(args.context.team, tiles_.count, [&](int64_t piece) {
      const MatmulTiles::Tile t = tiles_.at(shape_, piece);
      {
        const Scratchpads::Use pad(*pads_, pads);
        run_tile(args, reinterpret_cast<float*>(y), t, pad.data());
      }
      epilogue_.run(args, y, block_of(shape_, t));
    });
  }

 private:
  void run_tile(const KernelArgs& args, float* y, const MatmulTiles::Tile& t,
                std::byte* scratch) const {
    const Product& p =
        *products_[(t.rows != tiles_.rows ? 2U : 0U) + (t.columns != tiles_.columns ? 1U : 0U)];
    const void* const data[] = {args.in[0].as<float>() + shape_.a_at(t.batch, t.row),
                                args.in[1].as<float>() + shape_.b_at(t.batch, t.column),
                                y + shape_.y_at(t.batch, t.row, t.column), scratch};
    onednn::execute(p.primitive, data, "multiply");
  }

  MatmulShape shape_;
  MatmulTiles tiles_;
  Epilogue epilogue_;
  size_t pads_at_;
  std::vector<std::shared_ptr<const Product>>
      products_;  // full, last columns, last rows, last of both
  std::optional<Scratchpads> pads_;
};

}  // namespace

void add_matmul_onednn(std::vector<Kernel>& rows) {
  add_products(
      rows,
      {.name = "cpu.matmul.onednn",
       .op = "matmul",
       .note = cat("oneDNN: f32 products; worth the call from ", kLeastWork, " multiplications on"),
       .supports =
           [](const KernelCall& call) {
             return multiplies(call, {f32}) && MatmulShape(call).work() > 0;
           },
       .prepare = [](const KernelCall& call) { return std::make_unique<OneDnnMatmul>(call); },
       .cost_of =
           [](const KernelCall& call) {
             return MatmulShape(call).work() >= kLeastWork ? 1 : kCallCost;
           },
       .allocates = true});
}

}  // namespace rondo::cpu

#else

namespace rondo::cpu {
void add_matmul_onednn(std::vector<Kernel>&) {}
}  // namespace rondo::cpu

#endif
