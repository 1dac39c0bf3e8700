// GatherND of constant positions gathers rows of a reshaped value.
#include <algorithm>
#include <utility>

#include "graph/expansion.h"
#include "graph/lower.h"
#include "ops/gather_nd.h"

namespace deltacnn {
namespace {

ValueId AddIndices(Graph& graph, const std::string& name, const std::vector<int64_t>& indices,
                   Shape shape) {
  Tensor tensor(DType::kInt64, shape);
  std::ranges::copy(indices, tensor.as<int64_t>().begin());
  Value value;
  value.name = name;
  value.dtype = DType::kInt64;
  value.dtype_known = true;
  value.shape = std::move(shape);
  value.constant = std::make_shared<const Tensor>(std::move(tensor));
  return graph.AddValue(std::move(value));
}

void GatherRows(Graph& graph, const Node& node, Expansion& parts) {
  const ValueId data = node.inputs[0];
  const Shape shape = *At(graph, data).shape;
  const Tensor& indices = *graph.Constant(node.inputs[1]);
  const PickedRows picked = *FindPickedRows(shape, indices, node.Int("batch_dims", 0));
  const auto axes = static_cast<ptrdiff_t>(picked.axes);
  Shape matrix(shape.begin() + axes, shape.end());
  matrix.insert(matrix.begin(), ElementCount(Shape(shape.begin(), shape.begin() + axes)));
  const ValueId rows = matrix == shape ? data : parts.Add(".rows", "Reshape", {data}, matrix);
  const ValueId at = AddIndices(graph, node.name + ".indices", picked.rows,
                                Shape(indices.shape.begin(), indices.shape.end() - 1));
  parts.Finish("Gather", {rows, at}, {{"axis", int64_t{0}}});
}

}  // namespace

void LowerGatherND(Graph& graph) {
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    if (node.op == "GatherND") {
      Expansion parts(graph, node, nodes);
      GatherRows(graph, node, parts);
    } else {
      nodes.push_back(std::move(node));
    }
  }
  graph.nodes = std::move(nodes);
}

}  // namespace deltacnn
