// Normalisations become statistics and their application.
#include <limits>
#include <utility>

#include "graph/expansion.h"
#include "graph/lower.h"
#include "ops/statistics.h"

namespace deltacnn {
namespace {

/// InstanceNormalization between reshapes that make groups of channels one channel each, as older
/// exporters spell GroupNormalization, works on the picture itself.
void UngroupPictures(Graph& graph) {
  const std::vector<int> uses = CountUses(graph);
  const std::vector<int> producer = Producers(graph);
  const auto made_by = [&](ValueId id) -> const Node* {
    const int p = producer[static_cast<size_t>(id)];
    return p < 0 ? nullptr : &graph.nodes[static_cast<size_t>(p)];
  };
  for (Node& last : graph.nodes) {
    if (!KeepsOrder(last) || uses[static_cast<size_t>(last.inputs[0])] != 1) continue;
    const Node* norm = made_by(last.inputs[0]);
    if (norm == nullptr || norm->op != "InstanceNormalization") continue;
    const Node* first = made_by(norm->inputs[0]);
    if (first == nullptr || !KeepsOrder(*first)) continue;
    const ValueId picture = first->inputs[0];
    const Shape& shape = *At(graph, picture).shape;
    const Shape& grouped = *At(graph, norm->inputs[0]).shape;
    if (shape != *At(graph, last.outputs[0]).shape || shape.size() < 3 || shape[0] != grouped[0] ||
        shape[1] % grouped[1] != 0)
      continue;
    last.name = norm->name;
    last.op = "GroupNormalization";
    last.inputs = {picture, norm->inputs[1], norm->inputs[2]};
    last.attributes = {{"num_groups", grouped[1]}, {"epsilon", norm->Float("epsilon", 1e-5f)}};
  }
  RemoveDeadNodes(graph);
}

void NormaliseGroups(Graph& graph, const Node& node, Expansion& parts) {
  const ValueId x = node.inputs[0];
  const Shape shape = *At(graph, x).shape;
  Shape row_shape = shape;
  row_shape[1] *= 2;
  row_shape.back() = 1;
  Shape picture_shape(shape.size(), 1);
  picture_shape[0] = shape[0];
  picture_shape[1] = shape[1];
  const ValueId moments = parts.Add(".rows", "RowMoments", {x}, row_shape);
  const ValueId factor = parts.Value(".factor", picture_shape);
  const ValueId offset = parts.Value(".offset", picture_shape);
  parts.Append(".affine", "MomentsToAffine", {moments, node.inputs[1], node.inputs[2]},
               {factor, offset},
               {{"row_pixels", shape.back()},
                {"groups", node.Int("num_groups", shape[1])},
                {"epsilon", node.Float("epsilon", 1e-5f)}});
  const ValueId scaled = parts.Add(".scale", "Mul", {x, factor}, shape);
  parts.Finish("Add", {scaled, offset});
}

void DivideByNorm(Graph& graph, const Node& node, Expansion& parts) {
  const ValueId x = node.inputs[0];
  Shape reduced = *At(graph, x).shape;
  const size_t axis = FromFront(node.Int("axis", -1), reduced.size());
  reduced[axis] = 1;
  const ValueId norm =
      parts.Add(".norm", node.Int("p", 2) == 1 ? "ReduceL1" : "ReduceL2", {x}, reduced,
                {{"axes", std::vector<int64_t>{static_cast<int64_t>(axis)}}});
  // Where the norm is zero, so are the elements, and what they become.
  const ValueId smallest =
      AddConstant(graph, node.name + ".smallest", {std::numeric_limits<float>::denorm_min()}, {});
  parts.Finish("Div", {x, parts.Add(".divisor", "Max", {norm, smallest}, reduced)});
}

void DivideByDeviation(Graph& graph, const Node& node, Expansion& parts) {
  const ValueId x = node.inputs[0];
  const Shape shape = *At(graph, x).shape;
  Shape reduced = shape;
  std::vector<int64_t> axes;
  for (const int64_t given : MeanVarianceAxes(node)) {
    const size_t axis = FromFront(given, shape.size());
    // Without axes of one element, pictures are reduced by rows.
    if (std::exchange(reduced[axis], 1) != 1) axes.push_back(static_cast<int64_t>(axis));
  }
  if (axes.empty()) axes = MeanVarianceAxes(node);
  const Attributes over = {{"axes", axes}};
  const ValueId mean = parts.Add(".mean", "ReduceMean", {x}, reduced, over);
  const ValueId centred = parts.Add(".centred", "Sub", {x, mean}, shape);
  const ValueId squares = parts.Add(".squares", "Mul", {centred, centred}, shape);
  const ValueId variance = parts.Add(".variance", "ReduceMean", {squares}, reduced, over);
  const ValueId deviation = parts.Add(".deviation", "Sqrt", {variance}, reduced);
  const ValueId epsilon = AddConstant(graph, node.name + ".epsilon", {1e-9f}, {});
  parts.Finish("Div", {centred, parts.Add(".divisor", "Add", {deviation, epsilon}, reduced)});
}

}  // namespace

void LowerNormalisations(Graph& graph) {
  UngroupPictures(graph);
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    Expansion parts(graph, node, nodes);
    if (node.op == "InstanceNormalization" || node.op == "GroupNormalization") {
      NormaliseGroups(graph, node, parts);
    } else if (node.op == "LpNormalization") {
      DivideByNorm(graph, node, parts);
    } else if (node.op == "MeanVarianceNormalization") {
      DivideByDeviation(graph, node, parts);
    } else {
      nodes.push_back(std::move(node));
    }
  }
  graph.nodes = std::move(nodes);
}

}  // namespace deltacnn
