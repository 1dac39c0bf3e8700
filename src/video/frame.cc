#include "deltacnn/frame.h"

#include <cstdlib>
#include <string>

#include "video/pixel_format.h"

namespace deltacnn {

FrameView FrameView::CopyTo(std::vector<uint8_t>& memory) const {
  const PixelLayout& layout = LayoutOf(format);
  FrameView copy = *this;
  copy.motion_vectors = {};
  copy.block_qp = {};
  copy.file = {};
  memory.clear();
  std::array<size_t, 3> first{};
  for (int p = 0; p < layout.planes; ++p) {
    const ComponentLayout& plane = PlaneLayout(layout, p);
    copy.strides[p] = PlaneRowBytes(plane, width);
    first[p] = memory.size();
    for (int y = 0; y < PlaneHeight(plane, height); ++y) {
      const uint8_t* row = planes[p] + y * strides[p];
      memory.insert(memory.end(), row, row + copy.strides[p]);
    }
  }
  for (int p = 0; p < layout.planes; ++p) copy.planes[p] = memory.data() + first[p];
  return copy;
}

Status FrameView::Check() const {
  const std::string place = "frame of " + std::to_string(width) + "x" + std::to_string(height);
  if (format > PixelFormat::kBgra32) {
    return Error{ErrorCode::kUsage, place + ": unknown pixel format; use one of PixelFormat"};
  }
  if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide) {
    return Error{ErrorCode::kUsage,
                 place + ": width and height must be within 1.." + std::to_string(kMaxSide)};
  }
  const PixelLayout& layout = LayoutOf(format);
  for (int p = 0; p < layout.planes; ++p) {
    const std::string plane = place + " in " + layout.name + ", plane " + std::to_string(p);
    if (planes[p] == nullptr) {
      return Error{ErrorCode::kUsage, plane + " is missing; set its pointer"};
    }
    const int row_bytes = PlaneRowBytes(PlaneLayout(layout, p), width);
    if (std::abs(strides[p]) < row_bytes) {
      return Error{ErrorCode::kUsage, plane + ": a stride of " + std::to_string(strides[p]) +
                                          " bytes is shorter than a row of " +
                                          std::to_string(row_bytes)};
    }
  }
  return {};
}

}  // namespace deltacnn
