// Channel shuffles (ShuffleNet V2, Ma et al. 2018): a unit concatenates the channels it passes on
// with those it computed, deals them out anew (Reshape, Transpose, Reshape) and splits them into
// the channels that the next unit passes on and those that it computes from.
//
// Channels that are passed on need not move: whoever needs them finds them where they are. Those
// that a unit computes from are stored side by side: computed ones of the unit before, which its
// convolution writes there, its weights in that order, and copies of passed ones. The convolution
// that reads them takes their order into its weights. So a channel is copied once, when it has been
// passed on for the last time.
#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "graph/lower.h"
#include "ops/concat.h"
#include "ops/move.h"

namespace deltacnn {
namespace {

// Of moves between a concatenation and what reads its channels, and of the parts it is split into.
constexpr size_t kLongestPath = 8;
constexpr size_t kMostParts = 2;

/// A channel of a value that is there.
struct Channel {
  ValueId source = kNoValue;
  int64_t at = 0;
};
using Channels = std::vector<Channel>;

/// A value that consists of channels of another one, in this order.
struct Part {
  ValueId value = kNoValue;
  std::vector<int64_t> at;
};

/// What is read of a value behind moves, and these moves.
struct Deal {
  std::vector<size_t> moves;
  std::vector<Part> parts;
};

/// Each one more than the one before.
bool Ascends(const std::vector<int64_t>& at) {
  for (size_t k = 0; k < at.size(); ++k)
    if (at[k] != at[0] + static_cast<int64_t>(k)) return false;
  return true;
}

bool IsImage(const Graph& graph, ValueId id) {
  const Shape& shape = *At(graph, id).shape;
  return shape.size() == 4 && shape[0] == 1 && ElementCount(shape) > 0;
}

/// W[order[0]], W[order[1]], ... along the first axis.
Tensor TakeRows(const Tensor& weights, const std::vector<int64_t>& order) {
  Tensor taken(DType::kFloat32, weights.shape);
  const size_t size = weights.as<float>().size() / order.size();
  for (size_t i = 0; i < order.size(); ++i) {
    std::ranges::copy(weights.as<float>().subspan(static_cast<size_t>(order[i]) * size, size),
                      taken.as<float>().begin() + static_cast<ptrdiff_t>(i * size));
  }
  return taken;
}

/// The same along the second axis.
Tensor TakeColumns(const Tensor& weights, const std::vector<int64_t>& order) {
  Tensor taken(DType::kFloat32, weights.shape);
  const auto rows = static_cast<size_t>(weights.shape[0]);
  const size_t size = weights.as<float>().size() / rows / order.size();
  auto to = taken.as<float>().begin();
  for (size_t row = 0; row < rows; ++row) {
    for (const int64_t column : order) {
      const size_t from = (row * order.size() + static_cast<size_t>(column)) * size;
      to = std::ranges::copy(weights.as<float>().subspan(from, size), to).out;
    }
  }
  return taken;
}

std::vector<int64_t> Inverse(const std::vector<int64_t>& order) {
  std::vector<int64_t> inverse(order.size());
  for (size_t i = 0; i < order.size(); ++i)
    inverse[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
  return inverse;
}

/// Whether every one of `count` channels is in one of the parts, once.
bool DealsOutAll(const std::vector<Part>& parts, int64_t count) {
  std::vector<int64_t> all;
  for (const Part& part : parts) all.insert(all.end(), part.at.begin(), part.at.end());
  std::ranges::sort(all);
  std::vector<int64_t> wanted(static_cast<size_t>(count));
  std::iota(wanted.begin(), wanted.end(), 0);
  return all == wanted;
}

class ShuffleLowering {
 public:
  explicit ShuffleLowering(Graph& graph)
      : graph_(graph), uses_(CountUses(graph)), readers_(graph.values.size()) {
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      for (const auto* list : {&graph.nodes[n].inputs, &graph.nodes[n].chain_inputs})
        for (const ValueId id : *list)
          if (id != kNoValue) readers_[static_cast<size_t>(id)].push_back(n);
    }
  }

  void Run() {
    std::vector<bool> gone(graph_.nodes.size(), false);
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (gone[n]) continue;
      Node node = graph_.nodes[n];
      if (const auto deal = DealOf(node)) {
        for (const size_t move : deal->moves) gone[move] = true;
        Store(std::move(node), *deal);
        continue;
      }
      if (!Absorb(node)) RestoreInputs(node);
      Emit(std::move(node));
    }
    graph_.nodes = std::move(nodes_);
  }

