#include <rondo/autodiff/schedules.h>

#include <functional>
#include <numbers>
#include <utility>

#include <rondo/autodiff/settings.h>
#include <rondo/autodiff/updater_state.h>
#include <rondo/ops/elementwise.h>
#include <rondo/ops/reduce.h>
#include <rondo/ops/shape.h>

namespace rondo {

namespace schedule {
struct Any {
  std::variant<double, Step, Exponential, Inverse, Polynomial, Cosine, Cyclic, WarmUp, Plateau>
      kind;
};
}  // namespace schedule

using schedule::Any;

namespace {

// ---- the table: a schedule is its fields and its rate at t -------------------

template <class S>
struct Row {
  std::string_view name;
  std::vector<Field<S>> fields;
  std::function<Var(const S&, const Var& t, UpdaterState* state)> rate;
};

Var number(const Var& like, double value) { return fill_like(like, value); }
Var power_of(double base, const Var& exponent) { return pow(number(exponent, base), exponent); }
double real(int64_t n) { return static_cast<double>(n); }

// How far t is in a period of `steps`, as a share: whole numbers stay exact.
Var share_of_period(const Var& t, int64_t steps) { return (t - floor(t / steps) * steps) / steps; }

// The same in periods that grow; all that begin before 2^53 are written out.
Var share_of_growing_period(const Var& t, int64_t steps, int64_t growth) {
  Var begin = number(t, 0), length = number(t, real(steps));
  double at = real(steps), long_ = real(steps) * real(growth);
  for (; at + long_ < 0x1p53; at += long_, long_ *= real(growth)) {
    const Var later = greater_equal(t, at);
    begin = where(later, at, begin);
    length = where(later, long_, length);
  }
  return (t - begin) / length;
}

Var rate_of_cosine(const schedule::Cosine& s, const Var& t, UpdaterState*) {
  const Var share = !s.restarts    ? minimum(t, s.steps) / s.steps
                    : s.growth > 1 ? share_of_growing_period(t, s.steps, s.growth)
                                   : share_of_period(t, s.steps);
  return s.to + (s.from - s.to) * 0.5 * (1 + cos(share * std::numbers::pi));
}

Var rate_of_cyclic(const schedule::Cyclic& s, const Var& t, UpdaterState*) {
  const int64_t down = s.down > 0 ? s.down : s.up;
  const int64_t whole = s.up + down;
  const Var cycle = floor(t / whole);
  const Var at = t - cycle * whole;
  const Var height = where(at <= s.up, at / s.up, (whole - at) / down);
  return s.low + (s.high - s.low) * height * power_of(s.shrink, cycle);
}

Var rate_of_warm_up(const schedule::WarmUp& s, const Var& t, UpdaterState* state) {
  const Var rate = rate_of(s.then, maximum(t - s.steps, 0), state);
  return rate * (s.share + (1 - s.share) * minimum(t / s.steps, 1));
}

Var rate_of_plateau(const schedule::Plateau& s, const Var&, UpdaterState* state) {
  if (state == nullptr) {
    fail(Fault::kArgument, "schedule.plateau.losses",
         "[schedule::Plateau] the rate depends on the losses of a training, not on the step alone");
  }
  if (!state->loss()) {
    fail(Fault::kArgument, "schedule.plateau.loss",
         "[schedule::Plateau] the rate depends on the loss: give it as .loss to updates_for");
  }
  const Var rate = state->shared_variable("plateau_rate", s.from),
            best = state->shared_variable("plateau_best", HUGE_VAL),
            wait = state->shared_variable("plateau_wait", 0),
            rest = state->shared_variable("plateau_rest", 0),
            seen = state->shared_variable("plateau_seen", 0),
            total = state->shared_variable("plateau_total", 0);
  const Var seen_now = seen + 1, total_now = total + cast(state->loss(), f64);
  const Var due = greater_equal(seen_now, s.every);
  const Var mean = total_now / s.every;
  const Var better =
      logical_or(is_inf(best), mean < best - s.threshold * where(is_inf(best), 0, abs(best)));
  const Var rests = rest > 0;
  const Var waited = where(logical_or(better, rests), 0, wait + 1);
  const Var falls = waited > s.patience;
  const auto when_due = [&](const Var& v, const Var& now) { state->set(v, where(due, now, v)); };
  when_due(best, where(better, mean, best));
  when_due(rate, where(falls, maximum(rate * s.factor, s.least), rate));
  when_due(wait, where(falls, 0, waited));
  when_due(rest, where(falls, real(s.cooldown), where(rests, rest - 1, rest)));
  state->set(seen, where(due, 0, seen_now));
  state->set(total, where(due, 0, total_now));
  return rate;
}

const auto& rows() {
  using namespace schedule;  // NOLINT(google-build-using-namespace)
  static const std::tuple table{
      Row<Step>{"step",
                {{"from", &Step::from, kPositive},
                 {"factor", &Step::factor, kPositive},
                 {"every", &Step::every, kCount}},
                [](const Step& s, const Var& t, UpdaterState*) {
                  return s.from * power_of(s.factor, floor(t / s.every));
                }},
      Row<Exponential>{"exponential",
                       {{"from", &Exponential::from, kPositive},
                        {"factor", &Exponential::factor, kPositive},
                        {"every", &Exponential::every, kCount}},
                       [](const Exponential& s, const Var& t, UpdaterState*) {
                         return s.from * power_of(s.factor, t / s.every);
                       }},
      Row<Inverse>{"inverse",
                   {{"from", &Inverse::from, kPositive},
                    {"gamma", &Inverse::gamma},
                    {"power", &Inverse::power}},
                   [](const Inverse& s, const Var& t, UpdaterState*) {
                     return s.from / pow(1 + s.gamma * t, s.power);
                   }},
      Row<Polynomial>{"polynomial",
                      {{"from", &Polynomial::from, kPositive},
                       {"to", &Polynomial::to},
                       {"steps", &Polynomial::steps, kCount},
                       {"power", &Polynomial::power, kPositive}},
                      [](const Polynomial& s, const Var& t, UpdaterState*) {
                        const Var left = 1 - minimum(t, s.steps) / s.steps;
                        return s.to + (s.from - s.to) * pow(left, s.power);
                      }},
      Row<Cosine>{"cosine",
                  {{"from", &Cosine::from, kPositive},
                   {"to", &Cosine::to},
                   {"steps", &Cosine::steps, kCount},
                   {"restarts", &Cosine::restarts},
                   {"growth", &Cosine::growth, kCount}},
                  rate_of_cosine},
      Row<Cyclic>{"cyclic",
                  {{"low", &Cyclic::low},
                   {"high", &Cyclic::high, kPositive},
                   {"up", &Cyclic::up, kCount},
                   {"down", &Cyclic::down},
                   {"shrink", &Cyclic::shrink, kFactor}},
                  rate_of_cyclic},
      Row<WarmUp>{"warm_up",
                  {{"steps", &WarmUp::steps, kCount},
                   {"share", &WarmUp::share, kShare},
                   {"then", &WarmUp::then, kPositive}},
                  rate_of_warm_up},
      Row<Plateau>{"plateau",
                   {{"from", &Plateau::from, kPositive},
                    {"factor", &Plateau::factor, kBelowOne},
                    {"patience", &Plateau::patience},
                    {"threshold", &Plateau::threshold, kShare},
                    {"every", &Plateau::every, kCount},
                    {"cooldown", &Plateau::cooldown},
                    {"least", &Plateau::least}},
                   rate_of_plateau},
  };
  return table;
}

template <class S>
const Row<S>& row_of(const S&) {
  return std::get<Row<S>>(rows());
}

// The number that the rate always is; null: it changes.
const double* constant(const Schedule& s) { return std::get_if<double>(&s.any().kind); }

// f(settings, their row) of a rate that changes.
template <class F>
void visit(const Schedule& schedule, F&& f) {
  std::visit(
      [&](const auto& s) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(s)>, double>) f(s, row_of(s));
      },
      schedule.any().kind);
}

}  // namespace

