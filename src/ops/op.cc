#include "ops/op.h"

#include <algorithm>

namespace deltacnn {

void Halo::Cover(const Halo& other) {
  top = std::max(top, other.top);
  bottom = std::max(bottom, other.bottom);
  left = std::max(left, other.left);
  right = std::max(right, other.right);
}

Result<std::vector<int64_t>> InferContext::ConstantInts(size_t input) {
  if (!Has(input)) return Invalid("input " + std::to_string(input) + " is missing");
  const std::string name = "input " + std::to_string(input) + " '" + value(input).name + "'";
  const DType type = dtype(input);
  if (type != DType::kInt64 && type != DType::kInt32)
    return Invalid(name + " is " + NameOf(type) + " where int64 is needed");
  const Tensor* tensor = constant(input);
  if (tensor == nullptr) return DataDependent(name + " is not a constant");
  return IntsOf(*tensor);
}

Result<size_t> InferContext::NormalisedAxis(int64_t axis, size_t rank) const {
  const auto limit = static_cast<int64_t>(rank);
  if (axis < -limit || axis >= limit) {
    return Invalid("axis " + std::to_string(axis) + " is out of range for a tensor of rank " +
                   std::to_string(rank));
  }
  return FromFront(axis, rank);
}

void InferContext::SetOutput(size_t output, DType dtype, Shape shape) {
  if (output >= node.outputs.size() || node.outputs[output] == kNoValue) return;
  Value& value = graph_.values[static_cast<size_t>(node.outputs[output])];
  value.dtype = dtype;
  value.dtype_known = true;
  value.shape = std::move(shape);
}

void InferContext::SetConstant(size_t output, Tensor tensor) {
  if (output >= node.outputs.size() || node.outputs[output] == kNoValue) return;
  SetOutput(output, tensor.dtype, tensor.shape);
  graph_.values[static_cast<size_t>(node.outputs[output])].constant =
      std::make_shared<const Tensor>(std::move(tensor));
}

Error InferContext::Invalid(const std::string& what) const {
  return NodeError(ErrorCode::kInvalidModel, node, what);
}

Status InferContext::CheckConstant(const Shape& shape, DType dtype) const {
  const int64_t count = ElementCount(shape);
  if (count < 0 || static_cast<uint64_t>(count) > max_constant_bytes / SizeOf(dtype)) {
    return NodeError(ErrorCode::kLimit, node,
                     "a constant " + ToString(shape) + " would need more than " +
                         std::to_string(max_constant_bytes >> 20) + " MiB");
  }
  return {};
}

Error InferContext::Unsupported(const std::string& what) const {
  return NodeError(ErrorCode::kUnsupported, node, what);
}

Error InferContext::DataDependent(const std::string& what) {
  data_dependent_ = true;
  return Unsupported(what);
}

Error MakeContext::Unsupported(const std::string& what) const {
  return NodeError(ErrorCode::kUnsupported, node, what);
}

Error NodeError(ErrorCode code, const Node& node, const std::string& what) {
  return {code, OneLine("node '" + node.name + "' (" + node.op + "): " + what)};
}

Error NeverPlanned(const MakeContext& context) {
  return context.Unsupported("internal error: a node that planning evaluates reached a step");
}

}  // namespace deltacnn
