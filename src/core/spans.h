// The work list of a step: which pixels to compute, cut into chunks for the threads.
#pragma once

#include <cstdint>
#include <vector>

#include "core/mask.h"
#include "ops/op.h"

namespace deltacnn {

class SpanList {
 public:
  /// Makes room for any list over `grid`, also one of two masks that share no pixel, so that Add
  /// never allocates.
  void Reserve(const Grid& grid);

  void Clear();
  /// Lists the set pixels behind those listed, in chunks of their own: of at most `chunk` pixels
  /// each, row by row; or, with a `side` above 1, by tiles of side x side pixels (it divides 64),
  /// all pixels of one and then those of its right neighbour, in chunks of at most chunk / (side *
  /// side) tiles, but one at least.
  void Add(const MaskView& mask, int chunk, int side = 1);

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
  void AddRows(const MaskView& mask, int chunk);
  void AddTiles(const MaskView& mask, int chunk, int side);

  std::vector<Span> spans_;
  std::vector<size_t> chunk_begin_;
  size_t pixels_ = 0;
  size_t runs_ = 0;
};

}  // namespace deltacnn
