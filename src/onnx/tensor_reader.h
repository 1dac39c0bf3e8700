// TensorProto -> Tensor, whatever way its elements are stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "deltacnn/tensor.h"
#include "graph/graph.h"

namespace deltacnn::onnx {

inline constexpr int64_t kMaxDimension = INT32_MAX;
inline constexpr size_t kMaxRank = 32;

struct TensorHeader;

class TensorReader {
 public:
  /// External data is looked up under `directory`; if that is empty, it is refused.
  explicit TensorReader(std::string directory) : directory_(std::move(directory)) {}

  /// Reads one TensorProto. `what` names it in errors: "initializer 'w'". Allocates no more than
  /// the bytes at hand can fill. Throws ReadError.
  TensorPtr Read(std::string_view proto, const std::string& what);

 private:
  TensorPtr Decode(std::string_view proto, const std::string& what);
  std::vector<std::byte> ReadExternal(const TensorHeader& header, size_t size,
                                      const std::string& what);

  std::string directory_;
  std::map<std::string, uint64_t> bytes_read_;  // of every external file
};

}  // namespace deltacnn::onnx
