#include "core/mask.h"

#include <algorithm>

namespace deltacnn {
void MaskView::Clear() const { std::fill_n(words, grid.words(), 0); }

void MaskView::Fill() const {
  for (int r = 0; r < grid.rows; ++r) {
    std::fill_n(row(r), grid.words_per_row(), 0);
    SetRange(r, 0, grid.cols);
  }
}

void MaskView::Or(const MaskView& other) const {
  for (size_t i = 0; i < grid.words(); ++i) words[i] |= other.words[i];
}

void MaskView::And(const MaskView& other) const {
  for (size_t i = 0; i < grid.words(); ++i) words[i] &= other.words[i];
}

bool MaskView::Empty() const {
  return std::all_of(words, words + grid.words(), [](uint64_t w) { return w == 0; });
}

int64_t MaskView::Count() const {
  int64_t count = 0;
  for (size_t i = 0; i < grid.words(); ++i) count += CountBits(words[i]);
  return count;
}

void WindowMap::Invert(int inputs) {
  const int outputs = static_cast<int>(first.size());
  reader_first.assign(static_cast<size_t>(inputs), outputs);
  reader_last.assign(static_cast<size_t>(inputs), 0);
  // The first reader of an input is the first output whose window ends behind it, the last one the
  // last output whose window starts at or before it. That is exact where windows move forward with
  // the output, and a superset for transposed convolutions with dilations, whose windows do not.
  for (int o = 0; o < outputs; ++o) {
    if (first[o] >= last[o]) continue;
    reader_first[last[o] - 1] = std::min(reader_first[last[o] - 1], o);
    reader_last[first[o]] = std::max(reader_last[first[o]], o + 1);
  }
  for (int i = inputs - 1; i > 0; --i)
    reader_first[i - 1] = std::min(reader_first[i - 1], reader_first[i]);
  for (int i = 1; i < inputs; ++i) reader_last[i] = std::max(reader_last[i], reader_last[i - 1]);
  FindStencil(inputs, outputs);
}

void WindowMap::FindStencil(int inputs, int outputs) {
  constexpr int kMost = 32;
  for (const int step : {1, 2}) {
    if ((inputs + step - 1) / step != outputs) continue;
    before = after = 0;
    for (int o = 0; o < outputs; ++o) {
      before = std::max(before, o * step - first[o]);
      after = std::max(after, last[o] - 1 - o * step);
    }
    bool all = std::max(before, after) <= kMost;
    for (int o = 0; o < outputs && all; ++o)
      all = first[o] == std::max(o * step - before, 0) &&
            last[o] == std::min(o * step + after + 1, inputs);
    if (all) {
      stride = step;
      return;
    }
  }
  stride = before = after = 0;
}

namespace {

/// Every second bit, from the lowest on.
uint64_t EvenBits(uint64_t x) {
  x &= 0x5555555555555555;
  x = (x | x >> 1) & 0x3333333333333333;
  x = (x | x >> 2) & 0x0F0F0F0F0F0F0F0F;
  x = (x | x >> 4) & 0x00FF00FF00FF00FF;
  x = (x | x >> 8) & 0x0000FFFF0000FFFF;
  return (x | x >> 16) & 0xFFFFFFFF;
}

/// Sets in rows [first, last) of `out` the columns that read the set bits of a row of `words`
/// words, word by word.
void SpreadRow(const uint64_t* row, int words, const WindowMap& cols, const MaskView& out,
               int first, int last) {
  const int out_words = out.grid.words_per_row();
  const uint64_t used = ~uint64_t{0} >> (63 - (out.grid.cols - 1) % 64);  // of the last word
  for (int w = 0; w < words; ++w) {
    const uint64_t left = w == 0 ? 0 : row[w - 1];
    const uint64_t right = w + 1 == words ? 0 : row[w + 1];
    if ((row[w] | left | right) == 0) continue;
    uint64_t bits = row[w];
    for (int shift = 1; shift <= cols.before; ++shift)
      bits |= row[w] << shift | left >> (64 - shift);
    for (int shift = 1; shift <= cols.after; ++shift)
      bits |= row[w] >> shift | right << (64 - shift);
    int to = w;
    if (cols.stride == 2) {
      to = w / 2;
      bits = EvenBits(bits) << (w % 2 * 32);
    }
    if (to + 1 == out_words) bits &= used;
    for (int r = first; r < last; ++r) out.row(r)[to] |= bits;
  }
}

}  // namespace

WindowMap WindowMap::Window(int inputs, int outputs, int taps, int stride, int dilation, int pad) {
  WindowMap map;
  for (int o = 0; o < outputs; ++o) {
    const int64_t begin = int64_t{o} * stride - pad;
    const int64_t end = begin + int64_t{taps - 1} * dilation + 1;
    map.first.push_back(static_cast<int>(std::clamp<int64_t>(begin, 0, inputs)));
    map.last.push_back(static_cast<int>(std::clamp<int64_t>(end, 0, inputs)));
  }
  map.Invert(inputs);
  return map;
}

void Affect(const MaskView& in, const WindowMap& rows, const WindowMap& cols, int images,
            const MaskView& out) {
  if (rows.Identity() && cols.Identity()) return out.Or(in);
  if (images == 0) return;
  const int in_rows = in.grid.rows / images;
  const int out_rows = out.grid.rows / images;
  for (int r = 0; r < in.grid.rows; ++r) {
    if (in.RowEmpty(r)) continue;
    const int image = r / in_rows;
    const int first = rows.reader_first[r % in_rows];
    const int last = rows.reader_last[r % in_rows];
    if (first >= last) continue;
    if (cols.stride > 0) {
      const int top = image * out_rows;
      SpreadRow(in.row(r), in.grid.words_per_row(), cols, out, top + first, top + last);
      continue;
    }
    ForEachRun(in.row(r), in.grid.cols, [&](int begin, int end) {
      const int from = cols.reader_first[begin];
      const int to = cols.reader_last[end - 1];
      for (int o = first; o < last; ++o) out.SetRange(image * out_rows + o, from, to);
    });
  }
}

}  // namespace deltacnn
