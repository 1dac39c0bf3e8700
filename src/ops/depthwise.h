// The arithmetic of a depthwise convolution, alone or in front of a 1x1 one.
#pragma once

#include <span>
#include <vector>

#include "ops/conv_window.h"
#include "ops/op.h"

namespace deltacnn {

class Depthwise {
 public:
  /// Reads the context's input 0; its weights are input `weights`, its bias the next one.
  Depthwise(const MakeContext& context, const ConvWindow& window, size_t weights);

  size_t outputs() const { return bias_.size(); }
  /// All channels at the pixels of the runs, which it moves. The epilogue's channel and width are
  /// filled in.
  void Compute(std::span<kernels::PixelRun> runs, kernels::Epilogue epilogue) const;

  int64_t MacsPerPixel() const { return static_cast<int64_t>(weights_.size()); }
  size_t WeightBytes() const { return (weights_.size() + bias_.size()) * sizeof(float); }

 private:
  const kernels::Table& kernels_;
  ptrdiff_t step_;             // of the windows of adjacent outputs, in floats
  ptrdiff_t pixel_pitch_ = 0;  // of windows that overlap but for a column of taps
  size_t columns_;
  size_t multiplier_;
  std::vector<ptrdiff_t> taps_;
  std::span<float> weights_;  // [tap][channel]
  std::span<float> bias_;
};

}  // namespace deltacnn
