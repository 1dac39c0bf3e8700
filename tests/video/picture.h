// Owned pictures for the tests of the video layer.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "deltacnn/frame.h"
#include "deltacnn/video.h"
#include "video/pixel_format.h"

namespace deltacnn {

constexpr std::array<PixelFormat, 9> kAllFormats = {
    PixelFormat::kI420,  PixelFormat::kI422,   PixelFormat::kI444,
    PixelFormat::kNv12,  PixelFormat::kGray8,  PixelFormat::kRgb24,
    PixelFormat::kBgr24, PixelFormat::kRgba32, PixelFormat::kBgra32};

/// Each plane is its own allocation, exactly as long as its rows need, so that a sanitizer sees
/// every overrun.
class Picture {
 public:
  Picture(PixelFormat format, int width, int height, int stride_padding = 0) {
    const PixelLayout& layout = LayoutOf(format);
    view_.format = format;
    view_.width = width;
    view_.height = height;
    for (int p = 0; p < layout.planes; ++p) {
      const ComponentLayout& plane = PlaneLayout(layout, p);
      const int row_bytes = PlaneRowBytes(plane, width);
      const int rows = PlaneHeight(plane, height);
      view_.strides[p] = row_bytes + stride_padding;
      planes_[p].resize(static_cast<size_t>(view_.strides[p]) * (rows - 1) + row_bytes);
    }
    Point();
  }
  Picture(const Picture& other) : view_(other.view_), planes_(other.planes_) { Point(); }
  Picture& operator=(const Picture&) = delete;

  const FrameView& view() const { return view_; }
  FrameView& view() { return view_; }
  std::vector<uint8_t>& plane(int p) { return planes_[p]; }

  uint8_t& Sample(int component, int y, int x) {
    const ComponentLayout& layout = LayoutOf(view_.format).component[component];
    return planes_[layout.plane][(y >> layout.shift_y) * view_.strides[layout.plane] +
                                 (x >> layout.shift_x) * layout.step + layout.offset];
  }

  template <class Random>
  void Randomize(Random& random) {
    std::uniform_int_distribution<int> level(0, 255);
    for (auto& plane : planes_) {
      for (uint8_t& byte : plane) byte = static_cast<uint8_t>(level(random));
    }
  }

 private:
  void Point() {
    for (int p = 0; p < 3; ++p) {
      view_.planes[p] = planes_[p].empty() ? nullptr : planes_[p].data();
    }
  }

  FrameView view_;
  std::array<std::vector<uint8_t>, 3> planes_;
};

/// The same samples at the same places, whatever the memory layout.
inline uint8_t SampleAt(const FrameView& frame, int component, int y, int x) {
  const ComponentLayout& layout = LayoutOf(frame.format).component[component];
  return frame.planes[layout.plane][(y >> layout.shift_y) * frame.strides[layout.plane] +
                                    (x >> layout.shift_x) * layout.step + layout.offset];
}

inline BlockMap EveryBlock(int width, int height) {
  BlockMap map;
  map.columns = (width + 7) / 8;
  map.rows = (height + 7) / 8;
  map.words_per_row = (map.columns + 63) / 64;
  map.count = static_cast<int64_t>(map.columns) * map.rows;
  map.bits.assign(static_cast<size_t>(map.words_per_row) * map.rows, ~uint64_t{0});
  return map;
}

}  // namespace deltacnn
