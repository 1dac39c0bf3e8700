#include "onnx/linker.h"

#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "graph/data_type.h"
#include "graph/lower.h"
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

/// The value of a Constant node; null if it is none of dense numbers.
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
  return nullptr;
}

bool IsConstant(const Node& node) { return node.op == "Constant" && node.domain.empty(); }

// Calls and branches may be spelled out many times over: a small file can ask for any number of
// nodes.
constexpr uint64_t kMaxLinkedBytes = uint64_t{1} << 30;
constexpr uint64_t kRecordBytes = 512;  // of a node or value, about, names and lists apart

// Calls and branches within one another; each takes some stack to spell out.
constexpr int kMaxDepth = 64;

uint64_t BytesOf(const std::string& text) { return text.size(); }
uint64_t BytesOf(const std::vector<std::string>& list) {
  uint64_t bytes = 0;
  for (const std::string& text : list) bytes += sizeof(text) + text.size();
  return bytes;
}
template <class Number>
uint64_t BytesOf(const std::vector<Number>& list) {
  return list.size() * sizeof(Number);
}
template <class Single>
uint64_t BytesOf(const Single& /*number, or a tensor that all copies share*/) {
  return 0;
}

/// Of a node besides a record's.
uint64_t BytesOf(const Node& node) {
  uint64_t bytes = node.name.size();
  for (const auto& [key, attribute] : node.attributes) {
    bytes += kRecordBytes / 4 + key.size();
    bytes += std::visit([](const auto& value) { return BytesOf(value); }, attribute);
  }
  return bytes;
}

/// A graph being spelled out: of the model, a function called or a branch taken.
struct Scope {
  const ParsedGraph& graph;
  Scope* outer = nullptr;      // whose values a branch sees; none of the model and of functions
  std::string prefix = {};     // of the names of nodes and values
  const Node* call = nullptr;  // of the function around it; null in the model
  const ParsedFunction* function = nullptr;
  std::vector<Guard> guards = {};
  int depth = 0;
  std::unordered_map<std::string_view, ValueId> ids = {};
  std::unordered_map<std::string_view, ValueId> promised = {};  // of a call: what nodes are to give
};

class Linker {
 public:
  Linker(const ParsedModel& model, TensorReader* tensors)
      : model_(model), graph_(model.graph), tensors_(tensors) {}

  Graph Link() {
    Scope main{model_.main};
    DefineInputs(&main);
    LinkNodes(&main);
    ResolveOutputs(&main);
    AnnotateValues(main);
    SortNodes(&graph_);
    RemoveDeadNodes(graph_);
    CheckConstants();
    CleanNames();
    return std::move(graph_);
  }

 private:
  void DefineInputs(Scope* scope);
  void LinkNodes(Scope* scope);
  void LinkNode(const ParsedNode& parsed, std::vector<ValueId> outputs, Scope* scope);
  void Count(uint64_t bytes);
  void LinkCall(const Node& call, const ParsedFunction& function, const Scope& scope);
  void LinkIf(const Node& node, const ParsedNode& parsed, Scope* scope);
  std::vector<ValueId> LinkBranch(const Node& node, const ParsedNode& parsed, bool when,
                                  Scope* scope);
  void ResolveOutputs(Scope* scope);
  void AnnotateValues(const Scope& scope);
  void CheckConstants();
  void CleanNames();
  ValueId Define(std::string_view name, const std::string& producer, Scope* scope);
  ValueId Resolve(std::string_view name, const std::string& consumer, Scope* scope);
  ValueId Require(std::string_view name, const std::string& consumer, Scope* scope);
  ValueId AddValue(std::string_view name, Scope* scope);
  void SetConstant(ValueId id, TensorPtr tensor);
  TensorPtr Read(std::string_view name, const Initializer& initializer);

  const ParsedModel& model_;
  Graph graph_;
  TensorReader* tensors_;
  std::unordered_map<const char*, TensorPtr> read_;  // initializers, by where they are in the file
  uint64_t linked_bytes_ = 0;
};

void Linker::DefineInputs(Scope* scope) {
  for (const ValueInfo& input : scope->graph.inputs) {
    // Until IR version 3, every initializer had to be listed as an input too.
    if (scope->graph.initializers.contains(input.name)) continue;
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
    graph_.inputs.push_back(Define(input.name, what, scope));
  }
}

/// Every node's outputs before any node's inputs: the file need not be sorted.
void Linker::LinkNodes(Scope* scope) {
  if (scope->depth > kMaxDepth) {
    throw ReadError(ErrorCode::kLimit, "has calls and branches within one another, more than " +
                                           std::to_string(kMaxDepth) +
                                           " deep (does a function call itself?)");
  }
  std::vector<std::vector<ValueId>> outputs;
  for (const ParsedNode& parsed : scope->graph.nodes) {
    const std::string what = Describe(parsed.node);
    std::vector<ValueId>& ids = outputs.emplace_back();
    for (const std::string_view output : parsed.outputs) {
      ids.push_back(output.empty() ? kNoValue : Define(output, what, scope));
    }
  }
  for (size_t n = 0; n < outputs.size(); ++n) {
    LinkNode(scope->graph.nodes[n], std::move(outputs[n]), scope);
  }
}

