// Passes around operators that only move elements.
#include <algorithm>
#include <optional>
#include <utility>

#include "graph/expansion.h"
#include "graph/lower.h"
#include "ops/concat.h"
#include "ops/move.h"

namespace deltacnn {
namespace {

/// The first of the constant indices of a Gather if each is one more than the one before.
std::optional<int64_t> FirstOfRange(const Graph& graph, const Node& gather, int64_t dim) {
  const TensorPtr& indices = graph.Constant(gather.inputs[1]);
  if (indices == nullptr || indices->elements() == 0) return std::nullopt;
  std::vector<int64_t> positions = IntsOf(*indices);
  for (int64_t& position : positions) position += position < 0 ? dim : 0;
  for (size_t i = 1; i < positions.size(); ++i)
    if (positions[i] != positions[0] + static_cast<int64_t>(i)) return std::nullopt;
  return positions[0];
}

/// Positions [begin, end) of a value along an axis.
struct Stretch {
  ValueId of;
  int64_t begin, end;
};

/// What `slice` takes of its input, if that is a stretch along `axis` and all along the others.
std::optional<Stretch> StretchOf(const Graph& graph, const Node& slice, size_t axis) {
  if (slice.op != "Slice" || !HasConstantArguments(graph, slice)) return std::nullopt;
  const Shape& in = *At(graph, slice.inputs[0]).shape;
  const Shape& out = *At(graph, slice.outputs[0]).shape;
  Shape rest = in;
  rest[axis] = out[axis];
  if (rest != out || ElementCount(out) == 0) return std::nullopt;
  const IndexMap map = MakeIndexMap(graph, slice);
  Stretch stretch{slice.inputs[0], -1, -1};
  for (size_t a = 0; a < in.size(); ++a) {
    const auto [start, step] = StartAndStep(map, a);
    if (out[a] > 1 && step != 1) return std::nullopt;
    if (a == axis) stretch = {slice.inputs[0], start, start + out[a]};
  }
  return stretch;
}

bool HasOperands(const Node& pointwise) { return !pointwise.chain_inputs.empty(); }

}  // namespace

std::array<int64_t, 2> StartAndStep(const IndexMap& slice, size_t axis) {
  const std::vector<int64_t>& delta = slice.delta[axis];
  const size_t rank = slice.input_rank;
  const int64_t start = delta[axis];
  return {start, delta.size() > rank ? delta[rank + axis] - start : 1};
}

ValueId AddLike(Graph& graph, ValueId like, const std::string& suffix, Shape shape) {
  Value value = At(graph, like);
  value.name += suffix;
  value.shape = std::move(shape);
  return graph.AddValue(std::move(value));
}

Node MakeSlice(const std::string& name, ValueId in, ValueId out, int64_t axis, int64_t start,
               int64_t end) {
  Node slice;
  slice.name = name;
  slice.op = "Slice";
  slice.inputs = {in};
  slice.outputs = {out};
  slice.attributes["axes"] = std::vector<int64_t>{axis};
  slice.attributes["starts"] = std::vector<int64_t>{start};
  slice.attributes["ends"] = std::vector<int64_t>{end};
  return slice;
}

bool KeepsOrder(const Node& node) {
  static constexpr std::string_view kOps[] = {"Reshape", "Squeeze", "Unsqueeze", "Flatten",
                                              "Identity"};
  return std::ranges::find(kOps, node.op) != std::end(kOps);
}

bool Rearranges(const Node& node) { return KeepsOrder(node) || node.op == "Transpose"; }

void LowerSplits(Graph& graph) {
  ExpandNodes(graph, "Split", [&](const Node& node, std::vector<Node>& nodes) {
    const size_t axis = FromFront(node.Int("axis", 0), At(graph, node.inputs[0]).shape->size());
    int64_t start = 0;
    for (const ValueId out : node.outputs) {
      const int64_t end = start + (*At(graph, out).shape)[axis];
      nodes.push_back(MakeSlice(node.name + "." + std::to_string(start), node.inputs[0], out,
                                static_cast<int64_t>(axis), start, end));
      start = end;
    }
  });
}

void LowerGathers(Graph& graph) {
  ExpandNodes(graph, "Gather", [&](const Node& node, std::vector<Node>& nodes) {
    Shape shape = *At(graph, node.inputs[0]).shape;
    const size_t axis = FromFront(node.Int("axis", 0), shape.size());
    const auto first = FirstOfRange(graph, node, shape[axis]);
    if (!first) {
      nodes.push_back(node);
      return;
    }
    shape[axis] = graph.Constant(node.inputs[1])->elements();
    const ValueId out = node.outputs[0];
    const bool same = shape == *At(graph, out).shape;
    const ValueId slice = same ? out : AddLike(graph, out, ".slice", shape);
    nodes.push_back(MakeSlice(same ? node.name : node.name + ".slice", node.inputs[0], slice,
                              static_cast<int64_t>(axis), *first, *first + shape[axis]));
    if (!same) Expansion(graph, node, nodes).Finish("Reshape", {slice});
  });
}

void JoinSlices(Graph& graph) {
  const std::vector<int> producer = Producers(graph);
  std::vector<Node> nodes;
  for (const Node& node : graph.nodes) {
    Node copy = node;
    if (node.op == "Concat") {
      const size_t axis = ConcatAxis(node, At(graph, node.outputs[0]).shape->size());
      std::vector<ValueId> joined;
      std::optional<Stretch> open;  // what the last of them is, if it is a stretch
      for (const ValueId id : node.inputs) {
        const int before = producer[static_cast<size_t>(id)];
        const auto next = before < 0
                              ? std::nullopt
                              : StretchOf(graph, graph.nodes[static_cast<size_t>(before)], axis);
        if (!next || !open || next->of != open->of || next->begin != open->end) {
          joined.push_back(id);
          open = next;
          continue;
        }
        open->end = next->end;
        Shape shape = *At(graph, open->of).shape;
        if (open->begin == 0 && open->end == shape[axis]) {
          joined.back() = open->of;
          continue;
        }
        shape[axis] = open->end - open->begin;
        joined.back() = AddLike(graph, open->of, ".joined", std::move(shape));
        nodes.push_back(MakeSlice(At(graph, joined.back()).name, open->of, joined.back(),
                                  static_cast<int64_t>(axis), open->begin, open->end));
      }
      copy.inputs = std::move(joined);
    }
    nodes.push_back(std::move(copy));
  }
  graph.nodes = std::move(nodes);
  RemoveDeadNodes(graph);
}

void HoistChains(Graph& graph) {
  std::vector<int> uses = CountUses(graph);
  std::vector<int> producer = Producers(graph);
  const auto movable = [&](ValueId id) {
    const int p = producer[static_cast<size_t>(id)];
    return p >= 0 && uses[static_cast<size_t>(id)] == 1 &&
                   Rearranges(graph.nodes[static_cast<size_t>(p)])
               ? p
               : -1;
  };
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (graph.nodes[n].op != "Pointwise" || HasOperands(graph.nodes[n])) continue;
    std::vector<size_t> moves;  // behind which the chain lies, from the last one back
    ValueId source = graph.nodes[n].inputs[0];
    for (int p = movable(source); p >= 0; p = movable(source)) {
      moves.push_back(static_cast<size_t>(p));
      source = graph.nodes[static_cast<size_t>(p)].inputs[0];
    }
    const int p = producer[static_cast<size_t>(source)];
    if (moves.empty() || p < 0 || uses[static_cast<size_t>(source)] != 1 ||
        !TakesChain(graph.nodes[static_cast<size_t>(p)]))
      continue;
    // The chain takes the place of the first move, and each move that of the next one.
    Node chain = std::move(graph.nodes[n]);
    const ValueId result = AddLike(graph, source, "", *At(graph, source).shape);
    graph.values[static_cast<size_t>(result)].name = chain.name;
    graph.nodes[moves.back()].inputs[0] = result;
    graph.nodes[moves.front()].outputs[0] = chain.outputs[0];
    chain.inputs[0] = source;
    chain.outputs[0] = result;
    size_t to = n;
    for (const size_t move : moves) {
      producer[static_cast<size_t>(graph.nodes[move].outputs[0])] = static_cast<int>(to);
      graph.nodes[to] = std::move(graph.nodes[move]);
      to = move;
    }
    graph.nodes[to] = std::move(chain);
    producer.push_back(static_cast<int>(to));
    uses.push_back(1);
  }
}

}  // namespace deltacnn
