#include "ops/conv_gemm.h"

#include <algorithm>

namespace deltacnn {

ConvGemm::ConvGemm(const MakeContext& context, const ConvWindow& window, size_t group)
    : kernels_(context.kernels) {
  const Placement& in = context.in(0);
  const Tensor& filters = *context.in(1).constant;
  const float* weights = filters.as<float>().data();
  const float* bias = context.Has(2) ? context.in(2).constant->as<float>().data() : nullptr;
  const auto groups = static_cast<size_t>(window.groups);
  const auto [kh, kw] = window.kernel;
  const auto outputs = static_cast<size_t>(filters.shape[0]) / groups;
  channels_ = static_cast<size_t>(in.channels) / groups;
  const bool adjacent = groups == 1 && window.dilation[1] == 1 && in.col_stride == in.channels;
  run_length_ = adjacent ? channels_ * static_cast<size_t>(kw) : channels_;
  const int64_t row_stride = in.shape.size() == 4 ? in.strides[2] : 0;
  for (int64_t y = 0; y < kh; ++y) {
    for (int64_t x = 0; x < (adjacent ? 1 : kw); ++x)
      runs_.push_back(y * window.dilation[0] * row_stride + x * window.dilation[1] * in.col_stride);
  }
  const auto taps = static_cast<size_t>(kh * kw);
  weights_ = Pack(
      context, outputs, taps * channels_, context.bfloat16_weights,
      [&](size_t o, size_t k) {
        const size_t tap = k / channels_;
        return weights[((group * outputs + o) * channels_ + k % channels_) * taps + tap];
      },
      [&](size_t o) { return bias != nullptr ? bias[group * outputs + o] : 0.0f; });
}

void ConvGemm::Compute(const float* const* pixels, size_t count, ptrdiff_t step,
                       kernels::Epilogue& epilogue) const {
  const size_t panel = kernels_.panel;
  for (size_t p = 0; p < weights_.panels; ++p) {
    epilogue.width = std::min(panel, weights_.outputs - p * panel);
    kernels_.gemm({.pixels = pixels,
                   .count = count,
                   .pixel_step = step,
                   .run_offset = runs_.data(),
                   .runs = runs_.size(),
                   .run_length = run_length_,
                   .weights = weights_.Panel(p),
                   .bias = weights_.bias.data() + p * panel,
                   .columns = epilogue.width,
                   .epilogue = &epilogue});
    epilogue.channel += epilogue.width;
  }
}

}  // namespace deltacnn
