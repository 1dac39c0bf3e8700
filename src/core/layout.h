// Where every value of a lowered graph lives: its pixel axes, then its memory and its mask.
#pragma once

#include <vector>

#include "core/plan.h"
#include "graph/graph.h"
#include "ops/op.h"

namespace deltacnn {

/// By value id.
struct Layouts {
  std::vector<AxisSet> axes;
  std::vector<Halo> halo;       // zeros that readers want around the value
  std::vector<bool> in_memory;  // false for constants that no step reads
};

/// Refuses values that alone need more than `max_bytes`, before tables of their pixels are made.
Status CheckSizes(const Graph& graph, uint64_t max_bytes);

/// Asks every operator for the layout it wants and inserts "Relayout" copies where a value has
/// another one, or where an input of a concatenation cannot be computed in its place. Constants
/// that are read at run time get a copy of their own in the wanted layout.
Layouts ChooseLayouts(Graph& graph);

/// Gives every value its buffer, strides and mask: concatenated values inside the concatenation,
/// moved ones that keep their order inside their source, all others a buffer of their own. Fills in
/// `placements`, `masks`, `mask_grids`, `buffer_bytes` and `constants`. `aliases[n]` tells whether
/// node n has nothing to move.
Status PlaceValues(const Graph& graph, const Layouts& layouts, uint64_t max_bytes, PlanState& state,
                   std::vector<bool>& aliases);

}  // namespace deltacnn
