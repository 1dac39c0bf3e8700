// Asks for memory before it is needed. Where little changes, a step reads and writes here and there
// in a state that no cache holds: without this, every stretch of pixels would wait for its first
// lines.
#pragma once

#include "core/mask.h"
#include "ops/op.h"

namespace deltacnn {

/// Asks for `count` pixels from (row, col) on; returns how many cache lines that are.
inline int64_t PrefetchPixels(const Work& work, const Placement& value, int row, int col,
                              int count) {
  constexpr int64_t kLine = 64;
  const auto size = static_cast<int64_t>(SizeOf(value.dtype));
  const std::byte* pixel = work.buffers[value.buffer] + value.Offset(row, col) * size;
  // Packed pixels are one stretch.
  const bool packed = value.col_stride == value.channels;
  const int64_t bytes = value.channels * size * (packed ? count : 1);
  for (int i = 0; i < (packed ? 1 : count); ++i, pixel += value.col_stride * size)
    for (int64_t b = 0; b < bytes; b += kLine) __builtin_prefetch(pixel + b);
  return (bytes / kLine + 1) * (packed ? 1 : count);
}

/// Asks for what the listed pixels of a local operator read. The maps are those of one picture; the
/// grids' rows may be those of several, one after the other.
inline void PrefetchWindows(const Work& work, const Placement& in, const WindowMap& rows,
                            const WindowMap& cols) {
  if (!work.compare) return;  // everything is computed, in order
  // About what the second-level cache takes besides weights; where it is more, arithmetic
  // dominates.
  constexpr int64_t kMostLines = 2048;
  const int out_rows = static_cast<int>(rows.first.size());
  const int in_rows = static_cast<int>(rows.reader_first.size());
  int64_t lines = 0;
  for (const Span& span : work.spans) {
    const auto row = static_cast<size_t>(span.row % out_rows);
    const int top = span.row / out_rows * in_rows;
    const int left = cols.first[static_cast<size_t>(span.col)];
    const int right = cols.last[static_cast<size_t>(span.col + span.count - 1)];
    for (int r = rows.first[row]; r < rows.last[row]; ++r)
      lines += PrefetchPixels(work, in, top + r, left, right - left);
    if (lines > kMostLines) return;
  }
}

}  // namespace deltacnn
