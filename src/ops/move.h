// Operators that only move elements: where every output element comes from.
#pragma once

#include <optional>
#include <vector>

#include "ops/op.h"

namespace deltacnn {

/// Output element (i0, i1, ...) is input element (sum over axes b of delta[b] at index ib), or the
/// fill value where any fill[b][ib] is set. All operators of the family are separable in this way.
struct IndexMap {
  size_t input_rank = 0;
  std::vector<std::vector<int64_t>> delta;  // [output axis][index * input_rank + input axis]
  std::vector<std::vector<bool>> fill;      // [output axis][index]
  // A reshape whose dimensions have no common factors: the row-major order is all that is kept.
  bool flat = false;
};

/// The map of a node of the Move family. Inputs that it depends on are constants of `graph`.
IndexMap MakeIndexMap(const Graph& graph, const Node& node);

/// The first position that a Slice takes along an axis of `dim` elements.
int64_t SliceStart(int64_t start, int64_t step, int64_t dim);

/// If every output pixel is a contiguous part of the input's memory at a regular distance, the
/// place of the output there: no element has to move. `out` has dtype, shape and pixel axes.
std::optional<Placement> AliasPlacement(const IndexMap& map, const Placement& in,
                                        const Placement& out);

/// True if output pixel (r, c) depends on input pixel (r, c) only: both can share one mask.
bool SamePixels(const IndexMap& map, const Placement& in, const Placement& out);

}  // namespace deltacnn
