// Noise pictures of which a given share changes: what `bench` feeds a network without a video.
#pragma once

#include <cstdint>
#include <random>

#include "deltacnn/model.h"
#include "deltacnn/post.h"
#include "deltacnn/tensor.h"

namespace deltacnn::cli {

/// Cells that a picture is divided into.
struct CellGrid {
  int rows = 1;
  int cols = 1;
};

/// The cells of the plan's coarsest layers. Layers with less than 2 % of the multiply-adds do not
/// count: their time is not worth coarser blobs everywhere.
CellGrid CoarsestCells(const Plan& plan, const CellGrid& pixels);

/// The same noise in the inputs of two streams, in which two rectangles, one in each half, move and
/// get new noise with every change.
class SyntheticInput {
 public:
  /// Rectangles consist of whole cells of `cells`.
  SyntheticInput(const ImageTarget& first, const ImageTarget& second, const InputSpec& spec,
                 const CellGrid& cells);

  /// Changes this share of the pixels, as nearly as cells allow; some, unless it is 0.
  void Change(double share);

 private:
  int ChangePart(int first_col, int cols, int wanted);
  void Fill(int x0, int y0, int x1, int y1);

  ImageTarget first_;
  ImageTarget second_;
  const InputSpec& spec_;
  CellGrid cells_;
  std::minstd_rand random_;
  int64_t step_ = 0;
};

}  // namespace deltacnn::cli
