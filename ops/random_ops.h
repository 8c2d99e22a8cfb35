// Random numbers as ops: values that nobody feeds.
//
// A number is a function of (seed, stream, step, element), as in ops/random.h: the stream is given
// to an op when it is built, seed and step belong to the run (RunOptions; a Trainer counts the
// steps). So a gradient, another device or another number of threads sees the same numbers, and
// two runs of the same seed and step do too. They draw in every run, not only in training. f32 is
// the f64 draw, rounded. On tensors an Rng takes the place of the run: each call is a step of it.
//
// Inside the body of a recurrence the shape begins with the rows, x.dim(0), and each step and row
// has its own numbers; they are drawn before the loop.
#pragma once

#include <rondo/graph/graph.h>
#include <rondo/ops/random.h>

namespace rondo::random {

/// y even in [low, high), in steps of 2^-24 of its width; low < high. Rounding to bf16 or f16
/// may give high. y[shape] of a float dtype.
Var uniform(Graph g, Shape shape, double low = 0, double high = 1, DType dtype = f32,
            Site at = Site::here());
Tensor uniform(Rng& rng, const Dims& dims, double low = 0, double high = 1, DType dtype = f32,
               Site at = Site::here());

/// y normal, standard_deviation at least 0. y[shape] of a float dtype.
/// Source: Box, Muller (1958).
Var normal(Graph g, Shape shape, double mean = 0, double standard_deviation = 1, DType dtype = f32,
           Site at = Site::here());
Tensor normal(Rng& rng, const Dims& dims, double mean = 0, double standard_deviation = 1,
              DType dtype = f32, Site at = Site::here());

/// The same without what is further than two standard deviations from the mean.
Var truncated_normal(Graph g, Shape shape, double mean = 0, double standard_deviation = 1,
                     DType dtype = f32, Site at = Site::here());
Tensor truncated_normal(Rng& rng, const Dims& dims, double mean = 0, double standard_deviation = 1,
                        DType dtype = f32, Site at = Site::here());

/// y = 1 with this probability, else 0; as bool true and false. y[shape] of any dtype.
Var bernoulli(Graph g, Shape shape, double probability = 0.5, DType dtype = boolean,
              Site at = Site::here());
Tensor bernoulli(Rng& rng, const Dims& dims, double probability = 0.5, DType dtype = boolean,
                 Site at = Site::here());

/// y = -log(-log(u)), u even in (0, 1): argmax(logits + y) draws a class with the probabilities
/// softmax(logits). y[shape] of a float dtype. Source: Gumbel (1935).
Var gumbel(Graph g, Shape shape, DType dtype = f32, Site at = Site::here());
Tensor gumbel(Rng& rng, const Dims& dims, DType dtype = f32, Site at = Site::here());

/// y[n]: 0 to n - 1, every order as probable as every other; i32 or i64. Error: inside of a body.
Var permutation(Graph g, Dim n, DType dtype = i64, Site at = Site::here());
Tensor permutation(Rng& rng, int64_t n, DType dtype = i64, Site at = Site::here());

}  // namespace rondo::random
