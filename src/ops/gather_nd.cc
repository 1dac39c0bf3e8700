#include "ops/gather_nd.h"

#include <algorithm>

#include "ops/op.h"

namespace deltacnn {

std::optional<PickedRows> FindPickedRows(const Shape& data, const Tensor& indices,
                                         int64_t batch_dims) {
  const int64_t depth = indices.shape.back();
  PickedRows picked;
  picked.axes = static_cast<size_t>(batch_dims + depth);
  const std::span<const int64_t> dims(data);
  const auto batch = static_cast<size_t>(batch_dims);
  const int64_t batches = ElementCount(dims.first(batch));
  const int64_t tuples = depth == 0 ? 0 : indices.elements() / depth;
  const int64_t rows_of_batch = ElementCount(dims.subspan(batch, static_cast<size_t>(depth)));
  for (int64_t tuple = 0; tuple < tuples; ++tuple) {
    int64_t row = 0;
    for (int64_t d = 0; d < depth; ++d) {
      const int64_t dim = data[static_cast<size_t>(batch_dims + d)];
      int64_t at = indices.as<int64_t>()[static_cast<size_t>(tuple * depth + d)];
      if (at < -dim || at >= dim) return std::nullopt;
      at += at < 0 ? dim : 0;
      row = row * dim + at;
    }
    picked.rows.push_back(tuple / (tuples / batches) * rows_of_batch + row);
  }
  return picked;
}

Status InferGatherND(InferContext& context) {
  if (!context.Has(0) || !context.Has(1)) return context.Invalid("needs data and indices");
  const Shape& data = context.shape(0);
  const Shape& indices = context.shape(1);
  const int64_t batch = context.node.Int("batch_dims", 0);
  if (context.dtype(1) != DType::kInt64) return context.Invalid("its indices are not int64");
  const auto rank = static_cast<int64_t>(data.size());
  const auto leading = static_cast<int64_t>(indices.size()) - 1;
  const bool fits = leading >= 0 && batch >= 0 && batch <= leading && indices.back() >= 1 &&
                    indices.back() <= rank - batch &&
                    std::equal(data.begin(), data.begin() + batch, indices.begin());
  if (!fits) {
    return context.Invalid("indices " + ToString(indices) + " do not fit data " + ToString(data));
  }
  if (context.constant(1) == nullptr) return context.DataDependent("its indices are not constants");
  const auto picked = FindPickedRows(data, *context.constant(1), batch);
  if (!picked) return context.Invalid("an index is out of range for " + ToString(data));
  Shape shape(indices.begin(), indices.end() - 1);
  shape.insert(shape.end(), data.begin() + static_cast<ptrdiff_t>(picked->axes), data.end());
  context.SetOutput(0, context.dtype(0), std::move(shape));
  return {};
}

void LayoutGatherND(LayoutContext&) {}

Result<KernelPtr> MakeGatherND(const MakeContext& context) { return NeverPlanned(context); }

}  // namespace deltacnn
