// Counter-based random numbers (Philox4x32-10), and first values of weights drawn from them.
//
// A number is a pure function of (seed, stream, step, element): nothing is kept between draws, so
// that the same mask appears again in a backward pass, after recomputation, on any device and for
// any number of threads. Key of the block cipher = seed; its counter is packed as
//   word 0: block, bits 0-31    word 1: step, bits 0-31    word 2: stream, bits 0-31
//   word 3: block, bits 32-47, and step, bits 32-47, above them
// so streams are told apart below 2^32, steps below 2^48. One stream serves one purpose: uniform or
// normal numbers. Source: Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3
// (2011).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include <rondo/graph/graph.h>
#include <rondo/graph/tensor.h>

namespace rondo {

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

}  // namespace rondo

/// First values of weights. Each call draws from a stream of its own of `g`, keyed by the graph's
/// seed, when the graph is built: the same program with the same seed gives the same weights.
namespace rondo::init {

/// 0 everywhere.
Tensor zeros(const Dims& dims, DType dtype = f32);

/// Even in [low, high).
Tensor uniform(Graph g, const Dims& dims, double low, double high, DType dtype = f32);

/// Even in [-a, a), a = sqrt(6 / (fan_in + fan_out)). Source: Glorot, Bengio (2010).
Tensor glorot_uniform(Graph g, const Dims& dims, int64_t fan_in, int64_t fan_out,
                      DType dtype = f32);

/// A [rows, cols] matrix whose columns (rows, when there are fewer of them) are orthonormal, drawn
/// evenly from all of those. Source: Saxe, McClelland, Ganguli (2014).
Tensor orthogonal(Graph g, int64_t rows, int64_t cols, DType dtype = f32);

}  // namespace rondo::init
