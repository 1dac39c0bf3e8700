// Einsum as far as it is a product of matrices.
#pragma once

#include <optional>
#include <string>

#include "graph/graph.h"

namespace deltacnn {

/// The letters of the dimensions.
struct EinsumTerms {
  std::string a, b, out;
};

/// Those of a product of two operands: each letter is in two terms or all, and in none twice.
std::optional<EinsumTerms> ReadEinsum(const Node& node);

}  // namespace deltacnn
