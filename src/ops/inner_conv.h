// The convolution in front of what it is one step with: a 1x1 convolution or a pool.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "ops/chain.h"
#include "ops/conv_gemm.h"
#include "ops/depthwise.h"

namespace deltacnn {

/// A depthwise convolution or one of few outputs, and the functions right behind it.
class InnerConv {
 public:
  /// Reads the context's input 0; the weights are input 1, their bias input 2, the functions the
  /// node's inner chain.
  InnerConv(const MakeContext& context, const ConvWindow& window);

  bool is_depthwise() const { return depthwise_.has_value(); }
  size_t outputs() const { return is_depthwise() ? depthwise_->outputs() : gemm_->outputs(); }
  int64_t MacsPerPixel() const {
    return is_depthwise() ? depthwise_->MacsPerPixel() : gemm_->MacsPerPixel();
  }
  size_t WeightBytes() const {
    return is_depthwise() ? depthwise_->WeightBytes() : gemm_->WeightBytes();
  }
  size_t SumBytes(size_t count) const { return is_depthwise() ? 0 : gemm_->SumBytes(count); }

  /// Does the functions; where results go is to be filled in.
  kernels::Epilogue Functions() const;
  /// What ConvGemm and Depthwise have: the one for depthwise convolutions, the other for others.
  void Compute(std::span<kernels::PixelRun> runs, const kernels::Epilogue& epilogue) const {
    depthwise_->Compute(runs, epilogue);
  }
  void Compute(const float* const* pixels, size_t count, ptrdiff_t step,
               kernels::Epilogue& epilogue, float* sums) const {
    gemm_->Compute(pixels, count, step, epilogue, sums);
  }

 private:
  std::optional<Depthwise> depthwise_;  // or else
  std::optional<ConvGemm> gemm_;
  kernels::Epilogue rectifier_;
  std::vector<kernels::EpilogueStep> steps_;
};

}  // namespace deltacnn
