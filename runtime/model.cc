#include <rondo/runtime/model.h>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <numeric>
#include <sstream>

#include <rondo/ops/reduce.h>

namespace rondo {
namespace {

void check_input(const Graph& g, const Var& v, std::string_view name, size_t rank, bool is_value) {
  if (!v) return;
  if (!(v.graph() == g) || v.node().op != &placeholder_op()) {
    fail(Fault::kArgument, cat("model.", name, ".placeholder"), "[model] ", name, " is ", v.name(),
         ", which is no placeholder of the model's graph");
  }
  if (v.rank() != rank || !(is_value ? is_float(v.dtype()) : is_integer(v.dtype()))) {
    fail(Fault::kArgument, cat("model.", name, ".type"), "[model] ", name, " is \"", v.name(),
         "\" of type ", v.type().str(), ", but batches are ",
         is_value ? "[T,B,I] of floats" : "[B] of integers");
  }
}

}  // namespace

Model::Model(std::shared_ptr<Session> session, BatchInputs inputs, Var logits)
    : session_(std::move(session)), inputs_(std::move(inputs)), logits_(std::move(logits)) {
  check_input(graph(), inputs_.values, "values", 3, true);
  check_input(graph(), inputs_.lengths, "lengths", 1, false);
  check_input(graph(), inputs_.labels, "labels", 1, false);
  if (!logits_) return;
  if (!(logits_.graph() == graph()) || logits_.rank() != 2 || !is_float(logits_.dtype())) {
    fail(Fault::kArgument, "model.logits.type", "[model] logits is ", logits_.name(), " of type ",
         logits_.type().str(), ", but must be floats [B,V] of the model's graph");
  }
  prediction_ = argmax(logits_);
}

std::vector<Feed> Model::feeds(const SequenceBatch& batch) const {
  std::vector<Feed> r;
  const auto feed = [&](const Var& v, const Tensor& t) {
    if (v) r.emplace_back(v, t.to(v.dtype()));
  };
  feed(inputs_.values, batch.values);
  feed(inputs_.lengths, batch.lengths);
  feed(inputs_.labels, batch.labels);
  return r;
}

std::vector<int64_t> Model::predict(const SequenceDataset& data, int64_t batch_size) const {
  if (!prediction_) {
    fail(Fault::kArgument, "model.logits.missing",
         "[model] predict needs to know the logits; give them as .logits when it is made");
  }
  std::vector<int64_t> r(data.size());
  for (const Rows& rows : data.batches(batch_size)) {
    const Tensor classes = session_->run(prediction_, feeds(data.batch(rows)));
    for (size_t k = 0; k < rows.size(); ++k) r[rows[k]] = classes.data<int64_t>()[k];
  }
  return r;
}

Confusion::Confusion(const SequenceDataset& data, std::span<const int64_t> predicted)
    : classes_(data.classes()), counts_(classes_.size(), std::vector<int64_t>(classes_.size())) {
  if (predicted.size() != data.size()) {
    fail(Fault::kArgument, "confusion.predicted.count", "[confusion] got ", predicted.size(),
         " predictions for ", data.size(), " sequences");
  }
  for (size_t i = 0; i < data.size(); ++i) {
    const int64_t p = predicted[i];
    if (p < 0 || p >= static_cast<int64_t>(classes_.size())) {
      fail(Fault::kArgument, "confusion.predicted.range", "[confusion] prediction ", i, " is ", p,
           ", but there are ", classes_.size(), " classes");
    }
    ++counts_[static_cast<size_t>(data[i].label)][static_cast<size_t>(p)];
  }
}

double Confusion::accuracy() const {
  int64_t all = 0;
  int64_t right = 0;
  for (size_t k = 0; k < counts_.size(); ++k) {
    all = std::accumulate(counts_[k].begin(), counts_[k].end(), all);
    right += counts_[k][k];
  }
  return static_cast<double>(right) / static_cast<double>(all);
}

std::string Confusion::str() const {
  size_t width = 4;
  for (const std::string& c : classes_) width = std::max(width, c.size() + 1);
  const auto column = std::setw(static_cast<int>(width));
  std::ostringstream s;
  s << column << "";
  for (const std::string& c : classes_) s << column << c;
  s << "  recall\n" << std::fixed << std::setprecision(3);
  for (size_t k = 0; k < classes_.size(); ++k) {
    s << column << classes_[k];
    for (const int64_t n : counts_[k]) {
      s << column;
      if (n == 0) {
        s << '.';
      } else {
        s << n;
      }
    }
    const int64_t all = std::accumulate(counts_[k].begin(), counts_[k].end(), int64_t{0});
    if (all > 0) s << "   " << static_cast<double>(counts_[k][k]) / static_cast<double>(all);
    s << '\n';
  }
  return std::move(s).str();
}

std::ostream& operator<<(std::ostream& s, const Confusion& c) { return s << c.str(); }

}  // namespace rondo
