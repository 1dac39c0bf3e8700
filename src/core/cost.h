// What steps cost, estimated from the work in them: it decides when to stop keeping the state, and
// what a stream answers must not depend on the machine's load.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/plan.h"

namespace deltacnn {

/// Nanoseconds, fitted to nine networks, on three clips and with rectangles that change, one core
/// of a Zen 5 (docs/performance.md, "When a step is dense"); only ratios matter.
class CostModel {
 public:
  explicit CostModel(const PlanState& plan)
      : mac_(kVectorMac / static_cast<double>(plan.kernels->dot_lanes)),
        run_(kCachedRun + (kRun - kCachedRun) *
                              std::min(1.0, static_cast<double>(plan.state_bytes) / kLargeState)) {
    for (const PlanStep& step : plan.steps) {
      if (!step.kernel->computes()) continue;
      dense_ += static_cast<double>(step.grid.pixels()) * (Macs(step) + kDensePixel) + kLayer;
    }
  }

  /// The cost of an incremental step against a dense one that keeps nothing; 0 where there is
  /// nothing to compute.
  double Ratio(double cost) const { return dense_ > 0 ? cost / dense_ : 0; }
  /// One layer of an incremental step: `pixels` in `runs` of adjacent ones.
  double Incremental(const PlanStep& step, size_t pixels, size_t runs) const {
    const auto count = static_cast<double>(pixels);
    // The more of a layer is computed, the nearer to what the caches hold does a run begin.
    const double left_out = 1 - count / static_cast<double>(step.grid.pixels());
    return count * (kScatter * Macs(step) + kPixel) +
           static_cast<double>(runs) * std::max(left_out, 0.0) * run_ + kLayer;
  }

 private:
  static constexpr double kVectorMac = 0.13;  // a multiply-add of a vector
  static constexpr double kDensePixel = 5.3;
  static constexpr double kScatter = 1.05;  // multiply-adds here and there against those in order
  static constexpr double kPixel = 6;
  // What a run costs is mostly waiting for memory, unless a cache holds the state.
  static constexpr double kCachedRun = 50;
  static constexpr double kRun = 240;
  static constexpr double kLargeState = 8 << 20;  // bytes
  static constexpr double kLayer = 600;

  double Macs(const PlanStep& step) const {
    return mac_ * static_cast<double>(step.kernel->MacsPerPixel());
  }

  double mac_;
  double run_;
  double dense_ = 0;
};

}  // namespace deltacnn
