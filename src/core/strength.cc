#include "core/strength.h"

#include <algorithm>
#include <cmath>

namespace deltacnn {
namespace {

constexpr int64_t kSampled = 1000;  // pixels of a layer that are enough to know its variance
// Share of the layer's mean variance added to that of each channel: one that hardly ever varies
// must not make every bit of it count.
constexpr double kFloor = 0.1;

}  // namespace

Strength::Strength(const PlanState& plan, const Policy& policy)
    : cutoff_(policy.cutoff * policy.cutoff),
      strong_(policy.strong * policy.strong),
      background_(policy.background * policy.background),
      weights_(plan.steps.size()),
      limits_(plan.steps.size()) {
  if (policy.cutoff <= 0) return;
  size_t most = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const PlanStep& step = plan.steps[i];
    if (!step.kernel->takes_cutoff() || !step.feeds_macs) continue;
    const Placement& value = plan.placements[static_cast<size_t>(step.value)];
    weights_[i].resize(static_cast<size_t>(value.channels));
    most = std::max(most, weights_[i].size());
  }
  sum_.resize(most);
  squares_.resize(most);
}

void Strength::Measure(const PlanState& plan, size_t index, std::byte* const* buffers) {
  std::vector<float>& weights = weights_[index];
  limits_[index] = {};
  if (weights.empty()) return;
  const Placement& value = plan.placements[static_cast<size_t>(plan.steps[index].value)];
  const auto* data = reinterpret_cast<const float*>(buffers[static_cast<size_t>(value.buffer)]);
  std::ranges::fill(sum_, 0.0);
  std::ranges::fill(squares_, 0.0);
  const int64_t every = std::max<int64_t>(value.grid.pixels() / kSampled, 1);
  double count = 0;
  for (int64_t pixel = 0; pixel < value.grid.pixels(); pixel += every, ++count) {
    const float* at = data + value.Offset(static_cast<int>(pixel / value.grid.cols),
                                          static_cast<int>(pixel % value.grid.cols));
    for (size_t c = 0; c < weights.size(); ++c) {
      sum_[c] += at[c];
      squares_[c] += double{at[c]} * at[c];
    }
  }
  double mean = 0;  // of the variances
  for (size_t c = 0; c < weights.size(); ++c) {
    squares_[c] = std::max(squares_[c] / count - sum_[c] / count * (sum_[c] / count), 0.0);
    mean += squares_[c] / static_cast<double>(weights.size());
  }
  // Nothing varies (a single pixel, a black picture), or something is not finite.
  if (!(mean > 0) || !std::isfinite(mean)) return;
  for (size_t c = 0; c < weights.size(); ++c)
    weights[c] = static_cast<float>(1 / (squares_[c] + kFloor * mean));
  limits_[index] = {
      .cutoff = cutoff_, .strong = strong_, .background = background_, .weights = weights.data()};
}

}  // namespace deltacnn
