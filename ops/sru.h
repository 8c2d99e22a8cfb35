// The simple recurrent unit: all products are of x alone, so that over time only elementwise work
// is left. SameDiff's `sru` and `sruCell`, and libnd4j's bidirectional `sru_bi`.
//
// Every op keeps the layout of weights that it has there: they differ. The size of x is that of the
// state, because x itself passes by on a highway.
// Sources: Lei, Zhang, Wang, Dai and Artzi (2018); conventions: libnd4j.
#pragma once

#include <string_view>

#include <rondo/ops/operand.h>

namespace rondo::rnn {

/// K features. Blocks z, f, r.
template <Operable V>
struct SRUWeights {
  V weights;  ///< sru: [3*K,K], rows in blocks; sru_cell: [K,3*K], columns in blocks
  V bias;     ///< [2*K], blocks f, r
};

/// Weights of sru_bi, for K units in each direction.
template <Operable V>
struct SRUBiWeights {
  V weights;  ///< [2*K,6*K], interleaved: column 3 j + g is gate g of (z, f, r) of unit j of 2*K
  V bias;     ///< [4*K]: f of the 2*K units, then r
};

/// What an SRU gives.
template <Operable V>
struct SRUResult {
  V h, c;  ///< output and cell state at each step, in the layout of x
};

/// Over time, for x [B,K,T] (features before time), initial_c [B,K], mask [B,K] or absent:
///     x'_t = x_t mask;  z, f, r = x'_t W^T;  f = sigmoid(f + b_f);  r = sigmoid(r + b_r)
///     c' = f c + (1 - f) z;  h = r tanh(c') + (1 - r) x'_t
/// The mask is the same at every step (a dropout over time). Errors: sru.ARGUMENT.rank, .dim,
/// .dtype, .missing. Gradients: all but the mask.
template <Operable V>
SRUResult<V> sru(V x, std::type_identity_t<V> initial_c,
                 std::type_identity_t<SRUWeights<V>> weights, std::type_identity_t<V> mask = {},
                 std::string_view name = {}, Site at = Site::here());

/// One step: x [B,K], c_last [B,K] -> h, c [B,K]. Its weights are those of sru transposed.
template <Operable V>
SRUResult<V> sru_cell(V x, std::type_identity_t<V> c_last,
                      std::type_identity_t<SRUWeights<V>> weights, std::string_view name = {},
                      Site at = Site::here());

/// Both directions, time-major: x [T,B,2*K], initial_c [B,2*K], mask [B,2*K] or absent. Units 0 to
/// K-1 run forward, K to 2*K-1 backward in time; all features of x feed all units. A mask acts
/// twice: on x, and on tanh(c).
template <Operable V>
SRUResult<V> sru_bi(V x, std::type_identity_t<V> initial_c,
                    std::type_identity_t<SRUBiWeights<V>> weights,
                    std::type_identity_t<V> mask = {}, std::string_view name = {},
                    Site at = Site::here());

/// Weights as variables of `g` under `name`/: Glorot uniform for each gate, bias 0.
SRUWeights<Var> sru_weights(Graph g, std::string_view name, int64_t size, DType dtype = f32,
                            Site at = Site::here());
SRUWeights<Var> sru_cell_weights(Graph g, std::string_view name, int64_t size, DType dtype = f32,
                                 Site at = Site::here());
/// `size`: of each direction, half the features of x.
SRUBiWeights<Var> sru_bi_weights(Graph g, std::string_view name, int64_t size, DType dtype = f32,
                                 Site at = Site::here());

}  // namespace rondo::rnn
