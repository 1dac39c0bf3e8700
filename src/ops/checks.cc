#include "ops/checks.h"

namespace deltacnn {

Status CheckFloats(const InferContext& context, size_t count, size_t required) {
  for (size_t i = 0; i < count; ++i) {
    if (!context.Has(i)) {
      if (i < required) return context.Invalid("input " + std::to_string(i) + " is missing");
      continue;
    }
    if (context.dtype(i) != DType::kFloat32) {
      return context.Unsupported(std::string(NameOf(context.dtype(i))) +
                                 " input; float32 is supported");
    }
  }
  return {};
}

Status CheckPicture(const InferContext& context) {
  const Shape& shape = context.shape(0);
  if (shape.size() < 3 || ElementCount(shape) < 1)
    return context.Invalid("the input " + ToString(shape) + " is not [N,C,...] with pixels");
  return {};
}

Status CheckConvInputs(const InferContext& context) {
  if (!context.Has(0) || !context.Has(1))
    return context.Invalid("its input or its weights are missing");
  if (context.dtype(0) != DType::kFloat32 || context.dtype(1) != DType::kFloat32) {
    return context.Unsupported(std::string("input and weights are ") + NameOf(context.dtype(0)) +
                               " and " + NameOf(context.dtype(1)) + " (supported: float32)");
  }
  const size_t rank = context.rank(0);
  if (rank == 5)
    return context.Unsupported("3-D convolution is not supported (supported: 1-D, 2-D)");
  if ((rank != 3 && rank != 4) || context.rank(1) != rank) {
    return context.Invalid("input " + ToString(context.shape(0)) + " and weights " +
                           ToString(context.shape(1)) + " do not fit");
  }
  return {};
}

Status CheckConvConstants(InferContext& context, int64_t channels) {
  if (context.Has(2) &&
      (context.shape(2) != Shape{channels} || context.dtype(2) != DType::kFloat32))
    return context.Invalid("its bias is not one float32 per output channel");
  if (context.constant(1) == nullptr) return context.DataDependent("its weights are not constants");
  if (context.Has(2) && context.constant(2) == nullptr)
    return context.DataDependent("its bias is not a constant");
  return {};
}

}  // namespace deltacnn
