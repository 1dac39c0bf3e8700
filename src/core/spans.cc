#include "core/spans.h"

#include <algorithm>
#include <bit>

namespace deltacnn {

void SpanList::Reserve(const Grid& grid) {
  const auto pixels = static_cast<size_t>(grid.pixels());
  spans_.reserve(pixels);
  chunk_begin_.reserve(pixels);
}

void SpanList::Build(const MaskView& mask, int chunk, int side, const MaskView& focus) {
  spans_.clear();
  chunk_begin_.clear();
  pixels_ = 0;
  runs_ = 0;
  side > 1 ? BuildTiles(mask, chunk, side, focus) : BuildRows(mask, chunk, focus);
}

void SpanList::BuildRows(const MaskView& mask, int chunk, const MaskView& focus) {
  int room = 0;  // pixels that the open chunk still takes
  const auto add = [&](int row, int begin, int end, bool background) {
    while (begin < end) {
      if (room == 0) {
        chunk_begin_.push_back(spans_.size());
        room = chunk;
      }
      const int count = std::min(room, end - begin);
      spans_.push_back({row, begin, count, pixels_, background});
      pixels_ += static_cast<size_t>(count);
      begin += count;
      room -= count;
    }
  };
  for (int row = 0; row < mask.grid.rows; ++row) {
    ForEachRun(mask.row(row), mask.grid.cols, [&](int begin, int end) {
      ++runs_;
      if (focus.words == nullptr) return add(row, begin, end, false);
      while (begin < end) {
        const int next = focus.StretchEnd(row, begin, end);
        add(row, begin, next, !focus.Test(focus.grid.Bit(row, begin)));
        begin = next;
      }
    });
  }
}

void SpanList::BuildTiles(const MaskView& mask, int chunk, int side, const MaskView& focus) {
  const int most = std::max(1, chunk / (side * side));
  const uint64_t tile = (uint64_t{1} << side) - 1;
  int room = 0;  // tiles that the open chunk still takes
  const auto add_row = [&](int row, int col, uint64_t bits) {
    while (bits != 0) {
      const int skip = std::countr_zero(bits);
      const int begin = col + skip;
      int count = std::countr_one(bits >> skip);
      bool background = false;
      if (focus.words != nullptr) {
        count = focus.StretchEnd(row, begin, begin + count) - begin;
        background = !focus.Test(focus.grid.Bit(row, begin));
      }
      spans_.push_back({row, begin, count, pixels_, background});
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
