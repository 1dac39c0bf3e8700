#include "ops/reduce.h"

#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>
#include <type_traits>

#include "ops/checks.h"
#include "ops/op.h"
#include "ops/runs.h"
#include "ops/store.h"
#include "ops/sum.h"

namespace deltacnn {
namespace {

// ---- Runs of pixels ----

class FoldRuns : public RunKernel {
 public:
  /// `fold` is kAdd or kMax.
  FoldRuns(const MakeContext& context, kernels::Binary fold, float divisor)
      : RunKernel(context.in(0), context.out(0).grid),
        out_(context.out(0)),
        kernels_(context.kernels),
        fold_(fold),
        divisor_(divisor) {}

  size_t ScratchBytes() const override { return lanes() * channels() * sizeof(float); }

  void Compute(const Work& work) const override {
    auto* lane = reinterpret_cast<float*>(work.scratch);
    const size_t n = channels();
    const float neutral =
        fold_ == kernels::Binary::kMax ? -std::numeric_limits<float>::infinity() : 0.0f;
    ForEachPixel(work, [&](int row, int col) {
      std::fill_n(lane, lanes() * n, neutral);
      ForEachStretch(work, row, col, [&](const float* x, size_t first, size_t count) {
        kernels_.binary(fold_, lane + first * n, x, count * n);
      });
      for (size_t i = 1; i < lanes(); ++i) kernels_.binary(fold_, lane, lane + i * n, n);
      if (divisor_ != 1.0f) kernels_.binary_scalar(kernels::Binary::kDiv, lane, divisor_, n);
      float* stored = work.Pixel<float>(out_, row, col);
      return kernels_.store_changed(stored, lane, n);
    });
  }

 private:
  Placement out_;
  const kernels::Table& kernels_;
  kernels::Binary fold_;
  float divisor_;
};

Status CheckFold(const InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFloats(context, 1, 1));
  DELTACNN_RETURN_IF_ERROR(CheckPicture(context));
  const std::string op = context.node.String("op", "");
  if (op != "sum" && op != "max") return context.Invalid("the reduction '" + op + "' is unknown");
  return {};
}

kernels::Binary FoldOf(const Node& node) {
  return node.String("op", "") == "max" ? kernels::Binary::kMax : kernels::Binary::kAdd;
}

// ---- Elements of a pixel ----

enum class Reduction { kL1, kL2, kMax, kMean, kMin, kProd, kSum, kSumSquare };

Reduction ReductionOf(const Node& node) {
  constexpr std::array<std::string_view, 8> kNames = {"ReduceL1",   "ReduceL2",       "ReduceMax",
                                                      "ReduceMean", "ReduceMin",      "ReduceProd",
                                                      "ReduceSum",  "ReduceSumSquare"};
  return static_cast<Reduction>(std::ranges::find(kNames, node.op) - kNames.begin());
}

/// Integers wrap around.
template <class T, class Term>
auto Total(const T* x, size_t n, Term&& term) {
  if constexpr (std::is_floating_point_v<T>) {
    return SumOf(x, n, [&](T value) { return term(double{value}); });
  } else {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; ++i) sum += term(static_cast<uint64_t>(x[i]));
    return static_cast<int64_t>(sum);
  }
}

/// The first NaN, or else the value that `better` puts before all others.
template <class T, class Better>
T Best(const T* x, size_t n, T neutral, Better&& better) {
  T best = neutral;
  for (size_t i = 0; i < n; ++i) {
    if (better(x[i], best) || x[i] != x[i]) best = x[i];
  }
  return best;
}

template <class T>
T Product(const T* x, size_t n) {
  std::conditional_t<std::is_floating_point_v<T>, double, uint64_t> product = 1;
  for (size_t i = 0; i < n; ++i) product *= static_cast<decltype(product)>(x[i]);
  return static_cast<T>(product);
}

template <class T>
T Extreme(bool max) {
  using Limits = std::numeric_limits<T>;
  if constexpr (Limits::has_infinity) return max ? Limits::infinity() : -Limits::infinity();
  return max ? Limits::max() : Limits::lowest();
}

