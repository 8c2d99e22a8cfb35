// Elements chosen by index, beside gather and scatter_add of ops/shape.h: along any axis, element
// by element, by tuples of indices; and rows that are replaced.
//
// Indices are i32 or i64; one that is out of range is an Error when it runs (OP.indices.range),
// never wrapped or clipped.
#pragma once

#include <string_view>

#include <rondo/ops/operand.h>

namespace rondo {

/// What stands at the indices along an axis: x[...,N,...], indices[I...] -> y[...,I...,...]; axis 0
/// is gather(x, indices).
template <Operable V>
V gather(V x, std::type_identity_t<V> indices, int64_t axis, Site at = Site::here());

/// y[i,j,k] = x[i,indices[i,j,k],k], for axis 1 of three. x[...,N,...], indices[...,M,...]:int ->
/// y[...,M,...]; all other dimensions are equal.
template <Operable V>
V take_along(V x, std::type_identity_t<V> indices, int64_t axis = -1, Site at = Site::here());
/// y[i,n,k] = sum of the updates[i,j,k] with indices[i,j,k] = n; the gradient of take_along.
/// indices[...,M,...]:int, updates of that shape -> y[...,length,...].
template <Operable V>
V add_along(V indices, std::type_identity_t<V> updates, int64_t axis, Dim length,
            Site at = Site::here());

/// y[i...] = x[indices[i...,0], ..., indices[i...,K-1]], what is left of x's axes behind that.
/// x[N1,...,NK,...], indices[...,K]:int; K is a number.
template <Operable V>
V gather_nd(V x, std::type_identity_t<V> indices, Site at = Site::here());
/// The flat index (i64) of each tuple in a shape: y[i...] = (i_0 N2 + i_1) N3 + ..., for the
/// indices[...,K]:int and K dimensions. An index out of its dimension is an Error: `what`.range.
template <Operable V>
V flat_index(V indices, Shape shape, std::string_view what = "flat_index.indices",
             Site at = Site::here());

/// x with its rows indices[i...] replaced by updates[i...,:]; of several for one row the last
/// stays. x[N,...], indices[I...]:int, updates[I...,...] -> y[N,...].
template <Operable V>
V scatter_update(V x, std::type_identity_t<V> indices, std::type_identity_t<V> updates,
                 Site at = Site::here());

}  // namespace rondo
