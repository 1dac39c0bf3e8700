// Depthwise convolution -> 1x1 convolution: one node, so that what lies between is never stored.
#include <algorithm>
#include <utility>

#include "graph/lower.h"
#include "kernels/kernels.h"

namespace deltacnn {
namespace {

bool AllAre(const std::vector<int64_t>& values, int64_t wanted) {
  return std::ranges::all_of(values, [wanted](int64_t v) { return v == wanted; });
}

bool IsDepthwise(const Graph& graph, const Node& node) {
  return node.op == "Conv" && node.Int("group", 1) > 1 &&
         node.Int("group", 1) == (*At(graph, node.inputs[0]).shape)[1];
}

/// A 1x1 convolution of pixels where they are, for more outputs than a few, which have another
/// kernel.
bool IsPointwise(const Graph& graph, const Node& node) {
  if (node.op != "Conv" || node.Int("group", 1) != 1) return false;
  const Shape& weights = *At(graph, node.inputs[1]).shape;
  return weights[0] > static_cast<int64_t>(kernels::kDotColumns) &&
         std::all_of(weights.begin() + 2, weights.end(), [](int64_t size) { return size == 1; }) &&
         AllAre(node.Ints("strides"), 1) && AllAre(node.Ints("pads"), 0);
}

/// What happens between the two may depend on nothing but the element itself.
bool IsFunction(const std::vector<ChainStep>& chain) {
  return std::ranges::all_of(chain, [](const ChainStep& step) {
    return step.kind == ChainStep::Kind::kUnary || step.kind == ChainStep::Kind::kScalar;
  });
}

}  // namespace

void FuseSeparable(Graph& graph) {
  const std::vector<int> uses = CountUses(graph);
  const std::vector<int> producer = Producers(graph);
  for (Node& node : graph.nodes) {
    if (!IsPointwise(graph, node)) continue;
    const ValueId between = node.inputs[0];
    const int before = producer[static_cast<size_t>(between)];
    if (before < 0 || uses[static_cast<size_t>(between)] != 1) continue;
    Node& depthwise = graph.nodes[static_cast<size_t>(before)];
    if (!IsDepthwise(graph, depthwise) || !IsFunction(depthwise.chain)) continue;
    node.op = "SeparableConv";
    node.attributes = std::move(depthwise.attributes);
    node.inner_chain = std::move(depthwise.chain);
    node.inputs = {depthwise.inputs[0], depthwise.inputs[1], depthwise.Input(2), node.inputs[1],
                   node.Input(2)};
    depthwise = {};  // dead: nothing reads it
  }
  std::erase_if(graph.nodes, [](const Node& node) { return node.op.empty(); });
}

}  // namespace deltacnn
