#include "core/spans.h"

#include <algorithm>

namespace deltacnn {

void SpanList::Reserve(const Grid& grid) {
  // Every second pixel is the worst case; every chunk may split one run.
  const auto pixels = static_cast<size_t>(grid.pixels());
  spans_.reserve(static_cast<size_t>(grid.rows) * (static_cast<size_t>(grid.cols) / 2 + 1) +
                 pixels + 1);
  chunk_begin_.reserve(pixels + 2);
}

void SpanList::Build(const MaskView& mask, int chunk) {
  spans_.clear();
  chunk_begin_.clear();
  pixels_ = 0;
  int room = 0;  // pixels that the open chunk still takes
  for (int row = 0; row < mask.grid.rows; ++row) {
    ForEachRun(mask.row(row), mask.grid.cols, [&](int begin, int end) {
      while (begin < end) {
        if (room == 0) {
          chunk_begin_.push_back(spans_.size());
          room = chunk;
        }
        const int count = std::min(room, end - begin);
        spans_.push_back({row, begin, count, pixels_});
        pixels_ += static_cast<size_t>(count);
        begin += count;
        room -= count;
      }
    });
  }
  chunk_begin_.push_back(spans_.size());
}

}  // namespace deltacnn
