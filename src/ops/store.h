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

}  // namespace deltacnn
