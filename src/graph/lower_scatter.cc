// Assignments to slices put the new part between what is left of the old one.
#include <utility>

#include "graph/expansion.h"
#include "graph/lower.h"
#include "ops/scatter.h"

namespace deltacnn {
namespace {

void Assign(Graph& graph, const Node& node, std::vector<Node>& nodes) {
  Expansion parts(graph, node, nodes);
  ValueId data = node.inputs[0];
  Shape shape = *At(graph, data).shape;
  ScatteredSlice slice = *FindScatteredSlice(shape, *graph.Constant(node.inputs[1]));
  if (slice.count == 0) return parts.Finish("Identity", {data});
  const bool steps = slice.step > 1;
  if (steps) {  // each is a row of its own
    shape[slice.axis] = slice.count;
    shape.insert(shape.begin() + static_cast<ptrdiff_t>(++slice.axis), slice.step);
    slice.count = 1;
    data = parts.Add(".steps", "Reshape", {data}, shape);
  }
  const auto axis = static_cast<int64_t>(slice.axis);
  const auto part = [&](int64_t start, int64_t end) {
    Shape size = shape;
    size[slice.axis] = end - start;
    return size;
  };
  std::vector<ValueId> joined;
  const auto keep = [&](const std::string& suffix, int64_t start, int64_t end) {
    if (start == end) return;
    joined.push_back(parts.Value(suffix, part(start, end)));
    nodes.push_back(MakeSlice(node.name + suffix, data, joined.back(), axis, start, end));
  };
  const int64_t end = slice.start + slice.count;
  keep(".before", 0, slice.start);
  joined.push_back(node.inputs[2]);
  if (const Shape assigned = part(slice.start, end); *At(graph, node.inputs[2]).shape != assigned)
    joined.back() = parts.Add(".assigned", "Reshape", {node.inputs[2]}, assigned);
  keep(".after", end, shape[slice.axis]);
  if (joined.size() == 1) return parts.Finish("Identity", joined);
  if (!steps) return parts.Finish("Concat", joined, {{"axis", axis}});
  parts.Finish("Reshape", {parts.Add(".joined", "Concat", joined, shape, {{"axis", axis}})});
}

}  // namespace

void LowerScatters(Graph& graph) {
  ExpandNodes(graph, "ScatterND",
              [&](const Node& node, std::vector<Node>& nodes) { Assign(graph, node, nodes); });
}

}  // namespace deltacnn
