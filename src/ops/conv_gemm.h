// The arithmetic of a convolution as an indirect GEMM, alone or in front of a 1x1 one.
#pragma once

#include <span>
#include <vector>

#include "ops/conv_window.h"
#include "ops/op.h"
#include "ops/packed_weights.h"

namespace deltacnn {

/// Pixels of a call that need some of a window's taps.
struct PixelPart {
  size_t first;
  size_t count;
  uint64_t taps;  // bit y * kernel width + x
};

/// One group of a convolution. The taps of a kernel row are one contiguous run where the input's
/// pixels are adjacent in memory.
class ConvGemm {
 public:
  /// Reads the context's input 0; the weights of all groups are input 1, their bias input 2.
  ConvGemm(const MakeContext& context, const ConvWindow& window, size_t group);

  size_t outputs() const { return weights_.outputs; }
  size_t input_channels() const { return channels_; }
  int64_t MacsPerPixel() const {
    return static_cast<int64_t>(weights_.depth) * static_cast<int64_t>(weights_.outputs);
  }
  size_t WeightBytes() const { return weights_.Bytes(); }

  /// Bytes for the sums of `count` pixels, 0 if one call of the kernel takes all of a panel.
  size_t SumBytes(size_t count) const;
  /// The group's outputs at `count` pixels, of whose windows `pixels` are the first pixels, or
  /// whose windows are `step` apart from *pixels on if that is not 0. They go to the epilogue's
  /// channels from its `channel` on, which is moved behind them. `sums`: SumBytes.
  void Compute(const float* const* pixels, size_t count, ptrdiff_t step,
               kernels::Epilogue& epilogue, float* sums) const;
  /// The same where each part of the pixels needs some taps only, and the others read zeros.
  /// `sums`: a panel of each pixel. For windows whose taps are no runs together.
  void ComputeParts(const float* const* pixels, std::span<const PixelPart> parts,
                    kernels::Epilogue& epilogue, float* sums) const;

 private:
  void DivideRuns();

  const kernels::Table& kernels_;
  size_t channels_;
  std::vector<ptrdiff_t> runs_;  // offsets from a window's first pixel
  size_t run_length_;
  size_t divisions_ = 1;  // runs in the place of one
  size_t runs_at_once_;   // of a call
  PackedWeights weights_;
};

}  // namespace deltacnn
