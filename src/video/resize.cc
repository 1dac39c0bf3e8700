#include "video/resize.h"

#include <algorithm>
#include <cmath>

namespace deltacnn {
namespace {

using Resize = InputSpec::Resize;

// The source, `resized` pixels long after scaling, is placed so that its pixel 0 falls on input
// pixel `start`, which may be negative; input pixels outside the input or the source are not part
// of the axis.
Axis MakeAxis(int source, int resized, int input, int start) {
  Axis axis;
  axis.begin = std::max(start, 0);
  axis.scale = static_cast<double>(source) / resized;
  axis.offset = -start * axis.scale;
  const int end = std::min(start + resized, input);
  axis.taps.reserve(static_cast<size_t>(end - axis.begin));
  for (int i = axis.begin; i < end; ++i) {
    const double centre = (i + 0.5) * axis.scale + axis.offset - 0.5;
    const double clamped = std::clamp(centre, 0.0, source - 1.0);
    Tap tap;
    tap.first = static_cast<int>(clamped);
    tap.weight = static_cast<float>(clamped - tap.first);
    tap.second = tap.weight > 0 ? tap.first + 1 : tap.first;
    axis.taps.push_back(tap);
  }
  return axis;
}

}  // namespace

Geometry ComputeGeometry(const InputSpec& spec, int source_width, int source_height,
                         int input_width, int input_height) {
  int width = input_width;
  int height = input_height;
  if (spec.resize != Resize::kStretch) {
    const double ratio_x = static_cast<double>(input_width) / source_width;
    const double ratio_y = static_cast<double>(input_height) / source_height;
    const double ratio =
        spec.resize == Resize::kLetterbox ? std::min(ratio_x, ratio_y) : std::max(ratio_x, ratio_y);
    width = std::max(1, static_cast<int>(std::lround(source_width * ratio)));
    height = std::max(1, static_cast<int>(std::lround(source_height * ratio)));
  }
  // Half of the room left, or of the excess, goes to the left and top, rounded down.
  const bool centered = spec.align == InputSpec::Align::kCentre || spec.resize == Resize::kCrop;
  const int left = centered ? (input_width - width) >> 1 : 0;
  const int top = centered ? (input_height - height) >> 1 : 0;
  return {MakeAxis(source_width, width, input_width, left),
          MakeAxis(source_height, height, input_height, top)};
}

}  // namespace deltacnn
