#include "graph/lower.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "graph/expansion.h"
#include "ops/reduce.h"

namespace deltacnn {
namespace {

/// A reduction over all pixels of a picture [N,C,H,W].
struct PictureReduction {
  ValueId picture = kNoValue;
  std::string operation;  // of RowReduce
  bool mean = false;
};

/// `flattened`: by value, the picture that was reshaped to it.
std::optional<PictureReduction> FindReduction(const Graph& graph, const Node& node,
                                              std::span<const ValueId> flattened) {
  PictureReduction found;
  found.mean = node.op == "GlobalAveragePool" || node.op == "ReduceMean";
  if (found.mean || node.op == "ReduceSum") {
    found.operation = "sum";
  } else if (node.op == "GlobalMaxPool" || node.op == "ReduceMax") {
    found.operation = "max";
  } else {
    return std::nullopt;
  }
  const ValueId x = node.Input(0);
  if (x == kNoValue || At(graph, x).dtype != DType::kFloat32) return std::nullopt;
  const Shape& shape = *At(graph, x).shape;
  if (node.op.starts_with("Reduce")) {
    const AxisSet axes = ReducedAxes(graph, node);
    if (axes == 0 || (axes & AllAxes(2)) != 0) return std::nullopt;
    // All spatial axes; one may be missing if it has a single element (kept as such).
    for (size_t axis = 2; axis < shape.size(); ++axis) {
      const bool kept = shape[axis] == 1 && node.Int("keepdims", 1) != 0;
      if (!HasAxis(axes, axis) && !kept) return std::nullopt;
    }
  }
  const ValueId source = flattened[static_cast<size_t>(x)];
  const Shape before = source == kNoValue ? Shape{} : *At(graph, source).shape;
  const bool was_picture =
      before.size() == 4 && shape.size() > 2 && before[0] == shape[0] && before[1] == shape[1];
  found.picture = was_picture ? source : x;
  const Shape& picture = *At(graph, found.picture).shape;
  if (picture.size() != 4 || picture[2] * picture[3] == 0) return std::nullopt;
  return found;
}

}  // namespace

const Tensor* ConstantFloats(const Graph& graph, ValueId id) {
  if (id == kNoValue) return nullptr;
  const Tensor* tensor = graph.Constant(id).get();
  const bool floats = tensor != nullptr && tensor->dtype == DType::kFloat32;
  return floats && tensor->elements() > 0 ? tensor : nullptr;
}

bool HasConstantFilters(const Graph& graph, const Node& node) {
  return ConstantFloats(graph, node.inputs[1]) != nullptr &&
         (node.Input(2) == kNoValue || ConstantFloats(graph, node.inputs[2]) != nullptr);
}

bool HasConstantArguments(const Graph& graph, const Node& node) {
  return std::ranges::all_of(std::span(node.inputs).subspan(1), [&](ValueId id) {
    return id == kNoValue || graph.Constant(id) != nullptr;
  });
}

ValueId AddConstant(Graph& graph, const std::string& name, Tensor tensor) {
  Value value;
  value.name = name;
  value.dtype = tensor.dtype;
  value.dtype_known = true;
  value.shape = tensor.shape;
  value.constant = std::make_shared<const Tensor>(std::move(tensor));
  return graph.AddValue(std::move(value));
}

ValueId AddConstant(Graph& graph, const std::string& name, const std::vector<float>& data,
                    Shape shape) {
  Tensor tensor(DType::kFloat32, std::move(shape));
  std::ranges::copy(data, tensor.as<float>().begin());
  return AddConstant(graph, name, std::move(tensor));
}

void EraseNodes(Graph& graph, const std::vector<bool>& dead) {
  size_t kept = 0;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (dead[n]) continue;
    if (kept != n) graph.nodes[kept] = std::move(graph.nodes[n]);
    ++kept;
  }
  graph.nodes.resize(kept);
}

