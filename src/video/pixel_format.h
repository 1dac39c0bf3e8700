// Where the samples of each pixel format lie.
#pragma once

#include <array>
#include <cstdint>

#include "deltacnn/frame.h"

namespace deltacnn {

/// Sample of component c at pixel (y, x): byte `(x >> shift_x) * step + offset` of row `y >>
/// shift_y` of `plane`.
struct ComponentLayout {
  uint8_t plane = 0;
  uint8_t step = 1;
  uint8_t offset = 0;
  uint8_t shift_x = 0;
  uint8_t shift_y = 0;
};

struct PixelLayout {
  const char* name;
  int planes;
  int components;  // 1: Y, 3: Y U V or R G B; alpha is not listed
  bool rgb;
  std::array<ComponentLayout, 3> component;
};

inline const PixelLayout& LayoutOf(PixelFormat format) {
  // In the order of the enumerators.
  static constexpr std::array<PixelLayout, 9> kLayouts = {{
      {"I420", 3, 3, false, {{{0, 1, 0, 0, 0}, {1, 1, 0, 1, 1}, {2, 1, 0, 1, 1}}}},
      {"I422", 3, 3, false, {{{0, 1, 0, 0, 0}, {1, 1, 0, 1, 0}, {2, 1, 0, 1, 0}}}},
      {"I444", 3, 3, false, {{{0, 1, 0, 0, 0}, {1, 1, 0, 0, 0}, {2, 1, 0, 0, 0}}}},
      {"NV12", 2, 3, false, {{{0, 1, 0, 0, 0}, {1, 2, 0, 1, 1}, {1, 2, 1, 1, 1}}}},
      {"GRAY8", 1, 1, false, {{{0, 1, 0, 0, 0}, {}, {}}}},
      {"RGB24", 1, 3, true, {{{0, 3, 0, 0, 0}, {0, 3, 1, 0, 0}, {0, 3, 2, 0, 0}}}},
      {"BGR24", 1, 3, true, {{{0, 3, 2, 0, 0}, {0, 3, 1, 0, 0}, {0, 3, 0, 0, 0}}}},
      {"RGBA32", 1, 3, true, {{{0, 4, 0, 0, 0}, {0, 4, 1, 0, 0}, {0, 4, 2, 0, 0}}}},
      {"BGRA32", 1, 3, true, {{{0, 4, 2, 0, 0}, {0, 4, 1, 0, 0}, {0, 4, 0, 0, 0}}}},
  }};
  return kLayouts[static_cast<size_t>(format)];
}

/// The first component stored in `plane`; its step and shifts are those of the whole plane.
inline const ComponentLayout& PlaneLayout(const PixelLayout& layout, int plane) {
  int c = 0;
  while (layout.component[c].plane != plane) ++c;
  return layout.component[c];
}

inline int PlaneWidth(const ComponentLayout& plane, int width) {
  return (width + (1 << plane.shift_x) - 1) >> plane.shift_x;
}
inline int PlaneHeight(const ComponentLayout& plane, int height) {
  return (height + (1 << plane.shift_y) - 1) >> plane.shift_y;
}
inline int PlaneRowBytes(const ComponentLayout& plane, int width) {
  return PlaneWidth(plane, width) * plane.step;
}

}  // namespace deltacnn
