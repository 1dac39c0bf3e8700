// Noise pictures of which a given share changes: what `bench` feeds a network without a video.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

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

/// Noise in the input of a stream, in which two rectangles, one in each half, move and get new
/// noise with every change. Nothing else is written: a step finds the caches as a camera's would.
class SyntheticInput {
 public:
  /// Rectangles consist of whole cells of `cells`.
  SyntheticInput(const ImageTarget& target, const InputSpec& spec, const CellGrid& cells);

  /// Changes this share of the pixels, as nearly as cells allow; some, unless it is 0.
  void Change(double share);

 private:
  int ChangePart(int first_col, int cols, int wanted);
  void Fill(int x0, int y0, int x1, int y1);

  ImageTarget target_;
  CellGrid cells_;
  std::vector<float> noise_;  // pixels, each with its channels
  std::minstd_rand random_;
  int64_t step_ = 0;
};

}  // namespace deltacnn::cli
