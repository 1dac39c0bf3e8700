#include "graph/data_type.h"

#include <iterator>

namespace deltacnn {
namespace {

struct DataType {
  const char* name;
  std::optional<DType> dtype = std::nullopt;
};

// Indexed by TensorProto.DataType.
constexpr DataType kDataTypes[] = {
    {"undefined"},
    {"float32", DType::kFloat32},
    {"uint8", DType::kUint8},
    {"int8", DType::kInt8},
    {"uint16"},
    {"int16"},
    {"int32", DType::kInt32},
    {"int64", DType::kInt64},
    {"string"},
    {"bool", DType::kBool},
    {"float16", DType::kFloat16},
    {"float64", DType::kFloat64},
    {"uint32"},
    {"uint64"},
    {"complex64"},
    {"complex128"},
    {"bfloat16"},
    {"float8e4m3fn"},
    {"float8e4m3fnuz"},
    {"float8e5m2"},
    {"float8e5m2fnuz"},
    {"uint4"},
    {"int4"},
    {"float4e2m1"},
};

const DataType* FindDataType(int64_t data_type) {
  const auto index = static_cast<uint64_t>(data_type);
  return index < std::size(kDataTypes) ? &kDataTypes[index] : nullptr;
}

}  // namespace

std::optional<DType> ToDType(int64_t data_type) {
  const DataType* found = FindDataType(data_type);
  return found != nullptr ? found->dtype : std::nullopt;
}

std::string NameOfDataType(int64_t data_type) {
  const DataType* found = FindDataType(data_type);
  return found != nullptr ? found->name : "number " + std::to_string(data_type);
}

}  // namespace deltacnn
