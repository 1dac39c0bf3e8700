// Cumulative sums, pixel by pixel: the axis lies inside the pixel.
#include "ops/op.h"
#include "ops/store.h"

namespace deltacnn {
namespace {

template <class T>
class CumSumKernel : public Kernel {
 public:
  explicit CumSumKernel(const MakeContext& context)
      : in_(context.in(0)),
        out_(context.out(0)),
        exclusive_(context.node.Int("exclusive", 0) != 0),
        reverse_(context.node.Int("reverse", 0) != 0) {}

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    out.Or(inputs[0]);
  }
  size_t ScratchBytes() const override { return channels() * sizeof(T); }

  void Compute(const Work& work) const override {
    auto* sums = reinterpret_cast<T*>(work.scratch);
    ForEachPixel(work, [&](int row, int col) {
      Accumulate(work.Pixel<T>(in_, row, col), sums);
      return StoreChanged(work.Pixel<T>(out_, row, col), sums, channels() * sizeof(T));
    });
  }

 private:
  // Integers wrap around; floats are summed in double precision.
  using Sum = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;

  size_t channels() const { return static_cast<size_t>(in_.channels); }

  void Accumulate(const T* x, T* sums) const {
    Sum sum = 0;
    for (size_t i = 0; i < channels(); ++i) {
      const size_t at = reverse_ ? channels() - 1 - i : i;
      const auto value = static_cast<Sum>(x[at]);
      sums[at] = static_cast<T>(exclusive_ ? sum : sum + value);
      sum += value;
    }
  }

  Placement in_;
  Placement out_;
  bool exclusive_;
  bool reverse_;
};

}  // namespace

Status InferCumSum(InferContext& context) {
  if (!context.Has(0) || !context.Has(1)) return context.Invalid("an input is missing");
  const DType dtype = context.dtype(0);
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64 && dtype != DType::kInt32 &&
      dtype != DType::kInt64)
    return context.Unsupported(std::string("sums ") + NameOf(dtype) + " elements");
  const auto axis = context.ConstantInts(1);
  if (!axis.ok()) return axis.error();
  if (axis->size() != 1) return context.Invalid("its axis is not one number");
  if (const auto checked = context.NormalisedAxis((*axis)[0], context.rank(0)); !checked.ok())
    return checked.error();
  context.SetOutput(0, dtype, context.shape(0));
  return {};
}

void LayoutCumSum(LayoutContext& context) {
  const size_t rank = context.shape(0).size();
  const size_t axis = FromFront(IntsOf(*context.graph.Constant(context.node.inputs[1]))[0], rank);
  context.input_axes[0] = AllAxes(rank) & ~Axis(axis);
  context.output_axes[0] = context.input_axes[0];
  context.input_in_memory[1] = false;
}

Result<KernelPtr> MakeCumSum(const MakeContext& context) {
  switch (context.in(0).dtype) {
    case DType::kFloat64:
      return KernelPtr(std::make_unique<CumSumKernel<double>>(context));
    case DType::kInt32:
      return KernelPtr(std::make_unique<CumSumKernel<int32_t>>(context));
    case DType::kInt64:
      return KernelPtr(std::make_unique<CumSumKernel<int64_t>>(context));
    default:
      return KernelPtr(std::make_unique<CumSumKernel<float>>(context));
  }
}

}  // namespace deltacnn
