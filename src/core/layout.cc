#include "core/layout.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "ops/concat.h"

namespace deltacnn {
namespace {

const Shape& ShapeOf(const Graph& graph, ValueId id) {
  return *graph.values[static_cast<size_t>(id)].shape;
}

/// Images are stored pixel by pixel, everything else row by row of its first axis.
AxisSet InputAxes(const Shape& shape) {
  const size_t rank = shape.size();
  if (rank < 3) return rank == 0 ? 0 : Axis(0);
  // One to four channels at the end and not in second place: an NHWC image.
  const bool nhwc = rank == 4 && shape[3] <= 4 && shape[1] > 4;
  return nhwc ? AllAxes(4) & ~Axis(3) : SpatialAxes(rank);
}

class Chooser {
 public:
  explicit Chooser(Graph& graph) : graph_(graph), uses_(graph.values.size(), 0) {
    for (const Node& node : graph.nodes)
      for (const ValueId in : node.inputs)
        if (in != kNoValue) ++uses_[static_cast<size_t>(in)];
    layouts_.axes.assign(graph.values.size(), 0);
    layouts_.halo.assign(graph.values.size(), {});
    for (const Value& value : graph.values) layouts_.in_memory.push_back(value.constant == nullptr);
    for (const ValueId in : graph.inputs)
      layouts_.axes[static_cast<size_t>(in)] = InputAxes(ShapeOf(graph, in));
  }

  Layouts Run() {
    std::vector<Node> nodes = std::move(graph_.nodes);
    graph_.nodes.clear();
    for (Node& node : nodes) Visit(std::move(node));
    return std::move(layouts_);
  }

 private:
  void Visit(Node node) {
    std::vector<ValueId*> operands;
    for (ValueId& id : node.inputs) operands.push_back(&id);
    for (ValueId& id : node.chain_inputs) operands.push_back(&id);
    LayoutContext context{node, graph_, {}, {}, {}, {}};
    for (const ValueId* id : operands)
      context.input_axes.push_back(*id == kNoValue ? 0 : layouts_.axes[static_cast<size_t>(*id)]);
    context.input_halo.resize(operands.size());
    context.input_in_memory.assign(operands.size(), true);
    context.output_axes.resize(node.outputs.size(), 0);
    FindOp(node.op)->layout(context);

    for (size_t i = 0; i < operands.size(); ++i) {
      ValueId& id = *operands[i];
      if (id == kNoValue) continue;
      const bool constant = graph_.Constant(id) != nullptr;
      if (constant && !context.input_in_memory[i]) continue;
      if (constant) {
        id = LaidOutConstant(id, context.input_axes[i]);
      } else if (layouts_.axes[static_cast<size_t>(id)] != context.input_axes[i]) {
        id = Relayout(id, context.input_axes[i]);
      }
      layouts_.halo[static_cast<size_t>(id)].Cover(context.input_halo[i]);
    }
    for (size_t o = 0; o < node.outputs.size(); ++o) {
      if (node.outputs[o] != kNoValue)
        layouts_.axes[static_cast<size_t>(node.outputs[o])] = context.output_axes[o];
    }
    if (node.op == "Concat") CopyUnplaceable(node);
    graph_.nodes.push_back(std::move(node));
  }

  ValueId NewValue(ValueId like, const std::string& suffix, AxisSet axes) {
    Value value = graph_.values[static_cast<size_t>(like)];
    value.name += suffix;
    layouts_.axes.push_back(axes);
    layouts_.halo.emplace_back();
    layouts_.in_memory.push_back(true);
    uses_.push_back(0);
    return graph_.AddValue(std::move(value));
  }

  ValueId LaidOutConstant(ValueId id, AxisSet axes) {
    const auto [it, is_new] = copies_.try_emplace({id, axes}, kNoValue);
    if (is_new) it->second = NewValue(id, "", axes);
    return it->second;
  }

  ValueId Copy(ValueId id, AxisSet axes) {
    const ValueId copy = NewValue(id, ".relayout", axes);
    graph_.values[static_cast<size_t>(copy)].constant = nullptr;
    Node node;
    node.name = graph_.values[static_cast<size_t>(copy)].name;
    node.op = "Relayout";
    node.inputs = {id};
    node.outputs = {copy};
    node.attributes["pixel_axes"] = static_cast<int64_t>(axes);
    graph_.nodes.push_back(std::move(node));
    return copy;
  }

  ValueId Relayout(ValueId id, AxisSet axes) {
    const auto [it, is_new] = copies_.try_emplace({id, axes}, kNoValue);
    if (is_new) it->second = Copy(id, axes);
    ++uses_[static_cast<size_t>(it->second)];
    return it->second;
  }

  /// An input of a concatenation is computed in its place there if a node computes it, it lies in
  /// no other concatenation, and no reader of it or of its own parts wants zeros where its
  /// neighbours would be.
  void CopyUnplaceable(Node& node) {
    const size_t axis = ConcatAxis(node, ShapeOf(graph_, node.outputs[0]).size());
    const AxisSet axes = layouts_.axes[static_cast<size_t>(node.outputs[0])];
    const bool along_pixels = HasAxis(axes, axis);
    for (ValueId& id : node.inputs) {
      const bool is_input = std::ranges::find(graph_.inputs, id) != graph_.inputs.end();
      const bool shared = along_pixels && IsReadBeside(id);
      if (graph_.Constant(id) != nullptr || is_input || shared || !placed_.insert(id).second) {
        const bool constant = graph_.Constant(id) != nullptr;
        id = Copy(constant ? LaidOutConstant(id, axes) : id, axes);
        placed_.insert(id);
      } else if (along_pixels) {  // later readers get a copy of their own
        std::erase_if(copies_, [&](const auto& copy) { return copy.second == id; });
      }
    }
    if (std::ranges::any_of(node.inputs, [&](ValueId id) { return IsReadBeside(id); }))
      read_in_parts_.insert(node.outputs[0]);
  }

  /// True if the value, or a part of it, has other readers than the concatenation that it is for.
  bool IsReadBeside(ValueId id) const {
    return uses_[static_cast<size_t>(id)] > 1 || read_in_parts_.contains(id);
  }

  Graph& graph_;
  Layouts layouts_;
  std::vector<int> uses_;
  std::map<std::pair<ValueId, AxisSet>, ValueId> copies_;
  std::set<ValueId> placed_;
  std::set<ValueId> read_in_parts_;  // concatenations
};

}  // namespace

Layouts ChooseLayouts(Graph& graph) { return Chooser(graph).Run(); }

}  // namespace deltacnn
