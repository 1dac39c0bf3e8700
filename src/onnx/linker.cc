#include "onnx/linker.h"

#include <algorithm>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "onnx/read_error.h"
#include "onnx/topological_sort.h"

namespace deltacnn::onnx {
namespace {

template <class T>
TensorPtr MakeTensor(DType dtype, Shape shape, std::span<const T> elements) {
  auto tensor = std::make_shared<Tensor>();
  const auto bytes = std::as_bytes(elements);
  tensor->dtype = dtype;
  tensor->shape = std::move(shape);
  tensor->bytes.assign(bytes.begin(), bytes.end());
  return tensor;
}

/// The value of a Constant node.
TensorPtr ValueOf(const Node& constant) {
  for (const auto& [key, attribute] : constant.attributes) {
    if (!key.starts_with("value")) continue;
    if (const auto* tensor = std::get_if<TensorPtr>(&attribute)) return *tensor;
    if (const auto* number = std::get_if<float>(&attribute)) {
      return MakeTensor<float>(DType::kFloat32, {}, {number, 1});
    }
    if (const auto* number = std::get_if<int64_t>(&attribute)) {
      return MakeTensor<int64_t>(DType::kInt64, {}, {number, 1});
    }
    if (const auto* list = std::get_if<std::vector<float>>(&attribute)) {
      return MakeTensor<float>(DType::kFloat32, {static_cast<int64_t>(list->size())}, *list);
    }
    if (const auto* list = std::get_if<std::vector<int64_t>>(&attribute)) {
      return MakeTensor<int64_t>(DType::kInt64, {static_cast<int64_t>(list->size())}, *list);
    }
  }
  throw ReadError(ErrorCode::kUnsupported,
                  Describe(constant) + " holds no dense numbers (export the model without it)");
}

class Linker {
 public:
  Linker(ParsedModel model, TensorReader* tensors)
      : model_(std::move(model)), graph_(std::move(model_.graph)), tensors_(tensors) {}

  Graph Link() {
    // Every node's outputs before any node's inputs: the file need not be sorted.
    DefineInputs();
    for (ParsedNode& parsed : model_.nodes) DefineOutputsOf(&parsed);
    for (ParsedNode& parsed : model_.nodes) ResolveInputsOf(&parsed);
    ResolveOutputs();
    AnnotateValues();
    SortNodes(&graph_);
    CleanNames();
    return std::move(graph_);
  }

 private:
  void DefineInputs();
  void DefineOutputsOf(ParsedNode* parsed);
  void ResolveInputsOf(ParsedNode* parsed);
  void ResolveOutputs();
  void AnnotateValues();
  void CleanNames();
  ValueId Define(std::string_view name, const std::string& producer);
  ValueId Resolve(std::string_view name, const std::string& consumer);
  ValueId AddValue(std::string_view name);
  void SetConstant(ValueId id, TensorPtr tensor);

