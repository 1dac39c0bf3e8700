#include "core/focus.h"

#include <algorithm>
#include <cmath>

namespace deltacnn {
namespace {

/// The cells of `count`, over `pixels` input pixels, that [low, high) overlaps.
struct Range {
  int begin, end;
};
Range CellsOf(float low, float high, int pixels, int count) {
  const double cell = static_cast<double>(pixels) / count;
  const auto at = [&](double pixel) { return std::clamp(pixel / cell, 0.0, double(count)); };
  return {static_cast<int>(std::floor(at(low))), static_cast<int>(std::ceil(at(high)))};
}

}  // namespace

Focus::Focus(const PlanState& plan, const Policy& policy, const Reach& reach) {
  strict_.reserve(1);
  if (!(policy.background > 1) || policy.cutoff <= 0 || !reach.enabled()) return;
  input_ = plan.mask_grids[static_cast<size_t>(plan.inputs[0].mask)];
  grid_of_.assign(plan.steps.size(), -1);
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const PlanStep& step = plan.steps[i];
    if (!reach.limits(i) || !step.kernel->takes_cutoff()) continue;
    const auto known = std::ranges::find(grids_, step.grid, &Cells::grid);
    grid_of_[i] = static_cast<int>(known - grids_.begin());
    if (known == grids_.end())
      grids_.push_back({.grid = step.grid, .words = std::vector<uint64_t>(step.grid.words())});
  }
}

void Focus::Set(std::span<const Region> regions) {
  if (!enabled()) return;
  regions_.clear();
  strict_.reserve(regions.size() + 1);  // the band
  for (const Region& r : regions) {
    if (r.x1 < r.x2 && r.y1 < r.y2)
      regions_.push_back({r.x1 - kMargin, r.y1 - kMargin, r.x2 + kMargin, r.y2 + kMargin});
  }
  set_ = true;
  for (Cells& cells : grids_) cells.fresh = false;
}

std::span<const Region> Focus::Strict(const Reach& reach) {
  strict_.clear();
  if (!set_ || !enabled()) {
    strict_.push_back(kEverywhere);
    return strict_;
  }
  strict_.insert(strict_.end(), regions_.begin(), regions_.end());
  if (const Reach::RowRange band = reach.NextBand(input_); band.begin < band.end) {
    strict_.push_back({kEverywhere.x1, static_cast<float>(band.begin), kEverywhere.x2,
                       static_cast<float>(band.end)});
  }
  return strict_;
}

MaskView Focus::Mask(size_t index) {
  if (!set_ || !enabled() || grid_of_[index] < 0) return {};
  Cells& cells = grids_[static_cast<size_t>(grid_of_[index])];
  const MaskView mask{cells.words.data(), cells.grid};
  if (cells.fresh) return mask;
  cells.fresh = true;
  mask.Clear();
  for (const Region& region : regions_) {
    const Range rows = CellsOf(region.y1, region.y2, input_.rows, cells.grid.rows);
    const Range cols = CellsOf(region.x1, region.x2, input_.cols, cells.grid.cols);
    for (int row = rows.begin; row < rows.end; ++row) mask.SetRange(row, cols.begin, cols.end);
  }
  return mask;
}

}  // namespace deltacnn
