#include "graph/infer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "core/evaluate.h"
#include "graph/expansion.h"
#include "graph/lower.h"
#include "ops/op.h"

namespace deltacnn {
namespace {

// Unknown dimensions of an image input; networks with free height and width are fully
// convolutional, and most of them were trained near this size.
constexpr int64_t kDefaultSide = 320;
constexpr int64_t kDefaultChannels = 3;

/// What a value is known to be, in the order of how little is known.
enum class Known { kStatic, kDynamic, kNothing };

// Elements of one value: beyond it, tables of pixel positions alone would fill the memory.
constexpr int64_t kMaxElements = int64_t{1} << 31;

// The same for a value with a dimension 0, without it: there are tables, but no elements to bound
// them.
constexpr int64_t kMaxEmptyElements = int64_t{1} << 20;

// Axis length times rank: operators that move elements keep a table of that size for an axis.
constexpr int64_t kMaxAxisTable = int64_t{1} << 26;

// Bytes of all constants that folding makes: a small file can ask for as many as it has nodes.
constexpr uint64_t kMaxFoldedBytes = uint64_t{1} << 30;

constexpr size_t kMostAxes = 60;  // axis sets are 64 bits wide

constexpr int64_t kOnnxFloat = 1;  // TensorProto.DataType
constexpr int64_t kOnnxDouble = 11;

bool WithinLimits(const Shape& shape) {
  if (shape.size() > kMostAxes) return false;
  const auto rank = static_cast<int64_t>(shape.size());
  const bool empty = std::ranges::find(shape, 0) != shape.end();
  const int64_t most = empty ? kMaxEmptyElements : kMaxElements;
  int64_t count = 1;  // without the zeros, which would hide the other dimensions
  for (const int64_t dim : shape) {
    if (__builtin_mul_overflow(count, std::max<int64_t>(dim, 1), &count) || count > most)
      return false;
    if (dim > kMaxAxisTable / rank) return false;
  }
  return true;
}

bool WithinLimits(const Graph& graph, const Node& node) {
  return std::ranges::all_of(node.outputs, [&](ValueId id) {
    return id == kNoValue || WithinLimits(*graph.values[static_cast<size_t>(id)].shape);
  });
}

uint64_t OutputBytes(const Graph& graph, const Node& node) {
  uint64_t bytes = 0;
  for (const ValueId id : node.outputs) {
    if (id == kNoValue) continue;
    const Value& value = graph.values[static_cast<size_t>(id)];
    bytes += static_cast<uint64_t>(ElementCount(*value.shape)) * SizeOf(value.dtype);
  }
  return bytes;
}

/// Every node gets a first output, wanted or not.
void AddFirstOutputs(Graph& graph) {
  for (Node& node : graph.nodes) {
    if (node.outputs.empty()) node.outputs.push_back(kNoValue);
    if (node.outputs[0] != kNoValue) continue;
    Value unread;
    unread.name = node.name + ".unread";
    node.outputs[0] = graph.AddValue(std::move(unread));
  }
}

/// Statistics for further training that nothing reads are not asked for.
void DropRunningStatistics(Graph& graph) {
  const std::vector<int> uses = CountUses(graph);
  for (Node& node : graph.nodes) {
    if (node.op != "BatchNormalization") continue;
    for (ValueId& out : std::span(node.outputs).subspan(1))
      if (out != kNoValue && uses[static_cast<size_t>(out)] == 0) out = kNoValue;
  }
}

/// True of an If whose branches are known to give the same shape.
bool SameShapes(const Graph& graph, std::span<const Known> known, const Node& node) {
  const auto at = [](ValueId id) { return static_cast<size_t>(id); };
  const size_t a = at(node.inputs[1]), b = at(node.inputs[2]);
  return known[a] == Known::kStatic && known[b] == Known::kStatic &&
         graph.values[a].shape == graph.values[b].shape;
}

/// Takes away the output shapes that the file claims.
std::vector<std::optional<Shape>> TakeShapes(Graph& graph, const Node& node) {
  std::vector<std::optional<Shape>> shapes;
  for (const ValueId id : node.outputs)
    shapes.push_back(id == kNoValue
                         ? std::nullopt
                         : std::exchange(graph.values[static_cast<size_t>(id)].shape, {}));
  return shapes;
}

bool AllShapesKnown(const Graph& graph, const Node& node) {
  return std::ranges::all_of(node.outputs, [&](ValueId id) {
    return id == kNoValue || graph.values[static_cast<size_t>(id)].shape.has_value();
  });
}

/// Of an If or a guard, where it is known.
std::optional<bool> ConditionOf(const Graph& graph, ValueId id) {
  const Tensor* tensor = graph.Constant(id).get();
  if (tensor == nullptr || tensor->dtype != DType::kBool || tensor->elements() != 1) return {};
  return tensor->bytes[0] != std::byte{0};
}

/// False of a node in a branch that is known not to be taken.
bool MayRun(const Graph& graph, const Node& node) {
  return std::ranges::all_of(node.guards, [&](const Guard& guard) {
    return ConditionOf(graph, guard.condition).value_or(guard.when) == guard.when;
  });
}

/// An If of a known condition passes on what the branch taken gives. If the shapes are known, both
/// branches run, which harms nobody as no node has side effects, and it chooses between their
/// values. Otherwise it stays.
void ChooseBranch(const Graph& graph, std::span<const Known> known, Node& node) {
  if (const auto condition = ConditionOf(graph, node.inputs[0])) {
    node.op = "Identity";
    node.inputs = {node.inputs[*condition ? 1 : 2]};
  } else if (SameShapes(graph, known, node)) {
    node.op = "Where";
  }
}

/// Tells of a node whose inputs do not fit what the model was given: another shape may.
std::string NameInputs(const Graph& graph) {
  std::string text;
  for (const ValueId id : graph.inputs) {
    const Value& value = graph.values[static_cast<size_t>(id)];
    text += (text.empty() ? " (input '" : ", '") + value.name + "' is " + ToString(*value.shape);
  }
  return text.empty() ? text : text + "; another shape may fit)";
}

/// The input of this name; an error if there is none.
Result<ValueId> FindInput(const Graph& graph, const std::string& name) {
  std::string names;
  for (const ValueId id : graph.inputs) {
    const std::string& known = At(graph, id).name;
    if (known == name) return id;
    if (names.size() < 200) names += (names.empty() ? "'" : ", '") + known + "'";
  }
  return Error{ErrorCode::kUsage,
               "the model has no input '" + OneLine(name) + "' (its inputs: " + names + ")"};
}

Status FixShapes(Graph& graph, const std::map<std::string, Shape>& shapes) {
  for (const auto& item : shapes)
    if (const auto input = FindInput(graph, item.first); !input.ok()) return input.error();
  for (const ValueId id : graph.inputs) {
    Value& value = graph.values[static_cast<size_t>(id)];
    const auto given = shapes.find(value.name);
    if (!value.shape) {
      if (given == shapes.end()) {
        return Error{ErrorCode::kUsage,
                     "input '" + value.name + "' has no shape in the model; give one for it"};
      }
      value.shape = given->second;
    }
    Shape& shape = *value.shape;
    if (given != shapes.end()) {
      const bool fits = given->second.size() == shape.size() &&
                        std::ranges::all_of(given->second, [](int64_t dim) { return dim >= 0; });
      if (!fits) {
        return Error{ErrorCode::kUsage, "shape " + ToString(given->second) +
                                            " does not fit input '" + value.name + "' of shape " +
                                            ToString(shape) + ": it needs " +
                                            std::to_string(shape.size()) + " dimensions"};
      }
      shape = given->second;
    }
    for (size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] >= 0) continue;
      if (shape.size() == 4 && d > 0) {
        const bool nhwc = shape[3] > 0 && shape[3] <= 4 && shape[1] < 0;
        const size_t channel_axis = nhwc ? 3 : 1;
        shape[d] = d == channel_axis ? kDefaultChannels : kDefaultSide;
      } else {
        shape[d] = 1;
      }
    }
    if (!WithinLimits(shape)) {
      return Error{ErrorCode::kLimit,
                   "input '" + value.name + "' has the impossible shape " + ToString(shape)};
    }
  }
  return {};
}

