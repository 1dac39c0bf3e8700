// The positions of what is not zero: how many there are, only the data tell.
#include <cstring>
#include <utility>
#include <vector>

#include "ops/op.h"

namespace deltacnn {
namespace {

/// Minus zero is zero, too.
bool IsZero(const Tensor& tensor, size_t element) {
  switch (tensor.dtype) {
    case DType::kFloat32:
      return tensor.as<float>()[element] == 0;
    case DType::kFloat64:
      return tensor.as<double>()[element] == 0;
    default: {
      const size_t size = SizeOf(tensor.dtype);
      constexpr std::byte kZeros[sizeof(int64_t)] = {};
      return std::memcmp(tensor.bytes.data() + element * size, kZeros, size) == 0;
    }
  }
}

}  // namespace

Status InferNonZero(InferContext& context) {
  if (!context.Has(0)) return context.Invalid("it has no input");
  if (context.dtype(0) == DType::kFloat16) return context.Unsupported("float16 input");
  const Tensor* tensor = context.constant(0);
  if (tensor == nullptr)
    return context.DataDependent("how many elements are not zero is not known");
  const auto elements = static_cast<size_t>(tensor->elements());
  const auto rank = static_cast<int64_t>(tensor->shape.size());
  int64_t count = 0;
  for (size_t i = 0; i < elements; ++i) count += IsZero(*tensor, i) ? 0 : 1;
  DELTACNN_RETURN_IF_ERROR(context.CheckConstant({rank + 1, count}, DType::kInt64));
  std::vector<int64_t> found;  // positions in the order of memory
  for (size_t i = 0; i < elements; ++i)
    if (!IsZero(*tensor, i)) found.push_back(static_cast<int64_t>(i));
  Tensor positions(DType::kInt64, {rank, count});
  const auto out = positions.as<int64_t>();
  int64_t stride = 1;
  for (size_t a = tensor->shape.size(); a-- > 0; stride *= tensor->shape[a]) {
    for (size_t i = 0; i < found.size(); ++i)
      out[a * found.size() + i] = found[i] / stride % tensor->shape[a];
  }
  context.SetConstant(0, std::move(positions));
  return {};
}

void LayoutNonZero(LayoutContext&) {}

Result<KernelPtr> MakeNonZero(const MakeContext& context) { return NeverPlanned(context); }

}  // namespace deltacnn