 private:
  const Shape& ShapeOf(ValueId id) const { return *At(graph_, id).shape; }
  bool IsOutput(ValueId id) const {
    return std::ranges::find(graph_.outputs, id) != graph_.outputs.end();
  }

  /// What becomes of the channels of a concatenation, if that is worth another order of them.
  std::optional<Deal> DealOf(const Node& node) const {
    if (node.op != "Concat" || node.inputs.size() != 2 || node.inputs[0] == node.inputs[1])
      return std::nullopt;
    const ValueId whole = node.outputs[0];
    if (whole == kNoValue || !IsImage(graph_, whole) || ConcatAxis(node, 4) != 1 ||
        At(graph_, whole).dtype != DType::kFloat32)
      return std::nullopt;
    Deal deal;
    std::vector<IndexMap> path;
    if (!Follow(whole, whole, path, deal)) return std::nullopt;
    const bool free = std::ranges::all_of(deal.parts, Ascends, &Part::at);  // slices
    if (deal.parts.empty() || deal.parts.size() > kMostParts || free ||
        !DealsOutAll(deal.parts, ShapeOf(whole)[1]))
      return std::nullopt;
    if (deal.parts.size() == 2 && Computed(node) < 0) return std::nullopt;
    return deal;
  }

  /// Adds to `deal` the moves behind `id`, to which `path` leads from `whole`, and what others read
  /// there; false if that is anything but channels.
  bool Follow(ValueId whole, ValueId id, std::vector<IndexMap>& path, Deal& deal) const {
    if (IsOutput(id) || path.size() > kLongestPath || deal.parts.size() > kMostParts) return false;
    bool read = false;
    for (const size_t n : readers_[static_cast<size_t>(id)]) {
      const Node& node = graph_.nodes[n];
      const bool moves = Rearranges(node) || node.op == "Slice";
      if (!moves || !HasConstantArguments(graph_, node) || node.inputs[0] != id) {
        read = true;
        continue;
      }
      path.push_back(MakeIndexMap(graph_, node));
      deal.moves.push_back(n);
      if (path.back().flat || !Follow(whole, node.outputs[0], path, deal)) return false;
      path.pop_back();
    }
    if (!read) return true;
    auto part = PartOf(whole, id, path);
    if (!part) return false;
    deal.parts.push_back(std::move(*part));
    return true;
  }

  /// The channels of `whole` that `id` consists of, all pixels where they were.
  std::optional<Part> PartOf(ValueId whole, ValueId id, const std::vector<IndexMap>& path) const {
    const Shape& shape = ShapeOf(id);
    if (path.empty() || !IsImage(graph_, id) || shape[2] != ShapeOf(whole)[2] ||
        shape[3] != ShapeOf(whole)[3])
      return std::nullopt;
    const auto source = [&](Shape index) {
      for (size_t m = path.size(); m-- > 0;) {
        Shape from(path[m].input_rank, 0);
        for (size_t b = 0; b < index.size(); ++b)
          for (size_t a = 0; a < from.size(); ++a)
            from[a] += path[m].delta[b][static_cast<size_t>(index[b]) * from.size() + a];
        index = std::move(from);
      }
      return index;
    };
    Part part{.value = id, .at = {}};
    for (int64_t k = 0; k < shape[1]; ++k) {
      part.at.push_back(source({0, k, 0, 0})[1]);
      for (const auto& [y, x] : {std::pair{int64_t{0}, int64_t{0}}, {shape[2] - 1, shape[3] - 1}})
        if (source({0, k, y, x}) != Shape{0, part.at.back(), y, x}) return std::nullopt;
    }
    // Axes are split into digits and these dealt out: one channel tells for all.
    for (int64_t y = 0; y < shape[2]; ++y)
      for (int64_t x = 0; x < shape[3]; ++x)
        if (source({0, 0, y, x}) != Shape{0, part.at[0], y, x}) return std::nullopt;
    return part;
  }

  bool IsConv(const Node& node, bool depthwise) const {
    if (node.op != "Conv" || !IsImage(graph_, node.inputs[0])) return false;
    const int64_t groups = node.Int("group", 1);
    return depthwise ? groups > 1 && groups == ShapeOf(node.inputs[0])[1] &&
                           groups == ShapeOf(node.outputs[0])[1]
                     : groups == 1;
  }

