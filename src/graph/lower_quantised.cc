// A float that is quantised and dequantised again, as in front of every layer of networks prepared
// for integer arithmetic, is rounded where it is.
#include <vector>

#include "graph/expansion.h"
#include "graph/lower.h"
#include "ops/quantise.h"

namespace deltacnn {
namespace {

/// The QuantizeLinear whose result this DequantizeLinear takes back; null if it takes something
/// else, takes it as other numbers, or has several scales.
const Node* TakenBack(const Graph& graph, const std::vector<const Node*>& quantisers,
                      const Node& node) {
  const Node* quantiser = quantisers[static_cast<size_t>(node.inputs[0])];
  if (quantiser == nullptr) return nullptr;
  const Quantisation numbers = QuantisationOf(graph, node);
  const bool same = numbers.scale.size() == 1 && QuantisationOf(graph, *quantiser) == numbers;
  return same ? quantiser : nullptr;
}

/// y = clip(round(x / scale)) * scale, with the bounds less the zero point.
void Round(Graph& graph, const Node& node, ValueId x, Expansion& parts) {
  const Quantisation numbers = QuantisationOf(graph, node);
  const float scale = numbers.scale[0];
  const auto zero = static_cast<float>(numbers.zero_point[0]);
  const auto [low, high] = RangeOf(At(graph, node.inputs[0]).dtype);
  const Shape shape = *At(graph, x).shape;
  const ValueId number = AddConstant(graph, node.name + ".scale", {scale}, {});
  const ValueId scaled = parts.Add(".scaled", "Div", {x, number}, shape);
  const ValueId rounded = parts.Add(".rounded", "Round", {scaled}, shape);
  const ValueId within = parts.Add(
      ".within", "Clip", {rounded}, shape,
      {{"min", static_cast<float>(low) - zero}, {"max", static_cast<float>(high) - zero}});
  parts.Finish("Mul", {within, number});
}

}  // namespace

void LowerQuantised(Graph& graph) {
  std::vector<Node> of_quantisers;
  for (const Node& node : graph.nodes)
    if (node.op == "QuantizeLinear") of_quantisers.push_back(node);
  if (of_quantisers.empty()) return;
  std::vector<const Node*> quantisers(graph.values.size(), nullptr);
  for (const Node& node : of_quantisers) quantisers[static_cast<size_t>(node.outputs[0])] = &node;
  ExpandNodes(graph, "DequantizeLinear", [&](const Node& node, std::vector<Node>& nodes) {
    const Node* quantiser = TakenBack(graph, quantisers, node);
    if (quantiser == nullptr) {
      nodes.push_back(node);
      return;
    }
    Expansion parts(graph, node, nodes);
    Round(graph, node, quantiser->inputs[0], parts);
  });
  RemoveDeadNodes(graph);
}

}  // namespace deltacnn