Schedule::Schedule(double rate) : any_(std::make_shared<Any>(Any{rate})) {}
Schedule::Schedule(schedule::Step s) : any_(std::make_shared<Any>(Any{s})) {}
Schedule::Schedule(schedule::Exponential s) : any_(std::make_shared<Any>(Any{s})) {}
Schedule::Schedule(schedule::Inverse s) : any_(std::make_shared<Any>(Any{s})) {}
Schedule::Schedule(schedule::Polynomial s) : any_(std::make_shared<Any>(Any{s})) {}
Schedule::Schedule(schedule::Cosine s) : any_(std::make_shared<Any>(Any{s})) {}
Schedule::Schedule(schedule::Cyclic s) : any_(std::make_shared<Any>(Any{s})) {}
Schedule::Schedule(schedule::WarmUp s) : any_(std::make_shared<Any>(Any{std::move(s)})) {}
Schedule::Schedule(schedule::Plateau s) : any_(std::make_shared<Any>(Any{s})) {}

bool is_constant(const Schedule& schedule) { return constant(schedule) != nullptr; }

Var rate_of(const Schedule& schedule, const Var& t, UpdaterState* state) {
  if (const double* rate = constant(schedule)) return number(t, *rate);
  Var rate;
  visit(schedule, [&](const auto& s, const auto& row) { rate = row.rate(s, t, state); });
  return rate;
}

Var rate_at(const Schedule& schedule, const Var& steps) {
  check_schedule(schedule, "schedule.rate", kNotNegative);
  return rate_of(schedule, cast(steps, f64), nullptr);
}

void check_range(double value, const Range& range, std::string_view of) {
  if (range.holds(value)) return;
  const size_t dot = of.rfind('.');
  fail(Fault::kArgument, cat(of, ".range"), "[", of.substr(0, dot), "] ", of.substr(dot + 1),
       " is ", value, ", but must be ", range.text);
}

// A plain number is a matter of what has it; a schedule's own numbers are its own.
void check_schedule(const Schedule& schedule, const std::string& of, const Range& range) {
  if (const double* rate = constant(schedule)) return check_range(*rate, range, of);
  visit(schedule, [](const auto& s, const auto& row) {
    check_settings(cat("schedule.", row.name), row.fields, s);
  });
}

// A number is kept as one, anything else as KEY/schedule with its numbers beside it.
void write_schedule(const Schedule& schedule, const std::string& key, Attributes* to) {
  if (const double* rate = constant(schedule)) return to->set(key, *rate);
  visit(schedule, [&](const auto& s, const auto& row) {
    to->set(key + "/schedule", row.name);
    write_settings(row.fields, s, key + "/", to);
  });
}

Schedule read_schedule(const Attributes& from, const std::string& key) {
  if (!from.has(key + "/schedule")) return setting<double>(from, key);
  const auto& name = setting<std::string>(from, key + "/schedule");
  Schedule r = 0;
  const bool known = with_row(
      rows(), name, [&](const auto& row) { r = read_settings(row.fields, from, key + "/"); });
  if (!known)
    fail(Fault::kArgument, "schedule.name.unknown", "unknown schedule '", name,
         "'; known: ", names_of(rows()));
  return r;
}

}  // namespace rondo
