// Narrow convolutions of one value, as the heads of small detectors are, with or without a
// depthwise one behind each: one of all their outputs fills the registers that each leaves empty,
// and reads the value once.
#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "graph/lower.h"

namespace deltacnn {
namespace {

// Outputs up to which a convolution is narrow: the widest panel of a GEMM has 32.
constexpr int64_t kNarrow = 24;

struct Head {
  size_t conv;
  ConvWindow window;
  std::optional<size_t> depthwise;
  ConvWindow depthwise_window;
  int64_t outputs;
};

bool SameWindow(const ConvWindow& a, const ConvWindow& b) {
  return a.kernel == b.kernel && a.stride == b.stride && a.dilation == b.dilation &&
         a.pad_before == b.pad_before && a.pad_after == b.pad_after;
}

class HeadMerger {
 public:
  explicit HeadMerger(Graph& graph) : graph_(graph), dead_(graph.nodes.size(), false) {}

  void Run() {
    const std::vector<int> uses = CountUses(graph_);
    std::vector<int> reader(graph_.values.size(), -1);
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      for (const ValueId in : graph_.nodes[n].inputs)
        if (in != kNoValue) reader[static_cast<size_t>(in)] = static_cast<int>(n);
    }
    std::map<ValueId, std::vector<Head>> heads;  // by what they read
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (graph_.nodes[n].op != "Conv") continue;
      const auto out = static_cast<size_t>(graph_.nodes[n].outputs[0]);
      if (uses[out] != 1 || reader[out] < 0) continue;
      if (const auto head = HeadOf(n, static_cast<size_t>(reader[out])))
        heads[graph_.nodes[n].inputs[0]].push_back(*head);
    }
    for (auto& entry : heads) Merge(entry.second);
    std::vector<Node> nodes;
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (const auto found = in_place_of_.find(n); found != in_place_of_.end())
        std::ranges::move(found->second, std::back_inserter(nodes));
      if (!dead_[n]) nodes.push_back(std::move(graph_.nodes[n]));
    }
    graph_.nodes = std::move(nodes);
  }

 private:
  const Shape& ShapeOf(ValueId id) const { return *At(graph_, id).shape; }

  /// The convolution and its only reader as a head.
  std::optional<Head> HeadOf(size_t first, size_t second) const {
    const Node& conv = graph_.nodes[first];
    const Node& reader = graph_.nodes[second];
    if (ShapeOf(conv.inputs[0]).size() != 4 || !HasConstantFilters(graph_, conv))
      return std::nullopt;
    const auto window = WindowOf(conv, ShapeOf(conv.inputs[0]), ShapeOf(conv.inputs[1]));
    const int64_t outputs = ShapeOf(conv.outputs[0])[1];
    if (!window.ok() || window->groups != 1 || outputs > kNarrow) return std::nullopt;
    // What a head gives is laid out for the answers; anything else could run in the convolution.
    if (Rearranges(reader)) return Head{first, *window, std::nullopt, {}, outputs};
    if (reader.op != "Conv" || reader.inputs[0] != conv.outputs[0] ||
        !HasConstantFilters(graph_, reader))
      return std::nullopt;
    const auto outer = WindowOf(reader, ShapeOf(conv.outputs[0]), ShapeOf(reader.inputs[1]));
    if (!outer.ok() || outer->groups != outputs || ShapeOf(reader.outputs[0])[1] != outputs)
      return std::nullopt;
    return Head{first, *window, second, *outer, outputs};
  }

  /// True if all outputs together fill fewer vectors of 16 than each convolution's alone.
  static bool SavesVectors(std::span<const Head> heads) {
    const auto vectors = [](int64_t outputs) { return (outputs + 15) / 16; };
    int64_t alone = 0, outputs = 0;
    for (const Head& head : heads) {
      alone += vectors(head.outputs);
      outputs += head.outputs;
    }
    return vectors(outputs) < alone;
  }

  /// Merges those that have the windows of the first one, and then the rest.
  void Merge(std::vector<Head>& heads) {
    while (heads.size() > 1) {
      const auto same = [&, first = heads.front()](const Head& head) {
        return SameWindow(head.window, first.window) &&
               head.depthwise.has_value() == first.depthwise.has_value() &&
               SameWindow(head.depthwise_window, first.depthwise_window);
      };
      const auto rest = std::stable_partition(heads.begin(), heads.end(), same);
      if (SavesVectors({heads.begin(), rest})) MergeAll({heads.begin(), rest});
      heads.erase(heads.begin(), rest);
    }
  }

  /// A constant of the filters or biases (input 1 or 2) of all nodes, one behind the other.
  ValueId Joined(const std::vector<size_t>& nodes, size_t input, Shape shape) {
    std::vector<float> data;
    for (const size_t n : nodes) {
      const Node& node = graph_.nodes[n];
      if (node.Input(input) == kNoValue) {
        data.resize(data.size() + static_cast<size_t>(ShapeOf(node.outputs[0])[1]), 0.0f);
      } else {
        const auto elements = graph_.Constant(node.inputs[input])->as<float>();
        data.insert(data.end(), elements.begin(), elements.end());
      }
    }
    const std::string name = At(graph_, graph_.nodes[nodes[0]].inputs[1]).name;
    return AddConstant(graph_, name + (input == 1 ? ".heads" : ".heads.bias"), data,
                       std::move(shape));
  }

  /// One convolution in the place of these, of `in`.
  Node Wide(const std::vector<size_t>& nodes, ValueId in, int64_t outputs) {
    Node wide = graph_.nodes[nodes[0]];
    Shape filters = ShapeOf(wide.inputs[1]);
    filters[0] = outputs;
    Shape shape = ShapeOf(wide.outputs[0]);
    shape[1] = outputs;
    wide.inputs = {in, Joined(nodes, 1, filters), Joined(nodes, 2, {outputs})};
    wide.outputs = {AddLike(graph_, wide.outputs[0], ".heads", shape)};
    return wide;
  }

  void MergeAll(const std::vector<Head>& heads) {
    std::vector<size_t> convs, depthwise;
    int64_t outputs = 0;
    for (const Head& head : heads) {
      convs.push_back(head.conv);
      if (head.depthwise) depthwise.push_back(*head.depthwise);
      outputs += head.outputs;
    }
    const std::vector<size_t>& last = depthwise.empty() ? convs : depthwise;
    std::vector<Node>& nodes = in_place_of_[*std::ranges::min_element(convs)];
    nodes.push_back(Wide(convs, graph_.nodes[convs[0]].inputs[0], outputs));
    if (!depthwise.empty()) {
      nodes.push_back(Wide(depthwise, nodes.back().outputs[0], outputs));
      nodes.back().attributes["group"] = outputs;
    }
    const ValueId joined = nodes.back().outputs[0];
    int64_t start = 0;
    for (size_t i = 0; i < heads.size(); ++i) {
      const Node& old = graph_.nodes[last[i]];
      const int64_t end = start + heads[i].outputs;
      nodes.push_back(MakeSlice(old.name + ".head", joined, old.outputs[0], 1, start, end));
      start = end;
    }
    for (const size_t n : convs) dead_[n] = true;
    for (const size_t n : depthwise) dead_[n] = true;
  }

  Graph& graph_;
  std::vector<bool> dead_;
  std::map<size_t, std::vector<Node>> in_place_of_;  // before the node that was there
};

}  // namespace

void MergeHeads(Graph& graph) { HeadMerger(graph).Run(); }

}  // namespace deltacnn
