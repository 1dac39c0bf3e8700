// ScatterND as far as it writes a slice.
#pragma once

#include <optional>

#include "graph/graph.h"

namespace deltacnn {

/// All of a tensor along every axis but one, and the positions start, start + step, ... along that.
struct ScatteredSlice {
  size_t axis = 0;
  int64_t start = 0;
  int64_t step = 1;
  int64_t count = 0;
};

/// The slice of `data` that the indices of a ScatterND go through, in row-major order. A step other
/// than 1 must divide the axis, and none of its positions be left out.
std::optional<ScatteredSlice> FindScatteredSlice(const Shape& data, const Tensor& indices);

}  // namespace deltacnn
