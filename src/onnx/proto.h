// The part of the ONNX file format that is read: field numbers and enumerators as published in
// onnx.proto of the ONNX IR specification (https://onnx.ai/onnx/repo-docs/IR.html), and what it
// takes to read fields with protozero.
#pragma once

// Lets the wire decoder hand out the standard view type.
#define PROTOZERO_USE_VIEW std::string_view

#include <cstdint>
#include <optional>
#include <protozero/pbf_message.hpp>
#include <string>
#include <string_view>
#include <type_traits>

namespace deltacnn::onnx {

enum class ModelField : protozero::pbf_tag_type {
  kIrVersion = 1,
  kProducerName = 2,
  kProducerVersion = 3,
  kGraph = 7,
  kOpsetImport = 8,
  kMetadataProps = 14,
  kFunctions = 25,
};

enum class OperatorSetIdField : protozero::pbf_tag_type { kDomain = 1, kVersion = 2 };

enum class StringStringEntryField : protozero::pbf_tag_type { kKey = 1, kValue = 2 };

enum class FunctionField : protozero::pbf_tag_type {
  kName = 1,
  kInput = 4,
  kOutput = 5,
  kNode = 7,
  kOpsetImport = 9,
  kDomain = 10,
  kAttributeProto = 11,
};

enum class GraphField : protozero::pbf_tag_type {
  kNode = 1,
  kInitializer = 5,
  kInput = 11,
  kOutput = 12,
  kValueInfo = 13,
  kSparseInitializer = 15,
};

enum class NodeField : protozero::pbf_tag_type {
  kInput = 1,
  kOutput = 2,
  kName = 3,
  kOpType = 4,
  kAttribute = 5,
  kDomain = 7,
};

enum class AttributeField : protozero::pbf_tag_type {
  kName = 1,
  kFloat = 2,
  kInt = 3,
  kString = 4,
  kTensor = 5,
  kGraph = 6,
  kFloats = 7,
  kInts = 8,
  kStrings = 9,
  kType = 20,
  kRefAttrName = 21,
};

/// AttributeProto.AttributeType
enum class AttributeType : int32_t {
  kUndefined = 0,
  kFloat = 1,
  kInt = 2,
  kString = 3,
  kTensor = 4,
  kGraph = 5,
  kFloats = 6,
  kInts = 7,
  kStrings = 8,
  kGraphs = 10,
};

enum class TensorField : protozero::pbf_tag_type {
  kDims = 1,
  kDataType = 2,
  kFloatData = 4,
  kInt32Data = 5,
  kInt64Data = 7,
  kName = 8,
  kRawData = 9,
  kDoubleData = 10,
  kExternalData = 13,
  kDataLocation = 14,
};

/// TensorProto.DataLocation
inline constexpr int32_t kExternalLocation = 1;

enum class SparseTensorField : protozero::pbf_tag_type { kValues = 1 };

enum class ValueInfoField : protozero::pbf_tag_type { kName = 1, kType = 2 };

enum class TypeField : protozero::pbf_tag_type { kTensor = 1 };

enum class TensorTypeField : protozero::pbf_tag_type { kElemType = 1, kShape = 2 };

enum class TensorShapeField : protozero::pbf_tag_type { kDim = 1 };

enum class DimensionField : protozero::pbf_tag_type { kValue = 1, kParam = 2 };

/// Labels for `switch (message.tag_and_type())`: a field with another wire type than the one that
/// its message declares is unknown, and skipped.
template <class Field>
constexpr uint32_t Varint(Field field) {
  return protozero::tag_and_type(field, protozero::pbf_wire_type::varint);
}
template <class Field>
constexpr uint32_t Bytes(Field field) {
  return protozero::tag_and_type(field, protozero::pbf_wire_type::length_delimited);
}

/// The string, bytes or message that `field` of `message` holds.
template <class Field>
std::optional<std::string_view> FindBytes(std::string_view message, Field field) {
  std::optional<std::string_view> found;
  protozero::pbf_message<Field> reader(message);
  while (reader.next(field, protozero::pbf_wire_type::length_delimited)) found = reader.get_view();
  return found;
}
template <class Field>
std::string FindString(std::string_view message, Field field) {
  return std::string(FindBytes(message, field).value_or(std::string_view()));
}

/// The integer that `field` of `message` holds.
template <class Field>
std::optional<int64_t> FindInt(std::string_view message, Field field) {
  std::optional<int64_t> found;
  protozero::pbf_message<Field> reader(message);
  while (reader.next(field, protozero::pbf_wire_type::varint)) found = reader.get_int64();
  return found;
}

/// Calls `visit` with every number of `field`, packed or not. `T` is float, double or, whatever the
/// width of the integers, int64_t.
template <class T, class Field, class Visit>
void ForEachNumber(std::string_view message, Field field, Visit&& visit) {
  using protozero::pbf_wire_type;
  protozero::pbf_message<Field> reader(message);
  while (reader.next(field)) {
    const bool packed = reader.wire_type() == pbf_wire_type::length_delimited;
    const auto read = [&](pbf_wire_type single_type, auto get_packed, auto get_single) {
      if (packed) {
        for (const T number : get_packed()) visit(number);
      } else if (reader.wire_type() == single_type) {
        visit(get_single());
      } else {
        reader.skip();
      }
    };
    if constexpr (std::is_same_v<T, float>) {
      read(
          pbf_wire_type::fixed32, [&] { return reader.get_packed_float(); },
          [&] { return reader.get_float(); });
    } else if constexpr (std::is_same_v<T, double>) {
      read(
          pbf_wire_type::fixed64, [&] { return reader.get_packed_double(); },
          [&] { return reader.get_double(); });
    } else {
      static_assert(std::is_same_v<T, int64_t>);
      read(
          pbf_wire_type::varint, [&] { return reader.get_packed_int64(); },
          [&] { return reader.get_int64(); });
    }
  }
}

}  // namespace deltacnn::onnx
