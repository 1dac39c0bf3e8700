// Convolution -> 1x1 convolution and convolution -> maximum pool: one node, so that what lies
// between is never stored, if it is cheap to compute beside what storing it costs.
#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "graph/lower.h"
#include "kernels/kernels.h"
#include "ops/pooled_conv.h"
#include "ops/winograd.h"

namespace deltacnn {
namespace {

constexpr int64_t kMostOutputs = 32;  // in front of a 1x1 convolution
constexpr int64_t kMostPooled = 64;

bool AllAre(const std::vector<int64_t>& values, int64_t wanted) {
  return std::ranges::all_of(values, [wanted](int64_t v) { return v == wanted; });
}

/// A depthwise convolution, or one of few outputs that has no better kernel: dot products of very
/// few, Winograd's transforms.
bool IsCheap(const Graph& graph, const Node& node, int64_t most_outputs) {
  if (node.op != "Conv") return false;
  const Shape& in = *At(graph, node.inputs[0]).shape;
  const Shape& out = *At(graph, node.outputs[0]).shape;
  const int64_t groups = node.Int("group", 1);
  if (groups > 1) return groups == in[1];
  const auto window = WindowOf(node, in, *At(graph, node.inputs[1]).shape);
  return window.ok() && out[1] > static_cast<int64_t>(kernels::kDotColumns) &&
         out[1] <= most_outputs && WinogradTile(*window, in, out) == 0;
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

/// The window of a maximum pool of one picture that a convolution can take. Windows that overlap
/// would have some pixels of it computed twice: where stems pool 3x3 pixels by steps of 2, that
/// costs more than storing them.
std::optional<ConvWindow> PoolOf(const Graph& graph, const Node& node) {
  if (node.op != "MaxPool" || node.outputs.size() != 1) return std::nullopt;
  const Shape& shape = *At(graph, node.inputs[0]).shape;
  Shape kernel = node.Ints("kernel_shape");
  if (shape.size() != 4 || shape[0] != 1 || kernel.size() != 2) return std::nullopt;
  kernel.insert(kernel.begin(), 2, 1);
  Result<ConvWindow> window = ReadConvWindow(node, shape, kernel);
  if (!window.ok()) return std::nullopt;
  ResolveSamePads(node, shape, *window);
  for (size_t a = 0; a < 2; ++a) {
    if (window->kernel[a] > kMostPool || window->stride[a] != window->kernel[a] ||
        window->dilation[a] != 1 || window->pad_before[a] >= window->kernel[a])
      return std::nullopt;
  }
  return *window;
}

/// What happens between the two may depend on nothing but the element itself.
bool IsFunction(const std::vector<ChainStep>& chain) {
  return std::ranges::all_of(chain, [](const ChainStep& step) {
    return step.kind == ChainStep::Kind::kUnary || step.kind == ChainStep::Kind::kScalar;
  });
}

}  // namespace

void FusePooled(Graph& graph) {
  const std::vector<int> uses = CountUses(graph);
  const std::vector<int> producer = Producers(graph);
  for (Node& node : graph.nodes) {
    const auto pool = PoolOf(graph, node);
    if (!pool) continue;
    const ValueId between = node.inputs[0];
    const int before = producer[static_cast<size_t>(between)];
    if (before < 0 || uses[static_cast<size_t>(between)] != 1) continue;
    Node& conv = graph.nodes[static_cast<size_t>(before)];
    if (!IsCheap(graph, conv, kMostPooled) || !IsFunction(conv.chain)) continue;
    const Shape& out = *At(graph, node.outputs[0]).shape;
    const auto pair = [](const std::array<int64_t, 2>& values) {
      return std::vector<int64_t>(values.begin(), values.end());
    };
    node.op = "PooledConv";
    node.attributes = std::move(conv.attributes);
    node.attributes["pool_window"] = pair(pool->kernel);
    node.attributes["pool_pads"] = pair(pool->pad_before);
    node.attributes["pool_outputs"] = std::vector<int64_t>{out[2], out[3]};
    node.inner_chain = std::move(conv.chain);
    node.inputs = {conv.inputs[0], conv.inputs[1], conv.Input(2)};
    conv = {};  // dead: nothing reads it
  }
  std::erase_if(graph.nodes, [](const Node& node) { return node.op.empty(); });
}

void FuseSeparable(Graph& graph) {
  const std::vector<int> uses = CountUses(graph);
  const std::vector<int> producer = Producers(graph);
  for (Node& node : graph.nodes) {
    if (!IsPointwise(graph, node)) continue;
    const ValueId between = node.inputs[0];
    const int before = producer[static_cast<size_t>(between)];
    if (before < 0 || uses[static_cast<size_t>(between)] != 1) continue;
    Node& first = graph.nodes[static_cast<size_t>(before)];
    if (!IsCheap(graph, first, kMostOutputs) || !IsFunction(first.chain)) continue;
    node.op = "SeparableConv";
    node.attributes = std::move(first.attributes);
    node.inner_chain = std::move(first.chain);
    node.inputs = {first.inputs[0], first.inputs[1], first.Input(2), node.inputs[1], node.Input(2)};
    first = {};  // dead: nothing reads it
  }
  std::erase_if(graph.nodes, [](const Node& node) { return node.op.empty(); });
}

}  // namespace deltacnn
