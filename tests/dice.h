// Random choices of fuzzed programs: the same for the same seed everywhere.
#pragma once

#include <cstdlib>
#include <random>
#include <vector>

namespace rondo::test {

class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  size_t below(size_t n) { return engine_() % n; }
  bool one_in(size_t n) { return below(n) == 0; }
  template <class T>
  const T& of(const std::vector<T>& v) {
    return v[below(v.size())];
  }

 private:
  std::mt19937_64 engine_;
};

/// How many programs a fuzzer runs, and from which seed on: RONDO_FUZZ=N runs N that the suite,
/// which runs `few` from `first` on, does not. RONDO_FUZZ_SEED=S begins at S instead.
inline uint64_t fuzz_seed(uint64_t first) {
  if (const char* asked = std::getenv("RONDO_FUZZ_SEED"))
    return first + std::strtoull(asked, nullptr, 10);
  return std::getenv("RONDO_FUZZ") != nullptr ? first + 1000000 : first;
}
inline size_t fuzz_count(size_t few) {
  const char* asked = std::getenv("RONDO_FUZZ");
  return asked != nullptr ? std::strtoull(asked, nullptr, 10) : few;
}

}  // namespace rondo::test