  /// Which input of a concatenation a convolution computes for it alone, whose outputs may come in
  /// any order; -1: none.
  int Computed(const Node& concat) const {
    for (const int i : {1, 0}) {
      const ValueId id = concat.inputs[static_cast<size_t>(i)];
      const auto made = made_.find(id);
      if (made == made_.end() || uses_[static_cast<size_t>(id)] != 1) continue;
      const Node& conv = nodes_[made->second];
      if (IsConv(conv, false) && conv.chain_inputs.empty()) return i;
    }
    return -1;
  }

  /// Adds the concatenation, as far as it has to be stored.
  void Store(Node concat, const Deal& deal) {
    const ValueId whole = concat.outputs[0];
    if (deal.parts.size() == 1) {
      RestoreInputs(concat);
      Emit(std::move(concat));
      stored_[deal.parts[0].value] = ChannelsAt(whole, deal.parts[0].at);
      return;
    }
    const size_t near =
        ComputedFrom(deal.parts[0].value) && !ComputedFrom(deal.parts[1].value) ? 0 : 1;
    const Part& next = deal.parts[near];      // what the next unit computes from
    const Part& rest = deal.parts[1 - near];  // what it passes on
    const int computed = Computed(concat);
    const ValueId conv = concat.inputs[static_cast<size_t>(computed)];
    const Channels passed = ChannelsOf(concat.inputs[static_cast<size_t>(1 - computed)]);
    const int64_t split = ShapeOf(concat.inputs[0])[1];
    const auto is_computed = [&](int64_t at) { return (at < split) == (computed == 0); };
    const auto in_input = [&](int64_t at) { return at < split ? at : at - split; };

    // Stored are the computed channels of the rest, those of the next part, and the next part's
    // passed ones, in the order of where they are.
    std::vector<int64_t> place(static_cast<size_t>(ShapeOf(whole)[1]), -1);  // of whole's channels
    int64_t count = 0;
    const auto store = [&](int64_t at) { place[static_cast<size_t>(at)] = count++; };
    std::vector<int64_t> order;  // of the convolution's outputs
    for (const Part* part : {&rest, &next}) {
      for (const int64_t at : part->at) {
        if (!is_computed(at)) continue;
        store(at);
        order.push_back(in_input(at));
      }
    }
    Reorder(nodes_[made_.at(conv)], order);
    std::vector<int64_t> copied;
    std::ranges::copy_if(next.at, std::back_inserter(copied), std::not_fn(is_computed));
    const auto passed_at = [&](int64_t at) { return passed[static_cast<size_t>(in_input(at))]; };
    std::ranges::sort(
        copied, {}, [&](int64_t at) { return std::pair(passed_at(at).source, passed_at(at).at); });
    ValueId stored = conv;
    if (!copied.empty()) {
      Channels wanted;
      for (const int64_t at : copied) {
        store(at);
        wanted.push_back(passed_at(at));
      }
      const ValueId copies = AddStored(conv, static_cast<int64_t>(copied.size()));
      Collect(wanted, copies);
      stored = AddStored(whole, count);
      concat.inputs = {conv, copies};
      concat.outputs = {stored};
      Emit(std::move(concat));
    }

    Channels& kept = stored_[rest.value];
    for (const int64_t at : rest.at)
      kept.push_back(is_computed(at) ? Channel{stored, place[static_cast<size_t>(at)]}
                                     : passed_at(at));
    const int64_t first = std::ranges::count_if(rest.at, is_computed);  // of the next part
    std::vector<int64_t> at_next;
    for (const int64_t at : next.at) at_next.push_back(place[static_cast<size_t>(at)] - first);
    const bool in_order = Ascends(at_next);
    const ValueId slice = in_order ? next.value : AddStored(next.value, count - first);
    Emit(MakeSlice(At(graph_, slice).name, stored, slice, 1, first, count));
    if (!in_order) stored_[next.value] = ChannelsAt(slice, at_next);
  }

  /// Whether a convolution reads it, which could take an order of channels into its weights.
  bool ComputedFrom(ValueId id) const {
    return std::ranges::any_of(readers_[static_cast<size_t>(id)],
                               [&](size_t n) { return IsConv(graph_.nodes[n], false); });
  }

