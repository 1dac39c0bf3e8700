// The work list of a step: which pixels to compute, cut into chunks for the threads.
#pragma once

#include <cstdint>
#include <vector>

#include "core/mask.h"
#include "ops/op.h"

namespace deltacnn {

class SpanList {
 public:
  /// Makes room for any list over `grid`, so that Build never allocates.
  void Reserve(const Grid& grid);

  /// Lists the set pixels in chunks of at most `chunk` pixels, row by row.
  void Build(const MaskView& mask, int chunk);
  /// The same by tiles of `side` x `side` pixels (side divides 64): all pixels of one, then those
  /// of its right neighbour. No chunk has more than chunk / (side * side) tiles, but one at least.
  void BuildByTiles(const MaskView& mask, int chunk, int side);

  size_t chunks() const { return chunk_begin_.empty() ? 0 : chunk_begin_.size() - 1; }
  std::span<const Span> chunk(size_t i) const {
    return std::span(spans_).subspan(chunk_begin_[i], chunk_begin_[i + 1] - chunk_begin_[i]);
  }
  std::span<const Span> all() const { return spans_; }
  size_t pixels() const { return pixels_; }
  /// Runs of adjacent pixels (of a tile's row, by tiles), as they were before chunks cut them.
  size_t runs() const { return runs_; }

 private:
  std::vector<Span> spans_;
  std::vector<size_t> chunk_begin_;  // and the end of the last chunk
  size_t pixels_ = 0;
  size_t runs_ = 0;
};

}  // namespace deltacnn
