// Convolution over lists of pixels: an indirect GEMM, or the depthwise kernel.
//
// The input has zeros around it (its halo), so every tap of every window is at a fixed distance
// from the window's first pixel: one pointer an output pixel is all the indirection there is. The
// taps of a kernel row are one contiguous run where the input's pixels are adjacent in memory.
//
// Linear, a product with constant weights along the last axis, is the same with a window of one
// pixel.
#include <algorithm>
#include <memory>

#include "ops/checks.h"
#include "ops/conv_base.h"
#include "ops/conv_gemm.h"
#include "ops/depthwise.h"
#include "ops/dilated_conv.h"
#include "ops/prefetch.h"
#include "ops/winograd.h"

namespace deltacnn {
namespace {

// Output pixels of one call: enough to reuse a weight panel from the second-level cache, few enough
// that their results stay in the first.
constexpr int kChunk = 70;

// The same where the weights are so many that the third-level cache may not keep them from one call
// to the next.
constexpr int kLongChunk = 784;
constexpr int64_t kManyWeights = int64_t{2} << 20;

class GemmConv : public ConvBase {
 public:
  GemmConv(const MakeContext& context, const ConvWindow& window)
      : ConvBase(context, window,
                 context.in(1).constant->elements() > kManyWeights ? kLongChunk : kChunk) {
    for (size_t g = 0; g < static_cast<size_t>(window.groups); ++g)
      groups_.emplace_back(context, window, g);
  }

  size_t ScratchBytes() const override {
    return ConvBase::ScratchBytes() + groups_[0].SumBytes(static_cast<size_t>(ChunkPixels()));
  }

  void Compute(const Work& work) const override {
    const Scratch scratch = Divide(work.scratch);
    ptrdiff_t step = 0;
    const size_t count = Windows(work, scratch.pixels, step);
    kernels::Epilogue epilogue = Begin(work, scratch, /*adds=*/true);
    auto* sums = reinterpret_cast<float*>(work.scratch + scratch.bytes);
    for (const ConvGemm& group : groups_) {
      group.Compute(scratch.pixels, count, step, epilogue, sums);
      for (size_t i = 0; i < (step == 0 ? count : 1); ++i)
        scratch.pixels[i] += group.input_channels();
    }
    End(work, scratch);
  }

  int64_t MacsPerPixel() const override {
    return static_cast<int64_t>(groups_.size()) * groups_[0].MacsPerPixel();
  }
  size_t WeightBytes() const override { return groups_.size() * groups_[0].WeightBytes(); }

 private:
  std::vector<ConvGemm> groups_;
};

/// Few outputs would leave most of a GEMM panel empty.
class DotConv : public ConvBase {
 public:
  DotConv(const MakeContext& context, const ConvWindow& window)
      : ConvBase(context, window, kChunk) {
    const float* weights = context.in(1).constant->as<float>().data();
    const auto [kh, kw] = window.kernel;
    const auto channels = static_cast<size_t>(in_.channels);
    const auto outputs = static_cast<size_t>(out_.channels);
    const bool adjacent = window.dilation[1] == 1 && in_.col_stride == in_.channels;
    const int64_t joined = adjacent ? kw : 1;  // taps of a run
    run_length_ = channels * static_cast<size_t>(joined);
    run_pitch_ = (run_length_ + kernels_.dot_lanes - 1) / kernels_.dot_lanes * kernels_.dot_lanes;
    for (int64_t y = 0; y < kh; ++y)
      for (int64_t x = 0; x < kw; x += joined) runs_.push_back(TapOffset(y, x));
    const auto taps = static_cast<size_t>(kh * kw);
    weights_ = context.memory.Take<float>(runs_.size() * outputs * run_pitch_);
    bias_ = context.memory.Take<float>(outputs);
    for (size_t r = 0; r < runs_.size(); ++r) {
      for (size_t o = 0; o < outputs; ++o) {
        for (size_t k = 0; k < run_length_; ++k) {
          const size_t tap = r * static_cast<size_t>(joined) + k / channels;
          weights_[(r * outputs + o) * run_pitch_ + k] =
              weights[(o * channels + k % channels) * taps + tap];
        }
      }
    }
    if (context.Has(2)) std::ranges::copy(context.in(2).constant->as<float>(), bias_.begin());
  }

  /// Whether it beats the GEMM: the sums across vectors must be few beside the products.
  static bool Suits(const ConvWindow& window, int64_t channels, int64_t outputs) {
    constexpr int64_t kLeastProducts = 64;
    return window.groups == 1 && outputs <= static_cast<int64_t>(kernels::kDotColumns) &&
           window.kernel[0] * window.kernel[1] * channels >= kLeastProducts;
  }

  void Compute(const Work& work) const override {
    const Scratch scratch = Divide(work.scratch);
    const size_t count = Windows(work, scratch.pixels);
    kernels::Epilogue epilogue = Begin(work, scratch, /*adds=*/true);
    epilogue.width = bias_.size();
    kernels_.dot({.pixels = scratch.pixels,
                  .count = count,
                  .run_offset = runs_.data(),
                  .runs = runs_.size(),
                  .run_length = run_length_,
                  .weights = weights_.data(),
                  .run_pitch = run_pitch_,
                  .bias = bias_.data(),
                  .columns = bias_.size(),
                  .epilogue = &epilogue});
    End(work, scratch);
  }

