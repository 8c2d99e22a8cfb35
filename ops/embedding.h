// Embeddings: a vector that is learnt for each word of a vocabulary.
#pragma once

#include <string_view>

#include <rondo/ops/operand.h>

namespace rondo::nn {

/// y[...,:] = the row ids[...] of the variable name/table [vocabulary,units], which starts even in
/// [-0.05, 0.05) and belongs to the outermost graph. ids[...]:int -> y[...,units]; an index outside
/// [0, vocabulary) is an Error (gather.indices.range) when it runs. A table that there is already:
/// gather(table, ids). Errors: embedding.vocabulary.range, embedding.units.range.
Var embedding(Var ids, int64_t vocabulary, int64_t units, std::string_view name, DType dtype = f32,
              Site at = Site::here());

}  // namespace rondo::nn