void Linker::LinkNode(const ParsedNode& parsed, std::vector<ValueId> outputs, Scope* scope) {
  Node node = parsed.node;
  node.name = scope->prefix + node.name;
  node.outputs = std::move(outputs);
  node.guards = scope->guards;
  const std::string what = Describe(node);
  for (const auto& [here, there] : parsed.references) {
    if (scope->function == nullptr) {
      throw Invalid("attribute " + Quote(here) + " of " + what +
                    " refers to the attributes of a function, but lies in none");
    }
    for (const Node* source : {scope->call, &scope->function->defaults.node}) {
      const auto found = source->attributes.find(there);
      if (found != source->attributes.end()) node.attributes.emplace(here, found->second);
    }
  }
  Count(BytesOf(node));
  if (IsConstant(node)) {
    if (node.outputs.size() != 1 || !parsed.inputs.empty()) {
      throw Invalid(what + " must have one output and no input");
    }
    if (TensorPtr value = ValueOf(node)) {
      if (node.outputs[0] != kNoValue) SetConstant(node.outputs[0], std::move(value));
      return;
    }
  }
  for (const std::string_view input : parsed.inputs) {
    node.inputs.push_back(input.empty() ? kNoValue : Resolve(input, what, scope));
  }
  if (const auto called = model_.functions.find({node.domain, node.op});
      called != model_.functions.end()) {
    LinkCall(node, called->second, *scope);
  } else if (node.op == "If" && node.domain.empty()) {
    LinkIf(node, parsed, scope);
  } else {
    graph_.nodes.push_back(std::move(node));
  }
}

void Linker::Count(uint64_t bytes) {
  linked_bytes_ += kRecordBytes + bytes;
  if (linked_bytes_ > kMaxLinkedBytes) {
    throw ReadError(ErrorCode::kLimit, "takes more than " + std::to_string(kMaxLinkedBytes >> 20) +
                                           " MiB with its functions and branches spelled out "
                                           "(split the model)");
  }
}

/// The body of a function in the place of a call of it.
void Linker::LinkCall(const Node& call, const ParsedFunction& function, const Scope& scope) {
  const std::string what = Describe(call);
  if (function.opset > 0 && function.opset != graph_.opset) {
    throw ReadError(ErrorCode::kUnsupported,
                    what + " calls a function of version " + std::to_string(function.opset) +
                        " of the ONNX operators in a model of version " +
                        std::to_string(graph_.opset) +
                        ", which is not supported (inline it with "
                        "onnx.inliner.inline_local_functions, convert_version=True)");
  }
  const std::vector<ValueInfo>& inputs = function.body.inputs;
  const std::vector<ValueInfo>& outputs = function.body.outputs;
  if (call.inputs.size() > inputs.size() || call.outputs.size() > outputs.size()) {
    throw Invalid(what + " has more inputs or outputs than the function that it calls");
  }
  Scope body{function.body};
  body.prefix = call.name + "/";
  body.call = &call;
  body.function = &function;
  body.guards = call.guards;
  body.depth = scope.depth + 1;
  for (size_t i = 0; i < inputs.size(); ++i) body.ids.emplace(inputs[i].name, call.Input(i));
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    if (call.outputs[i] != kNoValue) body.promised.emplace(outputs[i].name, call.outputs[i]);
  }
  LinkNodes(&body);
  for (const auto& [name, id] : body.promised) {  // not kept by a node: it is an input
    Node same;
    same.name = body.prefix + std::string(name);
    same.op = "Identity";
    same.inputs = {Require(name, what, &body)};
    same.outputs = {id};
    same.guards = call.guards;
    graph_.nodes.push_back(std::move(same));
  }
}

/// For each output a node that chooses between what the branches give.
void Linker::LinkIf(const Node& node, const ParsedNode& parsed, Scope* scope) {
  if (node.inputs.size() != 1 || node.inputs[0] == kNoValue) {
    throw Invalid(Describe(node) + " must have one input, its condition");
  }
  const std::vector<ValueId> then_values = LinkBranch(node, parsed, true, scope);
  const std::vector<ValueId> else_values = LinkBranch(node, parsed, false, scope);
  for (size_t o = 0; o < node.outputs.size(); ++o) {
    if (node.outputs[o] == kNoValue) continue;
    Node choice;
    choice.name = node.name + (node.outputs.size() > 1 ? "." + std::to_string(o) : "");
    choice.op = "If";
    choice.inputs = {node.inputs[0], then_values[o], else_values[o]};
    choice.outputs = {node.outputs[o]};
    choice.guards = node.guards;
    graph_.nodes.push_back(std::move(choice));
  }
}