template <class T>
void Convert(const std::vector<double>& numbers, Tensor& tensor) {
  std::ranges::transform(numbers, tensor.as<T>().begin(),
                         [](double number) { return static_cast<T>(number); });
}

/// Whether an element of this type can be `number`.
bool Holds(DType dtype, double number) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kFloat64:
      return true;
    case DType::kBool:
      return number == 0 || number == 1;
    case DType::kInt32:
    case DType::kInt64: {
      constexpr double kMost = std::numeric_limits<int32_t>::max();
      return number == std::trunc(number) && std::abs(number) <= kMost;
    }
    default:
      return false;
  }
}

/// Turns an input of known shape into a constant.
Status FixValue(Graph& graph, ValueId id, const std::vector<double>& numbers) {
  Value& value = graph.values[static_cast<size_t>(id)];
  const auto count = static_cast<uint64_t>(ElementCount(*value.shape));
  if (numbers.size() != count) {
    return Error{ErrorCode::kUsage, std::to_string(numbers.size()) + " values for input '" +
                                        value.name + "' of shape " + ToString(*value.shape) +
                                        ": it needs " + std::to_string(count)};
  }
  for (const double number : numbers) {
    if (Holds(value.dtype, number)) continue;
    return Error{ErrorCode::kUsage, "input '" + value.name + "' is " + NameOf(value.dtype) +
                                        " and cannot be set to " + std::to_string(number)};
  }
  Tensor tensor(value.dtype, *value.shape);
  switch (value.dtype) {
    case DType::kBool:
      Convert<bool>(numbers, tensor);
      break;
    case DType::kFloat64:
      Convert<double>(numbers, tensor);
      break;
    case DType::kInt32:
      Convert<int32_t>(numbers, tensor);
      break;
    case DType::kInt64:
      Convert<int64_t>(numbers, tensor);
      break;
    default:
      Convert<float>(numbers, tensor);
  }
  value.constant = std::make_shared<const Tensor>(std::move(tensor));
  std::erase(graph.inputs, id);
  return {};
}

