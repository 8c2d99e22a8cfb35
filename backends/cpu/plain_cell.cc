#include <rondo/backends/cpu/plain_cell.h>

#include <algorithm>
#include <array>
#include <utility>

#include <rondo/graph/op.h>
#include <rondo/graph/tensor.h>
#include <rondo/ops/recurrence.h>
#include <rondo/ops/shape.h>

namespace rondo::cpu {
namespace {

using Columns = PlainCell::Columns;
using Gate = PlainCell::Gate;
using Kind = PlainCell::Kind;

// A sum taken apart. The last is at most one: what a GRU's reset gate makes.
struct Sum {
  std::vector<Columns> of_x, of_h, vectors;
  struct Gated {
    Value a, b;         // what is multiplied,
    Columns then = {};  // and with what columns of a matrix after that, if any
    bool product = false;
  };
  std::vector<Gated> gated;
};

class Matcher {
 public:
  explicit Matcher(const Node& recurrence)
      : layout_(recurrence), body_(*recurrence.body), graph_(body_.graph) {}

  std::optional<PlainCell> match() {
    if (!fits()) return std::nullopt;
    cell_.input = width(x_);
    if (layout_.states == 1) {
      start(0, 0);
      if (plain_tanh() || gru()) return std::move(cell_);
      return refuse("its step is neither a GRU nor a tanh of one sum");
    }
    for (const size_t h : {0, 1}) {
      start(h, 1 - h);
      if (lstm()) return std::move(cell_);
    }
    return refuse("its step is no LSTM without peepholes, clip and projection");
  }
  const std::string& why() const { return why_; }

 private:
  std::nullopt_t refuse(std::string why) {
    why_ = std::move(why);
    return std::nullopt;
  }

  bool fits() {
    if (layout_.states != 1 && layout_.states != 2) {
      refuse("it carries other states than h, or h and c");
    } else if (layout_.xs != 1 || layout_.per_row != 0 || layout_.sums != 0) {
      refuse("its step reads more than x, or gives sums");
    } else if (!std::all_of(body_.inputs.begin(), body_.inputs.end(), [&](Value v) {
                 const ValueType& t = graph_.type(v);
                 const auto fixed = [](const Dim& d) { return d.is_constant(); };
                 return t.dtype == f32 && t.shape.size() <= 2 && !t.shape.empty() &&
                        std::all_of(t.shape.end() - 1, t.shape.end(), fixed);
               })) {
      refuse("an operand is no f32 of [rows,columns]");
    } else {
      x_ = body_.inputs[layout_.first_x()];
      return true;
    }
    return false;
  }

  void start(size_t h, size_t c) {
    cell_.h = h;
    cell_.c = c;
    cell_.gates.clear();
    cell_.inner_bias.clear();
    h_ = body_.inputs[h];
    c_ = body_.inputs[c];
    cell_.hidden = width(h_);
  }

  const Node& node(Value v) const { return graph_.node(v.node); }
  int64_t width(Value v) const {
    const Shape& s = graph_.type(v).shape;
    return !s.empty() && s.back().is_constant() ? s.back().constant() : -1;
  }
  bool is_gate(Value v) const {
    return graph_.type(v).shape.size() == 2 && width(v) == cell_.hidden;
  }

  // The operand of an op of one, if `v` is its result; else null.
  Value inside(std::string_view op, Value v) const {
    return v && node(v).op->name == op ? node(v).inputs[0] : Value();
  }
  // Both operands of an op of two, in either order, until `f` agrees.
  template <class F>
  bool either_way(std::string_view op, Value v, const F& f) const {
    if (!v || node(v).op->name != op || !is_gate(v)) return false;
    const Value a = node(v).inputs[0], b = node(v).inputs[1];
    return f(a, b) || f(b, a);
  }

  // Which operand of the recurrence a shared operand of the body is.
  std::optional<size_t> shared(Value v, size_t rank) const {
    const auto at = std::find(body_.inputs.begin(), body_.inputs.end(), v) - body_.inputs.begin();
    const auto i = static_cast<size_t>(at);
    if (i < layout_.first_shared() || i >= layout_.body_inputs()) return std::nullopt;
    return graph_.type(v).shape.size() == rank ? std::optional(i) : std::nullopt;
  }

  // Adds to `sum` what the columns of `v` from `first` on, as many as a state has, are made of.
  bool take_apart(Value v, int64_t first, Sum& sum) const {
    const Node& n = node(v);
    const std::string& op = n.op->name;
    if (const auto vector = shared(v, 1)) {
      sum.vectors.push_back({*vector, first});
      return true;
    }
    if (graph_.type(v).shape.size() != 2) return false;
    // More products, vectors and gates than any cell has: an `add` of itself doubles them.
    constexpr size_t kMostTerms = 16;
    if (sum.of_x.size() + sum.of_h.size() + sum.vectors.size() + sum.gated.size() > kMostTerms)
      return false;
    if (op == "add") {
      return std::all_of(n.inputs.begin(), n.inputs.end(), [&](Value i) {
        return width(i) == width(v) && take_apart(i, first, sum);
      });
    }
    if (op == "split" || op == "slice") {
      if (axis_index(n.attributes.integer("axis"), 2) != 1) return false;
      if (op == "split") return take_apart(n.inputs[0], first + v.slot * width(v), sum);
      const Dim& begin = n.attributes.shape("bounds")[0];
      return begin.is_constant() && take_apart(n.inputs[0], first + begin.constant(), sum);
    }
    if (op == "matmul") return take_product(n, first, sum);
    if (op != "mul" || !is_gate(v) || first != 0) return false;
    sum.gated.push_back({.a = n.inputs[0], .b = n.inputs[1]});
    return true;
  }

