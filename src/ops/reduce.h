// Reductions. Those over whole pictures fold runs of pixels (RowReduce, ReduceRows, GlobalPool).
// Others fold parts of each pixel where the layout of their input allows it; the rest ask for a
// layout in which the reduced axes are the pixel.
#pragma once

#include "ops/op.h"

namespace deltacnn {

/// Every axis that a node of the Reduce family reduces; its shapes are known.
AxisSet ReducedAxes(const Graph& graph, const Node& node);

}  // namespace deltacnn
