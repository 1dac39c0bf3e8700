#include "ops/placement.h"

#include <utility>

namespace deltacnn {

Grid GridOf(const Shape& shape, AxisSet pixel_axes) {
  Grid grid;
  for (size_t a = 0; a < shape.size(); ++a) {
    if (!HasAxis(pixel_axes, a)) continue;
    grid.rows *= grid.cols;
    grid.cols = static_cast<int>(shape[a]);
  }
  return grid;
}

SplitOffsets SplitByLayout(const Shape& shape, AxisSet pixel_axes,
                           const std::vector<std::vector<int64_t>>& axis_offset) {
  SplitOffsets split{{0}, {0}, {0}};
  const auto append = [](std::vector<int64_t>& list, const std::vector<int64_t>& offsets) {
    std::vector<int64_t> product;
    product.reserve(list.size() * offsets.size());
    for (const int64_t outer : list)
      for (const int64_t inner : offsets) product.push_back(outer + inner);
    list = std::move(product);
  };
  bool have_col = false;
  for (size_t a = 0; a < shape.size(); ++a) {
    if (!HasAxis(pixel_axes, a)) {
      append(split.channel, axis_offset[a]);
      continue;
    }
    if (have_col) append(split.row, split.col);
    split.col = axis_offset[a];
    have_col = true;
  }
  return split;
}

void CompletePlacement(Placement& p, int64_t offset) {
  p.grid = GridOf(p.shape, p.pixel_axes);
  p.channels = 1;
  p.col_stride = 0;
  std::vector<std::vector<int64_t>> axis_offset(p.shape.size(), {0});
  for (size_t a = 0; a < p.shape.size(); ++a) {
    if (!HasAxis(p.pixel_axes, a)) {
      p.channels *= p.shape[a];
      continue;
    }
    axis_offset[a].clear();
    for (int64_t i = 0; i < p.shape[a]; ++i) axis_offset[a].push_back(i * p.strides[a]);
    p.col_stride = p.strides[a];  // that of the last pixel axis stays
  }
  p.row_offset = SplitByLayout(p.shape, p.pixel_axes, axis_offset).row;
  for (int64_t& row : p.row_offset) row += offset;
}

}  // namespace deltacnn
