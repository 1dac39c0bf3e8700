// Writes a graph as the bytes of an ONNX model.
#pragma once

#include "graph/graph.h"
#include "onnx/model_builder.h"

namespace deltacnn::testing {

inline int32_t OnnxType(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return onnx::kFloat;
    case DType::kFloat64:
      return onnx::kDouble;
    case DType::kInt8:
      return onnx::kInt8;
    case DType::kUint8:
      return onnx::kUint8;
    case DType::kInt32:
      return onnx::kInt32;
    case DType::kInt64:
      return onnx::kInt64;
    case DType::kBool:
      return onnx::kBool;
    case DType::kFloat16:
      return onnx::kFloat16;
  }
  return 0;
}

inline std::string OnnxAttribute(const std::string& name, const Attribute& attribute) {
  using onnx::AttributeField;
  using onnx::AttributeType;
  const auto message = [&](AttributeType type, auto&& fill) {
    return onnx::AttributeMessage(name, type, fill);
  };
  using Field = onnx::Builder<AttributeField>;
  if (const auto* i = std::get_if<int64_t>(&attribute))
    return message(AttributeType::kInt, [&](Field& f) { f.add_int64(AttributeField::kInt, *i); });
  if (const auto* x = std::get_if<float>(&attribute))
    return message(AttributeType::kFloat,
                   [&](Field& f) { f.add_float(AttributeField::kFloat, *x); });
  if (const auto* s = std::get_if<std::string>(&attribute))
    return message(AttributeType::kString,
                   [&](Field& f) { f.add_bytes(AttributeField::kString, *s); });
  if (const auto* ints = std::get_if<std::vector<int64_t>>(&attribute))
    return onnx::IntsAttribute(name, *ints);
  return {};
}

/// Attributes may be numbers, strings and lists of integers.
inline std::string OnnxBytes(const Graph& graph) {
  onnx::ModelBuilder model;
  const auto name = [&](ValueId id) {
    return id == kNoValue ? std::string() : "v" + std::to_string(id);
  };
  const auto names = [&](const std::vector<ValueId>& ids) {
    std::vector<std::string> list;
    for (const ValueId id : ids) list.push_back(name(id));
    return list;
  };
  for (const ValueId id : graph.inputs) {
    const Value& value = graph.values[static_cast<size_t>(id)];
    std::vector<std::string> dims;
    for (const int64_t dim : *value.shape) dims.push_back(std::to_string(dim));
    model.Input(name(id), dims, OnnxType(value.dtype));
  }
  for (size_t id = 0; id < graph.values.size(); ++id) {
    const Tensor* constant = graph.values[id].constant.get();
    if (constant == nullptr) continue;
    const std::string_view raw(reinterpret_cast<const char*>(constant->bytes.data()),
                               constant->bytes.size());
    model.Initializer(onnx::RawTensor(name(static_cast<ValueId>(id)), OnnxType(constant->dtype),
                                      constant->shape, raw));
  }
  for (const Node& node : graph.nodes) {
    std::vector<std::string> attributes;
    for (const auto& [key, attribute] : node.attributes)
      attributes.push_back(OnnxAttribute(key, attribute));
    model.Node(node.op, names(node.inputs), names(node.outputs), attributes, node.name);
  }
  for (const ValueId id : graph.outputs) model.Output(name(id));
  model.Opset("", graph.opset);
  return model.Bytes();
}

}  // namespace deltacnn::testing
