// Building blocks of networks that are not recurrent: softmax, dropout, a dense layer; and
// three small ops that recurrent layers check and mask their sequence lengths with.
#pragma once

#include <string_view>

#include <rondo/ops/operand.h>

namespace rondo::nn {

/// y = e^x / sum of e^x along the axis, without overflow. x[...] -> y[...].
template <Operable V>
V softmax(V x, int64_t axis = -1, Site at = Site::here());
/// y = log(softmax(x)), accurate where softmax underflows. x[...] -> y[...].
template <Operable V>
V log_softmax(V x, int64_t axis = -1, Site at = Site::here());

/// y[i...] = x[i..., indices[i...]]. x[...,V], indices[...]:int -> y[...]; an index outside [0, V)
/// is an Error (`pick.indices.range`) when it runs.
template <Operable V>
V pick(V x, std::type_identity_t<V> indices, Site at = Site::here());

/// y = x; a value outside [low, high] is an Error when it runs: code `what`.range, e.g.
/// "lstm_layer.max_ts_length.range". The bounds may hold symbols; the text says what `high` is,
/// e.g. "T of x". Only a use of y makes the check run.
template <Operable V>
V check_range(V x, Dim low, Dim high, std::string_view what, std::string_view high_is = {},
              Site at = Site::here());

/// y[n]:i64, the dimensions of `shape` as numbers: how lengths are compared with T.
Var dimensions(Graph g, Shape shape, Site at = Site::here());

/// y[]:bool, whether this run is one of training (RunOptions::training; a Trainer sets it).
Var training(Graph g, Site at = Site::here());

/// In training y = x / (1 - rate) where a random mask keeps x, else 0; otherwise y = x. The mask
/// comes from a stream of this node's own and changes with each step of training. 0 <= rate < 1.
/// Inside the body of a recurrence each step and row has its own mask; it is drawn before the loop.
Var dropout(Var x, double rate, Site at = Site::here());

/// Dropout with one mask for all steps. Of a sequence x [T,B,...]: the mask is [B,...]. Inside the
/// body of a recurrence, of a value [B,...]: each row keeps its mask from step to step; on the last
/// output where it enters the products this is the recurrent dropout of Gal and Ghahramani (2016).
Var variational_dropout(Var x, double rate, Site at = Site::here());

/// y = x weights + biases. x[...,I], weights[I,U], biases[U] -> y[...,U]; so on [T,B,I] it acts at
/// each step.
template <Operable V>
V dense(V x, std::type_identity_t<V> weights, std::type_identity_t<V> biases,
        Site at = Site::here());
/// The same on variables of its own, name/weights [I,units] (Glorot) and name/biases [units] (0),
/// of x's dtype. They belong to the outermost graph, also when x stands in the body of a
/// recurrence.
Var dense(Var x, int64_t units, std::string_view name, Site at = Site::here());

}  // namespace rondo::nn
