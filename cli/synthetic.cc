#include "synthetic.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace deltacnn::cli {
namespace {

// Drawn once, so that writing a picture takes no longer than its memory does: what a step finds in
// the caches depends on how long ago the last one was.
constexpr int kNoisePixels = 1 << 12;
constexpr double kLeastMacs = 0.02;  // of the plan's, for a resolution to count

/// From 0 up to `slack` and down again.
int Bounce(int64_t step, int slack) {
  if (slack == 0) return 0;
  const auto phase = static_cast<int>(step % (2 * slack));
  return phase <= slack ? phase : 2 * slack - phase;
}

/// The first of `pixels` pixels that no cell before cell `i` of `cells` touches.
int FirstPixel(int64_t i, int64_t pixels, int64_t cells) {
  return static_cast<int>((i * pixels + cells - 1) / cells);
}

/// One past the last pixel that no cell from cell `i` on touches.
int LastPixel(int64_t i, int64_t pixels, int64_t cells) {
  return static_cast<int>(i * pixels / cells);
}

}  // namespace

CellGrid CoarsestCells(const Plan& plan, const CellGrid& pixels) {
  std::map<std::pair<int64_t, int64_t>, int64_t> macs;  // by rows and columns
  for (const LayerInfo& layer : plan.layers())
    if (layer.output.size() == 4) macs[{layer.output[2], layer.output[3]}] += layer.macs;
  CellGrid coarsest = pixels;
  for (const auto& [size, count] : macs) {
    const auto& [rows, cols] = size;
    const bool matters = static_cast<double>(count) > kLeastMacs * static_cast<double>(plan.macs());
    if (matters && rows > 1 && cols > 1 && rows <= coarsest.rows && cols <= coarsest.cols)
      coarsest = {static_cast<int>(rows), static_cast<int>(cols)};
  }
  return coarsest;
}

SyntheticInput::SyntheticInput(const ImageTarget& target, const InputSpec& spec,
                               const CellGrid& cells)
    : target_(target), cells_(cells) {
  noise_.reserve(static_cast<size_t>(kNoisePixels) * target.channels);
  for (int i = 0; i < kNoisePixels; ++i) {
    for (int c = 0; c < target.channels; ++c) {
      const auto channel = static_cast<size_t>(std::min(c, 2));
      const auto level = static_cast<float>(random_() >> 8 & 0xFF);
      noise_.push_back((level - spec.mean[channel]) / spec.std[channel]);
    }
  }
  Fill(0, 0, target.width, target.height);
}

void SyntheticInput::Change(double share) {
  if (share <= 0) return;
  if (share >= 1) return Fill(0, 0, target_.width, target_.height);  // cells may leave a rim
  const double all = static_cast<double>(cells_.rows) * cells_.cols;
  const int wanted = std::max(static_cast<int>(std::lround(share * all)), 1);
  const int left_cols = cells_.cols / 2;
  const int left =
      ChangePart(0, left_cols, static_cast<int>(int64_t{wanted} * left_cols / cells_.cols));
  ChangePart(left_cols, cells_.cols - left_cols, wanted - left);
  ++step_;
}

/// Changes about `wanted` cells of some columns; returns how many.
int SyntheticInput::ChangePart(int first_col, int cols, int wanted) {
  if (wanted <= 0 || cols == 0) return 0;
  const double rows = cells_.rows;
  const int w =
      std::clamp(static_cast<int>(std::lround(std::sqrt(double(wanted) * cols / rows))), 1, cols);
  const int h = std::clamp(static_cast<int>(std::lround(double(wanted) / w)), 1, cells_.rows);
  const int x = first_col + Bounce(step_, cols - w);
  const int y = Bounce(step_, cells_.rows - h);
  Fill(FirstPixel(x, target_.width, cells_.cols), FirstPixel(y, target_.height, cells_.rows),
       LastPixel(x + w, target_.width, cells_.cols), LastPixel(y + h, target_.height, cells_.rows));
  return w * h;
}

void SyntheticInput::Fill(int x0, int y0, int x1, int y1) {
  for (int y = y0; y < y1; ++y) {
    auto next = static_cast<int>(random_() % kNoisePixels);
    for (int x = x0; x < x1; ++x, next = (next + 1) % kNoisePixels) {
      const float* noise = &noise_[static_cast<size_t>(next) * target_.channels];
      float* pixel = target_.Pixel(y, x);
      for (int c = 0; c < target_.channels; ++c) pixel[c * target_.channel_stride] = noise[c];
      target_.Mark(y, x);
    }
  }
}

}  // namespace deltacnn::cli
