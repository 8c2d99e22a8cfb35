#include <rondo/runtime/bind_feeds.h>

#include <optional>

namespace rondo {
namespace {

[[noreturn]] void refuse(const Var& p, const Tensor& t, std::string_view rule,
                         const std::string& why) {
  fail(Fault::kArgument, cat("placeholder.", p.name(), ".", rule), "[placeholder \"", p.name(),
       "\"] is ", p.type().str(), ", but was fed ", t.dtype(), to_string(t.dims()), ": ", why);
}

// Solves d = got for the only symbol that `known` lacks; none when there are several.
std::optional<std::pair<std::string, int64_t>> solve(const Dim& d, int64_t got,
                                                     const Binding& known, bool* whole) {
  *whole = true;
  const Dim left = d.bind(known);
  const std::vector<std::string> symbols = left.symbols();
  if (symbols.size() != 1) return std::nullopt;
  const Dim at0 = left.bind({{symbols[0], 0}});
  const Dim slope = left.bind({{symbols[0], 1}}) - at0;
  const auto value = (Dim(got) - at0).divided_by(slope.constant());
  *whole = value && value->constant() >= 0;
  if (!*whole) return std::nullopt;
  return std::make_pair(symbols[0], value->constant());
}

}  // namespace

Binding bind_feeds(const Vars& placeholders, std::span<const Tensor> tensors) {
  Binding binding;
  std::map<std::string, std::string> fixed_by;
  // Plain symbols first, so that "T+1" is checked against T wherever it stands.
  for (const bool plain : {true, false}) {
    for (size_t i = 0; i < placeholders.size(); ++i) {
      const Var& p = placeholders[i];
      const Tensor& t = tensors[i];
      if (plain) {
        if (t.dtype() != p.dtype())
          refuse(p, t, "dtype", cat("the dtype differs; convert with .to(", p.dtype(), ")"));
        if (t.rank() != p.rank()) refuse(p, t, "rank", "the rank differs");
      }
      for (size_t a = 0; a < t.rank(); ++a) {
        const Dim& d = p.shape()[a];
        if (plain && d.symbols().size() == 1 && d == Dim::symbol(d.symbols()[0]) &&
            binding.emplace(d.symbols()[0], t.dims()[a]).second) {
          fixed_by[d.symbols()[0]] = p.name() + to_string(t.dims());
        }
        if (plain) continue;
        bool whole = true;
        if (const auto s = solve(d, t.dims()[a], binding, &whole)) {
          binding.insert(*s);
          fixed_by[s->first] = p.name() + to_string(t.dims());
        }
        const Dim want = d.bind(binding);
        if (!whole || (want.is_constant() && want.constant() != t.dims()[a])) {
          std::string why = cat("axis ", a, " must be ", d.str(),
                                want.is_constant() && !d.is_constant() ? cat(" = ", want) : "");
          for (const std::string& n : d.symbols()) {
            if (fixed_by.count(n) != 0)
              why += cat("\n  ", n, " = ", binding.at(n), " was fixed by ", fixed_by[n]);
          }
          refuse(p, t, "dim", why);
        }
      }
    }
  }
  return binding;
}

}  // namespace rondo
