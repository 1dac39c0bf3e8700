// Normalisation of every pixel by the statistics of its own channels.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "ops/checks.h"
#include "ops/op.h"
#include "ops/store.h"
#include "ops/sum.h"

namespace deltacnn {
namespace {

using kernels::Binary;

// ---- LayerNormalization and, without the mean, RMSNormalization ----

AxisSet LayerPixelAxes(const Node& node, size_t rank) {
  return AllAxes(FromFront(node.Int("axis", -1), rank));
}

class LayerNormalization : public Kernel {
 public:
  explicit LayerNormalization(const MakeContext& context)
      : x_(context.in(0)),
        scale_(context.in(1)),
        has_bias_(context.Has(2)),
        kernels_(context.kernels),
        centres_(context.node.op == "LayerNormalization"),
        epsilon_(context.node.Float("epsilon", 1e-5f)) {
    if (has_bias_) bias_ = context.in(2);
    outputs_.resize(context.outputs.size());
    for (size_t o = 0; o < context.outputs.size(); ++o) {
      if (context.outputs[o] != nullptr) outputs_[o] = context.out(o);
    }
  }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    for (const MaskView& parameter : inputs.subspan(1)) {
      if (parameter.words != nullptr && !parameter.Empty()) return out.Fill();
    }
    out.Or(inputs[0]);
  }

  size_t ScratchBytes() const override { return channels() * sizeof(float); }

  void Compute(const Work& work) const override {
    ForEachPixel(work, [&](int row, int col) { return ComputePixel(work, row, col); });
  }

 private:
  size_t channels() const { return static_cast<size_t>(x_.channels); }

  bool ComputePixel(const Work& work, int row, int col) const {
    const size_t n = channels();
    const float* x = work.Pixel<float>(x_, row, col);
    const auto count = static_cast<double>(n);
    const double mean = centres_ ? SumOf(x, n, [](float v) { return double{v}; }) / count : 0;
    const double variance = SumOf(x, n, [&](float v) { return (v - mean) * (v - mean); }) / count;
    const float statistics[] = {static_cast<float>(mean),
                                static_cast<float>(1 / std::sqrt(variance + epsilon_))};
    auto* y = reinterpret_cast<float*>(work.scratch);
    std::copy_n(x, n, y);
    kernels_.binary_scalar(Binary::kSub, y, statistics[0], n);
    kernels_.binary_scalar(Binary::kMul, y, statistics[1], n);
    kernels_.binary(Binary::kMul, y, work.Pixel<float>(scale_, 0, 0), n);
    if (has_bias_) kernels_.binary(Binary::kAdd, y, work.Pixel<float>(bias_, 0, 0), n);
    bool changed = false;
    for (size_t o = 0; o < outputs_.size(); ++o) {
      if (!outputs_[o]) continue;
      float* stored = work.Pixel<float>(*outputs_[o], row, col);
      changed |= kernels_.store_changed(stored, o == 0 ? y : &statistics[o - 1], o == 0 ? n : 1);
    }
    return changed;
  }

  Placement x_;
  Placement scale_;
  bool has_bias_;
  Placement bias_;
  std::vector<std::optional<Placement>> outputs_;  // normalised, mean, 1 / standard deviation
  const kernels::Table& kernels_;
  bool centres_;
  double epsilon_;
};

// ---- LRN ----

class LrnKernel : public Kernel {
 public:
  explicit LrnKernel(const MakeContext& context)
      : x_(context.in(0)),
        y_(context.out(0)),
        kernels_(context.kernels),
        before_((context.node.Int("size", 1) - 1) / 2),
        after_(context.node.Int("size", 1) / 2),
        alpha_(context.node.Float("alpha", 1e-4f) /
               static_cast<float>(context.node.Int("size", 1))),
        beta_(context.node.Float("beta", 0.75f)),
        bias_(context.node.Float("bias", 1.0f)) {}

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    out.Or(inputs[0]);
  }