bool IsIf(const Node& node) { return node.op == "If" && node.domain.empty(); }

/// Null if a model may not name it.
const OpDef* OperatorOf(const Node& node) {
  const OpDef* op = node.domain.empty() ? FindOp(node.op) : nullptr;
  return op == nullptr || op->internal ? nullptr : op;
}

/// What InferShapes does, node by node.
class ShapeInference {
 public:
  ShapeInference(Graph& graph, bool fold, uint64_t max_bytes)
      : graph_(graph),
        fold_(fold),
        max_folded_(std::min(max_bytes, kMaxFoldedBytes)),
        known_(graph.values.size(), Known::kStatic) {}

  Inference Run() {
    for (Node& node : std::exchange(graph_.nodes, {})) {
      if (MayRun(graph_, node)) {
        Append(std::move(node));
      } else {
        SetKnown(node, Known::kNothing);  // in a branch not taken
      }
    }
    return std::move(result_);
  }

 private:
  void Append(Node node) {
    if (RefusesDoubles(node)) return AppendInFloats(node);
    const Known outputs = Visit(node);
    SetKnown(node, outputs);
    result_.dynamic.push_back(outputs == Known::kDynamic);
    if (outputs != Known::kDynamic) node.guards.clear();
    graph_.nodes.push_back(std::move(node));
  }

  void SetKnown(const Node& node, Known known) {
    known_.resize(graph_.values.size(), Known::kStatic);
    for (const ValueId out : node.outputs)
      if (out != kNoValue) known_[static_cast<size_t>(out)] = known;
  }

