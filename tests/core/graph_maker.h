// Builds small graphs in memory, the way the importer delivers them.
#pragma once

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "deltacnn/model.h"
#include "deltacnn/stream.h"
#include "graph/graph.h"
#include "ops/harness.h"
#include "ops/op.h"

namespace deltacnn::testing {

using Attributes = std::map<std::string, Attribute>;
using IntList = std::vector<int64_t>;

class GraphMaker {
 public:
  GraphMaker() { graph.opset = 19; }

  ValueId Input(const std::string& name, Shape shape, DType dtype = DType::kFloat32) {
    Value value;
    value.name = name;
    value.dtype = dtype;
    value.dtype_known = true;
    value.shape = std::move(shape);
    graph.inputs.push_back(graph.AddValue(std::move(value)));
    return graph.inputs.back();
  }

  ValueId Constant(Tensor tensor) {
    Value value;
    value.name = "c" + std::to_string(graph.values.size());
    value.dtype = tensor.dtype;
    value.dtype_known = true;
    value.shape = tensor.shape;
    value.constant = std::make_shared<const Tensor>(std::move(tensor));
    return graph.AddValue(std::move(value));
  }

  /// Adds a node without checking it. Returns its outputs.
  std::vector<ValueId> AddUnchecked(const std::string& op, std::vector<ValueId> inputs,
                                    Attributes attributes = {}, size_t outputs = 1) {
    Node node;
    node.op = op;
    node.name = op + "_" + std::to_string(graph.nodes.size());
    node.inputs = std::move(inputs);
    node.attributes = std::move(attributes);
    for (size_t o = 0; o < outputs; ++o) {
      Value value;
      value.name = node.name + ":" + std::to_string(o);
      node.outputs.push_back(graph.AddValue(std::move(value)));
    }
    graph.nodes.push_back(std::move(node));
    return graph.nodes.back().outputs;
  }

  /// Adds a node and infers its output shapes. Empty, and nothing is added, if the node is
  /// impossible.
  std::vector<ValueId> TryAdd(const std::string& op, std::vector<ValueId> inputs,
                              Attributes attributes = {}, size_t outputs = 1) {
    const size_t values = graph.values.size();
    const std::vector<ValueId> ids =
        AddUnchecked(op, std::move(inputs), std::move(attributes), outputs);
    const Node node = graph.nodes.back();
    InferContext context(node, graph);
    const bool small = FindOp(op)->infer(context).ok() && std::ranges::all_of(ids, [&](ValueId id) {
                         const int64_t count = ElementCount(shape(id));
                         return count > 0 && count <= most_elements;
                       });
    if (small) return ids;
    graph.nodes.pop_back();
    graph.values.resize(values);
    return {};
  }

  /// Adds a node with one output that is known to be possible.
  ValueId Add(const std::string& op, std::vector<ValueId> inputs, Attributes attributes = {}) {
    const auto ids = TryAdd(op, std::move(inputs), std::move(attributes));
    EXPECT_FALSE(ids.empty()) << op;
    return ids.empty() ? graph.inputs[0] : ids[0];
  }

  void Output(ValueId id) { graph.outputs.push_back(id); }

  const Shape& shape(ValueId id) const { return *graph.values[static_cast<size_t>(id)].shape; }
  DType dtype(ValueId id) const { return graph.values[static_cast<size_t>(id)].dtype; }

  /// A convolution with random weights and a bias; square kernel and equal pads.
  ValueId Conv(std::mt19937& rng, ValueId x, int64_t outputs, int64_t kernel, int64_t stride = 1,
               int64_t pad = 0, int64_t group = 1) {
    const int64_t channels = shape(x)[1] / group;
    const float scale = 1.0f / std::sqrt(static_cast<float>(channels * kernel * kernel));
    return Add("Conv",
               {x, Constant(RandomTensor(rng, {outputs, channels, kernel, kernel}, -scale, scale)),
                Constant(RandomTensor(rng, {outputs}))},
               {{"pads", IntList{pad, pad, pad, pad}},
                {"strides", IntList{stride, stride}},
                {"group", group}});
  }

  Graph graph;
  int64_t most_elements = 40'000;  // of a value that TryAdd accepts
};

/// The nodes of a graph with shapes and attributes, for messages.
inline std::string Describe(const Graph& graph) {
  const auto value = [&](ValueId id) -> std::string {
    if (id == kNoValue) return "-";
    const Value& v = graph.values[static_cast<size_t>(id)];
    return "%" + std::to_string(id) + (v.constant ? "const" : "") +
           (v.shape ? ToString(*v.shape) : "[?]") +
           (v.dtype == DType::kFloat32 ? "" : NameOf(v.dtype));
  };
  const auto list = [&](const std::vector<ValueId>& ids) {
    std::string text;
    for (const ValueId id : ids) text += (text.empty() ? "" : ", ") + value(id);
    return text;
  };
  std::string text = "inputs " + list(graph.inputs) + "\n";
  for (const Node& node : graph.nodes) {
    text += "  " + list(node.outputs) + " = " + node.op + "(" + list(node.inputs) + ")";
    for (const auto& [key, attribute] : node.attributes) {
      text += " " + key + "=";
      if (const auto* i = std::get_if<int64_t>(&attribute)) text += std::to_string(*i);
      if (const auto* f = std::get_if<float>(&attribute)) text += std::to_string(*f);
      if (const auto* s = std::get_if<std::string>(&attribute)) text += *s;
      if (const auto* v = std::get_if<IntList>(&attribute)) text += ToString(*v);
    }
    for (const ValueId id : node.inputs) {  // small integer operands decide what a node does
      const Tensor* constant = id == kNoValue ? nullptr : graph.Constant(id).get();
      if (constant == nullptr || constant->dtype != DType::kInt64 || constant->elements() > 16)
        continue;
      text += " {";
      for (const int64_t i : constant->as<int64_t>()) text += std::to_string(i) + ",";
      text += "}";
    }
    text += "\n";
  }
  return text + "outputs " + list(graph.outputs) + "\n";
}

/// The bytes of an output.
inline std::vector<std::byte> BytesOf(const TensorView& view) {
  const auto* bytes = static_cast<const std::byte*>(view.data);
  return {bytes, bytes + static_cast<size_t>(view.elements()) * SizeOf(view.dtype)};
}

/// All outputs of a stream.
inline std::vector<std::vector<std::byte>> OutputsOf(const Stream& stream) {
  std::vector<std::vector<std::byte>> outputs;
  for (size_t o = 0; o < stream.plan().outputs().size(); ++o)
    outputs.push_back(BytesOf(stream.Output(o)));
  return outputs;
}

}  // namespace deltacnn::testing
