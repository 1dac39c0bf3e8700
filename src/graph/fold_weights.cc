// What the weights of a convolution or of a Linear can take in: normalisation, scales and shifts of
// its outputs.
#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "graph/expansion.h"
#include "graph/lower.h"

namespace deltacnn {
namespace {

/// y = x * scale + shift, channel by channel.
struct Affine {
  std::vector<float> scale;
  std::vector<float> shift;
};

bool AreConstantFloats(const Graph& graph, std::span<const ValueId> ids) {
  return std::ranges::all_of(ids, [&](ValueId id) { return ConstantFloats(graph, id) != nullptr; });
}

/// What BatchNormalization has learnt.
Affine AffineOfNormalisation(const Graph& graph, const Node& node) {
  const auto gamma = graph.Constant(node.inputs[1])->as<float>();
  const auto beta = graph.Constant(node.inputs[2])->as<float>();
  const auto mean = graph.Constant(node.inputs[3])->as<float>();
  const auto variance = graph.Constant(node.inputs[4])->as<float>();
  const double epsilon = node.Float("epsilon", 1e-5f);
  Affine affine;
  for (size_t c = 0; c < gamma.size(); ++c) {
    const double s = gamma[c] / std::sqrt(variance[c] + epsilon);
    affine.scale.push_back(static_cast<float>(s));
    affine.shift.push_back(static_cast<float>(beta[c] - mean[c] * s));
  }
  return affine;
}

/// A sum with, a product with or a quotient by a constant number, or one for each index along an
/// axis of `shape`.
std::optional<Affine> AffineOfArithmetic(const Graph& graph, const Node& node, ValueId constant,
                                         const Shape& shape, size_t axis) {
  const Tensor* tensor = ConstantFloats(graph, constant);
  if (tensor == nullptr || tensor->shape.size() > shape.size()) return std::nullopt;
  const size_t missing = shape.size() - tensor->shape.size();
  for (size_t a = 0; a < tensor->shape.size(); ++a) {
    const int64_t most = a + missing == axis ? shape[axis] : 1;
    if (tensor->shape[a] != 1 && tensor->shape[a] != most) return std::nullopt;
  }
  const auto elements = tensor->as<float>();
  std::vector<float> values(elements.begin(), elements.end());
  const auto channels = static_cast<size_t>(shape[axis]);
  values.resize(channels, elements[0]);
  if (node.op == "Add") return Affine{std::vector<float>(channels, 1.0f), std::move(values)};
  if (node.op == "Div") {
    for (float& value : values) value = 1 / value;
    if (!std::ranges::all_of(values, [](float v) { return std::isfinite(v); })) return std::nullopt;
  }
  return Affine{std::move(values), std::vector<float>(channels, 0.0f)};
}

/// Scales what the node's filters compute and shifts its bias.
void FoldInto(Graph& graph, Node& node, const Affine& affine) {
  Tensor weights = *graph.Constant(node.inputs[1]);
  const size_t channels = affine.scale.size();
  const std::span<float> w = weights.as<float>();
  const size_t per_channel = channels == 0 ? 0 : w.size() / channels;
  std::vector<float> bias(channels, 0.0f);
  if (node.Input(2) != kNoValue)
    std::ranges::copy(graph.Constant(node.inputs[2])->as<float>(), bias.begin());
  for (size_t c = 0; c < channels; ++c) {
    for (size_t i = 0; i < per_channel; ++i) w[c * per_channel + i] *= affine.scale[c];
    bias[c] = bias[c] * affine.scale[c] + affine.shift[c];
  }
  const std::string name = At(graph, node.inputs[1]).name;
  Value value = At(graph, node.inputs[1]);
  value.constant = std::make_shared<const Tensor>(std::move(weights));
  node.inputs.resize(3, kNoValue);
  node.inputs[1] = graph.AddValue(std::move(value));
  node.inputs[2] = AddConstant(graph, name + ".bias", bias, {static_cast<int64_t>(channels)});
}

/// The shape that broadcasts one number a channel over [N,C,...].
Shape ChannelShape(size_t rank, int64_t channels) {
  Shape shape(std::max<size_t>(rank, 2) - 1, 1);
  shape[0] = channels;
  return shape;
}

ChainStep Operand(kernels::Binary function, int operand) {
  return {.kind = ChainStep::Kind::kOperand, .binary = function, .operand = operand};
}

void AppendScaleAndShift(Graph& graph, const Node& node, ValueId scale, ValueId shift,
                         std::vector<Node>& nodes) {
  Expansion(graph, node, nodes).Finish("Pointwise", {node.inputs[0]});
  nodes.back().chain = {Operand(kernels::Binary::kMul, 0), Operand(kernels::Binary::kAdd, 1)};
  nodes.back().chain_inputs = {scale, shift};
}

void AppendScaleAndShift(Graph& graph, const Node& node, const Affine& affine,
                         std::vector<Node>& nodes) {
  const auto channels = static_cast<int64_t>(affine.scale.size());
  const Shape shape = ChannelShape(At(graph, node.inputs[0]).shape->size(), channels);
  const ValueId scale = AddConstant(graph, node.name + ".scale", affine.scale, shape);
  const ValueId shift = AddConstant(graph, node.name + ".shift", affine.shift, shape);
  AppendScaleAndShift(graph, node, scale, shift, nodes);
}

/// BatchNormalization whose parameters are computed by the network: the factors become nodes too.
void ComputeBatchNormalization(Graph& graph, const Node& node, std::vector<Node>& nodes) {
  const Shape vector = *At(graph, node.inputs[1]).shape;
  Expansion parts(graph, node, nodes);
  const ValueId scale = parts.Add(".scale", "Pointwise", {node.inputs[4]}, vector);
  nodes.back().chain = {{.kind = ChainStep::Kind::kScalar,
                         .binary = kernels::Binary::kAdd,
                         .a = node.Float("epsilon", 1e-5f)},
                        {.kind = ChainStep::Kind::kUnary, .unary = kernels::Unary::kSqrt},
                        Operand(kernels::Binary::kRdiv, 0)};
  nodes.back().chain_inputs = {node.inputs[1]};
  const ValueId shift = parts.Add(".shift", "Pointwise", {scale}, vector);  // beta - scale * mean
  nodes.back().chain = {Operand(kernels::Binary::kMul, 0), Operand(kernels::Binary::kRsub, 1)};
  nodes.back().chain_inputs = {node.inputs[3], node.inputs[2]};
  const Shape shape = ChannelShape(At(graph, node.inputs[0]).shape->size(), vector[0]);
  const ValueId wide_scale = parts.Add(".wide_scale", "Reshape", {scale}, shape);
  const ValueId wide_shift = parts.Add(".wide_shift", "Reshape", {shift}, shape);
  AppendScaleAndShift(graph, node, wide_scale, wide_shift, nodes);
}

}  // namespace

void FoldIntoWeights(Graph& graph) {
  const std::vector<int> uses = CountUses(graph);
  const std::vector<int> producer = Producers(graph);
  std::vector<int> place(graph.nodes.size(), -1);  // in `nodes`, of what every old node is now
  std::vector<Node> nodes;
  // Where the node is that computes a value for one reader only and can take in what that does to
  // the indices along an axis; -1 if there is none.
  const auto source = [&](ValueId id, auto&& fits) {
    const int before = producer[static_cast<size_t>(id)];
    const int at = before < 0 ? -1 : place[static_cast<size_t>(before)];
    if (at < 0 || uses[static_cast<size_t>(id)] != 1) return -1;
    const Node& node = nodes[static_cast<size_t>(at)];
    const bool weighted = node.op == "Conv" || node.op == "Linear";
    if (!weighted || !HasConstantFilters(graph, node)) return -1;
    const size_t rank = At(graph, id).shape->size();
    return fits(node.op == "Linear" ? rank - 1 : 1) ? at : -1;
  };
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    Node& node = graph.nodes[n];
    int taker = -1;
    std::optional<Affine> affine;
    if (node.op == "BatchNormalization") {
      if (node.Int("training_mode", 0) != 0) {
        node.op = "InstanceNormalization";
        node.inputs.resize(3);
      } else if (!AreConstantFloats(graph, std::span(node.inputs).subspan(1))) {
        ComputeBatchNormalization(graph, node, nodes);
        place[n] = static_cast<int>(nodes.size()) - 1;
        continue;
      } else {
        affine = AffineOfNormalisation(graph, node);
        taker = source(node.inputs[0], [](size_t axis) { return axis == 1; });
      }
    } else if ((node.op == "Add" || node.op == "Mul" || node.op == "Div") &&
               node.inputs.size() == 2) {
      const size_t first_operands = node.op == "Div" ? 1 : 2;
      for (size_t i = 0; i < first_operands && taker < 0; ++i) {
        const ValueId x = node.inputs[i];
        taker = source(x, [&](size_t axis) {
          affine = AffineOfArithmetic(graph, node, node.inputs[1 - i], *At(graph, x).shape, axis);
          return affine.has_value();
        });
      }
    }
    if (taker >= 0) {
      Node& weighted = nodes[static_cast<size_t>(taker)];
      FoldInto(graph, weighted, *affine);
      weighted.outputs[0] = node.outputs[0];
    } else {
      if (node.op == "BatchNormalization") {
        AppendScaleAndShift(graph, node, *affine, nodes);
      } else {
        nodes.push_back(std::move(node));
      }
      taker = static_cast<int>(nodes.size()) - 1;
    }
    place[n] = taker;
  }
  graph.nodes = std::move(nodes);
}

}  // namespace deltacnn
