#include "ops/scatter.h"

#include <algorithm>

#include "ops/op.h"

namespace deltacnn {

std::optional<ScatteredSlice> FindScatteredSlice(const Shape& data, const Tensor& indices) {
  const auto depth = static_cast<size_t>(indices.shape.back());
  const int64_t tuples = ElementCount(indices.shape) / indices.shape.back();
  ScatteredSlice slice;
  if (tuples == 0) return slice;
  const auto position = [&](int64_t tuple, size_t axis) {
    const int64_t index = indices.as<int64_t>()[static_cast<size_t>(tuple) * depth + axis];
    return index < 0 ? index + data[axis] : index;
  };
  // The first and the last tuple are opposite corners.
  Shape size(data.begin(), data.begin() + static_cast<ptrdiff_t>(depth));
  if (ElementCount(size) == 0) return std::nullopt;
  for (size_t a = 0; a < depth; ++a) {
    const int64_t first = position(0, a);
    const int64_t last = position(tuples - 1, a);
    if (first < 0 || first > last || last >= data[a]) return std::nullopt;
    if (first == 0 && last == data[a] - 1) continue;
    if (slice.count != 0) return std::nullopt;
    slice = {.axis = a, .start = first, .count = tuples * data[a] / ElementCount(size)};
    if (slice.count < 1) return std::nullopt;
    if (slice.count > 1) slice.step = (last - first) / (slice.count - 1);
    size[a] = slice.count;
  }
  if (slice.count == 0) slice.count = size[0];  // all of the data
  if (ElementCount(size) != tuples || slice.step < 1) return std::nullopt;
  if (slice.step > 1 && slice.count * slice.step != data[slice.axis]) return std::nullopt;
  for (int64_t tuple = 0; tuple < tuples; ++tuple) {
    int64_t rest = tuple;
    for (size_t a = depth; a-- > 0; rest /= size[a]) {
      const int64_t at = rest % size[a];
      const int64_t want = a == slice.axis ? slice.start + at * slice.step : at;
      if (position(tuple, a) != want) return std::nullopt;
    }
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
        "its indices are no slice: adjacent positions of an axis, in order, and all of the others");
  }
  context.SetOutput(0, context.dtype(0), data);
  return {};
}

void LayoutScatterND(LayoutContext&) {}

Result<KernelPtr> MakeScatterND(const MakeContext& context) { return NeverPlanned(context); }

}  // namespace deltacnn
