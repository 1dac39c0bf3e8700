// How a picture becomes a network's input, and how the two lie on one another.
#pragma once

#include <array>
#include <cstdint>

namespace deltacnn {

/// What a network wants of a picture. The value fed is (level - mean) / std, level in 0..255.
struct InputSpec {
  enum class Color : uint8_t {
    kRgb,
    kBgr,
    kGray,  // luma, full range
  };
  enum class Resize : uint8_t {
    kLetterbox,  // the whole picture, aspect kept, the rest filled
    kStretch,    // the whole picture, aspect lost
    kCrop,       // the input filled, aspect kept, the picture's edges cut off on both sides
  };
  enum class Align : uint8_t { kCentre, kTopLeft };

  Color color = Color::kRgb;
  std::array<float, 3> mean = {0, 0, 0};  // by channel of the input
  std::array<float, 3> std = {255, 255, 255};
  Resize resize = Resize::kLetterbox;
  float pad_value = 114;         // letterbox: fill, a level
  Align align = Align::kCentre;  // letterbox: where the picture lies
};

/// Where a point of the network's input lies in the source picture. Coordinates are continuous:
/// pixel i spans [i, i + 1).
struct PixelTransform {
  double scale_x = 1;
  double scale_y = 1;
  double offset_x = 0;
  double offset_y = 0;

  double SourceX(double x) const { return x * scale_x + offset_x; }
  double SourceY(double y) const { return y * scale_y + offset_y; }
};

}  // namespace deltacnn
