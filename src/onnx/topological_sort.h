#pragma once

#include "graph/graph.h"

namespace deltacnn::onnx {

/// Puts the nodes in an order in which each follows the producers of its inputs, and otherwise
/// stays where it was. Throws ReadError if there is a cycle.
void SortNodes(Graph* graph);

}  // namespace deltacnn::onnx
