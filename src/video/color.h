// Samples of any pixel format to the channels a network reads.
#pragma once

#include <array>

#include "deltacnn/frame.h"
#include "deltacnn/video.h"

namespace deltacnn {

/// Pixels that are converted together: loops of this fixed length become vector code. A changed
/// block is often no more than that.
inline constexpr int kColorChunk = 16;

using LevelChunk = std::array<float, kColorChunk>;

/// Y' = (Y - luma_offset) * luma_scale; with U and V around 0: R = Y' + red_v V,
/// G = Y' - green_u U - green_v V, B = Y' + blue_u U.
struct YuvCoefficients {
  float luma_scale = 1;
  float luma_offset = 0;
  float red_v = 0;
  float green_u = 0;
  float green_v = 0;
  float blue_u = 0;
};

/// Converts to levels of 0..255, fractions kept, values outside clamped.
class ColorConverter {
 public:
  ColorConverter() = default;
  ColorConverter(PixelFormat format, ColorMatrix matrix, ColorRange range, ChannelOrder order);

  /// 1 or 3; Convert() reads the first so many of `samples`, bytes as floats.
  int components() const { return components_; }
  /// 1 or 3; Convert() writes the first so many of `levels`.
  int channels() const { return order_ == ChannelOrder::kGray ? 1 : 3; }
  void Convert(const std::array<LevelChunk, 3>& samples, std::array<LevelChunk, 3>& levels) const;

 private:
  ChannelOrder order_ = ChannelOrder::kRgb;
  bool rgb_ = false;
  int components_ = 1;
  YuvCoefficients yuv_;
};

}  // namespace deltacnn
