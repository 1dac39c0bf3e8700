// The element types of ONNX, as files and attributes number them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "deltacnn/tensor.h"

namespace deltacnn {

/// The element type for a TensorProto.DataType; nullopt if there is none.
std::optional<DType> ToDType(int64_t data_type);
/// The name ONNX gives a TensorProto.DataType, such as "bfloat16".
std::string NameOfDataType(int64_t data_type);

}  // namespace deltacnn
