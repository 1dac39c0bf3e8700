#include "core/spans.h"

#include <algorithm>
#include <bit>

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

void SpanList::BuildByTiles(const MaskView& mask, int chunk) {
  spans_.clear();
  chunk_begin_.clear();
  pixels_ = 0;
  int room = 0;  // tiles that the open chunk still takes
  const auto add = [&](int row, int col, uint64_t two) {
    if (two == 0) return;
    spans_.push_back({row, col + (two == 2 ? 1 : 0), two == 3 ? 2 : 1, pixels_});
    pixels_ += two == 3 ? 2 : 1;
  };
  for (int row = 0; row < mask.grid.rows; row += 2) {
    const uint64_t* upper = mask.row(row);
    const uint64_t* lower = row + 1 < mask.grid.rows ? mask.row(row + 1) : nullptr;
    for (int w = 0; w < mask.grid.words_per_row(); ++w) {
      const uint64_t below = lower == nullptr ? 0 : lower[w];
      for (uint64_t left = upper[w] | below; left != 0;) {
        const int bit = std::countr_zero(left) & ~1;
        left &= ~(uint64_t{3} << bit);
        if (room == 0) {
          chunk_begin_.push_back(spans_.size());
          room = std::max(1, chunk / 4);
        }
        --room;
        add(row, w * 64 + bit, upper[w] >> bit & 3);
        add(row + 1, w * 64 + bit, below >> bit & 3);
      }
    }
  }
  chunk_begin_.push_back(spans_.size());
}

}  // namespace deltacnn
