// Runs a single node whose inputs are all at hand: constant folding, and the nodes behind an
// operator whose output size depends on the data. There is no second implementation of any
// operator: the node is planned as a graph of its own.
#pragma once

#include <span>
#include <vector>

#include "deltacnn/result.h"
#include "graph/graph.h"

namespace deltacnn {

/// `inputs[i]` is input i of the node (null where absent). One tensor per output; those of absent
/// outputs are empty. An error if the node needs more than `max_bytes`.
Result<std::vector<Tensor>> Evaluate(const Node& node, std::span<const TensorPtr> inputs,
                                     int64_t opset, uint64_t max_bytes);

}  // namespace deltacnn
