// Softmax and LogSoftmax, pixel by pixel: the normalised axes lie inside the pixel.
#include <algorithm>
#include <array>
#include <cmath>

#include "ops/checks.h"
#include "ops/op.h"
#include "ops/store.h"
#include "ops/sum.h"

namespace deltacnn {
namespace {

/// Axes outside the pixel's vector. Before opset 13 the tensor counts as two-dimensional:
/// everything from `axis` on is normalised together.
AxisSet PixelAxes(const Node& node, int64_t opset, size_t rank) {
  const size_t axis = FromFront(node.Int("axis", opset < 13 ? 1 : -1), rank);
  return opset < 13 ? AllAxes(axis) : AllAxes(rank) & ~Axis(axis);
}

class SoftmaxKernel : public Kernel {
 public:
  explicit SoftmaxKernel(const MakeContext& context)
      : in_(context.in(0)),
        out_(context.out(0)),
        kernels_(context.kernels),
        logarithm_(context.node.op == "LogSoftmax"),
        chunk_(static_cast<int>(
            std::clamp<int64_t>(4096 / std::max<int64_t>(in_.channels, 1), 1, 256))) {}

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    out.Or(inputs[0]);
  }

  int ChunkPixels() const override { return chunk_; }
  size_t ScratchBytes() const override {
    return 2 * static_cast<size_t>(chunk_) * (channels() + 1) * sizeof(float);
  }

  void Compute(const Work& work) const override {
    if (channels() == 0) return;
    channels() <= kFewChannels ? ComputeAcross(work) : ComputeAlong(work);
  }

 private:
  // Vectors up to this length are too short for vector instructions along them.
  static constexpr size_t kFewChannels = 32;

  /// Channel by channel for all pixels of a span.
  void ComputeAcross(const Work& work) const {
    const size_t n = channels();
    auto* block = reinterpret_cast<float*>(work.scratch);
    for (const Span& span : work.spans) {
      const auto pixels = static_cast<size_t>(span.count);
      const auto stride = static_cast<ptrdiff_t>(n);
      const auto width = static_cast<ptrdiff_t>(pixels);
      float* exps = block + n * pixels;
      float* largest = exps + n * pixels;
      float* sum = largest + pixels;
      const auto channel = [&](float* of, size_t c) { return of + c * pixels; };
      kernels_.transpose(work.Pixel<float>(in_, span.row, span.col), in_.col_stride, pixels, n,
                         block, width);
      std::copy_n(block, pixels, largest);
      for (size_t c = 1; c < n; ++c)
        kernels_.binary(kernels::Binary::kMax, largest, channel(block, c), pixels);
      for (size_t c = 0; c < n; ++c)
        kernels_.binary(kernels::Binary::kSub, channel(block, c), largest, pixels);
      std::copy_n(block, n * pixels, exps);
      kernels_.unary(kernels::Unary::kExp, 0, 0, exps, n * pixels);
      std::copy_n(exps, pixels, sum);
      for (size_t c = 1; c < n; ++c)
        kernels_.binary(kernels::Binary::kAdd, sum, channel(exps, c), pixels);
      if (logarithm_) kernels_.unary(kernels::Unary::kLog, 0, 0, sum, pixels);
      float* result = logarithm_ ? block : exps;
      const auto divide = logarithm_ ? kernels::Binary::kSub : kernels::Binary::kDiv;
      for (size_t c = 0; c < n; ++c) kernels_.binary(divide, channel(result, c), sum, pixels);
      float* stored = logarithm_ ? exps : block;
      kernels_.transpose(result, width, n, pixels, stored, stride);
      StorePixels(kernels_, work, out_, span, stored, stride);
    }
  }

  void ComputeAlong(const Work& work) const {
    const size_t n = channels();
    auto* shifted = reinterpret_cast<float*>(work.scratch);
    size_t pixels = 0;
    for (const Span& span : work.spans) {
      for (int k = 0; k < span.count; ++k) {
        const float* x = work.Pixel<float>(in_, span.row, span.col + k);
        float* y = shifted + n * pixels++;
        std::copy_n(x, n, y);
        kernels_.binary_scalar(kernels::Binary::kSub, y, LargestOf(x, n), n);
      }
    }
    // One call for all pixels, because vectors of a few elements are common.
    float* exps = shifted;
    if (logarithm_) exps = std::copy_n(shifted, n * pixels, shifted + n * pixels) - n * pixels;
    kernels_.unary(kernels::Unary::kExp, 0, 0, exps, n * pixels);

    float* y = shifted;
    ForEachPixel(work, [&](int row, int col) {
      const double sum = SumOf(exps + (y - shifted), n, [](float e) { return double{e}; });
      const auto by = static_cast<float>(logarithm_ ? std::log(sum) : sum);
      kernels_.binary_scalar(logarithm_ ? kernels::Binary::kSub : kernels::Binary::kDiv, y, by, n);
      const bool changed = kernels_.store_changed(work.Pixel<float>(out_, row, col), y, n);
      y += n;
      return changed;
    });
  }

  /// More than kFewChannels floats. A NaN may go unnoticed: their sum has it.
  static float LargestOf(const float* x, size_t n) {
    std::array<float, kFewChannels> largest;
    std::copy_n(x, kFewChannels, largest.begin());
    const auto take = [&](const float* from) {
      for (size_t i = 0; i < kFewChannels; ++i)
        largest[i] = largest[i] < from[i] ? from[i] : largest[i];
    };
    for (size_t c = kFewChannels; c + kFewChannels <= n; c += kFewChannels) take(x + c);
    take(x + n - kFewChannels);
    return *std::ranges::max_element(largest);
  }

  size_t channels() const { return static_cast<size_t>(in_.channels); }

  Placement in_;
  Placement out_;
  const kernels::Table& kernels_;
  bool logarithm_;
  int chunk_;
};

}  // namespace

Status InferSoftmax(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFloats(context, 1, 1));
  const int64_t axis = context.node.Int("axis", context.opset() < 13 ? 1 : -1);
  const size_t rank = context.rank(0);
  // A scalar, and the end of the shape before opset 13, leave vectors of one element.
  const bool end = context.opset() < 13 && axis == static_cast<int64_t>(rank);
  if (rank > 0 && !end) {
    if (const auto checked = context.NormalisedAxis(axis, rank); !checked.ok())
      return checked.error();
  }
  context.SetOutput(0, DType::kFloat32, context.shape(0));
  return {};
}

void LayoutSoftmax(LayoutContext& context) {
  const size_t rank = context.shape(0).size();
  const AxisSet axes = rank == 0 ? 0 : PixelAxes(context.node, context.graph.opset, rank);
  context.input_axes[0] = axes;
  context.output_axes[0] = axes;
}

Result<KernelPtr> MakeSoftmax(const MakeContext& context) {
  return KernelPtr(std::make_unique<SoftmaxKernel>(context));
}

}  // namespace deltacnn