  ParsedModel model_;
  Graph graph_;
  TensorReader* tensors_;
  std::unordered_map<std::string_view, ValueId> ids_;
};

void Linker::DefineInputs() {
  for (const ValueInfo& input : model_.inputs) {
    // Until IR version 3, every initializer had to be listed as an input too.
    if (model_.initializers.contains(input.name)) continue;
    if (input.name.empty()) throw Invalid("a graph input has no name");
    const std::string what = "graph input " + Quote(input.name);
    if (!input.is_tensor || (input.data_type != 0 && !ToDType(input.data_type))) {
      const std::string problem = input.is_tensor
                                      ? " has the element type " + NameOfDataType(input.data_type)
                                      : " is no tensor";
      throw ReadError(
          ErrorCode::kUnsupported,
          what + problem + ", which is not supported (export the model with float32 inputs)");
    }
    graph_.inputs.push_back(Define(input.name, what));
  }
}

void Linker::DefineOutputsOf(ParsedNode* parsed) {
  Node& node = parsed->node;
  const std::string what = Describe(node);
  if (model_.functions.contains({node.domain, node.op})) {
    throw ReadError(ErrorCode::kUnsupported,
                    what +
                        " calls a function of the model, which is not supported (inline it "
                        "with onnx.inliner.inline_local_functions)");
  }
  for (const std::string_view output : parsed->outputs) {
    node.outputs.push_back(output.empty() ? kNoValue : Define(output, what));
  }
}

void Linker::ResolveInputsOf(ParsedNode* parsed) {
  Node& node = parsed->node;
  if (node.op == "Constant" && node.domain.empty()) {
    if (node.outputs.size() != 1 || !parsed->inputs.empty()) {
      throw Invalid(Describe(node) + " must have one output and no input");
    }
    if (node.outputs[0] != kNoValue) SetConstant(node.outputs[0], ValueOf(node));
    return;
  }
  const std::string what = Describe(node);
  for (const std::string_view input : parsed->inputs) {
    node.inputs.push_back(input.empty() ? kNoValue : Resolve(input, what));
  }
  graph_.nodes.push_back(std::move(node));
}

void Linker::ResolveOutputs() {
  if (model_.outputs.empty()) throw Invalid("the graph has no outputs");
  for (const ValueInfo& output : model_.outputs) {
    graph_.outputs.push_back(Resolve(output.name, "the list of graph outputs"));
  }
}

void Linker::AnnotateValues() {
  // The inputs come last: what they declare is certain, the rest was inferred by an exporter.
  for (auto* infos : {&model_.value_infos, &model_.outputs, &model_.inputs}) {
    for (ValueInfo& info : *infos) {
      const auto found = ids_.find(info.name);
      if (found == ids_.end() || graph_.Constant(found->second) || !info.is_tensor) continue;
      Value& value = graph_.values[static_cast<size_t>(found->second)];
      if (const std::optional<DType> dtype = ToDType(info.data_type)) {
        value.dtype = *dtype;
        value.dtype_known = true;
      }
      if (info.shape) {
        value.shape = std::move(info.shape);
        value.dim_names = std::move(info.dim_names);
      }
    }
  }
}

/// Names end up in one-line messages, tables and terminals.
void Linker::CleanNames() {
  const auto clean = [](std::string& name) {
    std::ranges::replace_if(
        name, [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
  };
  for (Node& node : graph_.nodes) {
    for (std::string* name : {&node.name, &node.op, &node.domain}) clean(*name);
  }
  for (Value& value : graph_.values) clean(value.name);
}

ValueId Linker::Define(std::string_view name, const std::string& producer) {
  if (ids_.contains(name) || model_.initializers.contains(name)) {
    throw Invalid(producer + " produces " + Quote(name) + ", which is defined already");
  }
  return AddValue(name);
}

ValueId Linker::Resolve(std::string_view name, const std::string& consumer) {
  if (const auto known = ids_.find(name); known != ids_.end()) return known->second;
  const auto found = model_.initializers.find(name);
  if (found == model_.initializers.end()) {
    throw Invalid(consumer + " needs " + Quote(name) +
                  ", which is no input, initializer or output of a node");
  }
  const std::string what = "initializer " + Quote(name);
  if (found->second.sparse) {
    throw ReadError(
        ErrorCode::kUnsupported,
        what + " is sparse, which is not supported (export the model with dense weights)");
  }
  const ValueId id = AddValue(name);
  SetConstant(id, tensors_->Read(found->second.proto, what));
  return id;
}

ValueId Linker::AddValue(std::string_view name) {
  Value value;
  value.name = name;
  const ValueId id = graph_.AddValue(std::move(value));
  ids_.emplace(name, id);
  return id;
}

void Linker::SetConstant(ValueId id, TensorPtr tensor) {
  Value& value = graph_.values[static_cast<size_t>(id)];
  value.dtype = tensor->dtype;
  value.dtype_known = true;
  value.shape = tensor->shape;
  value.constant = std::move(tensor);
}

}  // namespace

Graph Link(ParsedModel model, TensorReader* tensors) {
  return Linker(std::move(model), tensors).Link();
}

}  // namespace deltacnn::onnx
