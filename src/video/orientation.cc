#include "video/orientation.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "video/pixel_format.h"

namespace deltacnn {
namespace {

// Rows of a transposed picture read as many source rows as they have columns. A strip of so many
// columns keeps those in the first-level cache until the next row needs them, also where the rows'
// distance is a power of two, so that they share few of its places.
constexpr int kStrip = 16;

struct Plane {
  const uint8_t* data = nullptr;  // sample of the result's first column and row
  ptrdiff_t column_step = 0;      // bytes to the sample of the next column of the result
  ptrdiff_t row_step = 0;
};

template <int kBytes>
void Gather(const Plane& from, int width, int height, uint8_t* to) {
  const ptrdiff_t row_bytes = ptrdiff_t{kBytes} * width;
  for (int left = 0; left < width; left += kStrip) {
    const int right = std::min(left + kStrip, width);
    for (int y = 0; y < height; ++y) {
      const uint8_t* sample = from.data + y * from.row_step + left * from.column_step;
      uint8_t* target = to + y * row_bytes + ptrdiff_t{kBytes} * left;
      for (int x = left; x < right; ++x, sample += from.column_step, target += kBytes)
        std::memcpy(target, sample, kBytes);
    }
  }
}

}  // namespace

Orientation OrientationOf(const int32_t* matrix) {
  // Of a pixel at (x, y), the place is (a x + c y, b x + d y).
  const double a = matrix[0];
  const double b = matrix[1];
  const double c = matrix[3];
  const double d = matrix[4];
  const auto negligible = [](double value, double other) {
    constexpr double kDegree = 0.0175;  // what players take for none
    return std::abs(value) < kDegree * std::abs(other);
  };
  if (negligible(b, a) && negligible(c, d)) return {false, a < 0, d < 0};
  if (negligible(a, b) && negligible(d, c)) return {true, c < 0, b < 0};
  return {};
}

FrameView Turn(const FrameView& picture, const Orientation& orientation,
               std::vector<uint8_t>& memory) {
  const PixelLayout& layout = LayoutOf(picture.format);
  FrameView turned = picture;
  turned.motion_vectors = {};
  turned.block_qp = {};
  if (orientation.transpose) std::swap(turned.width, turned.height);
  size_t bytes = 0;
  std::array<size_t, 3> offsets{};
  for (int p = 0; p < layout.planes; ++p) {
    const ComponentLayout& plane = PlaneLayout(layout, p);
    turned.strides[p] = PlaneRowBytes(plane, turned.width);
    offsets[p] = bytes;
    bytes += static_cast<size_t>(turned.strides[p]) * PlaneHeight(plane, turned.height);
  }
  memory.resize(bytes);
  for (int p = 0; p < layout.planes; ++p) {
    const ComponentLayout& plane = PlaneLayout(layout, p);
    const int width = PlaneWidth(plane, turned.width);
    const int height = PlaneHeight(plane, turned.height);
    Plane from = {picture.planes[p], plane.step, picture.strides[p]};
    if (orientation.transpose) std::swap(from.column_step, from.row_step);
    if (orientation.mirror_x) {
      from.data += (width - 1) * from.column_step;
      from.column_step = -from.column_step;
    }
    if (orientation.mirror_y) {
      from.data += (height - 1) * from.row_step;
      from.row_step = -from.row_step;
    }
    uint8_t* to = memory.data() + offsets[p];
    turned.planes[p] = to;
    static constexpr std::array kGather = {Gather<1>, Gather<2>, Gather<3>, Gather<4>};
    kGather[plane.step - 1](from, width, height, to);
  }
  return turned;
}

}  // namespace deltacnn
