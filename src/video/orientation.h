// Which way up a picture is stored, and turning it upright.
#pragma once

#include <cstdint>
#include <vector>

#include "deltacnn/frame.h"

namespace deltacnn {

/// How the upright picture is made of the one stored: first transposed, then mirrored.
struct Orientation {
  bool transpose = false;
  bool mirror_x = false;  // left and right
  bool mirror_y = false;  // top and bottom

  bool upright() const { return !transpose && !mirror_x && !mirror_y; }
};

/// Of a display matrix as libavutil/display.h defines it: multiples of 90 degrees, perhaps
/// mirrored. Anything else counts as upright.
Orientation OrientationOf(const int32_t* matrix);

/// The picture turned, in `memory`. Its hints are dropped. I422 must not be transposed: no format
/// has its chroma lying down.
FrameView Turn(const FrameView& picture, const Orientation& orientation,
               std::vector<uint8_t>& memory);

}  // namespace deltacnn
