// Region: where in the picture something is.
#pragma once

#include <limits>

namespace deltacnn {

/// A rectangle in pixels of a model's image input. Corners are continuous coordinates: a whole
/// picture is (0, 0)-(width, height). What lies outside of the picture counts for nothing, nor does
/// a region with a corner that is not a number.
struct Region {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
};

/// Holds every point.
inline constexpr Region kEverywhere{
    -std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
    std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity()};

}  // namespace deltacnn
