// Operators whose outputs are known when planning: they become constants and never run in a step.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>

#include "graph/data_type.h"
#include "ops/op.h"

namespace deltacnn {
namespace {

template <class T>
Tensor Filled(DType dtype, const std::vector<T>& elements, Shape shape) {
  Tensor tensor(dtype, std::move(shape));
  std::ranges::copy(elements, tensor.as<T>().begin());
  return tensor;
}

/// How many of start, start + delta, ... come before limit. At most UINT64_MAX, or NaN.
template <class T>
double RangeLength(T start, T limit, T delta) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::ceil(static_cast<double>(limit - start) / delta);
  } else {
    // Unsigned, since the distance of two int64 may not fit into one.
    if (delta > 0 ? limit <= start : limit >= start) return 0;
    const auto from = static_cast<uint64_t>(start);
    const auto to = static_cast<uint64_t>(limit);
    const auto step = static_cast<uint64_t>(delta);
    const uint64_t last = delta > 0 ? (to - from - 1) / step : (from - to - 1) / (0 - step);
    return static_cast<double>(last) + 1;
  }
}

template <class T>
Status InferRangeOf(InferContext& context) {
  const T start = context.constant(0)->as<T>()[0];
  const T limit = context.constant(1)->as<T>()[0];
  const T delta = context.constant(2)->as<T>()[0];
  if (delta == 0) return context.Invalid("delta is 0; it must be positive or negative");
  const double length = RangeLength(start, limit, delta);
  if (!(length < std::numeric_limits<int32_t>::max())) {
    return NodeError(ErrorCode::kLimit, context.node,
                     "the range does not end within 2147483647 elements");
  }
  const Shape shape = {std::max<int64_t>(0, static_cast<int64_t>(length))};
  DELTACNN_RETURN_IF_ERROR(context.CheckConstant(shape, context.dtype(0)));
  Tensor tensor(context.dtype(0), shape);
  const auto elements = tensor.as<T>();
  for (size_t i = 0; i < elements.size(); ++i) {
    if constexpr (std::is_floating_point_v<T>) {
      elements[i] = start + static_cast<T>(i) * delta;
    } else {
      elements[i] = static_cast<T>(static_cast<uint64_t>(start) + i * static_cast<uint64_t>(delta));
    }
  }
  context.SetConstant(0, std::move(tensor));
  return {};
}

}  // namespace

Status InferConstantOfShape(InferContext& context) {
  const auto dims = context.ConstantInts(0);
  if (!dims) return dims.error();
  if (context.rank(0) != 1) return context.Invalid("its input must be a list of dimensions");
  for (const int64_t dim : *dims) {
    if (dim < 0) return context.Invalid("dimension " + std::to_string(dim) + " is negative");
  }
  const TensorPtr value = context.node.TensorAttribute("value");
  if (value != nullptr && value->elements() != 1)
    return context.Invalid("attribute 'value' must have one element");
  const DType dtype = value != nullptr ? value->dtype : DType::kFloat32;
  DELTACNN_RETURN_IF_ERROR(context.CheckConstant(*dims, dtype));
  Tensor tensor(dtype, *dims);
  if (value != nullptr) {
    const size_t size = SizeOf(dtype);
    for (size_t at = 0; at < tensor.bytes.size(); at += size)
      std::copy_n(value->bytes.data(), size, tensor.bytes.data() + at);
  }
  context.SetConstant(0, std::move(tensor));
  return {};
}

Status InferEyeLike(InferContext& context) {
  if (!context.Has(0) || context.rank(0) != 2) return context.Invalid("its input is no matrix");
  const Shape& shape = context.shape(0);
  const int64_t diagonal = context.node.Int("k", 0);
  const auto fill = [&]<class T>(DType dtype) -> Status {
    DELTACNN_RETURN_IF_ERROR(context.CheckConstant(shape, dtype));
    Tensor tensor(dtype, shape);
    const auto elements = tensor.as<T>();
    for (int64_t row = 0; row < shape[0]; ++row) {
      // Compared so that no k overflows.
      if (diagonal < -row || diagonal >= shape[1] - row) continue;
      elements[static_cast<size_t>(row * shape[1] + row + diagonal)] = T{1};
    }
    context.SetConstant(0, std::move(tensor));
    return {};
  };
  const int64_t wanted = context.node.Int("dtype", 0);
  const std::optional<DType> dtype = wanted == 0 ? context.dtype(0) : ToDType(wanted);
  if (dtype == DType::kFloat32) return fill.operator()<float>(*dtype);
  if (dtype == DType::kFloat64) return fill.operator()<double>(*dtype);
  if (dtype == DType::kInt32) return fill.operator()<int32_t>(*dtype);
  if (dtype == DType::kInt64) return fill.operator()<int64_t>(*dtype);
  return context.Unsupported("its type is none of float32, float64, int32 and int64");
}

Status InferRange(InferContext& context) {
  for (size_t i = 0; i < 3; ++i) {
    if (!context.Has(i)) return context.Invalid("input " + std::to_string(i) + " is missing");
    if (context.dtype(i) != context.dtype(0))
      return context.Invalid("start, limit and delta have different element types");
    if (ElementCount(context.shape(i)) != 1)
      return context.Invalid("start, limit and delta must be scalars");
  }
  for (size_t i = 0; i < 3; ++i) {
    if (context.constant(i) == nullptr)
      return context.DataDependent("input " + std::to_string(i) + " is not a constant");
  }
  switch (context.dtype(0)) {
    case DType::kFloat32:
      return InferRangeOf<float>(context);
    case DType::kFloat64:
      return InferRangeOf<double>(context);
    case DType::kInt32:
      return InferRangeOf<int32_t>(context);
    case DType::kInt64:
      return InferRangeOf<int64_t>(context);
    default:
      return context.Unsupported(std::string(NameOf(context.dtype(0))) +
                                 " input; float32, float64, int32 and int64 are supported");
  }
}

Status InferShape(InferContext& context) {
  if (!context.Has(0)) return context.Invalid("input 0 is missing");
  const Shape& shape = context.shape(0);
  if (context.node.op == "Size") {
    context.SetConstant(0, Filled<int64_t>(DType::kInt64, {ElementCount(shape)}, {}));
    return {};
  }
  const auto rank = static_cast<int64_t>(shape.size());
  const auto bound = [&](const char* name, int64_t fallback) {
    const int64_t axis = context.opset() >= 15 ? context.node.Int(name, fallback) : fallback;
    return std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank);
  };
  const int64_t start = bound("start", 0);
  const int64_t end = std::max(start, bound("end", rank));
  context.SetConstant(
      0, Filled(DType::kInt64, Shape(shape.begin() + start, shape.begin() + end), {end - start}));
  return {};
}

void LayoutConstantOfShape(LayoutContext&) {}
void LayoutEyeLike(LayoutContext&) {}
void LayoutRange(LayoutContext&) {}
void LayoutShape(LayoutContext&) {}

Result<KernelPtr> MakeConstantOfShape(const MakeContext& context) { return NeverPlanned(context); }
Result<KernelPtr> MakeEyeLike(const MakeContext& context) { return NeverPlanned(context); }
Result<KernelPtr> MakeRange(const MakeContext& context) { return NeverPlanned(context); }
Result<KernelPtr> MakeShape(const MakeContext& context) { return NeverPlanned(context); }

}  // namespace deltacnn
