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

  /// Lists the set pixels in chunks: of at most `chunk` pixels each, row by row; or, with a `side`
  /// above 1, by tiles of side x side pixels (it divides 64), all pixels of one and then those of
  /// its right neighbour, in chunks of at most chunk / (side * side) tiles, but one at least. Runs
  /// without a pixel in `focus`, if that has words, are marked as background.
  void Build(const MaskView& mask, int chunk, int side = 1, const MaskView& focus = {});

  size_t chunks() const { return chunk_begin_.size(); }
  std::span<const Span> chunk(size_t i) const {
    const size_t end = i + 1 < chunks() ? chunk_begin_[i + 1] : spans_.size();
    return std::span(spans_).subspan(chunk_begin_[i], end - chunk_begin_[i]);
  }
  std::span<const Span> all() const { return spans_; }
  size_t pixels() const { return pixels_; }
  /// Runs of adjacent pixels (of a tile's row, by tiles), as they were before chunks cut them.
  size_t runs() const { return runs_; }

 private:
  void BuildRows(const MaskView& mask, int chunk, const MaskView& focus);
  void BuildTiles(const MaskView& mask, int chunk, int side, const MaskView& focus);

  std::vector<Span> spans_;
  std::vector<size_t> chunk_begin_;
  size_t pixels_ = 0;
  size_t runs_ = 0;
};

}  // namespace deltacnn
