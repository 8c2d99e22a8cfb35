// Counter-based random numbers (Philox4x32-10).
//
// A number is a pure function of (seed, stream, step, element): nothing is kept between draws, so
// that the same mask appears again in a backward pass, after recomputation, on any device and for
// any number of threads. Key of the block cipher = seed; its counter is packed as
//   word 0: block, bits 0-31    word 1: step, bits 0-31    word 2: stream, bits 0-31
//   word 3: block, bits 32-47, and step, bits 32-47, above them
// so streams are told apart below 2^32, steps below 2^48. One stream serves one purpose: uniform or
// normal numbers, say. Source: Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1,
// 2, 3 (2011).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace rondo {

/// The last stream that is told apart from others.
inline constexpr int64_t kLastStream = 0xffffffff;

/// One block of Philox4x32-10: four words of 32 random bits.
std::array<uint32_t, 4> philox(const std::array<uint32_t, 4>& counter,
                               const std::array<uint32_t, 2>& key);

/// An even draw from [0, 1): a multiple of 2^-24, the upper bits of word `element % 4` of block
/// `element / 4`, exact in f32 too.
double uniform_at(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element);

/// out[i] = uniform_at(seed, stream, step, first_element + i), four numbers a block.
void uniform_fill(uint64_t seed, uint64_t stream, uint64_t step, uint64_t first_element,
                  std::span<float> out);

/// A draw from the normal distribution of mean 0 and variance 1: Box-Muller on two of the four
/// words of block `element / 2`.
double normal_at(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element);

/// The same within two standard deviations: of the normal numbers `element` + k 2^44, k = 0, 1,
/// ..., the first that lies there. Elements are told apart below 2^44.
double truncated_normal_at(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element);

/// A draw from the standard Gumbel distribution: -log(-log(u)), u from word `element % 4` of block
/// `element / 4`, never 0 or 1. Source: Gumbel (1935).
double gumbel_at(uint64_t seed, uint64_t stream, uint64_t step, uint64_t element);

/// out[i] = what the function of that name gives for element first_element + i; a block is made
/// once for all its elements.
void normal_fill(uint64_t seed, uint64_t stream, uint64_t step, uint64_t first_element,
                 std::span<double> out);
void truncated_normal_fill(uint64_t seed, uint64_t stream, uint64_t step, uint64_t first_element,
                           std::span<double> out);
void gumbel_fill(uint64_t seed, uint64_t stream, uint64_t step, uint64_t first_element,
                 std::span<double> out);

/// The numbers 0 to n - 1 in an order that is drawn evenly from all orders. Source: Fisher, Yates
/// (1938), as Durstenfeld (1964) has it; the k-th draw is from block k.
std::vector<int64_t> permutation_of(uint64_t seed, uint64_t stream, uint64_t step, int64_t n);

/// Where eager random ops take their numbers from: the next call draws those that an op of this
/// seed and stream draws at the step `step()` of a run.
class Rng {
 public:
  /// The streams of a graph's ops count from 0; that of an Rng that names none is far from them.
  static constexpr int64_t kOwnStream = 0xffffffe0;

  explicit Rng(uint64_t seed, int64_t stream = kOwnStream) : seed_(seed), stream_(stream) {}
  uint64_t seed() const { return seed_; }
  int64_t stream() const { return stream_; }
  int64_t step() const { return step_; }
  /// What was drawn is not drawn again.
  void advance() { ++step_; }

 private:
  uint64_t seed_;
  int64_t stream_, step_ = 0;
};

}  // namespace rondo