  static Channels ChannelsAt(ValueId source, const std::vector<int64_t>& at) {
    Channels channels;
    for (const int64_t k : at) channels.push_back({source, k});
    return channels;
  }

  /// Where the channels of a value are.
  Channels ChannelsOf(ValueId id) const {
    if (const auto known = stored_.find(id); known != stored_.end()) return known->second;
    std::vector<int64_t> all(static_cast<size_t>(ShapeOf(id)[1]));
    std::iota(all.begin(), all.end(), 0);
    return ChannelsAt(id, all);
  }

  /// Copies channels from wherever they are.
  void Collect(const Channels& channels, ValueId to) {
    Node collect;
    collect.op = "CollectChannels";
    collect.name = At(graph_, to).name;
    collect.outputs = {to};
    std::vector<int64_t> sources, at;
    for (const Channel& channel : channels) {
      const auto known = std::ranges::find(collect.inputs, channel.source);
      sources.push_back(known - collect.inputs.begin());
      at.push_back(channel.at);
      if (known == collect.inputs.end()) collect.inputs.push_back(channel.source);
    }
    collect.attributes["sources"] = std::move(sources);
    collect.attributes["channels"] = std::move(at);
    Emit(std::move(collect));
  }

  /// A convolution of channels that are stored in another order takes it into its weights.
  bool Absorb(Node& node) {
    if (node.op != "Conv" || !node.chain_inputs.empty()) return false;
    const auto known = stored_.find(node.inputs[0]);
    if (known == stored_.end()) return false;
    const Channels channels = known->second;
    const ValueId source = channels[0].source;
    std::vector<int64_t> at;
    for (const Channel& channel : channels) {
      if (channel.source != source) return false;
      at.push_back(channel.at);
    }
    if (!DealsOutAll({{.value = node.inputs[0], .at = at}}, ShapeOf(source)[1])) return false;
    if (IsConv(node, false)) {
      node.inputs[1] = AddConstant(node.inputs[1], TakeColumns, Inverse(at));
    } else if (IsConv(node, true) && !IsOutput(node.outputs[0])) {
      Reorder(node, Inverse(at));
      const ValueId out = node.outputs[0];
      node.outputs[0] = AddStored(out, ShapeOf(out)[1]);
      stored_[out] = ChannelsAt(node.outputs[0], at);
    } else {
      return false;
    }
    node.inputs[0] = source;
    return true;
  }

  /// Gives a convolution its outputs in another order.
  void Reorder(Node& conv, const std::vector<int64_t>& order) {
    for (size_t i = 1; i < conv.inputs.size(); ++i)
      if (conv.inputs[i] != kNoValue) conv.inputs[i] = AddConstant(conv.inputs[i], TakeRows, order);
  }

  /// Whoever else reads such channels gets them in their own order.
  void RestoreInputs(const Node& node) {
    for (const auto* list : {&node.inputs, &node.chain_inputs}) {
      for (const ValueId id : *list) {
        const auto known = stored_.find(id);
        if (known == stored_.end()) continue;
        Collect(known->second, id);
        stored_.erase(known);
      }
    }
  }

  ValueId AddConstant(ValueId like, Tensor (*take)(const Tensor&, const std::vector<int64_t>&),
                      const std::vector<int64_t>& order) {
    Value value = At(graph_, like);
    value.constant = std::make_shared<const Tensor>(take(*value.constant, order));
    return graph_.AddValue(std::move(value));
  }

  ValueId AddStored(ValueId like, int64_t channels) {
    const Shape& shape = ShapeOf(like);
    return AddLike(graph_, like, ".stored", {1, channels, shape[2], shape[3]});
  }

  void Emit(Node node) {
    for (const ValueId out : node.outputs)
      if (out != kNoValue) made_[out] = nodes_.size();
    nodes_.push_back(std::move(node));
  }

  Graph& graph_;
  std::vector<int> uses_;
  std::vector<std::vector<size_t>> readers_;
  std::vector<Node> nodes_;
  std::map<ValueId, size_t> made_;      // by which of nodes_
  std::map<ValueId, Channels> stored_;  // values that are not there as such, and their channels
};

}  // namespace

void LowerShuffles(Graph& graph) { ShuffleLowering(graph).Run(); }

}  // namespace deltacnn