template <class T>
T Reduce(Reduction reduction, DType dtype, const T* x, size_t n) {
  const auto same = [](auto value) { return value; };
  const auto square = [](auto value) { return value * value; };
  const auto magnitude = [](auto value) {
    if constexpr (std::is_floating_point_v<decltype(value)>) {
      return std::abs(value);
    } else {
      return static_cast<int64_t>(value) < 0 ? 0 - value : value;
    }
  };
  switch (reduction) {
    case Reduction::kMax:
      return Best(x, n, Extreme<T>(false), std::greater<>());
    case Reduction::kMin:
      return Best(x, n, dtype == DType::kBool ? T{1} : Extreme<T>(true), std::less<>());
    case Reduction::kSum:
      return static_cast<T>(Total(x, n, same));
    case Reduction::kMean:
      if constexpr (std::is_floating_point_v<T>) {
        return static_cast<T>(Total(x, n, same) / static_cast<double>(n));
      } else {
        return static_cast<T>(n == 0 ? 0 : Total(x, n, same) / static_cast<int64_t>(n));
      }
    case Reduction::kProd:
      return Product(x, n);
    case Reduction::kL1:
      return static_cast<T>(Total(x, n, magnitude));
    case Reduction::kL2:
      return static_cast<T>(std::sqrt(static_cast<double>(Total(x, n, square))));
    case Reduction::kSumSquare:
      break;
  }
  return static_cast<T>(Total(x, n, square));
}

template <class T>
class ReducePixels : public Kernel {
 public:
  explicit ReducePixels(const MakeContext& context)
      : in_(context.in(0)), out_(context.out(0)), reduction_(ReductionOf(context.node)) {}

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    out.Or(inputs[0]);
  }

  void Compute(const Work& work) const override {
    ForEachPixel(work, [&](int row, int col) {
      const T value = Reduce(reduction_, in_.dtype, work.Pixel<T>(in_, row, col),
                             static_cast<size_t>(in_.channels));
      return StoreChanged(work.Pixel<T>(out_, row, col), &value, sizeof(T));
    });
  }

 private:
  Placement in_;
  Placement out_;
  Reduction reduction_;
};

/// A pixel as [outer, count, inner], of which the middle is reduced.
struct Parts {
  size_t outer = 1;
  size_t count = 1;
  size_t inner = 1;
};

/// Sums, means and maxima of parts of a pixel.
class FoldParts : public Kernel {
 public:
  FoldParts(const MakeContext& context, const Parts& parts)
      : in_(context.in(0)),
        out_(context.out(0)),
        kernels_(context.kernels),
        fold_(context.node.op == "ReduceMax" ? kernels::Binary::kMax : kernels::Binary::kAdd),
        divisor_(context.node.op == "ReduceMean" ? static_cast<float>(parts.count) : 1.0f),
        parts_(parts) {}

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    out.Or(inputs[0]);
  }
  size_t ScratchBytes() const override { return parts_.outer * parts_.inner * sizeof(float); }

  void Compute(const Work& work) const override {
    auto* result = reinterpret_cast<float*>(work.scratch);
    ForEachPixel(work, [&](int row, int col) {
      const auto [outer, count, inner] = parts_;
      const float* x = work.Pixel<float>(in_, row, col);
      for (size_t o = 0; o < outer; ++o) {
        float* part = result + o * inner;
        std::copy_n(x + o * count * inner, inner, part);
        for (size_t i = 1; i < count; ++i)
          kernels_.binary(fold_, part, x + (o * count + i) * inner, inner);
      }
      if (divisor_ != 1.0f)
        kernels_.binary_scalar(kernels::Binary::kDiv, result, divisor_, outer * inner);
      float* stored = work.Pixel<float>(out_, row, col);
      return kernels_.store_changed(stored, result, outer * inner);
    });
  }

 private:
  Placement in_;
  Placement out_;
  const kernels::Table& kernels_;
  kernels::Binary fold_;
  float divisor_;
  Parts parts_;
};

/// More terms than these are summed in double precision (ReducePixels).
constexpr size_t kMaxFoldedParts = 64;

