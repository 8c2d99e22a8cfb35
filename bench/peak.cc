// What this machine can do at most, measured: the yardstick of bench/compare.py.
//   rondo_bench_peak [--threads N] [--bytes N]...
// One line of JSON: GFLOP/s of fused multiply-adds in f32 and, where the processor multiplies them
// itself, bf16; GB/s of reading N bytes over and over, each thread its share of them.
#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#include <unistd.h>

#include <sys/syscall.h>
#endif

namespace {

using Clock = std::chrono::steady_clock;

// The compiler must believe that somebody wants these.
template <typename T>
void keep(T& sums) {
  __asm__ volatile("" : : "r"(&sums) : "memory");
}

// A loop, what one turn of it computes (operations), and whether this processor has it.
struct Loop {
  const char* isa;
  double operations;
  bool (*here)();
  void (*run)(int64_t turns);
};

#if defined(__x86_64__)
// 16 sums at once: more than two units with a latency of 4 need.
#define RONDO_EACH_SUM _Pragma("GCC unroll 16") for (int i = 0; i < kSums; ++i)
constexpr int kSums = 16;

[[gnu::target("avx512f")]] void f32_avx512(int64_t turns) {
  __m512 sums[kSums], a = _mm512_set1_ps(1.0F), b = _mm512_set1_ps(1e-9F);
  RONDO_EACH_SUM sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (int64_t t = 0; t < turns; ++t) RONDO_EACH_SUM sums[i] = _mm512_fmadd_ps(sums[i], a, b);
  keep(sums);
}
// 12 sums: with 16 registers, 16 would not stay in them.
[[gnu::target("avx2,fma")]] void f32_avx2(int64_t turns) {
  constexpr int kFew = 12;
  __m256 sums[kFew], a = _mm256_set1_ps(1.0F), b = _mm256_set1_ps(1e-9F);
#pragma GCC unroll 12
  for (int i = 0; i < kFew; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
  for (int64_t t = 0; t < turns; ++t) {
#pragma GCC unroll 12
    for (int i = 0; i < kFew; ++i) sums[i] = _mm256_fmadd_ps(sums[i], a, b);
  }
  keep(sums);
}
[[gnu::target("avx512f,avx512bf16")]] void bf16_avx512(int64_t turns) {
  __m512 sums[kSums];
  const auto a = (__m512bh)_mm512_set1_epi16(0x3f80), b = (__m512bh)_mm512_set1_epi16(0x3000);
  RONDO_EACH_SUM sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (int64_t t = 0; t < turns; ++t) RONDO_EACH_SUM sums[i] = _mm512_dpbf16_ps(sums[i], a, b);
  keep(sums);
}
// Four tiles of sums, two of each factor: 16 rows of 64 bytes each.
[[gnu::target("amx-tile,amx-bf16")]] void bf16_amx(int64_t turns) {
  alignas(64) uint8_t config[64] = {1};
  for (int i = 0; i < 8; ++i) {
    config[16 + 2 * i] = 64;
    config[48 + i] = 16;
  }
  alignas(64) static const uint8_t zeros[1024] = {};
  _tile_loadconfig(config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, zeros, 64);
  _tile_loadd(5, zeros, 64);
  _tile_loadd(6, zeros, 64);
  _tile_loadd(7, zeros, 64);
  for (int64_t t = 0; t < turns; ++t) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}
[[gnu::target("avx512f")]] void read_avx512(const float* p, int64_t n) {
  __m512 sums[kSums];
  RONDO_EACH_SUM sums[i] = _mm512_setzero_ps();
  for (int64_t k = 0; k + 16 * kSums <= n; k += 16 * kSums)
    RONDO_EACH_SUM sums[i] = _mm512_add_ps(sums[i], _mm512_load_ps(p + k + 16 * i));
  keep(sums);
}
[[gnu::target("avx2")]] void read_avx2(const float* p, int64_t n) {
  __m256 sums[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) sums[i] = _mm256_setzero_ps();
  for (int64_t k = 0; k + 64 <= n; k += 64) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) sums[i] = _mm256_add_ps(sums[i], _mm256_load_ps(p + k + 8 * i));
  }
  keep(sums);
}

// The kernel gives a process tiles only when it asks for them.
bool has_amx() {
  constexpr long kRequest = 0x1023, kTileData = 18;
  unsigned a = 7, b = 0, c = 0, d = 0;
  __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  return (d >> 22 & 1U) != 0 && syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}
bool has_bf16() { return __builtin_cpu_supports("avx512bf16"); }
bool has_avx512() { return __builtin_cpu_supports("avx512f"); }
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif

// What any compiler makes of it.
void f32_plain(int64_t turns) {
  float sums[16] = {};
  for (int64_t t = 0; t < turns; ++t) {
    for (float& s : sums) s = s * 1.0F + 1e-9F;
  }
  keep(sums);
}
void read_plain(const float* p, int64_t n) {
  float sums[16] = {};
  for (int64_t k = 0; k + 16 <= n; k += 16) {
    for (int i = 0; i < 16; ++i) sums[i] += p[k + i];
  }
  keep(sums);
}
bool always() { return true; }

// The first that is here counts.
constexpr Loop kF32[] = {
#if defined(__x86_64__)
    {"AVX-512", 2.0 * 16 * kSums, has_avx512, f32_avx512},
    {"AVX2", 2.0 * 8 * 12, has_avx2, f32_avx2},
#endif
    {"compiled", 2.0 * 16, always, f32_plain},
};
#if defined(__x86_64__)
constexpr Loop kBf16[] = {
    {"AMX", 4.0 * 2 * 16 * 16 * 32, has_amx, bf16_amx},
    {"AVX-512 BF16", 2.0 * 32 * kSums, has_bf16, bf16_avx512},
};
#else
constexpr Loop kBf16[] = {{"none", 0, [] { return false; }, nullptr}};
#endif

void read(const float* p, int64_t n) {
#if defined(__x86_64__)
  if (has_avx512()) return read_avx512(p, n);
  if (has_avx2()) return read_avx2(p, n);
#endif
  return read_plain(p, n);
}

// Seconds of the quickest of thirty rounds in which every thread calls f once, all at a time.
double quickest(int threads, const std::function<void(int)>& f) {
  double best = 1e9;
  std::barrier<> gate(threads);
  const auto work = [&](int i) {
    for (int round = 0; round < 30; ++round) {
      gate.arrive_and_wait();
      const Clock::time_point start = Clock::now();
      f(i);
      gate.arrive_and_wait();
      if (i == 0)
        best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
    }
  };
  std::vector<std::thread> team;
  for (int i = 1; i < threads; ++i) team.emplace_back(work, i);
  work(0);
  for (std::thread& t : team) t.join();
  return best;
}

struct Peak {
  const char* isa = "";
  double gflops = 0;
};

template <size_t kLoops>
Peak peak(const Loop (&loops)[kLoops], int threads) {
  for (const Loop& l : loops) {
    if (!l.here()) continue;
    const auto turns = static_cast<int64_t>(2e9 / l.operations);  // some 10 ms
    const double s = quickest(threads, [&](int) { l.run(turns); });
    return {l.isa, static_cast<double>(turns) * l.operations * threads / s * 1e-9};
  }
  return {};
}

double bandwidth(int threads, int64_t bytes) {
  // Whole turns of the widest loop.
  const int64_t each = std::max<int64_t>(1024, bytes / threads / 1024 * 1024);
  std::vector<float*> shares(static_cast<size_t>(threads));
  for (float*& p : shares) {
    p = static_cast<float*>(
        std::aligned_alloc(4096, static_cast<size_t>((each + 4095) / 4096 * 4096)));
    std::memset(p, 0, static_cast<size_t>(each));
  }
  const int64_t times = std::max<int64_t>(2, (int64_t{1} << 27) / each);
  const double s = quickest(threads, [&](int i) {
    for (int64_t t = 0; t < times; ++t) read(shares[static_cast<size_t>(i)], each / 4);
  });
  for (float* p : shares) std::free(p);
  return static_cast<double>(times * each * threads) / s * 1e-9;
}

}  // namespace

int main(int argc, char** argv) {
  int threads = 1;
  std::vector<int64_t> sizes;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string a = argv[i];
    const int64_t n = std::strtoll(argv[i + 1], nullptr, 10);
    if (n < 1 || (a != "--threads" && a != "--bytes")) {
      std::fprintf(stderr, "usage: rondo_bench_peak [--threads N] [--bytes N]...\n");
      return 2;
    }
    if (a == "--threads") threads = static_cast<int>(n);
    if (a == "--bytes") sizes.push_back(n);
  }
  const Peak f32 = peak(kF32, threads), bf16 = peak(kBf16, threads);
  std::printf(R"({"threads":%d,"f32":{"isa":"%s","gflops":%.5g},"bf16":{"isa":"%s","gflops":%.5g})",
              threads, f32.isa, f32.gflops, bf16.isa, bf16.gflops);
  std::printf(R"(,"read_gbs":{)");
  for (size_t i = 0; i < sizes.size(); ++i)
    std::printf(R"(%s"%lld":%.5g)", i == 0 ? "" : ",", static_cast<long long>(sizes[i]),
                bandwidth(threads, sizes[i]));
  std::printf("}}\n");
}
