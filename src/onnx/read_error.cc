#include "onnx/read_error.h"

namespace deltacnn::onnx {
namespace {

std::string Printable(std::string_view name) {
  constexpr size_t kLongest = 100;
  const std::string text = OneLine(std::string(name.substr(0, kLongest)));
  return name.size() > kLongest ? text + "..." : text;
}

}  // namespace

ReadError Invalid(const std::string& text) {
  return {ErrorCode::kInvalidModel, text + " (copy the file again or export the model again)"};
}

std::string Quote(std::string_view name) { return "'" + Printable(name) + "'"; }

std::string Describe(const Node& node) {
  return "node " + Quote(node.name) + " (" + Printable(node.op) + ")";
}

}  // namespace deltacnn::onnx
