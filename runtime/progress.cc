#include <rondo/runtime/progress.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <unistd.h>

#include <sys/ioctl.h>

namespace rondo {
namespace {

constexpr int kBar = 20;
constexpr int64_t kPlainLines = 10;
constexpr std::chrono::milliseconds kRedraw{100};

// Columns of the terminal that stderr is; 0 when it is none, or one that cannot rewrite a line.
int columns_of_stderr() {
  const char* kind = std::getenv("TERM");
  if (isatty(STDERR_FILENO) == 0 || kind == nullptr || std::string_view(kind) == "dumb") return 0;
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

std::string clock(double seconds) {
  const auto s = static_cast<int64_t>(std::ceil(std::clamp(seconds, 0.0, 1e9)));
  std::ostringstream r;
  r << std::setfill('0');
  if (s >= 3600) r << s / 3600 << ':' << std::setw(2);
  r << s / 60 % 60 << ':' << std::setw(2) << s % 60;
  return std::move(r).str();
}

std::string text_of(const TrainingFacts& f, bool bar) {
  std::ostringstream s;
  const std::string of = std::to_string(f.epochs);
  s << "epoch " << std::setw(static_cast<int>(of.size())) << f.epoch << '/' << of << std::fixed;
  if (bar) {
    const double part =
        f.batches > 0 ? static_cast<double>(f.batch) / static_cast<double>(f.batches) : 0;
    const double done = f.epochs > 0 ? (static_cast<double>(f.epoch - 1) + part) / f.epochs : 1;
    const int full = static_cast<int>(std::clamp(done, 0.0, 1.0) * kBar);
    s << " [" << std::string(static_cast<size_t>(full), '#')
      << std::string(static_cast<size_t>(kBar - full), '.') << ']';
  }
  s << "  loss " << std::setprecision(4) << f.loss << std::setprecision(3);
  if (f.accuracy) s << "  accuracy " << *f.accuracy;
  if (f.validation_accuracy) {
    s << "  validation " << *f.validation_accuracy;
  } else if (f.validation_loss) {
    s << "  validation loss " << *f.validation_loss;
  }
  s << std::setprecision(0) << "  " << f.sequences_per_second << " sequences/s  "
    << clock(f.seconds_left) << " left";
  return std::move(s).str();
}

class Line final : public Listener {
 public:
  Line(std::ostream& out, int columns) : out_(out), columns_(static_cast<size_t>(columns)) {}

  void on_batch(const TrainingFacts& f) override {
    const auto now = std::chrono::steady_clock::now();
    if (now - drawn_ < kRedraw) return;
    drawn_ = now;
    draw(f);
  }
  void on_epoch(const TrainingFacts& f) override { draw(f); }
  void on_end(const TrainingFacts&) override { out_ << '\n' << std::flush; }

 private:
  // A line that wraps could not be written over.
  void draw(const TrainingFacts& f) {
    out_ << "\r\033[K" << text_of(f, true).substr(0, columns_ - 1) << std::flush;
  }

  std::ostream& out_;
  size_t columns_;
  std::chrono::steady_clock::time_point drawn_;
};

class Plain final : public Listener {
 public:
  explicit Plain(std::ostream& out) : out_(out) {}

  void on_epoch(const TrainingFacts& f) override {
    const int64_t every = (f.epochs + kPlainLines - 1) / kPlainLines;
    if (f.epoch % every != 0 && f.epoch != f.epochs) return;
    out_ << text_of(f, false) << '\n' << std::flush;
  }

 private:
  std::ostream& out_;
};

}  // namespace

std::shared_ptr<Listener> progress_bar() { return progress_bar(std::cerr, columns_of_stderr()); }

std::shared_ptr<Listener> progress_bar(std::ostream& out, int columns) {
  if (columns > 0) return std::make_shared<Line>(out, columns);
  return std::make_shared<Plain>(out);
}

}  // namespace rondo
