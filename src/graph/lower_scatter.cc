// Assignments to slices put the new part between what is left of the old one.
#include <span>
#include <utility>

#include "graph/expansion.h"
#include "graph/lower.h"
#include "ops/scatter.h"

namespace deltacnn {
namespace {

class Assignment {
 public:
  Assignment(Graph& graph, const Node& node, std::vector<Node>& nodes)
      : graph_(graph), node_(node), nodes_(nodes), parts_(graph, node, nodes) {}

  void Run() {
    const ValueId data = node_.inputs[0];
    const Shape whole = *At(graph_, data).shape;
    const auto slice = *FindScatteredSlice(whole, *graph_.Constant(node_.inputs[1]));
    if (slice.empty()) return parts_.Finish("Identity", {data});
    Shape shape;     // of the data; each position of a step has an axis of its own
    Shape assigned;  // that of the slice
    for (size_t a = 0; a < whole.size(); ++a) {
      const ScatteredAxis axis = a < slice.size() ? slice[a] : ScatteredAxis{.count = whole[a]};
      const bool steps = axis.step > 1;
      shape.push_back(steps ? axis.count : whole[a]);
      assigned.push_back(axis.count);
      if (steps) {
        shape.push_back(axis.step);
        assigned.push_back(1);
      }
      if (shape.back() != assigned.back()) cuts_.push_back({shape.size() - 1, axis.start});
    }
    assigned_ = Reshape(".assigned", node_.inputs[2], assigned);
    if (cuts_.empty()) return parts_.Finish("Identity", {assigned_});
    const auto joined = Surround(Reshape(".steps", data, shape), cuts_);
    const Attributes along = {{"axis", static_cast<int64_t>(cuts_[0].axis)}};
    if (shape == whole) return parts_.Finish("Concat", joined, along);
    parts_.Finish("Reshape", {parts_.Add(".joined", "Concat", joined, shape, along)});
  }

 private:
  /// An axis of which only a part is assigned, from `start` on.
  struct Cut {
    size_t axis;
    int64_t start;
  };

  ValueId Reshape(const std::string& suffix, ValueId id, const Shape& shape) {
    return *At(graph_, id).shape == shape ? id : parts_.Add(suffix, "Reshape", {id}, shape);
  }

  /// What lies along the first cut: old, assigned, old. The rest of the cuts are within the second.
  std::vector<ValueId> Surround(ValueId old, std::span<const Cut> cuts) {
    const auto [axis, start] = cuts[0];
    const Shape shape = *At(graph_, old).shape;
    const int64_t end = start + (*At(graph_, assigned_).shape)[axis];
    const auto part = [&](const std::string& suffix, int64_t from, int64_t to) {
      Shape size = shape;
      size[axis] = to - from;
      const std::string name = suffix + std::to_string(axis);
      const ValueId id = parts_.Value(name, std::move(size));
      nodes_.push_back(MakeSlice(node_.name + name, old, id, static_cast<int64_t>(axis), from, to));
      return id;
    };
    std::vector<ValueId> joined;
    if (start > 0) joined.push_back(part(".before", 0, start));
    joined.push_back(assigned_);
    if (const auto inner = cuts.subspan(1); !inner.empty()) {
      const ValueId within = part(".within", start, end);
      joined.back() =
          parts_.Add(".joined" + std::to_string(axis), "Concat", Surround(within, inner),
                     *At(graph_, within).shape, {{"axis", static_cast<int64_t>(inner[0].axis)}});
    }
    if (end < shape[axis]) joined.push_back(part(".after", end, shape[axis]));
    return joined;
  }

  Graph& graph_;
  const Node& node_;
  std::vector<Node>& nodes_;
  Expansion parts_;
  ValueId assigned_ = kNoValue;
  std::vector<Cut> cuts_;
};

}  // namespace

void LowerScatters(Graph& graph) {
  ExpandNodes(graph, "ScatterND", [&](const Node& node, std::vector<Node>& nodes) {
    Assignment(graph, node, nodes).Run();
  });
}

}  // namespace deltacnn
