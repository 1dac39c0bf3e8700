#include "ops/quantise.h"

#include <algorithm>
#include <cmath>

#include "ops/op.h"
#include "ops/store.h"

namespace deltacnn {
namespace {

int32_t IntegerAt(DType dtype, const std::byte* from, size_t i) {
  switch (dtype) {
    case DType::kInt8:
      return reinterpret_cast<const int8_t*>(from)[i];
    case DType::kUint8:
      return reinterpret_cast<const uint8_t*>(from)[i];
    default:
      return reinterpret_cast<const int32_t*>(from)[i];
  }
}

bool IsByte(DType dtype) { return dtype == DType::kInt8 || dtype == DType::kUint8; }

/// Elements of a pixel, one after the other; the axis of the scales lies inside it.
class QuantisationKernel : public Kernel {
 public:
  explicit QuantisationKernel(const MakeContext& context)
      : in_(context.in(0)),
        out_(context.out(0)),
        numbers_(QuantisationOf(context.graph, context.node)) {
    for (size_t a = numbers_.axis + 1; a < in_.shape.size(); ++a)
      if (!HasAxis(in_.pixel_axes, a)) inner_ *= static_cast<size_t>(in_.shape[a]);
  }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    out.Or(inputs[0]);
  }
  size_t ScratchBytes() const override { return channels() * SizeOf(out_.dtype); }

  void Compute(const Work& work) const override {
    ForEachPixel(work, [&](int row, int col) {
      Convert(PixelBytes(work, in_, row, col), work.scratch);
      return StoreChanged(PixelBytes(work, out_, row, col), work.scratch,
                          channels() * SizeOf(out_.dtype));
    });
  }

 protected:
  virtual void Convert(const std::byte* from, std::byte* to) const = 0;

  size_t channels() const { return static_cast<size_t>(in_.channels); }
  /// Which of the numbers an element of a pixel has.
  size_t NumberOf(size_t element) const { return element / inner_ % numbers_.scale.size(); }

  Placement in_;
  Placement out_;
  Quantisation numbers_;

 private:
  size_t inner_ = 1;  // elements of a pixel from one index along the axis to the next
};

class QuantizeKernel final : public QuantisationKernel {
  using QuantisationKernel::QuantisationKernel;

  void Convert(const std::byte* from, std::byte* to) const override {
    const auto* x = reinterpret_cast<const float*>(from);
    const IntegerRange range = RangeOf(out_.dtype);
    for (size_t i = 0; i < channels(); ++i) {
      const size_t n = NumberOf(i);
      // Half to even; what is no number becomes the zero point.
      const float rounded = std::nearbyint(x[i] / numbers_.scale[n]);
      const auto zero = static_cast<float>(numbers_.zero_point[n]);
      const float shifted = std::isnan(rounded) ? zero : rounded + zero;
      const float whole =
          std::clamp(shifted, static_cast<float>(range.low), static_cast<float>(range.high));
      to[i] = static_cast<std::byte>(static_cast<int>(whole));
    }
  }
};

class DequantizeKernel final : public QuantisationKernel {
  using QuantisationKernel::QuantisationKernel;

