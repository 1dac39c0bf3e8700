// What the normalising operators have in common.
#pragma once

#include <vector>

#include "ops/op.h"

namespace deltacnn {

/// Checks that the first `count` inputs are float32, and the first `required` of them there.
Status CheckFloats(const InferContext& context, size_t count, size_t required);

/// The axes over which a MeanVarianceNormalization takes its statistics, as the file counts them.
std::vector<int64_t> MeanVarianceAxes(const Node& node);

}  // namespace deltacnn
