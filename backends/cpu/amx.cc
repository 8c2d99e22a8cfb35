#include <rondo/backends/cpu/amx.h>

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <unistd.h>

#include <sys/syscall.h>

namespace rondo::cpu {
namespace {

// Written as assembler: GCC's intrinsics take tiles as literals only, not as constants of a
// template, and need the target's attribute on every function that they are inlined into. No
// compiler keeps anything of its own in tiles. What is loaded was written before `configure`.
struct Amx {
  static void configure(const TileConfig& c) {
    __asm__ volatile("ldtilecfg (%0)" ::"r"(&c) : "memory");
  }
  static void release() { __asm__ volatile("tilerelease" ::: "memory"); }
  template <int T>
  static void zero(TileNumber<T>) {
    __asm__ volatile("tilezero %%tmm%c0" ::"i"(T));
  }
  template <int T>
  static void load(TileNumber<T>, const void* from, int64_t stride) {
    __asm__ volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(T), "r"(from), "r"(stride));
  }
  template <int T>
  static void store(TileNumber<T>, void* to, int64_t stride) {
    __asm__ volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(T), "r"(to), "r"(stride) : "memory");
  }
  struct Bf16 {
    template <int Sum, int A, int W>
    static void add(TileNumber<Sum>, TileNumber<A>, TileNumber<W>) {
      __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(A), "i"(W));
    }
  };
  struct Int8 {
    template <int Sum, int A, int W>
    static void add(TileNumber<Sum>, TileNumber<A>, TileNumber<W>) {
      __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(A), "i"(W));
    }
  };
};

// That the system saves tiles when it takes the thread away.
bool tiles_are_saved() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kXgetbv = 1U << 27, kTileState = 3U << 17;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kXgetbv) == 0) return false;
  __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return (a & kTileState) == kTileState;
}

bool asked() {
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  constexpr unsigned kBf16 = 1U << 22, kTile = 1U << 24, kInt8 = 1U << 25;
  constexpr unsigned kAll = kBf16 | kTile | kInt8;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kAll) == kAll && tiles_are_saved() &&
         syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace

bool has_amx() {
  static const bool has = asked();
  return has;
}
const TileUnit* amx_code() { return &kTileUnit<Amx>; }

}  // namespace rondo::cpu

#else

namespace rondo::cpu {
bool has_amx() { return false; }
const TileUnit* amx_code() { return nullptr; }
}  // namespace rondo::cpu

#endif
