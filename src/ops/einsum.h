// Einsum as far as it is sums of single operands and a product of matrices.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace deltacnn {

/// The letters of the dimensions; digits stand for those of an ellipsis.
struct EinsumTerms {
  std::vector<std::string> operands;  // one or two
  std::string out;
};

/// Those of a node with operands of these ranks, none of which has a letter twice.
std::optional<EinsumTerms> ReadEinsum(const Node& node, std::span<const size_t> ranks);

}  // namespace deltacnn
