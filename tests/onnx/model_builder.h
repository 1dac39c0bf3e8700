// Writes small ONNX models, valid and broken ones, for the tests of the reader.
#pragma once

#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "onnx/proto.h"
// After proto.h, which chooses the view type.
#include <protozero/pbf_builder.hpp>

namespace deltacnn::onnx {

/// TensorProto.DataType
enum DataType : int32_t {
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kBfloat16 = 16,
};

template <class Field>
using Builder = protozero::pbf_builder<Field>;

/// The message that `fill` writes into a builder.
template <class Field, class Fill>
std::string Message(Fill&& fill) {
  std::string bytes;
  Builder<Field> builder(bytes);
  fill(builder);
  return bytes;
}

template <class T>
std::string RawBytes(std::initializer_list<T> elements) {
  std::string bytes(elements.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), elements.begin(), bytes.size());
  return bytes;
}

/// A TensorProto whose elements `fill` adds.
template <class Fill>
std::string TensorMessage(std::string_view name, int32_t data_type,
                          const std::vector<int64_t>& dims, Fill&& fill) {
  return Message<TensorField>([&](Builder<TensorField>& tensor) {
    for (const int64_t dim : dims) tensor.add_int64(TensorField::kDims, dim);
    tensor.add_int32(TensorField::kDataType, data_type);
    fill(tensor);
    tensor.add_bytes(TensorField::kName, name);
  });
}

inline std::string RawTensor(std::string_view name, int32_t data_type,
                             const std::vector<int64_t>& dims, std::string_view raw) {
  return TensorMessage(name, data_type, dims, [&](Builder<TensorField>& tensor) {
    tensor.add_bytes(TensorField::kRawData, raw);
  });
}

inline std::string Entry(std::string_view key, std::string_view value) {
  return Message<StringStringEntryField>([&](Builder<StringStringEntryField>& entry) {
    entry.add_bytes(StringStringEntryField::kKey, key);
    entry.add_bytes(StringStringEntryField::kValue, value);
  });
}

inline std::string ExternalTensor(std::string_view name, const std::vector<int64_t>& dims,
                                  const std::vector<std::pair<std::string, std::string>>& entries) {
  return TensorMessage(name, kFloat, dims, [&](Builder<TensorField>& tensor) {
    for (const auto& [key, value] : entries) {
      tensor.add_message(TensorField::kExternalData, Entry(key, value));
    }
    tensor.add_int32(TensorField::kDataLocation, kExternalLocation);
  });
}

/// An AttributeProto whose value `fill` adds.
template <class Fill>
std::string AttributeMessage(std::string_view name, AttributeType type, Fill&& fill) {
  return Message<AttributeField>([&](Builder<AttributeField>& attribute) {
    attribute.add_bytes(AttributeField::kName, name);
    fill(attribute);
    attribute.add_int32(AttributeField::kType, static_cast<int32_t>(type));
  });
}

inline std::string IntsAttribute(std::string_view name, const std::vector<int64_t>& ints) {
  return AttributeMessage(name, AttributeType::kInts, [&](Builder<AttributeField>& attribute) {
    for (const int64_t value : ints) attribute.add_int64(AttributeField::kInts, value);
  });
}

inline std::string FloatAttribute(std::string_view name, float value) {
  return AttributeMessage(name, AttributeType::kFloat, [&](Builder<AttributeField>& attribute) {
    attribute.add_float(AttributeField::kFloat, value);
  });
}

/// The attribute `of_function` of the function around the node.
inline std::string Reference(std::string_view name, std::string_view of_function) {
  return AttributeMessage(name, AttributeType::kFloat, [&](Builder<AttributeField>& attribute) {
    attribute.add_bytes(AttributeField::kRefAttrName, of_function);
  });
}

inline std::string TensorAttribute(std::string_view name, const std::string& tensor) {
  return AttributeMessage(name, AttributeType::kTensor, [&](Builder<AttributeField>& attribute) {
    attribute.add_message(AttributeField::kTensor, tensor);
  });
}

/// A ValueInfoProto; a dimension is a number or, if it does not start with a digit or '-', a name.
inline std::string ValueInfoMessage(std::string_view name, int32_t data_type,
                                    const std::vector<std::string>& dims) {
  const std::string shape = Message<TensorShapeField>([&](Builder<TensorShapeField>& builder) {
    for (const std::string& dim : dims) {
      const bool is_number = dim[0] == '-' || (dim[0] >= '0' && dim[0] <= '9');
      const auto fill = [&](Builder<DimensionField>& dimension) {
        if (is_number) {
          dimension.add_int64(DimensionField::kValue, std::stoll(dim));
        } else {
          dimension.add_bytes(DimensionField::kParam, dim);
        }
      };
      builder.add_message(TensorShapeField::kDim, Message<DimensionField>(fill));
    }
  });
  const std::string tensor = Message<TensorTypeField>([&](Builder<TensorTypeField>& builder) {
    builder.add_int32(TensorTypeField::kElemType, data_type);
    builder.add_message(TensorTypeField::kShape, shape);
  });
  const std::string type = Message<TypeField>(
      [&](Builder<TypeField>& builder) { builder.add_message(TypeField::kTensor, tensor); });
  return Message<ValueInfoField>([&](Builder<ValueInfoField>& builder) {
    builder.add_bytes(ValueInfoField::kName, name);
    builder.add_message(ValueInfoField::kType, type);
  });
}

