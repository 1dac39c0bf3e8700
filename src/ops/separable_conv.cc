// A convolution, depthwise or of few outputs, and the 1x1 convolution behind it, in one pass over
// lists of pixels: what lies between them stays in the first- or second-level cache. A pixel's bits
// are those of the two convolutions one after the other.
//
// Inputs: x, weights and bias of the first convolution, those of the 1x1 convolution. The
// attributes are the first one's.
#include <algorithm>
#include <memory>

#include "ops/conv_base.h"
#include "ops/inner_conv.h"
#include "ops/packed_weights.h"
#include "ops/prefetch.h"

namespace deltacnn {
namespace {

constexpr int kChunk = 56;  // as in conv.cc

class SeparableConv : public ConvBase {
 public:
  SeparableConv(const MakeContext& context, const ConvWindow& window)
      : ConvBase(context, window, kChunk), inner_(context, window) {
    const std::span<const float> weights = context.in(3).constant->as<float>();
    const float* bias = context.Has(4) ? context.in(4).constant->as<float>().data() : nullptr;
    const size_t depth = inner_.outputs();
    pointwise_ = Pack(
        context, static_cast<size_t>(out_.channels), depth, context.bfloat16_weights,
        [&](size_t o, size_t k) { return weights[o * depth + k]; },
        [&](size_t o) { return bias != nullptr ? bias[o] : 0.0f; });
    // Rows a cache line apart from a power of two do not fall into the same sets of a cache.
    pitch_ = static_cast<ptrdiff_t>((depth + 15) / 16 * 16 + 16);
  }

  size_t ScratchBytes() const override {
    return ConvBase::ScratchBytes() + BetweenBytes() + inner_.SumBytes(kChunk);
  }

  void Compute(const Work& work) const override {
    const Scratch scratch = Divide(work.scratch);
    float* between = reinterpret_cast<float*>(work.scratch + scratch.bytes);
    float* sums = reinterpret_cast<float*>(work.scratch + scratch.bytes + BetweenBytes());
    kernels::Epilogue inner = inner_.Functions();
    inner.targets = &between;
    inner.target_step = pitch_;
    if (inner_.is_depthwise()) {
      PrefetchWindows(work, in_, map_[0], map_[1]);
      Runs(work, scratch.runs);
      inner_.Compute({scratch.runs, work.spans.size()}, inner);
    } else {
      ptrdiff_t step = 0;
      const size_t windows = Windows(work, scratch.pixels, step);
      inner_.Compute(scratch.pixels, windows, step, inner, sums);
    }

    kernels::Epilogue epilogue = Begin(work, scratch, /*adds=*/true);
    const float* first = between;
    const size_t count = work.spans.back().first - work.spans.front().first +
                         static_cast<size_t>(work.spans.back().count);
    const ptrdiff_t run_offset = 0;
    for (size_t p = 0; p < pointwise_.panels; ++p) {
      epilogue.width = std::min(kernels_.panel, pointwise_.outputs - p * kernels_.panel);
      kernels_.gemm({.pixels = &first,
                     .count = count,
                     .pixel_step = pitch_,
                     .run_offset = &run_offset,
                     .runs = 1,
                     .run_length = pointwise_.depth,
                     .weights = pointwise_.Panel(p),
                     .bias = pointwise_.bias.data() + p * kernels_.panel,
                     .columns = epilogue.width,
                     .epilogue = &epilogue});
      epilogue.channel += epilogue.width;
    }
    End(work, scratch);
  }

  int64_t MacsPerPixel() const override {
    return inner_.MacsPerPixel() + static_cast<int64_t>(pointwise_.depth) * out_.channels;
  }
  size_t WeightBytes() const override { return inner_.WeightBytes() + pointwise_.Bytes(); }

 private:
  size_t BetweenBytes() const { return static_cast<size_t>(kChunk * pitch_) * sizeof(float); }

  InnerConv inner_;
  PackedWeights pointwise_;
  ptrdiff_t pitch_;  // of the rows between the two, in floats
};

}  // namespace

Status InferSeparableConv(InferContext& context) {
  const Shape& in = context.shape(0);
  const auto window = WindowOf(context.node, in, context.shape(1));
  if (!window.ok()) return window.error();
  Shape out = {in[0], context.shape(3)[0]};
  const auto outputs = window->Outputs(in);
  out.insert(out.end(), outputs.begin() + (in.size() == 3 ? 1 : 0), outputs.end());
  context.SetOutput(0, DType::kFloat32, std::move(out));
  return {};
}

void LayoutSeparableConv(LayoutContext& context) {
  const Shape& in = context.shape(0);
  context.input_axes[0] = SpatialAxes(in.size());
  context.output_axes[0] = SpatialAxes(in.size());
  for (size_t i = 1; i < context.node.inputs.size(); ++i) context.input_in_memory[i] = false;
  const auto window = WindowOf(context.node, in, context.shape(1));
  context.input_halo[0] = window->HaloOf(in, context.output_shape(0), 1);
  LayoutChainOperands(context);
}

Result<KernelPtr> MakeSeparableConv(const MakeContext& context) {
  const auto window = WindowOf(context.node, context.in(0).shape, context.in(1).shape);
  if (!window.ok()) return window.error();
  return KernelPtr(std::make_unique<SeparableConv>(context, *window));
}

}  // namespace deltacnn
