// Fuzzing of the model reader with libFuzzer:
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude -Isrc
//     tests/onnx/fuzz_reader.cc src/onnx/*.cc src/graph/graph.cc src/core/tensor.cc -o fuzz_reader
//   ./fuzz_reader -max_len=4096 CORPUS
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "onnx/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto graph = deltacnn::onnx::ReadBytes(bytes, "", "fuzz.onnx");
  if (!graph.ok() && graph.error().message.find('\n') != std::string::npos) std::abort();
  return 0;
}
