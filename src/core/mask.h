// Pixel masks: one bit a pixel, rows of 64-bit words. Bits beyond the last column are always zero.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace deltacnn {

/// Bits set. std::popcount is a call of the compiler's library where the instruction is optional.
inline int CountBits(uint64_t x) {
  x -= x >> 1 & 0x5555555555555555;
  x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
  x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F;
  return static_cast<int>(x * 0x0101010101010101 >> 56);
}

/// The pixels of a value: the last pixel axis runs along the columns, all others are folded into
/// rows.
struct Grid {
  int rows = 1;
  int cols = 1;

  int words_per_row() const { return (cols + 63) / 64; }
  size_t words() const { return static_cast<size_t>(rows) * static_cast<size_t>(words_per_row()); }
  int64_t pixels() const { return int64_t{rows} * cols; }
  /// Position of a pixel's bit, counted from the first bit of the first word.
  int64_t Bit(int64_t row, int64_t col) const { return row * words_per_row() * 64 + col; }
  bool operator==(const Grid&) const = default;
};

/// Calls visit(word, shift, count) for every word of a row that holds some of columns [begin, end):
/// `count` of them, from bit `shift` on.
template <class Visit>
void ForEachWord(int begin, int end, Visit&& visit) {
  for (int count = 0; begin < end; begin += count) {
    const int shift = begin % 64;
    count = std::min(64 - shift, end - begin);
    visit(begin / 64, shift, count);
  }
}

/// `count` bits, 1..64, from bit `shift` on.
inline uint64_t BitRange(int shift, int count) { return ~uint64_t{0} >> (64 - count) << shift; }

/// A borrowed bitmap.
struct MaskView {
  uint64_t* words = nullptr;
  Grid grid;

  uint64_t* row(int r) const { return words + static_cast<size_t>(r) * grid.words_per_row(); }
  bool Test(int64_t bit) const { return (words[bit / 64] >> (bit % 64) & 1) != 0; }
  void Set(int64_t bit) const { words[bit / 64] |= uint64_t{1} << (bit % 64); }

  void Clear() const;
  void Fill() const;
  /// Sets columns [begin, end) of a row.
  void SetRange(int row_index, int begin, int end) const {
    uint64_t* bits = row(row_index);
    ForEachWord(begin, end,
                [&](int word, int shift, int count) { bits[word] |= BitRange(shift, count); });
  }
  /// The end of the stretch of columns from `begin` on, before `end`, that are all set or all not.
  int StretchEnd(int row_index, int begin, int end) const {
    const uint64_t* bits = row(row_index);
    const uint64_t flip = (bits[begin / 64] >> begin % 64 & 1) != 0 ? ~uint64_t{0} : 0;
    for (int col = begin; col < end; col = (col / 64 + 1) * 64) {
      const uint64_t others = (bits[col / 64] ^ flip) >> col % 64;
      if (others != 0) return std::min(col + std::countr_zero(others), end);
    }
    return end;
  }
  /// this |= other, which has the same grid.
  void Or(const MaskView& other) const;
  /// this &= other, which has the same grid.
  void And(const MaskView& other) const;
  bool RowEmpty(int row_index) const {
    const uint64_t* bits = row(row_index);
    return std::all_of(bits, bits + grid.words_per_row(), [](uint64_t w) { return w == 0; });
  }
  bool Empty() const;
  int64_t Count() const;
};

/// Calls visit(begin, end) for every maximal run of set bits among the first `cols` bits.
template <class Visit>
void ForEachRun(const uint64_t* words, int cols, Visit&& visit) {
  int begin = -1;  // start of a run that is still open
  for (int base = 0; base < cols; base += 64) {
    uint64_t word = words[base / 64];
    int at = 0;
    while (at < 64) {
      if (begin < 0) {
        if (word == 0) break;
        const int skip = std::countr_zero(word);
        begin = base + at + skip;
        at += skip;
        word >>= skip;
      }
      const int length = std::countr_one(word);
      at += length;
      if (at >= 64) break;  // the run goes on in the next word
      visit(begin, base + at);
      begin = -1;
      word >>= length;
    }
  }
  if (begin >= 0) visit(begin, cols);
}

/// The columns (or rows) a local operator connects: output o reads no inputs but [first[o],
/// last[o]), and input i is read by no outputs but [reader_first[i], reader_last[i]). Both ends of
/// the latter are monotonic in i; it is empty for an input that nothing reads.
struct WindowMap {
  std::vector<int> first, last;
  std::vector<int> reader_first, reader_last;
  // 1 or 2 if every output o reads the inputs from o * stride - before to o * stride + after, as
  // far as there are such; else 0.
  int stride = 0;
  int before = 0, after = 0;
  bool Identity() const { return stride == 1 && before == 0 && after == 0; }

  /// Derives the rest from `first` and `last` for `inputs` inputs.
  void Invert(int inputs);
  /// A convolution or pooling axis: `taps` taps `dilation` apart, `stride`, `pad` before the first
  /// input.
  static WindowMap Window(int inputs, int outputs, int taps, int stride, int dilation, int pad);

 private:
  void FindStencil(int inputs, int outputs);
};

/// Sets in `out` every pixel whose window (rows x cols) holds a set pixel of `in`. The rows are
/// those of `images` separate pictures of equal height.
void Affect(const MaskView& in, const WindowMap& rows, const WindowMap& cols, int images,
            const MaskView& out);

}  // namespace deltacnn
