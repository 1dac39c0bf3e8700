// Narrow convolutions of one value, each with a depthwise one behind it, as the heads of small
// detectors are: one of all their outputs fills the registers that each leaves empty, and reads the
// value once.
#include <algorithm>
#include <map>
#include <utility>

#include "graph/lower.h"

namespace deltacnn {
namespace {

// Outputs up to which a convolution is narrow: half of the widest panel of a GEMM.
constexpr int64_t kNarrow = 16;

struct Head {
  size_t conv;
  size_t depthwise;
  ConvWindow conv_window;
  ConvWindow depthwise_window;
  int64_t outputs;
};

bool HasConstantFilters(const Graph& graph, const Node& conv) {
  return ConstantFloats(graph, conv.inputs[1]) != nullptr &&
         (conv.Input(2) == kNoValue || ConstantFloats(graph, conv.inputs[2]) != nullptr);
}

bool SameWindow(const ConvWindow& a, const ConvWindow& b) {
  return a.kernel == b.kernel && a.stride == b.stride && a.dilation == b.dilation &&
         a.pad_before == b.pad_before && a.pad_after == b.pad_after;
}

class HeadMerger {
 public:
  explicit HeadMerger(Graph& graph) : graph_(graph), dead_(graph.nodes.size(), false) {}

  void Run() {
    const std::vector<int> uses = CountUses(graph_);
    const std::vector<int> producer = Producers(graph_);
    std::map<ValueId, std::vector<Head>> heads;  // by what they read
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const Node& depthwise = graph_.nodes[n];
      if (depthwise.op != "Conv") continue;
      const ValueId between = depthwise.inputs[0];
      const int before = producer[static_cast<size_t>(between)];
      if (before < 0 || uses[static_cast<size_t>(between)] != 1) continue;
      if (const auto head = HeadOf(static_cast<size_t>(before), n))
        heads[graph_.nodes[static_cast<size_t>(before)].inputs[0]].push_back(*head);
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

  std::optional<Head> HeadOf(size_t first, size_t second) const {
    const Node& conv = graph_.nodes[first];
    const Node& depthwise = graph_.nodes[second];
    if (conv.op != "Conv" || ShapeOf(conv.inputs[0]).size() != 4 ||
        !HasConstantFilters(graph_, conv) || !HasConstantFilters(graph_, depthwise))
      return std::nullopt;
    const auto inner = WindowOf(conv, ShapeOf(conv.inputs[0]), ShapeOf(conv.inputs[1]));
    const auto outer = WindowOf(depthwise, ShapeOf(conv.outputs[0]), ShapeOf(depthwise.inputs[1]));
    if (!inner.ok() || !outer.ok()) return std::nullopt;
    const int64_t outputs = ShapeOf(conv.outputs[0])[1];
    const bool narrow = inner->groups == 1 && outputs <= kNarrow;
    if (!narrow || outer->groups != outputs || ShapeOf(depthwise.outputs[0])[1] != outputs)
      return std::nullopt;
    return Head{first, second, *inner, *outer, outputs};
  }

  /// Merges those that have the windows of the first one, and then the rest.
  void Merge(std::vector<Head>& heads) {
    while (heads.size() > 1) {
      const auto same = [&, first = heads.front()](const Head& head) {
        return SameWindow(head.conv_window, first.conv_window) &&
               SameWindow(head.depthwise_window, first.depthwise_window);
      };
      const auto rest = std::stable_partition(heads.begin(), heads.end(), same);
      if (rest - heads.begin() > 1) MergeAll({heads.begin(), rest});
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

  /// One convolution in the place of these.
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
      depthwise.push_back(head.depthwise);
      outputs += head.outputs;
      dead_[head.conv] = dead_[head.depthwise] = true;
    }
    std::vector<Node>& nodes = in_place_of_[*std::ranges::min_element(convs)];
    Node conv = Wide(convs, graph_.nodes[convs[0]].inputs[0], outputs);
    Node all = Wide(depthwise, conv.outputs[0], outputs);
    all.attributes["group"] = outputs;
    const ValueId joined = all.outputs[0];
    nodes.push_back(std::move(conv));
    nodes.push_back(std::move(all));
    int64_t start = 0;
    for (const Head& head : heads) {
      const Node& old = graph_.nodes[head.depthwise];
      nodes.push_back(
          MakeSlice(old.name + ".head", joined, old.outputs[0], 1, start, start + head.outputs));
      start += head.outputs;
    }
  }

  Graph& graph_;
  std::vector<bool> dead_;
  std::map<size_t, std::vector<Node>> in_place_of_;  // before the node that was there
};

}  // namespace

void MergeHeads(Graph& graph) { HeadMerger(graph).Run(); }

}  // namespace deltacnn
