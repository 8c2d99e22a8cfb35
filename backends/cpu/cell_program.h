// The body of a recurrence as a program for the recurrent engine: products with resident matrices,
// and elementwise tile programs between them. Any cell that is made of these runs on the engine,
// built in or the user's own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include <rondo/backends/cpu/tile_program.h>
#include <rondo/graph/graph.h>
#include <rondo/ops/recurrence.h>
#include <rondo/runtime/kernel.h>

namespace rondo::cpu {

/// Where a row of a value lies while a step runs.
struct Place {
  enum class Home : uint8_t {
    kX,         ///< operand: one row of the present step
    kState,     ///< carried state, before the step
    kNext,      ///< carried state, after the step
    kPerRow,    ///< operand: one row
    kShared,    ///< operand: the same for all rows
    kConstant,  ///< data of the plan
    kBuffer,    ///< the engine's own memory
    kY,         ///< an output of the step
  };
  Home home = Home::kBuffer;
  size_t index = 0;    ///< which of them
  int64_t column = 0;  ///< first element in the row
  int64_t width = 0;   ///< elements
  const std::byte* constant = nullptr;
  bool flags = false;  ///< booleans, a byte each, not numbers
  /// Bytes from the start of where it lies, from one step of time to the next and from row to row:
  /// set once sizes are known.
  size_t offset = 0, step = 0, row = 0;
  int64_t period = 0;  ///< of the engine's own memory: steps until it is written again
};

struct CellProgram {
  /// y = c + bias + a W: `shared` is the index of W among the shared operands.
  struct Product {
    Place a, y;
    size_t shared = 0;
    bool transposed = false;
    int64_t k = 0, n = 0;
    std::optional<Place> c = {};     ///< rows that the sums begin with
    std::optional<Place> bias = {};  ///< the same for all rows
    size_t index = 0;                ///< among all products
    /// What needs nothing that a step computes, or is needed by none, is done for many steps at
    /// once; or as the beginning of the product that it is added to.
    enum class When : uint8_t { kBefore, kInStep, kAfter, kJoined } when = When::kInStep;
    const Product* begins = nullptr;  ///< the joined one that the sums begin with
  };
  /// y = the columns of a row in one number.
  struct Reduction {
    Place from, y;
    void (*run)(const void* x, int64_t n, void* y);
  };
  /// An elementwise program over the columns of a row; an input of width 1 is the same for all.
  struct Group {
    std::shared_ptr<const TileProgram> program;
    std::vector<Place> inputs, outputs;
    int64_t width = 0;
  };
  struct Copy {
    Place from, to;
  };
  /// Done one after the other: first what moves rows, in order, then the groups.
  struct Stage {
    std::vector<std::variant<Copy, Product, Reduction>> moves;
    std::vector<Group> groups;
  };

  DType dtype = DType::f32;
  std::vector<Stage> stages;
  std::vector<int64_t> buffers;  ///< widths
  /// How long each of them keeps what a step wrote: for the step, for as many as products are done
  /// together, for as many as products of rows are added up together.
  enum class Kept : uint8_t { kStep, kAhead, kUntilSummed };
  std::vector<Kept> kept;
  size_t products = 0;
  std::vector<Copy> ends;   ///< outputs that no group wrote in place
  std::vector<Place> next;  ///< where each next state lies at the end of a step
  /// Whether that is where the next step looks for it.
  bool is_in_place(size_t state) const {
    return next[state].home == Place::Home::kNext && next[state].index == state;
  }
  /// Sums over time and rows: where each row adds up its own, and which of the recurrence's they
  /// are.
  struct Sum {
    Place row;
    size_t index;
  };
  std::vector<Sum> sums;
  /// Sums over time and rows of a' b, the gradients of matrices, for all a that meet one b.
  struct OuterSums {
    struct Term {
      Place a;
      size_t index;         ///< which of the recurrence's sums it is part of,
      bool begins = false;  ///< and whether the first of these
    };
    Place b;
    std::vector<Term> terms;
  };
  std::vector<OuterSums> outer_sums;
  std::vector<int64_t> state_widths;
  std::vector<Tensor> numbers;  ///< rows of one number each, that places point at

  /// Calls f for each place.
  template <class F>
  void for_each_place(const F& f);

  /// The program of a recurrence's body, whatever the sizes; none, and `why`, when something in it
  /// does not fit.
  static std::optional<CellProgram> compile(const KernelCall& call, std::string* why = nullptr);
};

template <class F>
void CellProgram::for_each_place(const F& f) {
  const auto all = [&](auto& places) {
    for (auto& p : places) f(p);
  };
  for (Stage& s : stages) {
    for (auto& m : s.moves) {
      if (auto* c = std::get_if<Copy>(&m)) {
        f(c->from), f(c->to);
      } else if (auto* r = std::get_if<Reduction>(&m)) {
        f(r->from), f(r->y);
      } else {
        auto& p = std::get<Product>(m);
        f(p.a), f(p.y);
        if (p.c) f(*p.c);
        if (p.bias) f(*p.bias);
      }
    }
    for (Group& g : s.groups) all(g.inputs), all(g.outputs);
  }
  for (Copy& c : ends) f(c.from), f(c.to);
  all(next);
  for (Sum& s : sums) f(s.row);
  for (OuterSums& s : outer_sums) {
    f(s.b);
    for (OuterSums::Term& t : s.terms) f(t.a);
  }
}

}  // namespace rondo::cpu
