// ScatterND as far as it writes a slice.
#pragma once

#include <optional>
#include <vector>

#include "graph/graph.h"

namespace deltacnn {

/// The positions start, start + step, ... along an axis.
struct ScatteredAxis {
  int64_t start = 0;
  int64_t step = 1;
  int64_t count = 0;
};

/// The slice of `data` that the indices of a ScatterND go through, in row-major order, along the
/// axes that they name; empty if they name no element. A step other than 1 must divide the axis,
/// and none of its positions be left out; two axes may have one.
std::optional<std::vector<ScatteredAxis>> FindScatteredSlice(const Shape& data,
                                                             const Tensor& indices);

}  // namespace deltacnn
