// Where the pixels of a value lie, from its shape, its pixel axes and its strides.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/op.h"

namespace deltacnn {

/// Fills in grid, channels, row_offset and col_stride from dtype, shape, pixel axes and strides.
void CompletePlacement(Placement& placement, int64_t offset);

/// The grid that pixel axes give a shape.
Grid GridOf(const Shape& shape, AxisSet pixel_axes);

/// Element offsets of a strided tensor, split into those of grid rows, grid columns and channels.
struct SplitOffsets {
  std::vector<int64_t> row, col, channel;
};
/// `axis_offset[a][i]`: what index i of logical axis a adds. Saturates nothing: callers keep it
/// small.
SplitOffsets SplitByLayout(const Shape& shape, AxisSet pixel_axes,
                           const std::vector<std::vector<int64_t>>& axis_offset);

}  // namespace deltacnn
