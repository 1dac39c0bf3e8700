#include "ops/depthwise.h"

#include <algorithm>

namespace deltacnn {

Depthwise::Depthwise(const MakeContext& context, const ConvWindow& window, size_t weights)
    : kernels_(context.kernels),
      step_(window.stride[1] * context.in(0).col_stride),
      columns_(static_cast<size_t>(window.kernel[1])) {
  const Placement& in = context.in(0);
  const Tensor& filters = *context.in(weights).constant;
  const auto channels = static_cast<size_t>(filters.shape[0]);
  multiplier_ = channels / static_cast<size_t>(in.channels);
  const int64_t row_stride = in.shape.size() == 4 ? in.strides[2] : 0;
  for (int64_t y = 0; y < window.kernel[0]; ++y)
    for (int64_t x = 0; x < window.kernel[1]; ++x)
      taps_.push_back(y * window.dilation[0] * row_stride + x * window.dilation[1] * in.col_stride);
  if (window.dilation[1] == 1) pixel_pitch_ = in.col_stride;
  weights_ = context.memory.Take<float>(taps_.size() * channels);
  bias_ = context.memory.Take<float>(channels);
  for (size_t t = 0; t < taps_.size(); ++t)
    for (size_t c = 0; c < channels; ++c)
      weights_[t * channels + c] = filters.as<float>()[c * taps_.size() + t];
  if (context.Has(weights + 1))
    std::ranges::copy(context.in(weights + 1).constant->as<float>(), bias_.begin());
}

void Depthwise::Compute(std::span<kernels::PixelRun> runs, kernels::Epilogue epilogue) const {
  for (size_t c = 0; c < outputs(); c += kernels::kDepthwiseWidth) {
    epilogue.channel = c;
    epilogue.width = std::min(kernels::kDepthwiseWidth, outputs() - c);
    kernels_.depthwise({.runs = runs.data(),
                        .run_count = runs.size(),
                        .step = step_,
                        .tap_offset = taps_.data(),
                        .taps = taps_.size(),
                        .pixel_pitch = pixel_pitch_,
                        .columns = columns_,
                        .channels = epilogue.width,
                        .multiplier = multiplier_,
                        .first_channel = c,
                        .weights = weights_.data() + c,
                        .weight_pitch = outputs(),
                        .bias = bias_.data() + c,
                        .epilogue = &epilogue});
    if (multiplier_ > 1) continue;
    for (kernels::PixelRun& run : runs) run.first += epilogue.width;
  }
}

}  // namespace deltacnn
