#include <rondo/graph/passes.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>

#include <rondo/graph/op.h>
#include <rondo/graph/rewrite.h>

namespace rondo {
namespace {

class Hash {
 public:
  void add(uint64_t v) {
    h_ = (h_ ^ v) * 0x9e3779b97f4a7c15;
    h_ ^= h_ >> 32;
  }
  void add(std::string_view s) {
    add(s.size());
    bytes(s.data(), s.size());
  }
  void bytes(const void* data, size_t n) {
    const auto* p = static_cast<const char*>(data);
    for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, p + i, std::min(sizeof word, n - i));
      add(word);
    }
  }
  size_t value() const { return static_cast<size_t>(h_); }

  // One overload for each type of attribute.
  void one(bool v) { add(v ? 1 : 0); }
  void one(int64_t v) { add(static_cast<uint64_t>(v)); }
  void one(double v) { add(std::bit_cast<uint64_t>(v)); }
  void one(const std::string& v) { add(v); }
  void one(DType v) { add(static_cast<uint64_t>(v)); }
  void one(const Dim& v) { add(v.str()); }
  void one(const Tensor& v) {
    if (!v) return;
    one(v.dtype());
    one(v.dims());
    bytes(v.raw(), v.bytes());
  }
  template <class T>
  void one(const std::vector<T>& v) {
    add(v.size());
    for (const T& x : v) one(x);
  }

 private:
  uint64_t h_ = 0x243f6a8885a308d3;
};

// Op and attributes of a node: all of it but operands and body.
void hash_node(Hash& h, const Node& n) {
  h.add(n.op->name);
  for (const auto& [name, value] : n.attributes.items()) {
    h.add(name);
    std::visit([&](const auto& v) { h.one(v); }, value.variant());
  }
  h.add(n.inputs.size());
}

// Live nodes of a subgraph by number: its inputs first, then the others in order.
class Numbering {
 public:
  explicit Numbering(const Subgraph& s) {
    for (const Value v : s.inputs) number_.emplace(v.node, static_cast<int32_t>(number_.size()));
    for (const int32_t id : live_nodes(s)) {
      if (number_.emplace(id, static_cast<int32_t>(number_.size())).second) order.push_back(id);
    }
  }
  Value operator()(Value v) const { return v ? Value{number_.at(v.node), v.slot} : Value{}; }
  std::vector<int32_t> order = {};  // ids of nodes that are no inputs

 private:
  std::unordered_map<int32_t, int32_t> number_;
};

void hash_values(Hash& h, const std::vector<Value>& values, const Numbering& number) {
  h.add(values.size());
  for (const Value v : values) {
    const Value w = number(v);
    h.one(int64_t{w.node});
    h.one(int64_t{w.slot});
  }
}

bool same_values(const std::vector<Value>& a, const Numbering& of_a, const std::vector<Value>& b,
                 const Numbering& of_b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](Value x, Value y) { return of_a(x) == of_b(y); });
}

bool same_node(const Node& a, const Node& b) {
  return a.op == b.op && a.attributes == b.attributes;
}

bool same(const Subgraph& a, const Subgraph& b, int depth) {
  check_body_depth(depth);
  if (a.inputs.size() != b.inputs.size() || a.outputs.size() != b.outputs.size()) return false;
  const Numbering of_a(a), of_b(b);
  if (of_a.order.size() != of_b.order.size()) return false;
  for (size_t i = 0; i < a.inputs.size(); ++i) {
    if (!same_node(a.graph.node(a.inputs[i].node), b.graph.node(b.inputs[i].node))) return false;
  }
  for (size_t i = 0; i < of_a.order.size(); ++i) {
    const Node& x = a.graph.node(of_a.order[i]);
    const Node& y = b.graph.node(of_b.order[i]);
    if (!same_node(x, y) || !same_values(x.inputs, of_a, y.inputs, of_b)) return false;
    if ((x.body == nullptr) != (y.body == nullptr)) return false;
    if (x.body != y.body && !same(*x.body, *y.body, depth + 1)) return false;
  }
  return same_values(a.outputs, of_a, b.outputs, of_b);
}

size_t hash(const Subgraph& s, int depth) {
  check_body_depth(depth);
  Hash h;
  const Numbering number(s);
  for (const Value v : s.inputs) hash_node(h, s.graph.node(v.node));
  for (const int32_t id : number.order) {
    const Node& n = s.graph.node(id);
    hash_node(h, n);
    hash_values(h, n.inputs, number);
    if (n.body != nullptr) h.add(hash(*n.body, depth + 1));
  }
  hash_values(h, s.outputs, number);
  return h.value();
}

Subgraph dead_code(const Subgraph& s, int depth) {
  check_body_depth(depth);
  BodyPass bodies([depth](const Subgraph& body) { return dead_code(body, depth + 1); });
  return rebuild(
      s, [&](Rebuilder& r, const Node& n) { return r.copy(n, r.inputs(n), bodies(n.body)); });
}

class Merger {
 public:
  explicit Merger(int depth)
      : bodies_([depth](const Subgraph& body) { return Merger(depth + 1).run(body); }) {
    check_body_depth(depth);
  }

  Subgraph run(const Subgraph& s) {
    return rebuild(s, [this](Rebuilder& r, const Node& n) {
      const Vars in = r.inputs(n);
      const std::shared_ptr<const Subgraph> body = bodies_(n.body);
      if (n.op->opaque && !n.attributes.has("stream")) return r.copy(n, in, body);
      std::vector<int32_t>& seen = seen_[key(n, in, body.get())];
      for (const int32_t id : seen) {
        if (equal(r.graph().node(id), n, in, body.get())) return r.graph().vars_of(id);
      }
      Vars made = r.copy(n, in, body);
      seen.push_back(r.graph().size() - 1);
      return made;
    });
  }

 private:
  size_t key(const Node& n, const Vars& in, const Subgraph* body) {
    Hash h;
    hash_node(h, n);
    for (const Var& v : in) {
      h.one(int64_t{v.value().node});
      h.one(int64_t{v.value().slot});
    }
    if (body != nullptr) {
      const auto [at, fresh] = body_hash_.try_emplace(body, 0);
      if (fresh) at->second = structure_hash(*body);
      h.add(at->second);
    }
    return h.value();
  }

  static bool equal(const Node& a, const Node& b, const Vars& in, const Subgraph* body) {
    if (!same_node(a, b) || a.inputs.size() != in.size()) return false;
    for (size_t i = 0; i < in.size(); ++i) {
      if (a.inputs[i] != in[i].value()) return false;
    }
    if ((a.body == nullptr) != (body == nullptr)) return false;
    return a.body.get() == body || same_structure(*a.body, *body);
  }

  BodyPass bodies_;
  std::unordered_map<size_t, std::vector<int32_t>> seen_;  // ids in the new graph
  std::unordered_map<const Subgraph*, size_t> body_hash_;  // kept alive by bodies_
};

}  // namespace

Subgraph dead_code(const Subgraph& s) { return dead_code(s, 0); }
Subgraph common_subexpressions(const Subgraph& s) { return Merger(0).run(s); }
bool same_structure(const Subgraph& a, const Subgraph& b) { return same(a, b, 0); }
size_t structure_hash(const Subgraph& s) { return hash(s, 0); }

}  // namespace rondo
