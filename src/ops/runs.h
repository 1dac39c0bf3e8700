// Operators that make one pixel of a run of pixels, such as the sum of a row.
#pragma once

#include <algorithm>

#include "ops/op.h"

namespace deltacnn {

/// Output pixel i depends on the input pixels [i * run, (i + 1) * run) and on no others, pixels
/// counted row by row. Inputs but the first, if any, reach every output pixel.
///
/// Sums along a run are kept in interleaved partial results (pixel p of a run belongs to lane
/// p % lanes()), which are combined in order at the end. With about as many lanes as additions in
/// each, rounding errors grow with the square root of the run at most, and packed pixels make long
/// vectors.
class RunKernel : public Kernel {
 public:
  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override;
  int ChunkPixels() const override { return chunk_; }

 protected:
  /// The grid of `out` must divide the grid of `in` into runs.
  RunKernel(const Placement& in, const Grid& out);

  size_t channels() const { return static_cast<size_t>(in_.channels); }
  int64_t run() const { return run_; }
  size_t lanes() const { return static_cast<size_t>(lanes_); }

  /// Calls visit(x, lane, count) for the stretches of `count` packed pixels that make up the run of
  /// output pixel (row, col), in order; they belong to the lanes from `lane` on.
  template <class Visit>
  void ForEachStretch(const Work& work, int row, int col, Visit&& visit) const {
    const int64_t begin = (int64_t{row} * out_grid_.cols + col) * run_;
    const bool packed = in_.col_stride == in_.channels;
    for (int64_t i = 0, count = 0; i < run_; i += count) {
      const int64_t in_row = (begin + i) / in_.grid.cols;
      const int64_t in_col = (begin + i) % in_.grid.cols;
      const int64_t lane = i % lanes_;
      count = packed ? std::min({run_ - i, lanes_ - lane, in_.grid.cols - in_col}) : 1;
      visit(work.Pixel<float>(in_, static_cast<int>(in_row), static_cast<int>(in_col)),
            static_cast<size_t>(lane), static_cast<size_t>(count));
    }
  }

  Placement in_;

 private:
  Grid out_grid_;
  int64_t run_;
  int64_t lanes_;
  int chunk_;
};

}  // namespace deltacnn
