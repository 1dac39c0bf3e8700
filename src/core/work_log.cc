#include "core/work_log.h"

#include <algorithm>
#include <cmath>

namespace deltacnn {
namespace {

/// How much of cell `i`, which ends at `end` at the latest, lies in [first, last).
float Overlap(int i, float end, float first, float last) {
  const float low = std::max(static_cast<float>(i), first);
  const float high = std::min({static_cast<float>(i + 1), last, end});
  return std::max(high - low, 0.0f) /
         (std::min(static_cast<float>(i + 1), end) - static_cast<float>(i));
}

}  // namespace

Status WorkLog::SwitchOn(const PlanState& plan) {
  const std::optional<Grid> input = PictureInput(plan);
  if (!input)
    return Error{ErrorCode::kUnsupported, "the work map wants a model with one input, an image"};
  cell_rows_ = static_cast<float>(input->rows) / WorkMap::kCell;
  cell_cols_ = static_cast<float>(input->cols) / WorkMap::kCell;
  map_.rows = static_cast<int>(std::ceil(cell_rows_));
  map_.columns = static_cast<int>(std::ceil(cell_cols_));
  map_.share.assign(static_cast<size_t>(map_.rows) * static_cast<size_t>(map_.columns), 0);
  double all = 0;
  weight_.clear();
  for (const PlanStep& step : plan.steps) {
    const auto macs = static_cast<double>(step.kernel->MacsPerPixel() * step.grid.pixels());
    weight_.push_back(GivesPicture(step) ? static_cast<float>(macs) : 0);
    all += weight_.back();
  }
  for (float& weight : weight_) weight = all > 0 ? static_cast<float>(weight / all) : 0;
  return {};
}

void WorkLog::Begin(bool dense) {
  dense_ = dense;
  std::ranges::fill(map_.share, dense ? 1.0f : 0.0f);
}

void WorkLog::Add(size_t index, const Grid& grid, std::span<const Span> computed) {
  const float weight = weight_[index];
  if (dense_ || weight == 0) return;
  const float high = cell_rows_ / static_cast<float>(grid.rows);  // of a pixel, in cells
  const float wide = cell_cols_ / static_cast<float>(grid.cols);
  for (const Span& span : computed) {
    const float top = static_cast<float>(span.row) * high;
    const float left = static_cast<float>(span.col) * wide;
    const float bottom = top + high;
    const float right = left + static_cast<float>(span.count) * wide;
    const int last_row = std::min(map_.rows, static_cast<int>(std::ceil(bottom)));
    const int last_col = std::min(map_.columns, static_cast<int>(std::ceil(right)));
    for (int r = static_cast<int>(top); r < last_row; ++r) {
      const float part = weight * Overlap(r, cell_rows_, top, bottom);
      float* row = map_.share.data() + static_cast<ptrdiff_t>(r) * map_.columns;
      for (int c = static_cast<int>(left); c < last_col; ++c)
        row[c] += part * Overlap(c, cell_cols_, left, right);
    }
  }
}

}  // namespace deltacnn
