#include <utility>

#include "graph/lower.h"

namespace deltacnn {

void LowerInstanceNormalization(Graph& graph) {
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    if (node.op != "InstanceNormalization") {
      nodes.push_back(std::move(node));
      continue;
    }
    const ValueId x = node.inputs[0];
    const Shape shape = *graph.values[static_cast<size_t>(x)].shape;
    const auto add = [&](const std::string& suffix, Shape value_shape) {
      Value value;
      value.name = node.name + suffix;
      value.dtype_known = true;
      value.shape = std::move(value_shape);
      return graph.AddValue(std::move(value));
    };
    Shape row_shape = shape;
    row_shape[1] *= 2;
    row_shape.back() = 1;
    Shape picture_shape(shape.size(), 1);
    picture_shape[0] = shape[0];
    picture_shape[1] = shape[1];
    const ValueId moments = add(".moments", row_shape);
    const ValueId factor = add(".factor", picture_shape);
    const ValueId offset = add(".offset", picture_shape);
    const ValueId scaled = add(".scaled", shape);

    const auto push = [&](const std::string& suffix, const char* op, std::vector<ValueId> inputs,
                          std::vector<ValueId> outputs) -> Node& {
      Node part;
      part.name = node.name + suffix;
      part.op = op;
      part.inputs = std::move(inputs);
      part.outputs = std::move(outputs);
      return nodes.emplace_back(std::move(part));
    };
    push(".rows", "RowMoments", {x}, {moments});
    Node& affine = push(".affine", "MomentsToAffine", {moments, node.inputs[1], node.inputs[2]},
                        {factor, offset});
    affine.attributes["row_pixels"] = shape.back();
    affine.attributes["epsilon"] = node.Float("epsilon", 1e-5f);
    push(".scale", "Mul", {x, factor}, {scaled});
    push("", "Add", {scaled, offset}, {node.outputs[0]});
  }
  graph.nodes = std::move(nodes);
}

}  // namespace deltacnn
