// Arithmetic of integers becomes that of floats that hold them: of what DynamicQuantizeLinear
// quantises by the smallest and largest number of every frame, as dynamic quantisers write it.
// Sums of products are exact up to 2^24; beyond it they have the precision of floats.
//
// Source: ONNX's DynamicQuantizeLinear, ConvInteger and MatMulInteger.
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graph/expansion.h"
#include "graph/infer.h"
#include "graph/lower.h"

namespace deltacnn {
namespace {

constexpr int64_t kOnnxFloat = 1;  // TensorProto.DataType
constexpr int64_t kOnnxUint8 = 2;
constexpr int64_t kOnnxInt32 = 6;

class IntegerExpander {
 public:
  explicit IntegerExpander(Graph& graph) : graph_(graph) {}

  void Run() {
    bool any = false;
    for (Node& node : graph_.nodes) {
      const bool expanded = node.domain.empty() && Expand(node);
      any = any || expanded;
      if (!expanded) nodes_.push_back(std::move(node));
    }
    graph_.nodes = std::move(nodes_);
    if (any) RemoveDeadNodes(graph_);
  }

 private:
  /// False if the node stays as it is.
  bool Expand(const Node& node) {
    const bool has_input = node.Input(0) != kNoValue && !node.outputs.empty();
    if (node.op == "DynamicQuantizeLinear") {
      return has_input && node.outputs.size() == 3 && ExpandQuantisation(node);
    }
    if (node.op == "ConvInteger" || node.op == "MatMulInteger") {
      const bool whole = has_input && node.Input(1) != kNoValue && node.outputs.size() == 1 &&
                         node.outputs[0] != kNoValue;
      return whole && ExpandProduct(node);
    }
    if (node.op == "Cast" && node.Int("to", 0) == kOnnxFloat && has_input) {
      const auto floats = floats_.find(node.inputs[0]);
      if (floats == floats_.end()) return false;
      Expansion(graph_, node, nodes_).Finish("Identity", {floats->second});
      return true;
    }
    return false;
  }

  bool ExpandQuantisation(const Node& node) {
    Expansion parts(graph_, node, nodes_);
    const ValueId x = node.inputs[0];
    const ValueId zero = Number(node, ".zero", 0);
    const ValueId most = Number(node, ".most", 255);
    const ValueId one = Number(node, ".one", 1);
    const Attributes all = {{"keepdims", int64_t{0}}};
    const ValueId low =
        parts.Unknown(".low", "Min", {parts.Unknown(".min", "ReduceMin", {x}, all), zero});
    const ValueId high =
        parts.Unknown(".high", "Max", {parts.Unknown(".max", "ReduceMax", {x}, all), zero});
    const ValueId range = parts.Unknown(".range", "Sub", {high, low});
    const ValueId step = parts.Unknown(".step", "Div", {range, most});
    const ValueId flat = parts.Unknown(".flat", "Equal", {range, zero});
    const ValueId scale = parts.Unknown(".scale", "Where", {flat, one, step});
    const ValueId below = parts.Unknown(".below", "Div", {low, scale});
    const ValueId above = parts.Unknown(".above", "Neg", {below});
    const ValueId within = parts.Unknown(".within", "Clip", {above, zero, most});
    const ValueId zero_point = parts.Unknown(".zero_point", "Round", {within});
    const ValueId steps = parts.Unknown(".steps", "Div", {x, scale});
    const ValueId rounded = parts.Unknown(".rounded", "Round", {steps});
    const ValueId shifted = parts.Unknown(".shifted", "Add", {rounded, zero_point});
    const ValueId integers = parts.Unknown(".integers", "Clip", {shifted, zero, most});
    Give(parts, node.outputs[0], ".y", integers, kOnnxUint8);
    if (node.outputs[1] != kNoValue)
      parts.Append(".y_scale", "Identity", {scale}, {node.outputs[1]});
    Give(parts, node.outputs[2], ".y_zero_point", zero_point, kOnnxUint8);
    return true;
  }

  bool ExpandProduct(const Node& node) {
    const bool convolution = node.op == "ConvInteger";
    if (!AreKnown(node.Input(2)) || !AreKnown(node.Input(3))) return false;
    Expansion parts(graph_, node, nodes_);
    const ValueId x = Centred(parts, ".x", node.inputs[0], node.Input(2), convolution ? 0 : 1);
    const ValueId w = Centred(parts, ".w", node.inputs[1], node.Input(3), convolution ? 3 : 0);
    const ValueId product =
        parts.Unknown(".floats", convolution ? "Conv" : "MatMul", {x, w}, node.attributes);
    Give(parts, node.outputs[0], ".integers", parts.Unknown(".rounded", "Round", {product}),
         kOnnxInt32);
    floats_[node.outputs[0]] = product;
    return true;
  }

  /// Whether the zero points of an input, if they are several, are known to lie along one axis.
  bool AreKnown(ValueId zero_points) const {
    if (zero_points == kNoValue) return true;
    const auto& shape = At(graph_, zero_points).shape;
    return !shape || ElementCount(*shape) == 1 || (shape->size() == 1 && (*shape)[0] > 1);
  }

  /// The floats of an input less its zero points: one, or one for each index along the axis that
  /// `behind` others follow.
  ValueId Centred(Expansion& parts, const std::string& suffix, ValueId integers,
                  ValueId zero_points, size_t behind) {
    const ValueId floats = FloatsOf(parts, suffix, integers);
    if (zero_points == kNoValue) return floats;
    ValueId zeros = FloatsOf(parts, suffix + "_zero_point", zero_points);
    const std::optional<Shape> shape = At(graph_, zero_points).shape;
    if (shape && ElementCount(*shape) > 1 && behind > 0) {
      Tensor column(DType::kInt64, {static_cast<int64_t>(1 + behind)});
      std::ranges::fill(column.as<int64_t>(), 1);
      column.as<int64_t>()[0] = (*shape)[0];
      const ValueId to =
          AddConstant(graph_, At(graph_, zero_points).name + ".column", std::move(column));
      zeros = parts.Unknown(suffix + ".zero_points", "Reshape", {zeros, to});
    }
    return parts.Unknown(suffix + ".centred", "Sub", {floats, zeros});
  }

  ValueId Number(const Node& node, const std::string& suffix, float number) {
    return AddConstant(graph_, node.name + suffix, {number}, {});
  }

  ValueId FloatsOf(Expansion& parts, const std::string& suffix, ValueId integers) {
    const auto known = floats_.find(integers);
    if (known != floats_.end()) return known->second;
    return parts.Unknown(suffix + ".floats", "Cast", {integers}, {{"to", kOnnxFloat}});
  }

  /// The integers that the node gave, for whoever needs more than their floats.
  void Give(Expansion& parts, ValueId integers, const std::string& suffix, ValueId floats,
            int64_t type) {
    if (integers == kNoValue) return;
    parts.Append(suffix, "Cast", {floats}, {integers}, {{"to", type}});
    floats_[integers] = floats;
  }

  Graph& graph_;
  std::vector<Node> nodes_;
  std::map<ValueId, ValueId> floats_;  // by value: the floats that hold its integers
};

}  // namespace

void ExpandIntegers(Graph& graph) { IntegerExpander(graph).Run(); }

}  // namespace deltacnn
