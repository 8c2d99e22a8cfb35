#include <rondo/runtime/ts_format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <rondo/graph/error.h>
#include <rondo/proto/file.h>

namespace rondo {
namespace {

std::string_view trimmed(std::string_view s) {
  constexpr std::string_view kBlank = " \t\r";
  const size_t first = s.find_first_not_of(kBlank);
  return first == s.npos ? std::string_view()
                         : s.substr(first, s.find_last_not_of(kBlank) - first + 1);
}

// Takes what stands before the next `separator`, or all that is left.
std::string_view take(std::string_view* rest, char separator) {
  const size_t at = std::min(rest->find(separator), rest->size());
  const std::string_view first = rest->substr(0, at);
  rest->remove_prefix(std::min(at + 1, rest->size()));
  return first;
}

std::vector<std::string_view> parts_of(std::string_view s, char separator) {
  std::vector<std::string_view> r;
  const auto count = std::count(s.begin(), s.end(), separator) + 1;
  for (std::ptrdiff_t i = 0; i < count; ++i) r.push_back(trimmed(take(&s, separator)));
  return r;
}

std::vector<std::string> words_of(std::string_view s) {
  std::vector<std::string> r;
  for (s = trimmed(s); !s.empty(); s = trimmed(s)) {
    r.emplace_back(s.substr(0, s.find_first_of(" \t")));
    s.remove_prefix(r.back().size());
  }
  return r;
}

std::string lower(std::string s) {
  std::transform(s.begin(), s.end(), s.begin(), [](unsigned char c) { return std::tolower(c); });
  return s;
}

class Reader {
 public:
  explicit Reader(const std::string& name) : name_(name) {}

  SequenceDataset read(std::string_view text) {
    bool in_data = false;
    while (!text.empty()) {
      ++line_;
      const std::string_view line = trimmed(take(&text, '\n'));
      if (line.empty() || line[0] == '#') continue;
      if (in_data) {
        read_case(line);
      } else if (line[0] == '@') {
        in_data = read_header(words_of(line));
      } else {
        refuse("header.data", "data before a line \"@data\"");
      }
    }
    if (!in_data) refuse("header.data", "the file ends without a line \"@data\"");
    return {std::move(sequences_), std::move(classes_)};
  }

 private:
  template <class... A>
  [[noreturn]] void refuse(std::string_view rule, const A&... text) const {
    fail(Fault::kArgument, cat("ts.", rule), name_, ":", line_, ": ", text...);
  }

  // True at "@data". Keys that say nothing about how to read the data are passed over.
  bool read_header(const std::vector<std::string>& words) {
    const std::string key = lower(words[0]);
    const std::string value = words.size() > 1 ? lower(words[1]) : "";
    if (key == "@timestamps" && value == "true") {
      refuse("header.timestamps", "time stamps are not supported; wanted: @timeStamps false");
    }
    if (key == "@targetlabel" && value == "true") {
      refuse("header.target", "numbers as targets are not supported; wanted: @classLabel true ...");
    }
    if (key == "@dimensions" || key == "@dimension") {
      const auto [end, error] =
          std::from_chars(value.data(), value.data() + value.size(), channels_);
      if (error != std::errc() || end != value.data() + value.size() || channels_ < 1) {
        refuse("header.dimensions", "\"", words[0], "\" needs a number of channels, got '", value,
               "'");
      }
    }
    if (key == "@classlabel") {
      if (value != "true" || words.size() < 3) {
        refuse("header.classes", "cases need classes; wanted: @classLabel true NAME NAME ...");
      }
      classes_.assign(words.begin() + 2, words.end());
      for (const std::string& c : classes_) {
        if (std::count(classes_.begin(), classes_.end(), c) > 1) {
          refuse("header.classes", "class '", c, "' stands twice");
        }
      }
    }
    if (key != "@data") return false;
    if (classes_.empty()) refuse("header.classes", "no line \"@classLabel true ...\" before @data");
    return true;
  }

  void read_case(std::string_view line) {
    const std::vector<std::string_view> parts = parts_of(line, ':');
    const auto channels = static_cast<int64_t>(parts.size()) - 1;
    if (channels < 1) refuse("case.label", "wanted channels and a class, parted by ':'");
    if (channels_ == 0) channels_ = channels;
    if (channels != channels_) {
      refuse("case.channels", "the case has ", channels, " channels, but must have ", channels_);
    }
    const auto label = std::find(classes_.begin(), classes_.end(), parts.back());
    if (label == classes_.end()) {
      refuse("case.label", "class '", parts.back(), "' is not among those of @classLabel");
    }
    std::vector<std::vector<std::string_view>> texts;
    for (int64_t c = 0; c < channels; ++c) {
      texts.push_back(parts_of(parts[static_cast<size_t>(c)], ','));
      if (texts[0].size() != texts.back().size()) {
        refuse("case.length", "channel ", c + 1, " has ", texts.back().size(),
               " values, channel 1 has ", texts[0].size());
      }
    }
    Tensor values(f32, {static_cast<int64_t>(texts[0].size()), channels});
    auto* to = values.mutable_data<float>();
    for (size_t t = 0; t < texts[0].size(); ++t) {
      for (size_t c = 0; c < texts.size(); ++c) *to++ = number(texts[c][t], c, t);
    }
    sequences_.push_back({std::move(values), label - classes_.begin()});
  }

  float number(std::string_view text, size_t channel, size_t frame) const {
    const auto where = [&] { return cat("channel ", channel + 1, ", value ", frame + 1, ": "); };
    if (text == "?") {
      refuse("value.missing", where(),
             "is missing ('?'); fill it in before, nothing is guessed here");
    }
    double v = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
    if (error == std::errc::invalid_argument || end != text.data() + text.size()) {
      refuse("value.number", where(), "wanted a number, got '", text, "'");
    }
    if (error != std::errc() || !(std::abs(v) <= std::numeric_limits<float>::max())) {
      refuse("value.range", where(), "wanted a finite number that fits f32, got '", text, "'");
    }
    return static_cast<float>(v);
  }

  const std::string& name_;
  int64_t line_ = 0;
  int64_t channels_ = 0;  // 0: not known yet
  std::vector<std::string> classes_;
  std::vector<Sequence> sequences_;
};

}  // namespace

SequenceDataset parse_ts(std::string_view text, const std::string& name) {
  return Reader(name).read(text);
}

SequenceDataset read_ts(const std::string& path) {
  FileSource file(path);
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read(0, text.data(), text.size());
  return parse_ts(text, path);
}

}  // namespace rondo