std::vector<ValueId> Linker::LinkBranch(const Node& node, const ParsedNode& parsed, bool when,
                                        Scope* scope) {
  const std::string name = when ? "then_branch" : "else_branch";
  const auto found = parsed.branches.find(name);
  if (found == parsed.branches.end()) throw Invalid(Describe(node) + " has no " + name);
  const ParsedGraph& graph = *found->second;
  if (graph.outputs.size() != node.outputs.size()) {
    throw Invalid(name + " of " + Describe(node) + " has " + std::to_string(graph.outputs.size()) +
                  " outputs, the node " + std::to_string(node.outputs.size()));
  }
  Scope branch{graph};
  branch.outer = scope;
  branch.prefix = node.name + "/";
  branch.call = scope->call;
  branch.function = scope->function;
  branch.guards = scope->guards;
  branch.guards.push_back({node.inputs[0], when});
  branch.depth = scope->depth + 1;
  LinkNodes(&branch);
  std::vector<ValueId> values;
  for (const ValueInfo& output : graph.outputs) {
    values.push_back(Require(output.name, name + " of " + Describe(node), &branch));
  }
  return values;
}

void Linker::ResolveOutputs(Scope* scope) {
  if (scope->graph.outputs.empty()) throw Invalid("the graph has no outputs");
  for (const ValueInfo& output : scope->graph.outputs) {
    graph_.outputs.push_back(Resolve(output.name, "the list of graph outputs", scope));
  }
}

void Linker::AnnotateValues(const Scope& scope) {
  // The inputs come last: what they declare is certain, the rest was inferred by an exporter.
  const ParsedGraph& graph = scope.graph;
  for (const auto* infos : {&graph.value_infos, &graph.outputs, &graph.inputs}) {
    for (const ValueInfo& info : *infos) {
      const auto found = scope.ids.find(info.name);
      if (found == scope.ids.end() || graph_.Constant(found->second) || !info.is_tensor) continue;
      Value& value = graph_.values[static_cast<size_t>(found->second)];
      if (const std::optional<DType> dtype = ToDType(info.data_type)) {
        value.dtype = *dtype;
        value.dtype_known = true;
      }
      if (info.shape) value.shape = info.shape;
    }
  }
}

/// Those of numbers are nodes no more; others matter only if something reads them.
void Linker::CheckConstants() {
  for (const Node& node : graph_.nodes) {
    if (IsConstant(node)) {
      throw ReadError(ErrorCode::kUnsupported,
                      Describe(node) + " holds no dense numbers (export the model without it)");
    }
  }
}

void Linker::CleanNames() {
  for (Node& node : graph_.nodes) {
    for (std::string* name : {&node.name, &node.op, &node.domain})
      *name = OneLine(std::move(*name));
  }
  for (Value& value : graph_.values) value.name = OneLine(std::move(value.name));
}

ValueId Linker::Define(std::string_view name, const std::string& producer, Scope* scope) {
  if (scope->ids.contains(name) || scope->graph.initializers.contains(name)) {
    throw Invalid(producer + " produces " + Quote(name) + ", which is defined already");
  }
  const auto promised = scope->promised.find(name);
  if (promised == scope->promised.end()) return AddValue(name, scope);
  const ValueId id = promised->second;
  scope->promised.erase(promised);
  scope->ids.emplace(name, id);
  return id;
}

ValueId Linker::Resolve(std::string_view name, const std::string& consumer, Scope* scope) {
  for (; scope != nullptr; scope = scope->outer) {
    if (const auto known = scope->ids.find(name); known != scope->ids.end()) return known->second;
    const auto found = scope->graph.initializers.find(name);
    if (found == scope->graph.initializers.end()) continue;
    const ValueId id = AddValue(name, scope);
    SetConstant(id, Read(name, found->second));
    return id;
  }
  throw Invalid(consumer + " needs " + Quote(name) +
                ", which is no input, initializer or output of a node");
}

/// As Resolve; not the input of a function that its call leaves out.
ValueId Linker::Require(std::string_view name, const std::string& consumer, Scope* scope) {
  const ValueId id = Resolve(name, consumer, scope);
  if (id == kNoValue) {
    throw Invalid(consumer + " needs " + Quote(name) +
                  ", which the call of its function leaves out");
  }
  return id;
}

ValueId Linker::AddValue(std::string_view name, Scope* scope) {
  Count(scope->prefix.size() + name.size());
  Value value;
  value.name = scope->prefix + std::string(name);
  const ValueId id = graph_.AddValue(std::move(value));
  scope->ids.emplace(name, id);
  return id;
}

/// Once, however often the branch that holds it is spelled out.
TensorPtr Linker::Read(std::string_view name, const Initializer& initializer) {
  const std::string what = "initializer " + Quote(name);
  if (initializer.sparse) {
    throw ReadError(
        ErrorCode::kUnsupported,
        what + " is sparse, which is not supported (export the model with dense weights)");
  }
  TensorPtr& tensor = read_[initializer.proto.data()];
  if (tensor == nullptr) tensor = tensors_->Read(initializer.proto, what);
  return tensor;
}

void Linker::SetConstant(ValueId id, TensorPtr tensor) {
  Value& value = graph_.values[static_cast<size_t>(id)];
  value.dtype = tensor->dtype;
  value.dtype_known = true;
  value.shape = tensor->shape;
  value.constant = std::move(tensor);
}

}  // namespace

Graph Link(const ParsedModel& model, TensorReader* tensors) {
  return Linker(model, tensors).Link();
}

}  // namespace deltacnn::onnx
