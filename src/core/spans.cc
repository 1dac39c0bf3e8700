#include "core/spans.h"

#include <algorithm>
#include <bit>

namespace deltacnn {

void SpanList::Reserve(const Grid& grid) {
  const auto pixels = static_cast<size_t>(grid.pixels());
  spans_.reserve(pixels);
  chunk_begin_.reserve(pixels);
}

void SpanList::Clear() {
  spans_.clear();
  chunk_begin_.clear();
  pixels_ = 0;
  runs_ = 0;
}

void SpanList::Add(const MaskView& mask, int chunk, int side) {
  side > 1 ? AddTiles(mask, chunk, side) : AddRows(mask, chunk);
}

void SpanList::AddRows(const MaskView& mask, int chunk) {
  int room = 0;  // pixels that the open chunk still takes
  for (int row = 0; row < mask.grid.rows; ++row) {
    ForEachRun(mask.row(row), mask.grid.cols, [&](int begin, int end) {
      ++runs_;
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
}

void SpanList::AddTiles(const MaskView& mask, int chunk, int side) {
  const int most = std::max(1, chunk / (side * side));
  const uint64_t tile = (uint64_t{1} << side) - 1;
  int room = 0;  // tiles that the open chunk still takes
  const auto add_row = [&](int row, int col, uint64_t bits) {
    while (bits != 0) {
      const int skip = std::countr_zero(bits);
      const int count = std::countr_one(bits >> skip);
      spans_.push_back({row, col + skip, count, pixels_});
      pixels_ += static_cast<size_t>(count);
      bits &= ~(((uint64_t{1} << count) - 1) << skip);
    }
  };
  for (int top = 0; top < mask.grid.rows; top += side) {
    const int bottom = std::min(top + side, mask.grid.rows);
    for (int w = 0; w < mask.grid.words_per_row(); ++w) {
      uint64_t left = 0;
      for (int row = top; row < bottom; ++row) left |= mask.row(row)[w];
      while (left != 0) {
        const int bit = std::countr_zero(left) / side * side;
        left &= ~(tile << bit);
        if (room == 0) {
          chunk_begin_.push_back(spans_.size());
          room = most;
        }
        --room;
        for (int row = top; row < bottom; ++row)
          add_row(row, w * 64 + bit, mask.row(row)[w] >> bit & tile);
      }
    }
  }
  runs_ = spans_.size();
}

}  // namespace deltacnn