  int64_t MacsPerPixel() const override {
    return static_cast<int64_t>(runs_.size() * run_length_) * out_.channels;
  }
  size_t WeightBytes() const override { return (weights_.size() + bias_.size()) * sizeof(float); }

 private:
  std::vector<ptrdiff_t> runs_;
  size_t run_length_ = 0;
  size_t run_pitch_ = 0;
  std::span<float> weights_;
  std::span<float> bias_;
};

class DepthwiseConv : public ConvBase {
 public:
  DepthwiseConv(const MakeContext& context, const ConvWindow& window)
      : ConvBase(context, window, kChunk), depthwise_(context, window, 1) {}

  void Compute(const Work& work) const override {
    const Scratch scratch = Divide(work.scratch);
    // Short of arithmetic: memory is what it waits for.
    PrefetchWindows(work, in_, map_[0], map_[1]);
    Runs(work, scratch.runs);
    depthwise_.Compute({scratch.runs, work.spans.size()}, Begin(work, scratch, /*adds=*/false));
    End(work, scratch);
  }

  int64_t MacsPerPixel() const override { return depthwise_.MacsPerPixel(); }
  size_t WeightBytes() const override { return depthwise_.WeightBytes(); }

 private:
  Depthwise depthwise_;
};

}  // namespace

Status InferLinear(InferContext& context) {
  const Shape& weights = context.shape(1);  // [outputs, inputs]
  Shape out = context.shape(0);
  if (out.empty() || weights.size() != 2 || out.back() != weights[1])
    return context.Invalid("weights " + ToString(weights) + " do not fit " + ToString(out));
  out.back() = weights[0];
  context.SetOutput(0, DType::kFloat32, std::move(out));
  return {};
}

void LayoutLinear(LayoutContext& context) {
  const AxisSet all_but_last = AllAxes(context.shape(0).size() - 1);
  context.input_axes[0] = all_but_last;
  context.output_axes[0] = all_but_last;
  for (size_t i = 1; i < context.node.inputs.size(); ++i) context.input_in_memory[i] = false;
  LayoutChainOperands(context);
}

Result<KernelPtr> MakeLinear(const MakeContext& context) {
  const ConvWindow pixel;
  if (DotConv::Suits(pixel, context.in(0).channels, context.out(0).channels))
    return KernelPtr(std::make_unique<DotConv>(context, pixel));
  return KernelPtr(std::make_unique<GemmConv>(context, pixel));
}

Status InferConv(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckConvInputs(context));
  const Shape& in = context.shape(0);
  const Shape& weights = context.shape(1);
  auto window = WindowOf(context.node, in, weights);
  if (!window.ok()) return window.error();
  const int64_t groups = window->groups;
  if (groups < 1 || in[1] % groups != 0 || weights[0] % groups != 0 ||
      weights[1] != in[1] / groups || in[1] == 0 || weights[0] == 0) {
    return context.Invalid("weights " + ToString(weights) + " do not fit " + std::to_string(in[1]) +
                           " input channels in " + std::to_string(groups) + " groups");
  }
  DELTACNN_RETURN_IF_ERROR(CheckConvConstants(context, weights[0]));
  Shape out = {in[0], weights[0]};
  const auto outputs = window->Outputs(in);
  for (size_t a = in.size() == 3 ? 1 : 0; a < 2; ++a) {
    if (outputs[a] == 0)
      return context.Invalid("its window is larger than the input " + ToString(in));
    out.push_back(outputs[a]);
  }
  context.SetOutput(0, DType::kFloat32, std::move(out));
  return {};
}

void LayoutConv(LayoutContext& context) {
  const Shape& in = context.shape(0);
  const Shape& out = context.output_shape(0);
  context.input_axes[0] = SpatialAxes(in.size());
  context.output_axes[0] = SpatialAxes(in.size());
  for (size_t i = 1; i < context.node.inputs.size(); ++i) context.input_in_memory[i] = false;
  const auto window = WindowOf(context.node, in, context.shape(1));
  context.input_halo[0] = window->HaloOf(in, out, std::max(1, WinogradTile(*window, in, out)));
  LayoutChainOperands(context);
}

Result<KernelPtr> MakeConv(const MakeContext& context) {
  const auto window = WindowOf(context.node, context.in(0).shape, context.in(1).shape);
  if (!window.ok()) return window.error();
  if (SuitsWinograd(context, *window)) return MakeWinograd(context, *window);
  const bool depthwise = window->groups == context.in(0).channels;
  if (depthwise && window->groups > 1)
    return KernelPtr(std::make_unique<DepthwiseConv>(context, *window));
  if (DotConv::Suits(*window, context.in(0).channels, context.out(0).channels))
    return KernelPtr(std::make_unique<DotConv>(context, *window));
  if (SuitsDilated(*window, context.in(0).shape, context.out(0).shape))
    return MakeDilated(context, *window);
  return KernelPtr(std::make_unique<GemmConv>(context, *window));
}

}  // namespace deltacnn
