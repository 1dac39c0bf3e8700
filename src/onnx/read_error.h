// How the readers of this folder report what is wrong with a file.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "deltacnn/result.h"
#include "graph/graph.h"
#include "onnx/proto.h"

namespace deltacnn::onnx {

/// Thrown within src/onnx, where the wire decoder throws as well; reader.h returns it as an Error.
/// The text says what is wrong and the remedy; the name of the file is put before it later.
class ReadError : public std::runtime_error {
 public:
  ReadError(ErrorCode code, const std::string& text) : std::runtime_error(text), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

/// The error for a file that contradicts itself or the format.
ReadError Invalid(const std::string& text);

/// A name out of the file for a one-line message: in quotes, printable and not too long.
std::string Quote(std::string_view name);

/// "node 'name' (Operator)"
std::string Describe(const Node& node);

/// Returns `parse()`. If the bytes that it reads are no valid message, the error names `place()`.
template <class Place, class Parse>
auto ReadAt(Place&& place, Parse&& parse) {
  try {
    return parse();
  } catch (const protozero::exception&) {
    throw Invalid(place() + " is damaged or cut short");
  }
}

}  // namespace deltacnn::onnx
