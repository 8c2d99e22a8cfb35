// What the definitions of recurrent layers share: layouts of a sequence, peepholes and clips, the
// spelling of enumerations, and first values of weights that hold several gates side by side.
//
// Internal to ops/: users include the layers themselves.
#pragma once

#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rondo/graph/op.h>
#include <rondo/ops/rnn_config.h>

namespace rondo::rnn_internal {

/// Axes of a sequence in a layout of rnn_config.h, as a signature writes them: "[B,H,T]" for NST.
std::string sequence_axes(std::string_view format, std::string_view features);
/// From a layout to [T,B,features], and back.
Var to_time_major(const Var& x, std::string_view format);
Var from_time_major(const Var& y, std::string_view format);

/// Whether a layer's direction_mode is one of two directions.
bool bidirectional(const Attributes& a);
/// What direction d has of an operand with a leading axis of 2; null for null.
Var direction_of(const Var& v, int64_t d);
/// A first value: one, or in the BIDIR modes one for each direction, [2,...].
Tensor each_direction(LSTMDirectionMode mode, const std::function<Tensor()>& draw);

/// gate + c w; the gate alone where there is no w.
Var with_peephole(const Var& gate, const Var& c, const Var& w);
/// x kept in [-bound, bound]; a bound of 0 or less is none.
Var clipped(const Var& x, double bound);
/// x + amount; x itself for 0.
Var shifted(const Var& x, double amount);
/// The first state, or zeros [rows,width] of x's dtype where it is absent.
Var state_or_zeros(const Var& state, const Var& x, const Dim& rows, const Dim& width);

/// Refuses a call that sets the attribute `flag` and does not give the operand that it needs.
void need_with(const InferContext& c, std::string_view flag, std::string_view operand);

/// Refuses a state whose batch, at this axis, is not that of x: how an x in another layout than
/// `format` shows first.
void check_batch(const InferContext& c, std::string_view format,
                 std::initializer_list<std::string_view> states, size_t axis);

/// An operand that a sample does not give.
Sample::Input absent();

/// How an enumeration's value is spelled; an Error OP.config.enum for a number that is none.
std::string_view name_of(std::span<const std::string_view> names, int value, std::string_view op);

/// Refuses weights of a layer (the open scope) for less than one input or unit.
void check_layer_sizes(const Graph& g, int64_t inputs, int64_t units);

/// Matrices one below the other: [R1,C], [R2,C] -> [R1+R2,C].
Tensor join_rows(const std::vector<Tensor>& parts);
/// Matrices side by side: [R,C1], [R,C2] -> [R,C1+C2].
Tensor join_columns(const std::vector<Tensor>& parts);
/// A matrix for each gate, side by side: [rows,gates*cols]. Each is drawn for itself, so that the
/// fans (and the columns that are orthonormal) are those of one gate.
Tensor glorot_gates(Graph g, int64_t rows, int64_t cols, int64_t gates, DType dtype);
Tensor orthogonal_gates(Graph g, int64_t rows, int64_t cols, int64_t gates, DType dtype);
/// [gates*size] zeros, with ones for gate `one` (-1 = none).
Tensor gate_biases(int64_t size, int64_t gates, int64_t one, DType dtype);

}  // namespace rondo::rnn_internal
