// Operators of quantised numbers become those of the floats that they stand for, between
// DequantizeLinear and QuantizeLinear: what a QLinearConv computes is a convolution, rounded. Where
// quantised numbers are only moved or compared, the floats are. This comes before the shapes are
// known: what is left is what there are operators for.
//
// Sources: ONNX's QLinearConv and QLinearMatMul; ONNX Runtime's ContribOperators.md for the domain
// com.microsoft.
#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/expansion.h"
#include "graph/infer.h"
#include "graph/lower.h"

namespace deltacnn {
namespace {

constexpr std::string_view kMicrosoft = "com.microsoft";

/// Where an operator has what it needs. A quantised input is three: numbers, scale and zero point.
struct Signature {
  std::string_view domain;
  std::string_view op;
  std::string_view of_floats;
  size_t quantised;  // inputs, from the first one on
  size_t bias;       // an int32 whose scale is the product of the others'; 0: none
  size_t scale;      // of the output; its zero point is next
};

constexpr std::array kSignatures = {
    Signature{"", "QLinearConv", "Conv", 2, 8, 6},
    Signature{"", "QLinearMatMul", "MatMul", 2, 0, 6},
    Signature{kMicrosoft, "QGemm", "Gemm", 2, 6, 7},
    Signature{kMicrosoft, "QLinearAdd", "Add", 2, 0, 6},
    Signature{kMicrosoft, "QLinearMul", "Mul", 2, 0, 6},
    Signature{kMicrosoft, "QLinearAveragePool", "AveragePool", 1, 0, 3},
    Signature{kMicrosoft, "QLinearGlobalAveragePool", "GlobalAveragePool", 1, 0, 3},
    Signature{kMicrosoft, "QLinearLeakyRelu", "LeakyRelu", 1, 0, 3},
    Signature{kMicrosoft, "QLinearSigmoid", "Sigmoid", 1, 0, 3},
    Signature{kMicrosoft, "QLinearSoftmax", "Softmax", 1, 0, 3},
    Signature{kMicrosoft, "QLinearConcat", "Concat", 0, 0, 0},  // as many as there are
};

const Signature* FindSignature(const Node& node) {
  const auto* found = std::ranges::find_if(kSignatures, [&](const Signature& signature) {
    return signature.op == node.op && signature.domain == node.domain;
  });
  return found == kSignatures.end() ? nullptr : found;
}

/// Null if the node is something else, or does what floats have no operator for.
const Signature* SignatureOf(const Node& node, int64_t opset) {
  const Signature* found = FindSignature(node);
  if (found == nullptr) return nullptr;
  const bool whole = node.Input(found->scale) != kNoValue &&
                     node.Input(found->scale + 1) != kNoValue && node.outputs.size() == 1 &&
                     node.outputs[0] != kNoValue;
  const bool triples = found->quantised > 0 || node.inputs.size() % 3 == 2;
  // From opset 13 on, a Softmax is one of a single axis.
  const bool like_softmax = (node.Int("opset", opset) < 13) == (opset < 13);
  const bool can = whole && triples && node.Int("channels_last", 0) == 0 && like_softmax;
  return can ? found : nullptr;
}

/// The axis of the scales of an input, where each index has its own.
int64_t ScaleAxis(const Node& node, size_t operand) {
  if (node.op == "QLinearConv") return operand == 0 ? 1 : 0;
  if (node.op == "QGemm") return node.Int("transB", 0) != 0 ? 0 : 1;
  return operand == 0 ? -2 : -1;
}

/// What takes the place of one node.
class Expander {
 public:
  Expander(Graph& graph, const Node& node, std::vector<Node>& nodes)
      : graph_(graph), node_(node), parts_(graph, node, nodes) {}

