// Reading and storing pixels of any element type.
#pragma once

#include <cstddef>
#include <cstring>

#include "ops/op.h"

namespace deltacnn {

/// The first byte of pixel (row, col).
inline std::byte* PixelBytes(const Work& work, const Placement& value, int row, int col) {
  return work.buffers[value.buffer] +
         value.Offset(row, col) * static_cast<int64_t>(SizeOf(value.dtype));
}

/// Copies `size` bytes and tells whether any differed before.
inline bool StoreChanged(void* to, const void* from, size_t size) {
  if (std::memcmp(to, from, size) == 0) return false;
  std::memcpy(to, from, size);
  return true;
}

/// Stores the pixels of a span, `pitch` floats apart in `x`, and flags those that changed.
inline void StorePixels(const kernels::Table& kernels, const Work& work, const Placement& out,
                        const Span& span, const float* x, int64_t pitch) {
  kernels.store_pixels(work.Pixel<float>(out, span.row, span.col), out.col_stride, x, pitch,
                       static_cast<size_t>(span.count), static_cast<size_t>(out.channels),
                       work.compare ? work.changed + span.first : nullptr);
}

}  // namespace deltacnn
