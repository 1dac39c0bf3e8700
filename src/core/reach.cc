#include "core/reach.h"

#include <algorithm>

namespace deltacnn {
namespace {

/// Cell i of `cells` stands for its share of `inputs` pixels, widened by `reach` cells on both
/// sides.
WindowMap CellMap(int inputs, int cells, int reach) {
  WindowMap map;
  for (int64_t i = 0; i < cells; ++i) {
    const int64_t first = std::max<int64_t>(i - reach, 0) * inputs / cells;
    const int64_t last = ((i + 1 + reach) * inputs + cells - 1) / cells;
    map.first.push_back(static_cast<int>(std::clamp<int64_t>(first, 0, inputs)));
    map.last.push_back(static_cast<int>(std::clamp<int64_t>(last, 0, inputs)));
  }
  map.Invert(inputs);
  return map;
}

}  // namespace

Reach::Reach(const PlanState& plan, const Policy& policy)
    : refresh_(std::max(policy.refresh, 1)),
      resolution_of_(plan.steps.size(), -1),
      owed_(plan.steps.size()),
      owed_count_(plan.steps.size(), 0) {
  if (policy.reach < 0 || plan.inputs.size() != 1 || plan.inputs[0].info.shape.size() != 4 ||
      plan.inputs[0].info.shape[0] != 1) {
    return;
  }
  enabled_ = true;
  judges_ = policy.strong > policy.cutoff && policy.cutoff > 0;
  const Grid input = plan.mask_grids[static_cast<size_t>(plan.inputs[0].mask)];
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const PlanStep& step = plan.steps[i];
    // Behind the last layers nothing is saved by leaving pixels out.
    if (!step.feeds_macs && step.kernel->MacsPerPixel() == 0) continue;
    // Values that are pictures; a grid of one row or column is a pooled or a flattened one.
    if (step.output_mask < 0 || !step.kernel->computes() || step.output.size() != 4 ||
        step.grid.rows < 2 || step.grid.cols < 2) {
      continue;
    }
    const auto known = std::ranges::find(resolutions_, step.grid, &Resolution::grid);
    resolution_of_[i] = static_cast<int>(known - resolutions_.begin());
    if (known == resolutions_.end()) {
      const auto near = [&](int reach) {
        return Neighbourhood{CellMap(input.rows, step.grid.rows, reach),
                             CellMap(input.cols, step.grid.cols, reach),
                             std::vector<uint64_t>(step.grid.words())};
      };
      resolutions_.push_back({step.grid, near(judges_ ? 0 : policy.reach),
                              judges_ ? near(policy.reach) : Neighbourhood{}, false});
    }
    owed_[i].assign(step.grid.words(), 0);
  }
}

void Reach::Begin(const MaskView& input) {
  input_ = input;
  refreshing_ = false;
  for (Resolution& resolution : resolutions_) resolution.fresh = false;
}

bool Reach::BeginRefresh() {
  if (!enabled_) return false;
  turn_ = (turn_ + 1) % refresh_;
  refreshing_ = true;
  for (size_t i = 0; i < owed_.size(); ++i)
    if (Owes(i)) return true;
  return false;
}

bool Reach::Owes(size_t index) const {
  if (owed_count_[index] == 0 || !refreshing_) return owed_count_[index] > 0;
  return std::ranges::any_of(Band(index), [](uint64_t word) { return word != 0; });
}

/// What step `index` owes in the band: one of `refresh_` equal shares of its rows.
std::span<const uint64_t> Reach::Band(size_t index) const {
  const Grid& grid = resolutions_[static_cast<size_t>(resolution_of_[index])].grid;
  const auto word = [&](int64_t turn) {
    return static_cast<size_t>(turn * grid.rows / refresh_ * grid.words_per_row());
  };
  return std::span(owed_[index]).subspan(word(turn_), word(turn_ + 1) - word(turn_));
}

void Reach::Limit(size_t index, const MaskView& affected, const MaskView& strong) {
  if (resolution_of_[index] < 0) return;
  Resolution& resolution = resolutions_[static_cast<size_t>(resolution_of_[index])];
  if (!resolution.fresh) {
    const auto spread = [&](const MaskView& changed, Neighbourhood& near) {
      const MaskView cells{near.cells.data(), resolution.grid};
      cells.Clear();
      Affect(changed, near.rows, near.cols, 1, cells);
    };
    spread(input_, resolution.any);
    if (judges_) spread(input_, resolution.strong);
    resolution.fresh = true;
  }
  int64_t count = 0;
  std::vector<uint64_t>& owed = owed_[index];
  for (size_t w = 0; w < owed.size(); ++w) {
    const uint64_t due = affected.words[w] | owed[w];
    uint64_t may = resolution.any.cells[w];
    if (judges_) may |= resolution.strong.cells[w] & strong.words[w];
    affected.words[w] = due & may;
    owed[w] = due & ~may;
    count += CountBits(owed[w]);
  }
  owed_count_[index] = count;
}

void Reach::Settle(size_t index, const MaskView& affected) {
  if (owed_count_[index] == 0) return;
  std::vector<uint64_t>& owed = owed_[index];
  const std::span<const uint64_t> band = Band(index);
  uint64_t* words = affected.words + (band.data() - owed.data());
  for (size_t w = 0; w < band.size(); ++w) words[w] |= band[w];
  int64_t count = 0;
  for (size_t w = 0; w < owed.size(); ++w) {
    owed[w] &= ~affected.words[w];
    count += CountBits(owed[w]);
  }
  owed_count_[index] = count;
}

void Reach::Forget() {
  for (auto& owed : owed_) std::ranges::fill(owed, 0);
  std::ranges::fill(owed_count_, 0);
}

}  // namespace deltacnn