  void Run(const Signature& signature) {
    const bool concat = signature.quantised == 0;
    const size_t begin = concat ? 2 : 0;
    const size_t count = concat ? (node_.inputs.size() - begin) / 3 : signature.quantised;
    std::vector<ValueId> floats;
    for (size_t i = 0; i < count; ++i) {
      const size_t at = begin + 3 * i;
      floats.push_back(parts_.Unknown(".input" + std::to_string(i), "DequantizeLinear",
                                      {node_.Input(at), node_.Input(at + 1), node_.Input(at + 2)},
                                      {{"axis", ScaleAxis(node_, i)}}));
    }
    if (signature.bias != 0 && node_.Input(signature.bias) != kNoValue) {
      floats.push_back(parts_.Unknown(".bias", "DequantizeLinear",
                                      {node_.Input(signature.bias), BiasScale()},
                                      {{"axis", int64_t{0}}}));
    }
    const ValueId result =
        parts_.Unknown(".floats", std::string(signature.of_floats), floats, node_.attributes);
    parts_.Finish("QuantizeLinear",
                  {result, node_.Input(signature.scale), node_.Input(signature.scale + 1)});
  }

 private:
  ValueId BiasScale() {
    const ValueId scale = parts_.Unknown(".bias_scale", "Mul", {node_.Input(1), node_.Input(4)});
    const float alpha = node_.Float("alpha", 1);  // QGemm's
    if (alpha == 1) return scale;
    const ValueId factor = AddConstant(graph_, node_.name + ".alpha", {alpha}, {});
    return parts_.Unknown(".scaled_bias_scale", "Mul", {scale, factor});
  }

  Graph& graph_;
  const Node& node_;
  Expansion parts_;
};

/// How many inputs hold elements that the output is made of and nothing else; 0: some are computed.
size_t MovedInputs(const Node& node) {
  static constexpr std::array<std::string_view, 14> kMoves = {
      "DepthToSpace", "Expand",  "Flatten",      "Gather", "Identity", "MaxPool",   "Reshape",
      "Slice",        "Squeeze", "SpaceToDepth", "Tile",   "Upsample", "Unsqueeze", "Transpose"};
  if (!node.domain.empty() || node.outputs.size() != 1) return 0;
  if (node.op == "Concat") return node.inputs.size();
  const bool nearest = node.op != "Upsample" || node.String("mode", "nearest") == "nearest";
  const bool resizes = node.op == "Resize" && node.String("mode", "nearest") == "nearest" &&
                       node.String("coordinate_transformation_mode", "") != "tf_crop_and_resize";
  return (std::ranges::find(kMoves, node.op) != kMoves.end() && nearest) || resizes ? 1 : 0;
}

/// Quantised numbers that are moved between a QuantizeLinear and a DequantizeLinear are moved as
/// floats.
class FloatMoves {
 public:
  explicit FloatMoves(Graph& graph) : graph_(graph), quantised_(graph.values.size()) {
    replacement_.resize(graph.values.size(), kNoValue);
  }

  void Run() {
    for (Node& node : graph_.nodes) {
      for (ValueId& input : node.inputs)
        if (input != kNoValue && Replacement(input) != kNoValue) input = Replacement(input);
      if (TakesBack(node)) continue;
      std::optional<Node> twin = TwinOf(node);
      nodes_.push_back(std::move(node));
      if (twin) nodes_.push_back(std::move(*twin));
    }
    graph_.nodes = std::move(nodes_);
    RemoveDeadNodes(graph_);
  }

 private:
  /// What a value of quantised numbers stands for.
  struct Floats {
    ValueId value = kNoValue;  // kNoValue: not known
    const Tensor* scale = nullptr;
    const Tensor* zero_point = nullptr;
  };

  ValueId& Replacement(ValueId id) { return replacement_[static_cast<size_t>(id)]; }
  Floats& Of(ValueId id) { return quantised_[static_cast<size_t>(id)]; }

