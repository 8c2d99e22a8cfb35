// First values of weights.
//
// Each call that draws takes a stream of its own of `g`, keyed by the graph's seed, when the graph
// is built: the same program with the same seed gives the same weights. Values are drawn in f64 and
// rounded.
//
// Weights are [in, out], x weights; of a convolution [..., in, out]. fan_in is how many numbers go
// into one result, fan_out how many results one number goes into; where they are not given they are
// fans_of(dims). Of gates side by side, [in, 4 H], they are those of one gate: give them.
//
//   here              ND4J WeightInit   PyTorch            Keras
//   glorot_uniform    XAVIER_UNIFORM    xavier_uniform_    GlorotUniform
//   glorot_normal     XAVIER            xavier_normal_     GlorotNormal (cut at 2 deviations)
//   he_uniform        RELU_UNIFORM      kaiming_uniform_   HeUniform
//   he_normal         RELU              kaiming_normal_    HeNormal (cut)
//   lecun_uniform     (3 x as wide)                        LecunUniform
//   lecun_normal      LECUN_NORMAL                         LecunNormal (cut)
#pragma once

#include <rondo/graph/graph.h>
#include <rondo/graph/tensor.h>

namespace rondo::init {

/// How many values go into an element of a product with a weight, and how many come out.
struct Fans {
  int64_t in = 1, out = 1;
};
/// Of [n]: n and n; of [in,out]: these; of [k...,in,out]: in and out, times all k.
Fans fans_of(const Dims& dims);

/// 0 everywhere.
Tensor zeros(const Dims& dims, DType dtype = f32);
/// 1 everywhere.
Tensor ones(const Dims& dims, DType dtype = f32);
/// `value` everywhere.
Tensor constant(const Dims& dims, double value, DType dtype = f32);

/// Even in [low, high); rounding to bf16 or f16 may give high.
Tensor uniform(Graph g, const Dims& dims, double low, double high, DType dtype = f32);
/// Normal; standard_deviation is at least 0.
Tensor normal(Graph g, const Dims& dims, double mean, double standard_deviation, DType dtype = f32);
/// The same without what is further than two standard deviations from the mean.
Tensor truncated_normal(Graph g, const Dims& dims, double mean, double standard_deviation,
                        DType dtype = f32);

/// Even in [-a, a), a = sqrt(6 / (fan_in + fan_out)): Xavier. Source: Glorot, Bengio (2010).
Tensor glorot_uniform(Graph g, const Dims& dims, int64_t fan_in, int64_t fan_out,
                      DType dtype = f32);
Tensor glorot_uniform(Graph g, const Dims& dims, DType dtype = f32);
/// Normal of mean 0 and variance 2 / (fan_in + fan_out): Xavier. Source: Glorot, Bengio (2010).
Tensor glorot_normal(Graph g, const Dims& dims, int64_t fan_in, int64_t fan_out, DType dtype = f32);
Tensor glorot_normal(Graph g, const Dims& dims, DType dtype = f32);

/// Even in [-a, a), a = sqrt(6 / fan_in), before relu. Source: He, Zhang, Ren, Sun (2015).
Tensor he_uniform(Graph g, const Dims& dims, int64_t fan_in, DType dtype = f32);
Tensor he_uniform(Graph g, const Dims& dims, DType dtype = f32);
/// Normal of mean 0 and variance 2 / fan_in, before relu. Source: He, Zhang, Ren, Sun (2015).
Tensor he_normal(Graph g, const Dims& dims, int64_t fan_in, DType dtype = f32);
Tensor he_normal(Graph g, const Dims& dims, DType dtype = f32);

/// Even in [-a, a), a = sqrt(3 / fan_in). Source: LeCun, Bottou, Orr, Mueller (1998).
Tensor lecun_uniform(Graph g, const Dims& dims, int64_t fan_in, DType dtype = f32);
Tensor lecun_uniform(Graph g, const Dims& dims, DType dtype = f32);
/// Normal of mean 0 and variance 1 / fan_in, before selu. Source: LeCun et al. (1998); Klambauer et
/// al. (2017).
Tensor lecun_normal(Graph g, const Dims& dims, int64_t fan_in, DType dtype = f32);
Tensor lecun_normal(Graph g, const Dims& dims, DType dtype = f32);

/// A [rows, cols] matrix whose columns (rows, when there are fewer of them) are orthogonal and of
/// length `gain`, drawn evenly from all of those. Source: Saxe, McClelland, Ganguli (2014).
Tensor orthogonal(Graph g, int64_t rows, int64_t cols, DType dtype = f32, double gain = 1);

/// `gain` on the diagonal of a [rows, cols] matrix, else 0. As recurrent weights: Le, Jaitly,
/// Hinton (2015).
Tensor identity(int64_t rows, int64_t cols, DType dtype = f32, double gain = 1);

}  // namespace rondo::init
