// Samples of any pixel format to the channels a network reads.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "deltacnn/frame.h"
#include "deltacnn/input.h"
#include "video/rows.h"

namespace deltacnn {

/// Converts to levels of 0..255, fractions kept, values outside clamped.
class ColorConverter {
 public:
  ColorConverter() = default;
  ColorConverter(const FrameView& frame, InputSpec::Color order);

  /// 1 or 3.
  int channels() const { return order_ == InputSpec::Color::kGray ? 1 : 3; }
  /// Pixels [begin, end) of row y; `levels[c][x]` becomes channel c of pixel x.
  void Convert(const FrameView& frame, int y, int begin, int end,
               const std::array<float*, 3>& levels);

 private:
  InputSpec::Color order_ = InputSpec::Color::kRgb;
  bool rgb_ = false;
  int components_ = 1;  // that are read
  rows::YuvCoefficients yuv_;
  std::array<std::vector<uint8_t>, 3> samples_;  // of each component, one a pixel; padded
};

}  // namespace deltacnn
