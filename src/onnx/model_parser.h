// ModelProto -> its contents, not linked yet: what belongs together is still known by name only.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "onnx/tensor_reader.h"

namespace deltacnn::onnx {

struct Initializer {
  std::string_view proto;  // TensorProto, or SparseTensorProto
  bool sparse = false;
};

struct ValueInfo {
  std::string_view name;
  bool is_tensor = true;
  int64_t data_type = 0;  // TensorProto.DataType
  std::optional<Shape> shape;
};

struct ParsedGraph;

struct ParsedNode {
  Node node;  // without inputs and outputs
  std::vector<std::string_view> inputs;
  std::vector<std::string_view> outputs;
  /// Attributes that are those of the call of the function around the node: here, there.
  std::vector<std::pair<std::string, std::string>> references;
  std::map<std::string, std::shared_ptr<const ParsedGraph>> branches;  // of an If, by attribute
};

/// The views are into the bytes that were parsed.
struct ParsedGraph {
  std::vector<ParsedNode> nodes;
  std::vector<ValueInfo> inputs;
  std::vector<ValueInfo> outputs;
  std::vector<ValueInfo> value_infos;
  std::unordered_map<std::string_view, Initializer> initializers;
};

struct ParsedFunction {
  ParsedGraph body;     // of inputs and outputs the names, no initializers
  ParsedNode defaults;  // its attributes: those that a call need not give
  int64_t opset = 0;    // of the default domain; 0: not said
};

struct ParsedModel {
  Graph graph;  // what is known of the whole: no values, nodes, inputs, outputs
  ParsedGraph main;
  std::map<std::pair<std::string_view, std::string_view>, ParsedFunction>
      functions;  // domain, name
};

/// Throws ReadError. `tensors` reads the tensors among the attributes.
ParsedModel ParseModel(std::string_view bytes, TensorReader* tensors);

}  // namespace deltacnn::onnx
