// Where every value of a graph with layouts lives: its memory and its mask.
#pragma once

#include <cstdint>
#include <vector>

#include "core/layout.h"
#include "core/plan.h"
#include "graph/graph.h"

namespace deltacnn {

/// Refuses values that alone need more than `max_bytes`, before tables of their pixels are made.
Status CheckSizes(const Graph& graph, uint64_t max_bytes);

/// Gives every value its buffer, strides and mask: concatenated values inside the concatenation,
/// moved ones that keep their order inside their source, all others a buffer of their own. Fills in
/// `placements`, `masks`, `mask_grids`, `buffer_bytes` and `constants`. `aliases[n]` tells whether
/// node n has nothing to move.
Status PlaceValues(const Graph& graph, const Layouts& layouts, uint64_t max_bytes, PlanState& state,
                   std::vector<bool>& aliases);

}  // namespace deltacnn