  bool IsDouble(ValueId id) const {
    return id != kNoValue && At(graph_, id).dtype == DType::kFloat64;
  }

  /// True of an operator that is not there for float64.
  bool RefusesDoubles(const Node& node) {
    const auto ready = [&](ValueId id) {
      return id == kNoValue || (known_[static_cast<size_t>(id)] == Known::kStatic &&
                                At(graph_, id).shape->size() <= kMostAxes);
    };
    const OpDef* op = OperatorOf(node);
    if (op == nullptr || node.op == "Cast" || !std::ranges::all_of(node.inputs, ready) ||
        std::ranges::none_of(node.inputs, [&](ValueId id) { return IsDouble(id); }))
      return false;
    InferContext context(node, graph_, max_folded_ / 2);
    const Status status = op->infer(context);
    return !status.ok() && status.error().code == ErrorCode::kUnsupported &&
           !context.data_dependent();
  }

  /// The node computes in float32; the types of its inputs and outputs stay.
  void AppendInFloats(const Node& node) {
    std::vector<Node> parts;
    Expansion expansion(graph_, node, parts);
    Node single = node;
    for (ValueId& in : single.inputs) {
      if (!IsDouble(in)) continue;
      const auto [floats, added] = floats_.try_emplace(in, kNoValue);
      if (added) floats->second = expansion.Unknown(".single", "Cast", {in}, {{"to", kOnnxFloat}});
      in = floats->second;
    }
    for (ValueId& out : single.outputs)
      if (out != kNoValue) out = AddUnknown(graph_, At(graph_, out).name + ".single");
    const std::vector<ValueId> results = single.outputs;
    parts.push_back(std::move(single));
    for (Node& part : std::exchange(parts, {})) Append(std::move(part));
    for (size_t o = 0; o < results.size(); ++o) {
      if (results[o] == kNoValue) continue;
      // Results that are numbers are of the type of the first input.
      if (IsDouble(node.inputs[0]) && At(graph_, results[o]).dtype == DType::kFloat32) {
        floats_[node.outputs[o]] = results[o];
        expansion.Append(".double", "Cast", {results[o]}, {node.outputs[o]}, {{"to", kOnnxDouble}});
      } else {
        expansion.Append(".same", "Identity", {results[o]}, {node.outputs[o]});
      }
    }
    for (Node& part : parts) Append(std::move(part));
  }

  /// Each of the steps tells what is known of the node's outputs.
  Known Visit(Node& node) {
    std::erase_if(node.guards, [&](const Guard& guard) {
      return ConditionOf(graph_, guard.condition).has_value();
    });
    if (IsIf(node)) ChooseBranch(graph_, known_, node);
    const bool late_choice = IsIf(node);
    Known inputs = late_choice ? Known::kDynamic : Known::kStatic;
    for (const ValueId in : node.inputs) {
      if (in == kNoValue) continue;
      inputs = std::max(inputs, known_[static_cast<size_t>(in)]);
      if (const Tensor* tensor = graph_.Constant(in).get();
          tensor != nullptr && tensor->shape.size() > kMostAxes) {
        return Report(node, {ErrorCode::kLimit, "it has an input of more than " +
                                                    std::to_string(kMostAxes) + " dimensions"});
      }
    }
    const OpDef* op = OperatorOf(node);
    if (!late_choice && op == nullptr) {
      const std::string domain = node.domain.empty() ? "" : " of domain '" + node.domain + "'";
      return Report(node, {ErrorCode::kUnsupported,
                           "operator" + domain + " is not supported" +
                               (IsQuantised(node) ? " with these inputs and attributes" : "")});
    }
    if (inputs != Known::kStatic) return inputs;
    const Known outputs = Infer(*op, node);
    return outputs == Known::kStatic ? Fold(node) : outputs;
  }

