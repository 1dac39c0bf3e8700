#include "ops/conv_gemm.h"

#include <algorithm>

namespace deltacnn {
namespace {

// Of a panel's weights, what a call reads for every few pixels again: it should stay in the
// second-level cache, beside the inputs.
constexpr size_t kPartBytes = size_t{3} << 17;

}  // namespace

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
  DivideRuns();
  const auto taps = static_cast<size_t>(kh * kw);
  weights_ = Pack(
      context, outputs, taps * channels_, context.bfloat16_weights,
      [&](size_t o, size_t k) {
        const size_t tap = k / channels_;
        return weights[((group * outputs + o) * channels_ + k % channels_) * taps + tap];
      },
      [&](size_t o) { return bias != nullptr ? bias[group * outputs + o] : 0.0f; });
}

/// Chooses how many runs, or parts of them, a call takes.
void ConvGemm::DivideRuns() {
  const size_t most = kPartBytes / (kernels_.panel * sizeof(float));  // products
  runs_at_once_ = runs_.size();
  if (runs_.size() * run_length_ <= most) return;
  // All of a run's parts are equal; with too short ones, and so with few divisors, better none.
  const size_t fewest = (run_length_ + most - 1) / most;
  size_t parts = fewest;
  while (run_length_ % parts != 0 && parts < 4 * fewest) ++parts;
  if (run_length_ % parts != 0) parts = 1;
  run_length_ /= parts;
  divisions_ = parts;
  std::vector<ptrdiff_t> divided;
  for (const ptrdiff_t run : runs_)
    for (size_t i = 0; i < parts; ++i)
      divided.push_back(run + static_cast<ptrdiff_t>(i * run_length_));
  runs_ = std::move(divided);
  runs_at_once_ = std::max<size_t>(most / run_length_, 1);
}

size_t ConvGemm::SumBytes(size_t count) const {
  return runs_at_once_ == runs_.size() ? 0 : count * kernels_.panel * sizeof(float);
}

void ConvGemm::Compute(const float* const* pixels, size_t count, ptrdiff_t step,
                       kernels::Epilogue& epilogue, float* sums) const {
  const size_t panel = kernels_.panel;
  for (size_t p = 0; p < weights_.panels; ++p) {
    epilogue.width = std::min(panel, weights_.outputs - p * panel);
    for (size_t run = 0; run < runs_.size(); run += runs_at_once_) {
      const bool last = run + runs_at_once_ >= runs_.size();
      kernels_.gemm({.pixels = pixels,
                     .count = count,
                     .pixel_step = step,
                     .run_offset = runs_.data() + run,
                     .runs = std::min(runs_at_once_, runs_.size() - run),
                     .run_length = run_length_,
                     .weights = weights_.Panel(p, run * run_length_),
                     .bias = last ? weights_.bias.data() + p * panel : kNoBias.data(),
                     .sums = run == 0 ? nullptr : sums,
                     .out = sums,
                     .out_pitch = panel,
                     .columns = epilogue.width,
                     .epilogue = last ? &epilogue : nullptr});
    }
    epilogue.channel += epilogue.width;
  }
}

void ConvGemm::ComputeParts(const float* const* pixels, std::span<const PixelPart> parts,
                            kernels::Epilogue& epilogue, float* sums) const {
  const size_t panel = kernels_.panel;
  for (size_t p = 0; p < weights_.panels; ++p) {
    epilogue.width = std::min(panel, weights_.outputs - p * panel);
    for (size_t run = 0; run < runs_.size(); ++run) {
      const size_t tap = run / divisions_;
      for (const PixelPart& part : parts) {
        if ((part.taps >> tap & 1) == 0) continue;
        const bool begun = (part.taps & ((uint64_t{1} << tap) - 1)) != 0 || run % divisions_ != 0;
        float* sum = sums + part.first * panel;
        kernels_.gemm({.pixels = pixels + part.first,
                       .count = part.count,
                       .run_offset = runs_.data() + run,
                       .runs = 1,
                       .run_length = run_length_,
                       .weights = weights_.Panel(p, run * run_length_),
                       .bias = kNoBias.data(),
                       .sums = begun ? sum : nullptr,
                       .out = sum,
                       .out_pitch = panel,
                       .columns = epilogue.width});
      }
    }
    kernels_.gemm({.pixels = pixels,
                   .count = parts.back().first + parts.back().count,
                   .run_offset = nullptr,
                   .runs = 0,
                   .run_length = run_length_,
                   .weights = weights_.Panel(p),
                   .bias = weights_.bias.data() + p * panel,
                   .sums = sums,
                   .out = sums,
                   .out_pitch = panel,
                   .columns = epilogue.width,
                   .epilogue = &epilogue});
    epilogue.channel += epilogue.width;
  }
}

}  // namespace deltacnn
