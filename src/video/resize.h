// How a picture is laid into the network's input: where, and from which source samples.
#pragma once

#include <vector>

#include "deltacnn/input.h"

namespace deltacnn {

/// Interpolates between samples `first` and `second` (equal where nothing is to interpolate).
struct Tap {
  int first = 0;
  int second = 0;
  float weight = 0;  // of `second`
};

/// One direction of a resize.
struct Axis {
  int begin = 0;          // input pixels [begin, begin + taps.size()) show the picture
  std::vector<Tap> taps;  // one for each of them
  double scale = 1;       // source coordinate = input coordinate * scale + offset
  double offset = 0;
};

struct Geometry {
  Axis x;
  Axis y;

  PixelTransform transform() const { return {x.scale, y.scale, x.offset, y.offset}; }
};

Geometry ComputeGeometry(const InputSpec& spec, int source_width, int source_height,
                         int input_width, int input_height);

}  // namespace deltacnn
