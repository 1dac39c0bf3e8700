// Normalisation by the statistics of many pixels: the operators become statistics and arithmetic
// (graph/lower_norm.cc).
#pragma once

#include <vector>

#include "ops/op.h"

namespace deltacnn {

/// The axes over which a MeanVarianceNormalization takes its statistics, as the file counts them.
std::vector<int64_t> MeanVarianceAxes(const Node& node);

}  // namespace deltacnn
