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

/// Calls compute(row, col) for every listed pixel and flags those of which it tells a change.
template <class Compute>
void ForEachPixel(const Work& work, Compute&& compute) {
  for (const Span& span : work.spans) {
    for (int k = 0; k < span.count; ++k) {
      if (compute(span.row, span.col + k))
        work.changed[span.first + static_cast<size_t>(k)] = kChanged;
    }
  }
}

/// Copies `size` bytes and tells whether any differed before.
inline bool StoreChanged(void* to, const void* from, size_t size) {
  if (std::memcmp(to, from, size) == 0) return false;
  std::memcpy(to, from, size);
  return true;
}

/// Lays `width` floats of each of `count` pixels, `step` apart, side by side.
inline void PackPixels(const float* from, ptrdiff_t step, size_t count, size_t width, float* to) {
  const auto copy = [&](size_t floats) {
    for (size_t k = 0; k < count; ++k, from += step, to += floats)
      std::memcpy(to, from, floats * sizeof(float));
  };
  // Of known size, copies of a few floats are no calls.
  switch (width) {
    case 1:
      return copy(1);
    case 2:
      return copy(2);
    case 3:
      return copy(3);
    case 4:
      return copy(4);
    default:
      return copy(width);
  }
}

/// Stores channels [channel, channel + width) of the pixels of a span, `pitch` floats apart in `x`,
/// and flags those that changed. Work::limits apply: a change too small to propagate leaves the old
/// value in place, so that small changes add up.
inline void StoreChannels(const kernels::Table& kernels, const Work& work, const Placement& out,
                          const Span& span, size_t channel, size_t width, const float* x,
                          int64_t pitch) {
  float* to = work.Pixel<float>(out, span.row, span.col) + channel;
  const auto count = static_cast<size_t>(span.count);
  uint8_t* flags = work.changed + span.first;
  const ChangeLimits& limits = work.limits;
  if (limits.cutoff > 0) {
    const float scale = static_cast<float>(width) * (span.background ? limits.background : 1);
    kernels.store_stronger(to, out.col_stride, x, pitch, count, width,
                           {limits.weights + channel, limits.cutoff * scale, limits.strong * scale},
                           flags);
  } else {
    kernels.store_pixels(to, out.col_stride, x, pitch, count, width,
                         work.compare ? flags : nullptr);
  }
}

inline void StorePixels(const kernels::Table& kernels, const Work& work, const Placement& out,
                        const Span& span, const float* x, int64_t pitch) {
  StoreChannels(kernels, work, out, span, 0, static_cast<size_t>(out.channels), x, pitch);
}

}  // namespace deltacnn
