// Parallel convolutions whose outputs are added are one convolution with the sum of their weights.
// Networks are trained so and merged by their authors' scripts (RepVGG, MobileOne, YOLOv6), which
// whoever exports them may not have called.
#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "graph/lower.h"

namespace deltacnn {
namespace {

/// A linear function of a value: a convolution, or a scale and a shift of every channel.
struct Branch {
  const Node* node = nullptr;
  std::optional<ConvWindow> window;  // of a convolution
  ValueId input() const { return node->inputs[0]; }
};

bool IsOperand(const ChainStep& step, kernels::Binary function, int operand) {
  return step.kind == ChainStep::Kind::kOperand && step.binary == function &&
         step.operand == operand;
}

std::optional<Branch> BranchOf(const Graph& graph, const Node& node) {
  if (node.op == "Conv") {
    if (!HasConstantFilters(graph, node)) return std::nullopt;
    const auto window =
        WindowOf(node, *At(graph, node.inputs[0]).shape, *At(graph, node.inputs[1]).shape);
    if (!window.ok()) return std::nullopt;
    return Branch{&node, *window};
  }
  // What FoldIntoWeights makes of a BatchNormalization.
  const bool affine = node.op == "Pointwise" && node.chain.size() == 2 &&
                      IsOperand(node.chain[0], kernels::Binary::kMul, 0) &&
                      IsOperand(node.chain[1], kernels::Binary::kAdd, 1) &&
                      ConstantFloats(graph, node.chain_inputs[0]) != nullptr &&
                      ConstantFloats(graph, node.chain_inputs[1]) != nullptr;
  if (!affine) return std::nullopt;
  return Branch{&node, std::nullopt};
}

/// The tap of the larger window that reads what each tap of the smaller one reads, along one axis;
/// empty if there is none.
std::vector<int64_t> TapsIn(const ConvWindow& large, const ConvWindow& small, size_t axis) {
  std::vector<int64_t> taps;
  if (large.stride[axis] != small.stride[axis]) return taps;
  for (int64_t tap = 0; tap < small.kernel[axis]; ++tap) {
    const int64_t at = tap * small.dilation[axis] + large.pad_before[axis] - small.pad_before[axis];
    if (at < 0 || at % large.dilation[axis] != 0 || at / large.dilation[axis] >= large.kernel[axis])
      return {};
    taps.push_back(at / large.dilation[axis]);
  }
  return taps;
}

/// Adds what `branch` computes to the convolution's weights and bias; false if it does not fit.
bool AddTo(const Graph& graph, const Branch& conv, const Branch& branch, Tensor& weights,
           std::vector<float>& bias) {
  const ConvWindow& window = *conv.window;
  const int64_t outputs = weights.shape[0];
  const int64_t per_group = weights.shape[1];
  ConvWindow small;  // one pixel
  if (branch.window) {
    small = *branch.window;
    if (small.groups != window.groups) return false;
  } else if (outputs != per_group * window.groups) {
    return false;
  }
  const std::vector<int64_t> rows = TapsIn(window, small, 0);
  const std::vector<int64_t> cols = TapsIn(window, small, 1);
  if (rows.empty() || cols.empty()) return false;

  const std::span<float> sum = weights.as<float>();
  const auto place = [&](int64_t o, int64_t i, int64_t row, int64_t col) -> float& {
    return sum[static_cast<size_t>(
        ((o * per_group + i) * window.kernel[0] + row) * window.kernel[1] + col)];
  };
  if (!branch.window) {
    const auto scale = graph.Constant(branch.node->chain_inputs[0])->as<float>();
    const auto shift = graph.Constant(branch.node->chain_inputs[1])->as<float>();
    for (int64_t o = 0; o < outputs; ++o) {
      place(o, o % per_group, rows[0], cols[0]) += scale[static_cast<size_t>(o)];
      bias[static_cast<size_t>(o)] += shift[static_cast<size_t>(o)];
    }
    return true;
  }
  const float* added = graph.Constant(branch.node->inputs[1])->as<float>().data();
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t i = 0; i < per_group; ++i) {
      for (const int64_t row : rows)
        for (const int64_t col : cols) place(o, i, row, col) += *added++;
    }
  }
  if (branch.node->Input(2) != kNoValue) {
    const auto shift = graph.Constant(branch.node->inputs[2])->as<float>();
    for (size_t o = 0; o < bias.size(); ++o) bias[o] += shift[o];
  }
  return true;
}

/// The two as one convolution that gives `output`, if they are one.
std::optional<Node> Merge(Graph& graph, const Branch& conv, const Branch& branch, ValueId output) {
  if (!conv.window) return std::nullopt;
  const Value& filters = At(graph, conv.node->inputs[1]);
  Tensor weights = *filters.constant;
  std::vector<float> bias(static_cast<size_t>(weights.shape[0]), 0.0f);
  if (conv.node->Input(2) != kNoValue)
    std::ranges::copy(graph.Constant(conv.node->inputs[2])->as<float>(), bias.begin());
  if (!AddTo(graph, conv, branch, weights, bias)) return std::nullopt;
  Node merged = *conv.node;
  Value value = filters;
  value.constant = std::make_shared<const Tensor>(std::move(weights));
  const Shape shape = {static_cast<int64_t>(bias.size())};
  merged.inputs.resize(3, kNoValue);
  merged.inputs[2] = AddConstant(graph, value.name + ".bias", bias, shape);
  merged.inputs[1] = graph.AddValue(std::move(value));
  merged.outputs = {output};
  return merged;
}

}  // namespace

void MergeBranches(Graph& graph) {
  const std::vector<int> uses = CountUses(graph);
  std::vector<int> producer = Producers(graph);
  std::vector<bool> dead(graph.nodes.size(), false);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    Node& node = graph.nodes[n];
    if (node.op != "Add") continue;
    std::array<std::optional<Branch>, 2> branches;
    std::array<int, 2> from{-1, -1};
    for (size_t i = 0; i < 2; ++i) {
      const auto id = static_cast<size_t>(node.inputs[i]);
      from[i] = producer[id];
      if (from[i] < 0 || uses[id] != 1) continue;
      branches[i] = BranchOf(graph, graph.nodes[static_cast<size_t>(from[i])]);
    }
    if (!branches[0] || !branches[1] || branches[0]->input() != branches[1]->input() ||
        *At(graph, node.inputs[0]).shape != *At(graph, node.inputs[1]).shape)
      continue;
    auto merged = Merge(graph, *branches[0], *branches[1], node.outputs[0]);
    if (!merged) merged = Merge(graph, *branches[1], *branches[0], node.outputs[0]);
    if (!merged) continue;
    node = *std::move(merged);  // its producer entry stays: the same place gives the same value
    for (const int i : from) dead[static_cast<size_t>(i)] = true;
  }
  EraseNodes(graph, dead);
}

}  // namespace deltacnn
