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

constexpr size_t kFrame = 3;  // columns of a bar beside its marks
constexpr size_t kShortestBar = kFrame + 5;
constexpr size_t kLongestBar = kFrame + 30;
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

std::string epoch_of(const TrainingFacts& f) {
  std::ostringstream s;
  const std::string of = std::to_string(f.epochs);
  s << "epoch " << std::setw(static_cast<int>(of.size())) << f.epoch << '/' << of;
  return std::move(s).str();
}

std::string numbers_of(const TrainingFacts& f, bool with_validation) {
  std::ostringstream s;
  s << std::fixed << "  loss " << std::setprecision(4) << f.loss << std::setprecision(3);
  if (f.accuracy) s << "  accuracy " << *f.accuracy;
  if (with_validation && f.validation_accuracy) {
    s << "  validation " << *f.validation_accuracy;
  } else if (with_validation && f.validation_loss) {
    s << "  validation loss " << *f.validation_loss;
  }
  s << std::setprecision(0) << "  " << f.sequences_per_second << " sequences/s  "
    << clock(f.seconds_left) << " left";
  return std::move(s).str();
}

// " [###.......]", as wide as it is told.
std::string bar_of(const TrainingFacts& f, size_t width) {
  const double part =
      f.batches > 0 ? static_cast<double>(f.batch) / static_cast<double>(f.batches) : 0;
  const double done = (static_cast<double>(f.epoch - 1) + part) / static_cast<double>(f.epochs);
  const auto full =
      static_cast<size_t>(std::clamp(done, 0.0, 1.0) * static_cast<double>(width - kFrame));
  return " [" + std::string(full, '#') + std::string(width - kFrame - full, '.') + ']';
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
  // One line whatever the width, because a line that wraps could not be written over.
  void draw(const TrainingFacts& f) {
    const size_t width = columns_ - 1;
    const std::string epoch = epoch_of(f);
    std::string numbers = numbers_of(f, true);
    if (epoch.size() + kShortestBar + numbers.size() > width) numbers = numbers_of(f, false);
    const size_t taken = epoch.size() + numbers.size();
    std::string line = epoch;
    if (taken + kShortestBar <= width) line += bar_of(f, std::min(width - taken, kLongestBar));
    line += numbers;
    out_ << "\r\033[K" << line.substr(0, width) << std::flush;
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
    out_ << epoch_of(f) << numbers_of(f, true) << '\n' << std::flush;
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
