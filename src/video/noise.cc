#include "video/noise.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace deltacnn {
namespace {

constexpr int kSub = 4;
constexpr int kGroup = 4 * kSub;      // samples in a row of four sub-blocks
constexpr float kUnitsPerLevel = 32;  // sums of 16 samples; four of them have twice the deviation
constexpr uint32_t kFewestRipples = 16;

}  // namespace

void NoiseMeter::Add(std::span<const int16_t> sums, int step) {
  const size_t group = static_cast<size_t>(kGroup) * step;
  for (size_t i = 0; i + group <= sums.size() + step - 1; i += group) {
    int ripple = 0;
    for (int x = 0; x < kSub; ++x) {
      ripple += sums[i + x * step] - sums[i + (kSub + x) * step] - sums[i + (2 * kSub + x) * step] +
                sums[i + (3 * kSub + x) * step];
    }
    ++histogram_[std::min(std::abs(ripple), kBins - 1)];
  }
}

void NoiseMeter::EndFrame() {
  uint32_t total = 0;
  for (const uint32_t count : histogram_) total += count;
  if (total < kFewestRipples) return;  // the next frame adds to it
  const float wanted = static_cast<float>(total) / 3;
  float below = 0;
  int bin = 0;
  while (below + static_cast<float>(histogram_[bin]) < wanted) {
    below += static_cast<float>(histogram_[bin++]);
  }
  // Ripples are whole numbers: bin b stands for b - 1/2 to b + 1/2.
  const float part = (wanted - below) / static_cast<float>(histogram_[bin]);
  const float level = std::max(0.0F, static_cast<float>(bin) - 0.5F + part) / kUnitsPerLevel;
  levels_[frames_ % kMemory] = level;
  ++frames_;
  std::array<float, kMemory> sorted = levels_;
  const auto end = sorted.begin() + static_cast<ptrdiff_t>(std::min<size_t>(frames_, kMemory));
  const auto middle = sorted.begin() + (end - sorted.begin()) / 2;
  std::nth_element(sorted.begin(), middle, end);
  level_ = *middle;
  histogram_.fill(0);
}

float NoiseMeter::sigma() const {
  // 16 samples of two frames.
  return mean_deviation() * static_cast<float>(kSub) / std::sqrt(2.0F);
}

}  // namespace deltacnn
