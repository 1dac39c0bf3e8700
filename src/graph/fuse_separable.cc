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
  const auto window = MaxPoolWindow(graph, node);
  if (!window || (*At(graph, node.inputs[0]).shape)[0] != 1) return std::nullopt;
  for (size_t a = 0; a < 2; ++a) {
    if (window->kernel[a] > kMostPool || window->stride[a] != window->kernel[a] ||
        window->dilation[a] != 1 || window->pad_before[a] >= window->kernel[a])
      return std::nullopt;
  }
  return window;
}

/// What happens between the two may depend on nothing but the element itself.
bool IsFunction(const std::vector<ChainStep>& chain) {
  return std::ranges::all_of(chain, [](const ChainStep& step) {
    return step.kind == ChainStep::Kind::kUnary || step.kind == ChainStep::Kind::kScalar;
  });
}

/// Who reads what, before any of it is fused.
class Readers {
 public:
  explicit Readers(const Graph& graph) : uses_(CountUses(graph)), producer_(Producers(graph)) {}

  /// The cheap convolution of at most so many outputs that nothing but `node` reads, as its first
  /// input; null if that is something else.
  Node* ConvBefore(Graph& graph, const Node& node, int64_t most_outputs) const {
    const auto between = static_cast<size_t>(node.inputs[0]);
    if (producer_[between] < 0 || uses_[between] != 1) return nullptr;
    Node& conv = graph.nodes[static_cast<size_t>(producer_[between])];
    return IsCheap(graph, conv, most_outputs) && IsFunction(conv.chain) ? &conv : nullptr;
  }

 private:
  std::vector<int> uses_;
  std::vector<int> producer_;
};

}  // namespace

void FusePooled(Graph& graph) {
  const Readers readers(graph);
  for (Node& node : graph.nodes) {
    const auto pool = PoolOf(graph, node);
    Node* before = pool ? readers.ConvBefore(graph, node, kMostPooled) : nullptr;
    if (before == nullptr) continue;
    Node& conv = *before;
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
  const Readers readers(graph);
  for (Node& node : graph.nodes) {
    Node* before =
        IsPointwise(graph, node) ? readers.ConvBefore(graph, node, kMostOutputs) : nullptr;
    if (before == nullptr) continue;
    Node& first = *before;
    node.op = "SeparableConv";
    node.attributes = std::move(first.attributes);
    node.inner_chain = std::move(first.chain);
    node.inputs = {first.inputs[0], first.inputs[1], first.Input(2), node.inputs[1], node.Input(2)};
    first = {};  // dead: nothing reads it
  }
  std::erase_if(graph.nodes, [](const Node& node) { return node.op.empty(); });
}

}  // namespace deltacnn