  size_t ScratchBytes() const override {
    return 2 * static_cast<size_t>(x_.channels) * sizeof(float);
  }

  void Compute(const Work& work) const override {
    const int64_t channels = x_.channels;
    const auto n = static_cast<size_t>(channels);
    auto* squares = reinterpret_cast<float*>(work.scratch);
    float* y = squares + n;
    ForEachPixel(work, [&](int row, int col) {
      const float* x = work.Pixel<float>(x_, row, col);
      std::copy_n(x, n, squares);
      kernels_.binary(Binary::kMul, squares, x, n);
      std::fill_n(y, n, bias_);
      for (int64_t shift = -std::min(before_, channels); shift <= std::min(after_, channels);
           ++shift) {
        // Channels c for which c + shift is a channel too.
        const int64_t begin = std::max<int64_t>(-shift, 0);
        const int64_t end = std::min(channels - shift, channels);
        if (begin < end) {
          kernels_.accumulate(y + begin, squares + begin + shift, alpha_,
                              static_cast<size_t>(end - begin));
        }
      }
      kernels_.binary_scalar(Binary::kPow, y, -beta_, n);
      kernels_.binary(Binary::kMul, y, x, n);
      return kernels_.store_changed(work.Pixel<float>(y_, row, col), y, n);
    });
  }

 private:
  Placement x_;
  Placement y_;
  const kernels::Table& kernels_;
  int64_t before_;  // channels of the window before the pixel's own
  int64_t after_;
  float alpha_;
  float beta_;
  float bias_;
};

}  // namespace

Status InferLayerNormalization(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFloats(context, 3, 2));
  const Shape& shape = context.shape(0);
  const auto axis = context.NormalisedAxis(context.node.Int("axis", -1), shape.size());
  if (!axis.ok()) return axis.error();
  const int64_t count = ElementCount(std::span(shape).subspan(*axis));
  if (count < 1) return context.Invalid("nothing to normalise in " + ToString(shape));
  for (size_t i = 1; i <= 2 && context.Has(i); ++i) {
    if (ElementCount(context.shape(i)) != count) {
      return context.Unsupported("input " + std::to_string(i) + " " + ToString(context.shape(i)) +
                                 " must have the shape of the normalised axes of " +
                                 ToString(shape));
    }
  }
  Shape statistics = shape;
  std::fill(statistics.begin() + static_cast<ptrdiff_t>(*axis), statistics.end(), 1);
  context.SetOutput(0, DType::kFloat32, shape);
  context.SetOutput(1, DType::kFloat32, statistics);
  context.SetOutput(2, DType::kFloat32, statistics);
  return {};
}

void LayoutLayerNormalization(LayoutContext& context) {
  const AxisSet axes = LayerPixelAxes(context.node, context.shape(0).size());
  std::ranges::fill(context.input_axes, 0);
  context.input_axes[0] = axes;
  std::ranges::fill(context.output_axes, axes);
}

Result<KernelPtr> MakeLayerNormalization(const MakeContext& context) {
  return KernelPtr(std::make_unique<LayerNormalization>(context));
}

Status InferLRN(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFloats(context, 1, 1));
  if (context.rank(0) < 2) return context.Invalid("the input has no channel axis");
  const int64_t size = context.node.Int("size", 0);
  if (size < 1 || size > std::numeric_limits<int32_t>::max())
    return context.Invalid("size " + std::to_string(size) + " must be positive");
  context.SetOutput(0, DType::kFloat32, context.shape(0));
  return {};
}

void LayoutLRN(LayoutContext& context) {
  const AxisSet axes = SpatialAxes(context.shape(0).size());
  context.input_axes[0] = axes;
  context.output_axes[0] = axes;
}

Result<KernelPtr> MakeLRN(const MakeContext& context) {
  return KernelPtr(std::make_unique<LrnKernel>(context));
}

}  // namespace deltacnn