  /// Shapes and types of the outputs, from those of the inputs.
  Known Infer(const OpDef& op, const Node& node) {
    const auto claimed = TakeShapes(graph_, node);
    InferContext context(node, graph_, max_folded_ / 2);
    if (const Status status = op.infer(context); !status.ok()) {
      for (size_t o = 0; o < node.outputs.size(); ++o)
        if (node.outputs[o] != kNoValue)
          graph_.values[static_cast<size_t>(node.outputs[o])].shape = claimed[o];
      if (context.data_dependent()) return Known::kDynamic;
      Error error = status.error();
      if (fold_ && result_.unsupported.empty() && error.code == ErrorCode::kInvalidModel)
        error.message += NameInputs(graph_);
      return Report(node, error);
    }
    if (!AllShapesKnown(graph_, node))
      return Report(node, {ErrorCode::kInvalidModel, "it has more outputs than the operator"});
    if (!WithinLimits(graph_, node))
      return Report(node, {ErrorCode::kLimit, "its output would be too large"});
    return Known::kStatic;
  }

  /// Runs a node of constants.
  Known Fold(const Node& node) {
    const auto constant = [&](ValueId id) {
      return id == kNoValue || graph_.Constant(id) != nullptr;
    };
    const bool done = std::ranges::all_of(node.outputs, constant);  // inference has answered
    if (!done && !(fold_ && std::ranges::all_of(node.inputs, constant))) return Known::kStatic;
    folded_bytes_ += OutputBytes(graph_, node);
    if (folded_bytes_ > max_folded_) {
      for (const ValueId out : node.outputs)
        if (out != kNoValue) graph_.values[static_cast<size_t>(out)].constant = nullptr;
      return Report(node, {ErrorCode::kLimit,
                           "it and the nodes before it make constants that are too large"});
    }
    if (done) return Known::kStatic;
    std::vector<TensorPtr> operands;
    for (const ValueId in : node.inputs)
      operands.push_back(in == kNoValue ? nullptr : graph_.Constant(in));
    auto outputs = Evaluate(node, operands, graph_.opset, 2 * kMaxFoldedBytes);
    if (!outputs.ok()) return Report(node, outputs.error());
    for (size_t o = 0; o < node.outputs.size(); ++o) {
      if (node.outputs[o] == kNoValue) continue;
      graph_.values[static_cast<size_t>(node.outputs[o])].constant =
          std::make_shared<const Tensor>(std::move(outputs.value()[o]));
    }
    return Known::kStatic;
  }

  /// Takes down why the node cannot run.
  Known Report(const Node& node, const Error& error) {
    const std::string prefix = NodeError(error.code, node, "").message;
    const bool prefixed = error.message.starts_with(prefix);
    result_.unsupported.push_back({node.name, node.op,
                                   prefixed ? error.message.substr(prefix.size()) : error.message,
                                   error.code});
    return Known::kNothing;
  }

  Graph& graph_;
  bool fold_;
  uint64_t max_folded_;
  uint64_t folded_bytes_ = 0;
  std::vector<Known> known_;           // of every value
  std::map<ValueId, ValueId> floats_;  // the float32 of float64 values, as far as they are there
  Inference result_;
};

}  // namespace

Status FixInputs(Graph& graph, const PlanOptions& options) {
  DELTACNN_RETURN_IF_ERROR(FixShapes(graph, options.input_shapes));
  for (const auto& [name, numbers] : options.input_values) {
    const auto input = FindInput(graph, name);
    if (!input.ok()) return input.error();
    DELTACNN_RETURN_IF_ERROR(FixValue(graph, *input, numbers));
  }
  return {};
}

Inference InferShapes(Graph& graph, bool fold, uint64_t max_bytes) {
  ExpandQuantised(graph);
  ExpandIntegers(graph);
  AddFirstOutputs(graph);
  DropRunningStatistics(graph);
  return ShapeInference(graph, fold, max_bytes).Run();
}

}  // namespace deltacnn