  void Convert(const std::byte* from, std::byte* to) const override {
    auto* y = reinterpret_cast<float*>(to);
    for (size_t i = 0; i < channels(); ++i) {
      const size_t n = NumberOf(i);
      const int64_t difference = int64_t{IntegerAt(in_.dtype, from, i)} - numbers_.zero_point[n];
      y[i] = static_cast<float>(difference) * numbers_.scale[n];
    }
  }
};

/// Checks scale and zero point; `integers` is the type of the quantised side.
Status CheckNumbers(InferContext& context, DType integers) {
  if (context.node.Int("block_size", 0) != 0) return context.Unsupported("scales of blocks");
  const Tensor* scale = context.constant(1);
  const Tensor* zero_point = context.Has(2) ? context.constant(2) : nullptr;
  if (scale == nullptr || (context.Has(2) && zero_point == nullptr))
    return context.DataDependent("its scale or its zero point is not a constant");
  if (scale->dtype != DType::kFloat32) return context.Unsupported("a scale that is not float32");
  if (zero_point != nullptr &&
      (zero_point->dtype != integers || zero_point->elements() != scale->elements())) {
    return context.Invalid(std::string("its zero point is no ") + NameOf(integers) + " of shape " +
                           ToString(scale->shape));
  }
  if (scale->elements() == 1) return {};
  const auto axis = context.NormalisedAxis(context.node.Int("axis", 1), context.rank(0));
  if (!axis.ok()) return axis.error();
  if (scale->shape != Shape{context.shape(0)[*axis]} || scale->elements() == 0) {
    return context.Invalid("scales " + ToString(scale->shape) + " do not fit axis " +
                           std::to_string(*axis) + " of " + ToString(context.shape(0)));
  }
  return {};
}

}  // namespace

Quantisation QuantisationOf(const Graph& graph, const Node& node) {
  const Tensor& scale = *graph.Constant(node.inputs[1]);
  Quantisation numbers;
  numbers.scale.assign(scale.as<float>().begin(), scale.as<float>().end());
  numbers.zero_point.assign(numbers.scale.size(), 0);
  if (node.Input(2) != kNoValue) {
    const Tensor& zero_point = *graph.Constant(node.inputs[2]);
    for (size_t i = 0; i < numbers.zero_point.size(); ++i)
      numbers.zero_point[i] = IntegerAt(zero_point.dtype, zero_point.bytes.data(), i);
  }
  const size_t rank = graph.values[static_cast<size_t>(node.inputs[0])].shape->size();
  if (numbers.scale.size() > 1) numbers.axis = FromFront(node.Int("axis", 1), rank);
  return numbers;
}

IntegerRange RangeOf(DType dtype) {
  return dtype == DType::kInt8 ? IntegerRange{-128, 127} : IntegerRange{0, 255};
}

Status InferQuantizeLinear(InferContext& context) {
  if (!context.Has(0) || !context.Has(1)) return context.Invalid("needs an input and a scale");
  if (context.dtype(0) != DType::kFloat32)
    return context.Unsupported("an input that is not float32");
  const DType integers = context.Has(2) ? context.dtype(2) : DType::kUint8;
  if (!IsByte(integers) || context.node.Int("output_dtype", 0) != 0)
    return context.Unsupported("integers other than int8 and uint8, as its zero point says");
  DELTACNN_RETURN_IF_ERROR(CheckNumbers(context, integers));
  context.SetOutput(0, integers, context.shape(0));
  return {};
}

Status InferDequantizeLinear(InferContext& context) {
  if (!context.Has(0) || !context.Has(1)) return context.Invalid("needs an input and a scale");
  const DType integers = context.dtype(0);
  if (!IsByte(integers) && integers != DType::kInt32)
    return context.Unsupported(std::string("dequantises ") + NameOf(integers) + " elements");
  DELTACNN_RETURN_IF_ERROR(CheckNumbers(context, integers));
  context.SetOutput(0, DType::kFloat32, context.shape(0));
  return {};
}

void LayoutQuantizeLinear(LayoutContext& context) {
  const Quantisation numbers = QuantisationOf(context.graph, context.node);
  if (numbers.scale.size() > 1) context.input_axes[0] &= ~Axis(numbers.axis);
  for (size_t i = 1; i < context.node.inputs.size(); ++i) context.input_in_memory[i] = false;
  context.output_axes[0] = context.input_axes[0];
}
void LayoutDequantizeLinear(LayoutContext& context) { LayoutQuantizeLinear(context); }

Result<KernelPtr> MakeQuantizeLinear(const MakeContext& context) {
  return KernelPtr(std::make_unique<QuantizeKernel>(context));
}
Result<KernelPtr> MakeDequantizeLinear(const MakeContext& context) {
  return KernelPtr(std::make_unique<DequantizeKernel>(context));
}

}  // namespace deltacnn
