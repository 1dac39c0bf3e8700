// What normalisation means.
#pragma once

#include <cmath>
#include <span>
#include <vector>

#include "harness.h"

namespace deltacnn::testing {

/// (x - mean) / sqrt(variance + epsilon) over `count` elements from `start` on.
inline void Normalise(std::span<const float> x, int64_t start, int64_t count, double epsilon,
                      std::vector<double>& out) {
  double mean = 0;
  for (int64_t i = start; i < start + count; ++i) mean += x[i] / static_cast<double>(count);
  double variance = 0;
  for (int64_t i = start; i < start + count; ++i)
    variance += (x[i] - mean) * (x[i] - mean) / static_cast<double>(count);
  for (int64_t i = start; i < start + count; ++i)
    out.push_back((x[i] - mean) / std::sqrt(variance + epsilon));
}

}  // namespace deltacnn::testing
