#include "core/reach.h"

#include <algorithm>

namespace deltacnn {
namespace {

/// Cell i of `cells` stands for its share of `inputs` pixels.
WindowMap BlockMap(int inputs, int cells) {
  WindowMap map;
  for (int64_t i = 0; i < cells; ++i) {
    map.first.push_back(static_cast<int>(i * inputs / cells));
    map.last.push_back(static_cast<int>(((i + 1) * inputs + cells - 1) / cells));
  }
  map.Invert(inputs);
  return map;
}

}  // namespace

Reach::Reach(const PlanState& plan, const Policy& policy, int steps_per_band)
    : steps_per_band_(std::clamp(policy.refresh, 1, steps_per_band)),
      bands_(std::max(policy.refresh / steps_per_band_, 1)),
      resolution_of_(plan.steps.size(), -1),
      owed_(plan.steps.size()),
      doubted_(plan.steps.size()),
      owed_count_(plan.steps.size(), 0) {
  const std::optional<Grid> input = PictureInput(plan);
  if (policy.reach < 0 || !input) return;
  enabled_ = true;
  judges_ = policy.strong > policy.cutoff && policy.cutoff > 0;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const PlanStep& step = plan.steps[i];
    // Behind the last layers nothing is saved by leaving pixels out.
    if (!step.feeds_macs && step.kernel->MacsPerPixel() == 0) continue;
    if (!step.kernel->computes() || !GivesPicture(step)) continue;
    const auto known = std::ranges::find(resolutions_, step.grid, &Resolution::grid);
    resolution_of_[i] = static_cast<int>(known - resolutions_.begin());
    if (known == resolutions_.end()) {
      resolutions_.push_back(MakeResolution(*input, step.grid, policy.reach));
    }
    owed_[i].assign(step.grid.words(), 0);
    doubted_[i].assign(step.grid.words(), 0);
  }
}

Reach::Resolution Reach::MakeResolution(const Grid& input, const Grid& grid, int reach) const {
  Resolution made;
  made.grid = grid;
  Grid source = input;
  for (size_t r = 0; r < resolutions_.size(); ++r) {
    const Grid& known = resolutions_[r].grid;
    if (known.rows % grid.rows != 0 || known.cols % grid.cols != 0 ||
        known.pixels() > source.pixels())
      continue;
    source = known;
    made.finer = static_cast<int>(r);
  }
  made.block_rows = BlockMap(source.rows, grid.rows);
  made.block_cols = BlockMap(source.cols, grid.cols);
  const int64_t size = 2 * std::min<int64_t>(reach, std::max(grid.rows, grid.cols)) + 1;
  const auto taps = static_cast<int>(size);
  made.near_rows = WindowMap::Window(grid.rows, grid.rows, taps, 1, 1, taps / 2);
  made.near_cols = WindowMap::Window(grid.cols, grid.cols, taps, 1, 1, taps / 2);
  made.touched.resize(grid.words());
  made.reached.resize(grid.words());
  return made;
}

/// Finds the cells of the current step.
void Reach::Refresh(Resolution& resolution) {
  if (resolution.fresh) return;
  resolution.fresh = true;
  MaskView source = input_;
  if (resolution.finer >= 0) {
    Resolution& finer = resolutions_[static_cast<size_t>(resolution.finer)];
    Refresh(finer);
    source = {finer.touched.data(), finer.grid};
  }
  const MaskView touched{resolution.touched.data(), resolution.grid};
  const MaskView reached{resolution.reached.data(), resolution.grid};
  touched.Clear();
  reached.Clear();
  Affect(source, resolution.block_rows, resolution.block_cols, 1, touched);
  Affect(touched, resolution.near_rows, resolution.near_cols, 1, reached);
}

void Reach::Begin(const MaskView& input) {
  input_ = input;
  refreshing_ = false;
  for (Resolution& resolution : resolutions_) resolution.fresh = false;
  due_ = enabled_ && ++steps_ >= steps_per_band_;
  if (!due_) return;
  steps_ = 0;
  band_ = (band_ + 1) % bands_;
}

Reach::RowRange Reach::NextBand(const Grid& picture) const {
  if (!enabled_ || steps_ + 1 < steps_per_band_) return {0, 0};
  return BandOf((band_ + 1) % bands_, picture);
}

bool Reach::BeginRefresh() {
  if (!due_) return false;
  refreshing_ = true;
  for (size_t i = 0; i < owed_.size(); ++i)
    if (Owes(i)) return true;
  return false;
}

bool Reach::Owes(size_t index) const {
  if (!refreshing_) return owed_count_[index] > 0;
  if (!limits(index)) return false;
  const WordRange band = Band(index);
  for (size_t w = band.begin; w < band.end; ++w)
    if ((owed_[index][w] | doubted_[index][w]) != 0) return true;
  return false;
}

Reach::RowRange Reach::BandOf(int band, const Grid& grid) const {
  const auto row = [&](int64_t b) { return static_cast<int>(b * grid.rows / bands_); };
  return {row(band), row(band + 1)};
}

/// The words of the current band in the masks of step `index`.
Reach::WordRange Reach::Band(size_t index) const {
  const Grid& grid = resolutions_[static_cast<size_t>(resolution_of_[index])].grid;
  const RowRange rows = BandOf(band_, grid);
  const auto word = [&](int row) {
    return static_cast<size_t>(row) * static_cast<size_t>(grid.words_per_row());
  };
  return {word(rows.begin), word(rows.end)};
}

void Reach::Limit(size_t index, const MaskView& affected, const MaskView& strong) {
  if (!limits(index)) return;
  Resolution& resolution = resolutions_[static_cast<size_t>(resolution_of_[index])];
  Refresh(resolution);
  int64_t count = 0;
  std::vector<uint64_t>& owed = owed_[index];
  for (size_t w = 0; w < owed.size(); ++w) {
    const uint64_t due = affected.words[w] | owed[w];
    // Strong changes alone reach beyond what the input touches, if they are told apart.
    uint64_t may = resolution.reached[w];
    if (judges_) may = resolution.touched[w] | (may & strong.words[w]);
    affected.words[w] = due & may;
    owed[w] = due & ~may;
    count += CountBits(owed[w]);
  }
  owed_count_[index] = count;
}

void Reach::Doubt(size_t index, std::span<const Span> computed, const MaskView& changed) {
  const MaskView doubted{doubted_[index].data(), changed.grid};
  for (const Span& span : computed) {
    ForEachWord(span.col, span.col + span.count, [&](int word, int shift, int count) {
      const uint64_t range = BitRange(shift, count);
      uint64_t& bits = doubted.row(span.row)[word];
      bits &= ~range;
      if (span.background) bits |= range & ~changed.row(span.row)[word];
    });
  }
}

void Reach::Settle(size_t index, const MaskView& affected) {
  if (!limits(index)) return;
  std::vector<uint64_t>& owed = owed_[index];
  std::vector<uint64_t>& doubted = doubted_[index];
  const WordRange band = Band(index);
  for (size_t w = band.begin; w < band.end; ++w) affected.words[w] |= owed[w] | doubted[w];
  int64_t count = 0;
  for (size_t w = 0; w < owed.size(); ++w) {
    owed[w] &= ~affected.words[w];
    doubted[w] &= ~affected.words[w];
    count += CountBits(owed[w]);
  }
  owed_count_[index] = count;
}

void Reach::Forget() {
  for (auto* marks : {&owed_, &doubted_})
    for (std::vector<uint64_t>& words : *marks) std::ranges::fill(words, 0);
  std::ranges::fill(owed_count_, 0);
}

}  // namespace deltacnn
