// How strong a change of a layer's pixel is, measured by how much the layer's channels vary.
#pragma once

#include <vector>

#include "core/plan.h"
#include "deltacnn/stream.h"

namespace deltacnn {

/// The limits of a policy for every step of a plan, in units of the step's own values: the variance
/// of each channel over the picture, so that neither loud channels nor constant ones hide a change
/// of quiet ones. Measured on dense steps; until then, and where it means nothing, every bit
/// counts.
class Strength {
 public:
  Strength(const PlanState& plan, const Policy& policy);

  /// Measures the output of step `index`, just computed in full.
  void Measure(const PlanState& plan, size_t index, std::byte* const* buffers);
  /// What Kernel::Compute takes in Work::limits; `cutoff` is 0 where every bit counts.
  ChangeLimits limits(size_t index) const { return limits_[index]; }

 private:
  float cutoff_ = 0;  // squared, as are those of the limits
  float strong_ = 0;
  float background_ = 1;                     // squared too
  std::vector<std::vector<float>> weights_;  // by step, then channel; empty where not measured
  std::vector<ChangeLimits> limits_;         // by step
  std::vector<double> sum_, squares_;        // by channel, of the step being measured
};

}  // namespace deltacnn