  /// The single scale of a node; `value` stays unknown.
  Floats NumbersOf(const Node& node) const {
    Floats numbers;
    const ValueId scale = node.Input(1);
    const ValueId zero_point = node.Input(2);
    if (scale == kNoValue || zero_point == kNoValue) return {};
    numbers.scale = graph_.Constant(scale).get();
    numbers.zero_point = graph_.Constant(zero_point).get();
    const auto single = [](const Tensor* t) { return t != nullptr && t->elements() == 1; };
    if (!single(numbers.scale) || !single(numbers.zero_point)) return {};
    // Only then is the largest integer the largest float.
    const bool keeps_order =
        numbers.scale->dtype == DType::kFloat32 && numbers.scale->as<float>()[0] > 0;
    return keeps_order ? numbers : Floats{};
  }

  static bool Same(const Floats& a, const Floats& b) {
    return a.scale != nullptr && b.scale != nullptr && a.scale->bytes == b.scale->bytes &&
           a.zero_point->dtype == b.zero_point->dtype && a.zero_point->bytes == b.zero_point->bytes;
  }

  /// True of a DequantizeLinear whose output is known; it is not needed then.
  bool TakesBack(Node& node) {
    if (node.op != "DequantizeLinear" || !node.domain.empty() || node.Input(0) == kNoValue ||
        node.outputs.empty() || node.outputs[0] == kNoValue)
      return false;
    const Floats& floats = Of(node.inputs[0]);
    if (floats.value == kNoValue || !Same(floats, NumbersOf(node))) return false;
    if (std::ranges::find(graph_.outputs, node.outputs[0]) == graph_.outputs.end()) {
      Replacement(node.outputs[0]) = floats.value;
      return true;
    }
    node.op = "Identity";
    node.inputs = {floats.value};
    node.attributes.clear();
    return false;
  }

  /// What gives the floats that stand for a node's output, if that can be told.
  std::optional<Node> TwinOf(const Node& node) {
    if (node.outputs.empty() || node.outputs[0] == kNoValue) return {};
    Node twin;
    Floats floats;
    if (node.op == "QuantizeLinear" && node.domain.empty()) {
      floats = NumbersOf(node);
      if (floats.scale == nullptr) return {};
      twin.op = "DequantizeLinear";
      twin.inputs = {node.outputs[0], node.inputs[1], node.inputs[2]};
      twin.guards = node.guards;
    } else {
      const size_t moved = MovedInputs(node);
      if (moved == 0 || node.inputs.size() < moved) return {};
      twin = node;
      for (size_t i = 0; i < moved; ++i) {
        if (node.inputs[i] == kNoValue) return {};
        const Floats& input = Of(node.inputs[i]);
        if (input.value == kNoValue || (i > 0 && !Same(input, floats))) return {};
        floats = input;
        twin.inputs[i] = input.value;
      }
    }
    twin.name = node.name + ".floats";
    floats.value = AddUnknown(graph_, twin.name);
    twin.outputs = {floats.value};
    quantised_.emplace_back();
    replacement_.push_back(kNoValue);
    Of(node.outputs[0]) = floats;
    return twin;
  }

  Graph& graph_;
  std::vector<Node> nodes_;
  std::vector<Floats> quantised_;     // by value
  std::vector<ValueId> replacement_;  // by value: the one to read instead
};

}  // namespace

bool IsQuantised(const Node& node) { return FindSignature(node) != nullptr; }

void ExpandQuantised(Graph& graph) {
  const bool any = std::ranges::any_of(graph.nodes, [&](const Node& node) {
    return node.op == "QuantizeLinear" || SignatureOf(node, graph.opset) != nullptr;
  });
  if (!any) return;
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    const bool standard = node.op == "QuantizeLinear" || node.op == "DequantizeLinear";
    if (standard && node.domain == kMicrosoft) node.domain.clear();
    if (const Signature* signature = SignatureOf(node, graph.opset)) {
      Expander(graph, node, nodes).Run(*signature);
    } else {
      nodes.push_back(std::move(node));
    }
  }
  graph.nodes = std::move(nodes);
  FloatMoves(graph).Run();
}

}  // namespace deltacnn