/// The pixels of a value with these axes as FoldParts takes them; nothing if it cannot.
std::optional<Parts> PartsOf(const Node& node, DType dtype, const Shape& shape, AxisSet pixel_axes,
                             AxisSet reduced) {
  const bool folds = node.op == "ReduceSum" || node.op == "ReduceMean" || node.op == "ReduceMax";
  if (!folds || dtype != DType::kFloat32 || (pixel_axes & reduced) != 0) return std::nullopt;
  Parts parts;
  bool inside = false;  // behind the first reduced axis
  for (size_t a = 0; a < shape.size(); ++a) {
    if (HasAxis(pixel_axes, a)) continue;
    const auto extent = static_cast<size_t>(shape[a]);
    if (!HasAxis(reduced, a)) {
      (inside ? parts.inner : parts.outer) *= extent;
    } else if (parts.inner == 1) {
      parts.count *= extent;
      inside = true;
    } else {
      return std::nullopt;
    }
  }
  if (parts.inner == 1 || parts.count == 0 || parts.count > kMaxFoldedParts) return std::nullopt;
  return parts;
}

/// Every axis that a Reduce node reduces; `axes` must be in range.
AxisSet ReducedAxes(const Node& node, size_t rank, const std::vector<int64_t>& axes) {
  if (axes.empty()) return node.Int("noop_with_empty_axes", 0) != 0 ? 0 : AllAxes(rank);
  AxisSet set = 0;
  for (const int64_t axis : axes) set |= Axis(FromFront(axis, rank));
  return set;
}

}  // namespace

AxisSet ReducedAxes(const Graph& graph, const Node& node) {
  const ValueId input = node.Input(1);
  const size_t rank = graph.values[static_cast<size_t>(node.inputs[0])].shape->size();
  return ReducedAxes(node, rank,
                     input == kNoValue ? node.Ints("axes") : IntsOf(*graph.Constant(input)));
}

Status InferRowReduce(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFold(context));
  Shape shape = context.shape(0);
  shape.back() = 1;
  context.SetOutput(0, DType::kFloat32, std::move(shape));
  return {};
}

void LayoutRowReduce(LayoutContext& context) {
  const size_t rank = context.shape(0).size();
  context.input_axes[0] = SpatialAxes(rank);
  context.output_axes[0] = SpatialAxes(rank) & ~Axis(rank - 1);
}

Result<KernelPtr> MakeRowReduce(const MakeContext& context) {
  return KernelPtr(std::make_unique<FoldRuns>(context, FoldOf(context.node), 1.0f));
}

Status InferReduceRows(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFold(context));
  if (context.node.Int("count", 1) < 1) return context.Invalid("count must be positive");
  const Shape& in = context.shape(0);
  if (in.back() != 1) return context.Invalid("the input " + ToString(in) + " has unreduced rows");
  Shape shape = {in[0], in[1]};
  if (context.node.Int("keepdims", 1) != 0) shape.resize(in.size(), 1);
  context.SetOutput(0, DType::kFloat32, std::move(shape));
  return {};
}

void LayoutReduceRows(LayoutContext& context) {
  const size_t rank = context.shape(0).size();
  context.input_axes[0] = SpatialAxes(rank) & ~Axis(rank - 1);
  // The axes of size 1 count as pixels, as convolutions want them.
  context.output_axes[0] = SpatialAxes(context.output_shape(0).size());
}

Result<KernelPtr> MakeReduceRows(const MakeContext& context) {
  const auto count = static_cast<float>(context.node.Int("count", 1));
  return KernelPtr(std::make_unique<FoldRuns>(context, FoldOf(context.node), count));
}

Status InferGlobalPool(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFloats(context, 1, 1));
  DELTACNN_RETURN_IF_ERROR(CheckPicture(context));
  Shape shape = {context.shape(0)[0], context.shape(0)[1]};
  shape.resize(context.rank(0), 1);
  context.SetOutput(0, DType::kFloat32, std::move(shape));
  return {};
}

void LayoutGlobalPool(LayoutContext& context) {
  const AxisSet axes = SpatialAxes(context.shape(0).size());
  context.input_axes[0] = axes;
  context.output_axes[0] = axes;
}

