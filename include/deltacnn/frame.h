// A borrowed picture with what its decoder knew about it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "deltacnn/result.h"

namespace deltacnn {

/// 8 bits a sample. Chroma planes of I420 and NV12 hold ceil(width / 2) x ceil(height / 2) samples,
/// those of I422 ceil(width / 2) x height. NV12 interleaves U and V in its second plane.
enum class PixelFormat : uint8_t {
  kI420,
  kI422,
  kI444,
  kNv12,
  kGray8,
  kRgb24,
  kBgr24,
  kRgba32,  // alpha is ignored
  kBgra32,  // alpha is ignored
};

enum class ColorMatrix : uint8_t { kBt601, kBt709, kBt2020 };

/// Limited: luma 16-235, chroma 16-240. Full: 0-255. Says nothing about RGB formats, which are
/// always full.
enum class ColorRange : uint8_t { kLimited, kFull };

enum class FrameType : uint8_t { kUnknown, kI, kP, kB };

/// A block of this picture that the encoder predicted from (x + dx, y + dy) of another one. A zero
/// vector does not mean that the block is unchanged.
struct MotionVector {
  int16_t x = 0;  // top left corner of the block, luma pixels
  int16_t y = 0;
  uint8_t width = 0;
  uint8_t height = 0;
  bool forward = true;  // predicted from an earlier picture; false: from a later one
  float dx = 0;         // luma pixels
  float dy = 0;
};

/// Quantiser of a block, in the codec's own scale.
struct BlockQp {
  int16_t x = 0;  // top left corner of the block, luma pixels
  int16_t y = 0;
  int16_t width = 0;
  int16_t height = 0;
  int16_t qp = 0;
};

/// A picture somebody else owns. Copying it copies pointers only.
struct FrameView {
  static constexpr int kMaxSide = 16384;

  PixelFormat format = PixelFormat::kI420;
  ColorMatrix matrix = ColorMatrix::kBt601;
  ColorRange range = ColorRange::kLimited;
  FrameType type = FrameType::kUnknown;
  bool keyframe = false;
  /// What went before says nothing about this frame: the first one, or the first after a seek, a
  /// reconnect, a decoder error or a change of size. Whoever keeps state from frame to frame must
  /// drop it.
  bool discontinuity = false;
  int width = 0;
  int height = 0;
  double pts = 0;         // presentation time, seconds
  std::string_view file;  // the image file it came from; empty for video
  std::array<const uint8_t*, 3> planes{};
  std::array<ptrdiff_t, 3>
      strides{};  // bytes from one row to the next; negative for bottom-up pictures
  // Empty unless the decoder exports them; of pictures that had to be turned upright as well.
  std::span<const MotionVector> motion_vectors;
  std::span<const BlockQp> block_qp;

  /// kI420, kI422 or kI444.
  static FrameView Planar(PixelFormat format, int width, int height, const uint8_t* y,
                          ptrdiff_t y_stride, const uint8_t* u, const uint8_t* v,
                          ptrdiff_t uv_stride) {
    FrameView frame = Packed(format, width, height, y, y_stride);
    frame.planes = {y, u, v};
    frame.strides = {y_stride, uv_stride, uv_stride};
    return frame;
  }
  static FrameView I420(int width, int height, const uint8_t* y, ptrdiff_t y_stride,
                        const uint8_t* u, const uint8_t* v, ptrdiff_t uv_stride) {
    return Planar(PixelFormat::kI420, width, height, y, y_stride, u, v, uv_stride);
  }
  static FrameView Nv12(int width, int height, const uint8_t* y, ptrdiff_t y_stride,
                        const uint8_t* uv, ptrdiff_t uv_stride) {
    FrameView frame = Packed(PixelFormat::kNv12, width, height, y, y_stride);
    frame.planes[1] = uv;
    frame.strides[1] = uv_stride;
    return frame;
  }
  /// Any format with a single plane.
  static FrameView Packed(PixelFormat format, int width, int height, const uint8_t* data,
                          ptrdiff_t stride) {
    FrameView frame;
    frame.format = format;
    frame.width = width;
    frame.height = height;
    frame.planes[0] = data;
    frame.strides[0] = stride;
    return frame;
  }
  static FrameView Bgr(int width, int height, const uint8_t* data, ptrdiff_t stride) {
    return Packed(PixelFormat::kBgr24, width, height, data, stride);
  }
  static FrameView Rgb(int width, int height, const uint8_t* data, ptrdiff_t stride) {
    return Packed(PixelFormat::kRgb24, width, height, data, stride);
  }
  /// Full range, as cameras and image files deliver it.
  static FrameView Gray(int width, int height, const uint8_t* data, ptrdiff_t stride) {
    FrameView frame = Packed(PixelFormat::kGray8, width, height, data, stride);
    frame.range = ColorRange::kFull;
    return frame;
  }

  /// A copy of the picture in `memory`, for as long as that stays: without motion vectors,
  /// quantisers and file name, and without gaps between rows.
  FrameView CopyTo(std::vector<uint8_t>& memory) const;

  /// kUsage if a size is outside 1..kMaxSide, a plane is missing or a stride is shorter than a row.
  Status Check() const;
};

}  // namespace deltacnn