std::vector<int> Producers(const Graph& graph) {
  std::vector<int> producer(graph.values.size(), -1);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    for (const ValueId out : graph.nodes[n].outputs)
      if (out != kNoValue) producer[static_cast<size_t>(out)] = static_cast<int>(n);
  }
  return producer;
}

std::vector<int> CountUses(const Graph& graph) {
  std::vector<int> uses(graph.values.size(), 0);
  const auto count = [&](ValueId id) {
    if (id != kNoValue) ++uses[static_cast<size_t>(id)];
  };
  for (const Node& node : graph.nodes) {
    std::ranges::for_each(node.inputs, count);
    std::ranges::for_each(node.chain_inputs, count);
  }
  std::ranges::for_each(graph.outputs, count);
  return uses;
}

void LowerGlobalReductions(Graph& graph) {
  // By value: the picture that a Reshape has flattened to it.
  std::vector<ValueId> flattened(graph.values.size(), kNoValue);
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    if (node.op == "Reshape" && node.outputs[0] != kNoValue)
      flattened[static_cast<size_t>(node.outputs[0])] = node.inputs[0];
    const std::optional<PictureReduction> found = FindReduction(graph, node, flattened);
    if (!found) {
      nodes.push_back(std::move(node));
      continue;
    }
    const Shape shape = *At(graph, found->picture).shape;
    const Shape out = *At(graph, node.outputs[0]).shape;
    const Shape reduced = {shape[0], shape[1], 1, 1};
    const bool squeezed = out == Shape{shape[0], shape[1]};
    Expansion parts(graph, node, nodes);
    const ValueId rows = parts.Add(".rows", "RowReduce", {found->picture},
                                   {shape[0], shape[1], shape[2], 1}, {{"op", found->operation}});
    const Attributes total = {{"op", found->operation},
                              {"count", found->mean ? shape[2] * shape[3] : int64_t{1}},
                              {"keepdims", int64_t{!squeezed}}};
    if (squeezed || out == reduced) {
      parts.Finish("ReduceRows", {rows}, total);
    } else {
      parts.Finish("Reshape", {parts.Add(".reduced", "ReduceRows", {rows}, reduced, total)});
    }
  }
  graph.nodes = std::move(nodes);
}

void RemoveDeadNodes(Graph& graph) {
  std::vector<int> uses = CountUses(graph);
  std::vector<bool> dead(graph.nodes.size(), false);
  for (size_t n = graph.nodes.size(); n-- > 0;) {
    const Node& node = graph.nodes[n];
    const bool read = std::ranges::any_of(node.outputs, [&](ValueId id) {
      return id != kNoValue && uses[static_cast<size_t>(id)] > 0 && graph.Constant(id) == nullptr;
    });
    if (read) continue;
    dead[n] = true;
    const auto release = [&](ValueId id) {
      if (id != kNoValue) --uses[static_cast<size_t>(id)];
    };
    std::ranges::for_each(node.inputs, release);
    std::ranges::for_each(node.chain_inputs, release);
  }
  EraseNodes(graph, dead);
}

void Lower(Graph& graph) {
  RemoveDeadNodes(graph);
  LowerQuantised(graph);
  LowerScatters(graph);
  LowerGatherND(graph);
  LowerEinsums(graph);
  LowerAttention(graph);
  LowerProducts(graph);
  FoldPads(graph);
  TrimTaps(graph);
  CascadePools(graph);
  FoldIntoWeights(graph);
  MergeBranches(graph);
  MergeHeads(graph);
  FoldPatches(graph);
  LowerSplits(graph);
  LowerGathers(graph);
  JoinSlices(graph);
  ComposeMoves(graph);
  LowerRepeats(graph);
  LowerNormalisations(graph);
  LowerGlobalReductions(graph);
  LowerArithmetic(graph);
  HoistChains(graph);
  FuseChains(graph);
  LowerShuffles(graph);
  FuseSeparable(graph);
  FusePooled(graph);
  RemoveDeadNodes(graph);
}

}  // namespace deltacnn