  bool take_product(const Node& n, int64_t first, Sum& sum) const {
    const auto matrix = shared(n.inputs[1], 2);
    if (!matrix || n.attributes.flag("transpose_a")) return false;
    const Columns columns{*matrix, first, n.attributes.flag("transpose_b")};
    const Value a = n.inputs[0];
    if (a == x_) {
      sum.of_x.push_back(columns);
    } else if (a == h_) {
      sum.of_h.push_back(columns);
    } else if (node(a).op->name == "mul" && is_gate(a)) {
      sum.gated.push_back({node(a).inputs[0], node(a).inputs[1], columns, true});
    } else {
      return false;
    }
    return true;
  }

  // x Wx + h Wr + b.
  bool add_gate(Value v) {
    Sum s;
    if (!v || !is_gate(v) || !take_apart(v, 0, s) || s.of_x.size() != 1 || s.of_h.size() != 1 ||
        !s.gated.empty())
      return false;
    cell_.gates.push_back({s.of_x[0], s.of_h[0], s.vectors});
    return true;
  }
  // Several of them, all or none.
  template <size_t N>
  bool add_gates(const std::array<Value, N>& gates) {
    cell_.gates.clear();
    return std::all_of(gates.begin(), gates.end(), [&](Value v) { return add_gate(v); });
  }

  // What may be read of the loop over time is the state after each step.
  bool gives(Value h) const {
    const auto first = body_.outputs.begin() + static_cast<std::ptrdiff_t>(layout_.states);
    return std::all_of(first, first + static_cast<std::ptrdiff_t>(layout_.ys),
                       [&](Value y) { return y == h; });
  }

  bool lstm() {
    const Value h = body_.outputs[cell_.h], c = body_.outputs[cell_.c];
    Value i, f, g, o;
    const bool is_h = either_way("mul", h, [&](Value gate, Value shown) {
      o = inside("sigmoid", gate);
      return o && inside("tanh", shown) == c;
    });
    const auto kept = [&](Value gate, Value old) {
      f = inside("sigmoid", gate);
      return f && old == c_;
    };
    const auto added = [&](Value gate, Value candidate) {
      i = inside("sigmoid", gate);
      g = inside("tanh", candidate);
      return i && g;
    };
    const bool is_c = either_way("add", c, [&](Value a, Value b) {
      return either_way("mul", a, kept) && either_way("mul", b, added);
    });
    cell_.kind = Kind::kLstm;
    return is_h && is_c && width(c_) == cell_.hidden && gives(h) && add_gates<4>({i, f, g, o});
  }

  // 1 - v.
  Value one_less(Value v) const {
    if (node(v).op->name != "sub" || !is_one(node(v).inputs[0])) return {};
    return node(v).inputs[1];
  }
  bool is_one(Value v) const {
    const Node& n = node(v);
    if (n.op->name == "fill") return n.attributes.number("value") == 1;
    if (n.op != &constant_op()) return false;
    const Tensor& t = n.attributes.tensor("value");
    return t.size() == 1 && t.at(0) == 1;
  }

  bool gru() {
    const Value h = body_.outputs[0];
    Value u, n;
    const bool is_h = either_way("add", h, [&](Value old, Value fresh) {
      Value gate;
      return either_way("mul", old,
                        [&](Value a, Value b) {
                          gate = a;
                          u = inside("sigmoid", a);
                          return u && b == h_;
                        }) &&
             either_way("mul", fresh, [&](Value a, Value b) {
               n = inside("tanh", b);
               return n && one_less(a) == gate;
             });
    });
    Sum s;
    if (!is_h || !gives(h) || !is_gate(n) || !take_apart(n, 0, s) || s.of_x.size() != 1 ||
        !s.of_h.empty() || s.gated.size() != 1)
      return false;
    const Sum::Gated& gated = s.gated[0];
    const auto try_order = [&](Value gate, Value other) {
      const Value r = inside("sigmoid", gate);
      if (!r || !add_gates<2>({u, r})) return false;
      Gate candidate{s.of_x[0], gated.then, s.vectors};
      cell_.kind = Kind::kGru;
      if (gated.product ? other != h_ : !take_inner(other, candidate)) return false;
      cell_.gates.push_back(candidate);
      return true;
    };
    return try_order(gated.a, gated.b) || try_order(gated.b, gated.a);
  }
  // h Wr + b'.
  bool take_inner(Value v, Gate& candidate) {
    Sum s;
    if (!is_gate(v) || !take_apart(v, 0, s) || !s.of_x.empty() || s.of_h.size() != 1 ||
        !s.gated.empty())
      return false;
    cell_.kind = Kind::kLbrGru;
    candidate.h = s.of_h[0];
    cell_.inner_bias = s.vectors;
    return true;
  }

  bool plain_tanh() {
    const Value h = body_.outputs[0];
    cell_.kind = Kind::kTanh;
    return gives(h) && add_gates<1>({inside("tanh", h)});
  }

  RecurrenceLayout layout_;
  const Subgraph& body_;
  const Graph& graph_;
  Value x_, h_, c_;
  PlainCell cell_;
  std::string why_;
};

}  // namespace

std::optional<PlainCell> PlainCell::match(const Node& recurrence, std::string* why) {
  Matcher m(recurrence);
  auto cell = m.match();
  if (!cell && why != nullptr) *why = m.why();
  return cell;
}

std::string_view name_of(PlainCell::Kind kind) {
  constexpr std::string_view kNames[] = {"LSTM", "GRU", "GRU with the reset after the product",
                                         "tanh"};
  return kNames[static_cast<size_t>(kind)];
}

}  // namespace rondo::cpu
