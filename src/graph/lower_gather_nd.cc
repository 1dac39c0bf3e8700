// GatherND of constant positions gathers rows of a reshaped value.
#include <algorithm>
#include <utility>

#include "graph/expansion.h"
#include "graph/lower.h"
#include "ops/gather_nd.h"

namespace deltacnn {
namespace {

void GatherRows(Graph& graph, const Node& node, Expansion& parts) {
  const ValueId data = node.inputs[0];
  const Shape shape = *At(graph, data).shape;
  const Tensor& indices = *graph.Constant(node.inputs[1]);
  const PickedRows picked = *FindPickedRows(shape, indices, node.Int("batch_dims", 0));
  const auto axes = static_cast<ptrdiff_t>(picked.axes);
  Shape matrix(shape.begin() + axes, shape.end());
  matrix.insert(matrix.begin(), ElementCount(Shape(shape.begin(), shape.begin() + axes)));
  const ValueId rows = matrix == shape ? data : parts.Add(".rows", "Reshape", {data}, matrix);
  Tensor positions(DType::kInt64, Shape(indices.shape.begin(), indices.shape.end() - 1));
  std::ranges::copy(picked.rows, positions.as<int64_t>().begin());
  const ValueId at = AddConstant(graph, node.name + ".indices", std::move(positions));
  parts.Finish("Gather", {rows, at}, {{"axis", int64_t{0}}});
}

}  // namespace

void LowerGatherND(Graph& graph) {
  ExpandNodes(graph, "GatherND", [&](const Node& node, std::vector<Node>& nodes) {
    Expansion parts(graph, node, nodes);
    GatherRows(graph, node, parts);
  });
}

}  // namespace deltacnn
