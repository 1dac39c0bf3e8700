#include "ops/scatter.h"

#include "ops/op.h"

namespace deltacnn {
namespace {

// Axes with a step: each takes two of the 64 that sets of axes have.
constexpr int kMostSteps = 2;

}  // namespace

std::optional<std::vector<ScatteredAxis>> FindScatteredSlice(const Shape& data,
                                                             const Tensor& indices) {
  const auto depth = static_cast<size_t>(indices.shape.back());
  const int64_t tuples = ElementCount(indices.shape) / indices.shape.back();
  if (tuples == 0) return std::vector<ScatteredAxis>();
  const auto position = [&](int64_t tuple, size_t axis) {
    const int64_t index = indices.as<int64_t>()[static_cast<size_t>(tuple) * depth + axis];
    return index < 0 ? index + data[axis] : index;
  };
  // The first and the last tuple are opposite corners.
  std::vector<ScatteredAxis> slice(depth);
  int steps = 0;
  int64_t inner = 1;  // tuples before the position along the axis changes
  for (size_t a = depth; a-- > 0;) {
    const int64_t first = position(0, a);
    const int64_t last = position(tuples - 1, a);
    if (first < 0 || first > last || last >= data[a]) return std::nullopt;
    slice[a] = {.start = first, .count = 1};
    if (first == last) continue;
    const int64_t step = inner < tuples ? position(inner, a) - first : 0;
    if (step < 1) return std::nullopt;
    slice[a] = {first, step, (last - first) / step + 1};
    if (step > 1 && (slice[a].count * step != data[a] || ++steps > kMostSteps)) return std::nullopt;
    inner *= slice[a].count;
    if (inner > tuples) return std::nullopt;
  }
  if (inner != tuples) return std::nullopt;
  for (int64_t tuple = 0; tuple < tuples; ++tuple) {
    int64_t rest = tuple;
    for (size_t a = depth; a-- > 0; rest /= slice[a].count)
      if (position(tuple, a) != slice[a].start + rest % slice[a].count * slice[a].step)
        return std::nullopt;
  }
  return slice;
}

Status InferScatterND(InferContext& context) {
  for (size_t i = 0; i < 3; ++i)
    if (!context.Has(i)) return context.Invalid("input " + std::to_string(i) + " is missing");
  const Shape& data = context.shape(0);
  const Shape& indices = context.shape(1);
  if (context.dtype(1) != DType::kInt64 || context.dtype(2) != context.dtype(0))
    return context.Invalid("its indices are not int64, or its updates not of the data's type");
  if (indices.empty() || indices.back() < 1 || indices.back() > static_cast<int64_t>(data.size())) {
    return context.Invalid("indices " + ToString(indices) + " do not fit data " + ToString(data));
  }
  Shape updates(indices.begin(), indices.end() - 1);
  updates.insert(updates.end(), data.begin() + indices.back(), data.end());
  if (context.shape(2) != updates) {
    return context.Invalid("updates " + ToString(context.shape(2)) + " must be " +
                           ToString(updates));
  }
  if (context.node.String("reduction", "none") != "none")
    return context.Unsupported("a reduction; only assignments are supported");
  if (context.constant(1) == nullptr)
    return context.Unsupported("indices that are not constant; those of a slice are supported");
  if (!FindScatteredSlice(data, *context.constant(1))) {
    return context.Unsupported(
        "its indices are no slice: along each axis, in order, adjacent positions or each n-th of "
        "all");
  }
  context.SetOutput(0, context.dtype(0), data);
  return {};
}

void LayoutScatterND(LayoutContext&) {}

Result<KernelPtr> MakeScatterND(const MakeContext& context) { return NeverPlanned(context); }

}  // namespace deltacnn