Result<KernelPtr> MakeGlobalPool(const MakeContext& context) {
  const bool max = context.node.op == "GlobalMaxPool";
  const Grid& out = context.out(0).grid;
  const int64_t count = context.in(0).grid.pixels() / std::max<int64_t>(out.pixels(), 1);
  return KernelPtr(std::make_unique<FoldRuns>(context,
                                              max ? kernels::Binary::kMax : kernels::Binary::kAdd,
                                              max ? 1.0f : static_cast<float>(count)));
}

Status InferReduce(InferContext& context) {
  if (!context.Has(0)) return context.Invalid("the input is missing");
  const DType dtype = context.dtype(0);
  const bool numeric = dtype == DType::kFloat32 || dtype == DType::kFloat64 ||
                       dtype == DType::kInt32 || dtype == DType::kInt64;
  const bool extreme = context.node.op == "ReduceMax" || context.node.op == "ReduceMin";
  const bool byte = dtype == DType::kInt8 || dtype == DType::kUint8 || dtype == DType::kBool;
  const bool integer = dtype == DType::kInt32 || dtype == DType::kInt64;
  if ((!numeric && !(extreme && byte)) || (integer && context.node.op == "ReduceL2"))
    return context.Unsupported(std::string("reduces ") + NameOf(dtype) + " elements");

  std::vector<int64_t> axes = context.node.Ints("axes");
  if (context.Has(1)) {
    Result<std::vector<int64_t>> input = context.ConstantInts(1);
    if (!input.ok()) return input.error();
    axes = std::move(input).value();
  }
  const size_t rank = context.rank(0);
  for (const int64_t axis : axes) {
    if (const auto checked = context.NormalisedAxis(axis, rank); !checked.ok())
      return checked.error();
  }
  const AxisSet reduced = ReducedAxes(context.node, rank, axes);
  const bool keep = context.node.Int("keepdims", 1) != 0;
  Shape shape;
  for (size_t a = 0; a < rank; ++a) {
    if (!HasAxis(reduced, a)) {
      shape.push_back(context.shape(0)[a]);
    } else if (keep) {
      shape.push_back(1);
    }
  }
  context.SetOutput(0, dtype, std::move(shape));
  return {};
}

void LayoutReduce(LayoutContext& context) {
  if (context.node.Input(1) != kNoValue) context.input_in_memory[1] = false;
  const Shape& shape = context.shape(0);
  const AxisSet reduced = ReducedAxes(context.graph, context.node);
  const DType dtype = context.graph.values[static_cast<size_t>(context.node.Input(0))].dtype;
  AxisSet& axes = context.input_axes[0];
  if (!PartsOf(context.node, dtype, shape, axes, reduced)) axes = AllAxes(shape.size()) & ~reduced;
  if (context.output_shape(0).size() == shape.size()) {
    context.output_axes[0] = axes;
    return;
  }
  size_t kept = 0;
  for (size_t a = 0; a < shape.size(); ++a) {
    if (HasAxis(reduced, a)) continue;
    if (HasAxis(axes, a)) context.output_axes[0] |= Axis(kept);
    ++kept;
  }
}

Result<KernelPtr> MakeReduce(const MakeContext& context) {
  const Placement& in = context.in(0);
  const auto parts = PartsOf(context.node, in.dtype, in.shape, in.pixel_axes,
                             ReducedAxes(context.graph, context.node));
  switch (in.dtype) {
    case DType::kFloat64:
      return KernelPtr(std::make_unique<ReducePixels<double>>(context));
    case DType::kInt64:
      return KernelPtr(std::make_unique<ReducePixels<int64_t>>(context));
    case DType::kInt32:
      return KernelPtr(std::make_unique<ReducePixels<int32_t>>(context));
    case DType::kInt8:
      return KernelPtr(std::make_unique<ReducePixels<int8_t>>(context));
    case DType::kUint8:
    case DType::kBool:
      return KernelPtr(std::make_unique<ReducePixels<uint8_t>>(context));
    default:
      if (parts) return KernelPtr(std::make_unique<FoldParts>(context, *parts));
      return KernelPtr(std::make_unique<ReducePixels<float>>(context));
  }
}

}  // namespace deltacnn
