// How every value of a lowered graph is laid out: its pixel axes and the zeros around it.
#pragma once

#include <vector>

#include "graph/graph.h"
#include "ops/op.h"

namespace deltacnn {

/// By value id.
struct Layouts {
  std::vector<AxisSet> axes;
  std::vector<Halo> halo;       // zeros that readers want around the value
  std::vector<bool> in_memory;  // false for constants that no step reads
};

/// Asks every operator for the layout it wants and inserts "Relayout" copies where a value has
/// another one, or where an input of a concatenation cannot be computed in its place. Constants
/// that are read at run time get a copy of their own in the wanted layout.
Layouts ChooseLayouts(Graph& graph);

}  // namespace deltacnn
