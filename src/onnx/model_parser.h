// ModelProto -> its contents, not linked yet: what belongs together is still known by name only.
#pragma once

#include <optional>
#include <set>
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
  std::vector<std::string> dim_names;
};

struct ParsedNode {
  Node node;  // without inputs and outputs
  std::vector<std::string_view> inputs;
  std::vector<std::string_view> outputs;
};

/// The views are into the bytes that were parsed.
struct ParsedModel {
  Graph graph;  // what is known of the whole: no values, nodes, inputs, outputs
  std::vector<ParsedNode> nodes;
  std::vector<ValueInfo> inputs;
  std::vector<ValueInfo> outputs;
  std::vector<ValueInfo> value_infos;
  std::unordered_map<std::string_view, Initializer> initializers;
  std::set<std::pair<std::string_view, std::string_view>> functions;  // domain, name
};

/// Throws ReadError. `tensors` reads the tensors among the attributes.
ParsedModel ParseModel(std::string_view bytes, TensorReader* tensors);

}  // namespace deltacnn::onnx
