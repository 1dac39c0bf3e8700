// NumPy's .npy files.
#pragma once

#include <string>

#include "deltacnn/result.h"
#include "deltacnn/tensor.h"

namespace deltacnn::cli {

/// Reads versions 1 to 3, little-endian, of every DType. Fortran order is turned into C order.
/// kIo if the file cannot be read or is damaged, kUnsupported if it holds another type.
Result<Tensor> ReadNpy(const std::string& path);

/// Writes version 1, C order. kIo if that fails.
Status WriteNpy(const std::string& path, const TensorView& tensor);

}  // namespace deltacnn::cli