/// A NodeProto.
inline std::string NodeMessage(std::string_view op, const std::vector<std::string>& inputs,
                               const std::vector<std::string>& outputs,
                               const std::vector<std::string>& attributes = {},
                               std::string_view name = {}, std::string_view domain = {}) {
  return Message<NodeField>([&](Builder<NodeField>& node) {
    for (const std::string& input : inputs) node.add_bytes(NodeField::kInput, input);
    for (const std::string& output : outputs) node.add_bytes(NodeField::kOutput, output);
    if (!name.empty()) node.add_bytes(NodeField::kName, name);
    node.add_bytes(NodeField::kOpType, op);
    for (const std::string& attribute : attributes) {
      node.add_message(NodeField::kAttribute, attribute);
    }
    if (!domain.empty()) node.add_bytes(NodeField::kDomain, domain);
  });
}

class ModelBuilder {
 public:
  ModelBuilder& Node(std::string_view op, const std::vector<std::string>& inputs,
                     const std::vector<std::string>& outputs,
                     const std::vector<std::string>& attributes = {}, std::string_view name = {},
                     std::string_view domain = {}) {
    return Add(GraphField::kNode, NodeMessage(op, inputs, outputs, attributes, name, domain));
  }
  ModelBuilder& Initializer(const std::string& tensor) {
    return Add(GraphField::kInitializer, tensor);
  }
  ModelBuilder& Input(std::string_view name, const std::vector<std::string>& dims = {"1"},
                      int32_t data_type = kFloat) {
    return Add(GraphField::kInput, ValueInfoMessage(name, data_type, dims));
  }
  ModelBuilder& Output(std::string_view name, const std::vector<std::string>& dims = {"1"}) {
    return Add(GraphField::kOutput, ValueInfoMessage(name, kFloat, dims));
  }
  ModelBuilder& ValueInfo(std::string_view name, const std::vector<std::string>& dims,
                          int32_t data_type = kFloat) {
    return Add(GraphField::kValueInfo, ValueInfoMessage(name, data_type, dims));
  }
  ModelBuilder& Add(GraphField field, const std::string& message) {
    Builder<GraphField>(graph_).add_message(field, message);
    return *this;
  }
  ModelBuilder& Opset(std::string_view domain, int64_t version) {
    const auto fill = [&](Builder<OperatorSetIdField>& opset) {
      opset.add_bytes(OperatorSetIdField::kDomain, domain);
      opset.add_int64(OperatorSetIdField::kVersion, version);
    };
    return Add(ModelField::kOpsetImport, Message<OperatorSetIdField>(fill));
  }
  /// Of domain "pkg"; `fill` adds more to its FunctionProto.
  template <class Fill>
  ModelBuilder& Function(std::string_view name, const std::vector<std::string>& inputs,
                         const std::vector<std::string>& outputs,
                         const std::vector<std::string>& nodes, Fill&& fill) {
    return Add(ModelField::kFunctions, Message<FunctionField>([&](auto& function) {
                 function.add_bytes(FunctionField::kName, name);
                 for (const std::string& in : inputs) function.add_bytes(FunctionField::kInput, in);
                 for (const std::string& out : outputs)
                   function.add_bytes(FunctionField::kOutput, out);
                 for (const std::string& node : nodes)
                   function.add_message(FunctionField::kNode, node);
                 function.add_bytes(FunctionField::kDomain, "pkg");
                 fill(function);
               }));
  }
  ModelBuilder& Function(std::string_view name, const std::vector<std::string>& inputs,
                         const std::vector<std::string>& outputs,
                         const std::vector<std::string>& nodes) {
    return Function(name, inputs, outputs, nodes, [](auto&) {});
  }
  ModelBuilder& Add(ModelField field, const std::string& message) {
    Builder<ModelField>(rest_).add_message(field, message);
    return *this;
  }

  /// The GraphProto as an attribute: a branch.
  std::string Branch(std::string_view name) const {
    return AttributeMessage(name, AttributeType::kGraph, [&](Builder<AttributeField>& attribute) {
      attribute.add_message(AttributeField::kGraph, graph_);
    });
  }

  /// The ModelProto, importing opset 13 unless another was given.
  std::string Bytes() {
    if (rest_.empty()) Opset("", 13);
    return Message<ModelField>([&](Builder<ModelField>& model) {
             model.add_int64(ModelField::kIrVersion, 8);
             model.add_bytes(ModelField::kProducerName, "model_builder");
             model.add_message(ModelField::kGraph, graph_);
           }) +
           rest_;
  }

 private:
  std::string graph_;
  std::string rest_;
};

}  // namespace deltacnn::onnx
