// float32 arithmetic that could not be fused behind a convolution: a chain over its primary input.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/broadcast.h"
#include "ops/chain.h"
#include "ops/op.h"
#include "ops/store.h"

namespace deltacnn {
namespace {

// Elements that one block of a chain works on: they stay in the first-level cache.
constexpr size_t kBlock = 4096;

class PointwiseKernel : public Kernel {
 public:
  explicit PointwiseKernel(const MakeContext& context)
      : in_(context.in(0)),
        out_(context.out(0)),
        chain_(context, context.node.inputs.size()),
        primary_(in_, out_) {}

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    primary_.Affect(inputs[0], out);
    chain_.Affect(inputs.subspan(1), out);
  }

  void Compute(const Work& work) const override {
    auto* x = reinterpret_cast<float*>(work.scratch);
    float* saved = x + kBlock;
    const auto channels = static_cast<size_t>(out_.channels);
    const size_t width = std::min(channels, kBlock);
    const int pixels =
        static_cast<int>(std::max<size_t>(kBlock / std::max<size_t>(channels, 1), 1));
    for (const Span& whole : work.spans) {
      for (int done = 0; done < whole.count; done += pixels) {
        const Span span = whole.Part(done, std::min(pixels, whole.count - done));
        for (size_t c = 0; c < channels; c += width)
          Block(work, span, c, std::min(width, channels - c), x, saved);
      }
    }
  }

  size_t ScratchBytes() const override { return 2 * kBlock * sizeof(float); }
  bool takes_cutoff() const override { return true; }
  bool MayOverwrite(size_t input) const override {
    return input == 0 ? primary_.elementwise() : chain_.elementwise(input - 1);
  }

 private:
  void Block(const Work& work, const Span& span, size_t channel, size_t width, float* x,
             float* saved) const {
    const auto count = static_cast<size_t>(span.count);
    const float* source = work.Pixel<float>(in_, span.row, span.col) + channel;
    if (in_.col_stride == static_cast<int64_t>(width)) {
      std::memcpy(x, source, count * width * sizeof(float));
    } else {
      PackPixels(source, in_.col_stride, count, width, x);
    }
    chain_.Finish(work, {&span, 1}, channel, width, width, x, saved);
  }

  Placement in_, out_;
  Chain chain_;
  BroadcastMap primary_;
};

}  // namespace

// Shapes of the ONNX operators that become chains.
Status InferPointwise(InferContext& context) {
  const Node& node = context.node;
  if (node.inputs.empty() || !context.Has(0)) return context.Invalid("its input is missing");
  Shape shape = context.shape(0);
  const DType dtype = context.dtype(0);
  if (const float alpha = node.Float("alpha", 1.0f);
      node.op == "Celu" && !(std::isnormal(alpha) && alpha > 0))
    return context.Unsupported("alpha " + std::to_string(alpha) + " is no positive number");
  const bool bounds = node.op == "Clip";
  static constexpr std::string_view kPairs[] = {"Add", "Sub", "Mul", "Div", "Pow", "PRelu"};
  if (std::ranges::find(kPairs, node.op) != std::end(kPairs) && node.inputs.size() != 2)
    return context.Invalid("it has " + std::to_string(node.inputs.size()) + " inputs, not 2");
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (!context.Has(i)) {
      if (bounds) continue;
      return context.Invalid("input " + std::to_string(i) + " is missing");
    }
    // Pow alone may have an exponent of another type.
    if (context.dtype(i) != dtype && node.op != "Pow")
      return context.Invalid(std::string("its inputs are ") + NameOf(dtype) + " and " +
                             NameOf(context.dtype(i)));
    auto joint = BroadcastShapes(shape, context.shape(i));
    if (!joint) {
      return context.Invalid("shapes " + ToString(shape) + " and " + ToString(context.shape(i)) +
                             " do not broadcast");
    }
    if ((bounds || node.op == "PRelu") && *joint != shape)
      return context.Invalid("input " + std::to_string(i) + " is larger than the first");
    shape = std::move(*joint);
  }
  if (dtype == DType::kFloat16 || dtype == DType::kFloat64) {
    return context.Unsupported(std::string(NameOf(dtype)) +
                               " arithmetic is not supported (convert the model to float32)");
  }
  context.SetOutput(0, dtype, std::move(shape));
  return {};
}

void LayoutPointwise(LayoutContext& context) {
  context.output_axes[0] = context.input_axes[0];
  LayoutChainOperands(context);
}

Result<KernelPtr> MakePointwise(const MakeContext& context) {
  return KernelPtr(std::make_unique<PointwiseKernel>(context));
}

Status InferBatchNormalization(InferContext& context) {
  if (context.node.inputs.size() < 5 || !context.Has(0))
    return context.Invalid("it has fewer than 5 inputs");
  if (context.node.Int("training_mode", 0) != 0) {
    // What weights are standardised with: of one picture, it is an InstanceNormalization.
    const bool single = context.rank(0) >= 3 && context.shape(0)[0] == 1;
    const auto extra = std::span(context.node.outputs).subspan(1);
    if (!single || std::ranges::any_of(extra, [](ValueId id) { return id != kNoValue; })) {
      return context.Unsupported(
          "training mode is supported for a batch of 1 and without running statistics; export the "
          "model for inference");
    }
  }
  if (context.rank(0) < 2 || context.dtype(0) != DType::kFloat32)
    return context.Unsupported("its input is not a float32 tensor of rank 2 or more");
  for (size_t i = 1; i < 5; ++i) {
    if (!context.Has(i) || context.dtype(i) != DType::kFloat32 ||
        context.shape(i) != Shape{context.shape(0)[1]})
      return context.Invalid("parameter " + std::to_string(i) + " is not one float32 per channel");
  }
  context.SetOutput(0, DType::kFloat32, context.shape(0));
  return {};
}

void LayoutBatchNormalization(LayoutContext& context) {
  context.output_axes[0] = context.input_axes[0];
}

Result<KernelPtr> MakeBatchNormalization(const MakeContext& context) {
  return context.Unsupported("its parameters are not constants");
}

}  // namespace deltacnn
