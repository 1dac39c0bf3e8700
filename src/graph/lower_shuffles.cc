// Channel shuffles (ShuffleNet V2, Ma et al. 2018): a unit concatenates the channels it passes on
// with those it computed, deals them out anew (Reshape, Transpose, Reshape) and splits them into
// the channels that the next unit passes on and those that it computes from.
//
// Instead of moving all of them, the concatenation stores them as they will be split: passed and
// computed ones of the first part, then computed and passed ones of the second. The computed ones
// are adjacent, so that the convolution before writes them there, in that order; both parts are
// slices; a convolution behind takes the order of its channels into its weights. What remains is to
// copy the channels that are passed on.
#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "graph/lower.h"
#include "ops/concat.h"
#include "ops/move.h"

namespace deltacnn {
namespace {

/// Channel k of a value is channel at[k] of `source`.
struct Channels {
  ValueId value = kNoValue;
  ValueId source = kNoValue;
  std::vector<int64_t> at;

  bool Adjacent() const {
    for (size_t k = 0; k < at.size(); ++k)
      if (at[k] != at[0] + static_cast<int64_t>(k)) return false;
    return true;
  }
};

/// What is read of a value behind moves, and these moves.
struct Deal {
  std::vector<size_t> moves;
  std::vector<Channels> parts;
};

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
bool DealsOutAll(const std::vector<Channels>& parts, int64_t count) {
  std::vector<int64_t> all;
  for (const Channels& part : parts) all.insert(all.end(), part.at.begin(), part.at.end());
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
    const bool free = std::ranges::all_of(deal.parts, &Channels::Adjacent);  // slices
    if (deal.parts.empty() || deal.parts.size() > 2 || free ||
        !DealsOutAll(deal.parts, ShapeOf(whole)[1]))
      return std::nullopt;
    if (deal.parts.size() == 2 && Computed(node) < 0) return std::nullopt;
    return deal;
  }

  /// Adds to `deal` the moves behind `id`, to which `path` leads from `whole`, and what others read
  /// there; false if that is anything but channels.
  bool Follow(ValueId whole, ValueId id, std::vector<IndexMap>& path, Deal& deal) const {
    if (IsOutput(id)) return false;
    bool read = false;
    for (const size_t n : readers_[static_cast<size_t>(id)]) {
      const Node& node = graph_.nodes[n];
      const bool moves = KeepsOrder(node) || node.op == "Transpose" || node.op == "Slice";
      const bool fixed = std::ranges::all_of(std::span(node.inputs).subspan(1), [&](ValueId v) {
        return v == kNoValue || graph_.Constant(v) != nullptr;
      });
      if (!moves || !fixed || node.inputs[0] != id) {
        read = true;
        continue;
      }
      path.push_back(MakeIndexMap(graph_, node));
      deal.moves.push_back(n);
      if (path.back().flat || !Follow(whole, node.outputs[0], path, deal)) return false;
      path.pop_back();
    }
    if (!read) return true;
    auto channels = ChannelsOf(whole, id, path);
    if (!channels) return false;
    deal.parts.push_back(std::move(*channels));
    return true;
  }

  /// The channels of `whole` that `id` consists of, all pixels where they were.
  std::optional<Channels> ChannelsOf(ValueId whole, ValueId id,
                                     const std::vector<IndexMap>& path) const {
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
    Channels channels{.value = id, .source = whole, .at = {}};
    for (int64_t k = 0; k < shape[1]; ++k) {
      channels.at.push_back(source({0, k, 0, 0})[1]);
      for (const auto& [y, x] : {std::pair{int64_t{0}, int64_t{0}}, {shape[2] - 1, shape[3] - 1}})
        if (source({0, k, y, x}) != Shape{0, channels.at.back(), y, x}) return std::nullopt;
    }
    // Axes are split into digits and these dealt out: one channel tells for all.
    for (int64_t y = 0; y < shape[2]; ++y)
      for (int64_t x = 0; x < shape[3]; ++x)
        if (source({0, 0, y, x}) != Shape{0, channels.at[0], y, x}) return std::nullopt;
    return channels;
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

  /// Adds the concatenation of what is dealt out, in the order in which it will be split.
  void Store(Node concat, const Deal& deal) {
    const ValueId whole = concat.outputs[0];
    if (deal.parts.size() == 1) {
      RestoreInputs(concat);
      Emit(std::move(concat));
      stored_[deal.parts[0].value] = deal.parts[0];
      return;
    }
    const auto computed = static_cast<size_t>(Computed(concat));
    const ValueId conv = concat.inputs[computed];
    const ValueId passed = concat.inputs[1 - computed];
    const int64_t split = ShapeOf(concat.inputs[0])[1];
    std::array<std::vector<int64_t>, 2> pass, made;  // of each part, in its order
    std::array<std::vector<int64_t>, 2> place;       // where the part's channels are stored
    for (size_t p = 0; p < 2; ++p) {
      for (const int64_t at : deal.parts[p].at) {
        const size_t input = at < split ? 0 : 1;
        std::vector<int64_t>& list = input == computed ? made[p] : pass[p];
        place[p].push_back(static_cast<int64_t>(list.size()) + (input == computed ? 0 : kPassed));
        list.push_back(input == 0 ? at : at - split);
      }
      // The first part begins with what is passed on, the second one ends with it.
      const auto before = static_cast<int64_t>(p == 0 ? pass[p].size() : made[p].size());
      for (int64_t& at : place[p]) {
        const bool is_passed = at >= kPassed;
        at += (is_passed ? -kPassed : 0) + (is_passed == (p == 0) ? 0 : before);
      }
    }
    std::vector<int64_t> order = made[0];
    order.insert(order.end(), made[1].begin(), made[1].end());
    Reorder(nodes_[made_.at(conv)], order);

    const auto known = stored_.find(passed);
    const Channels from = known == stored_.end() ? Whole(passed) : known->second;
    concat.inputs.clear();
    AddSelection(concat, from, pass[0]);
    concat.inputs.push_back(conv);
    AddSelection(concat, from, pass[1]);
    Emit(std::move(concat));

    int64_t start = 0;
    for (size_t p = 0; p < 2; ++p) {
      Channels part{.value = deal.parts[p].value, .source = kNoValue, .at = place[p]};
      const auto count = static_cast<int64_t>(place[p].size());
      const bool in_order = part.Adjacent();
      part.source = in_order ? part.value : AddLike(part.value, count);
      Node slice;
      slice.op = "Slice";
      slice.name = At(graph_, part.source).name;
      slice.inputs = {whole};
      slice.outputs = {part.source};
      slice.attributes["axes"] = std::vector<int64_t>{1};
      slice.attributes["starts"] = std::vector<int64_t>{start};
      slice.attributes["ends"] = std::vector<int64_t>{start + count};
      Emit(std::move(slice));
      if (!in_order) stored_[part.value] = std::move(part);
      start += count;
    }
  }

  Channels Whole(ValueId id) const {
    Channels all{.value = id, .source = id, .at = {}};
    all.at.resize(static_cast<size_t>(ShapeOf(id)[1]));
    std::iota(all.at.begin(), all.at.end(), 0);
    return all;
  }

  /// Adds a copy of some channels of a value to the inputs of a concatenation.
  void AddSelection(Node& concat, const Channels& from, const std::vector<int64_t>& wanted) {
    if (wanted.empty()) return;
    std::vector<int64_t> channels;
    for (const int64_t k : wanted) channels.push_back(from.at[static_cast<size_t>(k)]);
    concat.inputs.push_back(AddLike(from.source, static_cast<int64_t>(channels.size())));
    EmitSelection(from.source, std::move(channels), concat.inputs.back());
  }

  void EmitSelection(ValueId from, std::vector<int64_t> channels, ValueId to) {
    Node select;
    select.op = "SelectChannels";
    select.name = At(graph_, to).name;
    select.inputs = {from};
    select.outputs = {to};
    select.attributes["channels"] = std::move(channels);
    Emit(std::move(select));
  }

  /// A convolution of channels that are stored in another order takes it into its weights.
  bool Absorb(Node& node) {
    if (node.inputs.empty() || node.op != "Conv" || !node.chain_inputs.empty()) return false;
    const auto known = stored_.find(node.inputs[0]);
    if (known == stored_.end()) return false;
    const Channels& channels = known->second;
    if (IsConv(node, false)) {
      node.inputs[1] = AddConstant(node.inputs[1], TakeColumns, Inverse(channels.at));
    } else if (IsConv(node, true) && !IsOutput(node.outputs[0])) {
      Reorder(node, Inverse(channels.at));
      const ValueId out = node.outputs[0];
      node.outputs[0] = AddLike(out, ShapeOf(out)[1]);
      stored_[out] = {.value = out, .source = node.outputs[0], .at = channels.at};
    } else {
      return false;
    }
    node.inputs[0] = channels.source;
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
        EmitSelection(known->second.source, known->second.at, id);
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

  ValueId AddLike(ValueId like, int64_t channels) {
    Value value = At(graph_, like);
    value.name += ".stored";
    value.shape = Shape{1, channels, ShapeOf(like)[2], ShapeOf(like)[3]};
    return graph_.AddValue(std::move(value));
  }

  void Emit(Node node) {
    for (const ValueId out : node.outputs)
      if (out != kNoValue) made_[out] = nodes_.size();
    nodes_.push_back(std::move(node));
  }

  static constexpr int64_t kPassed = int64_t{1} << 40;  // beyond any channel

  Graph& graph_;
  std::vector<int> uses_;
  std::vector<std::vector<size_t>> readers_;
  std::vector<Node> nodes_;
  std::map<ValueId, size_t> made_;      // by which of nodes_
  std::map<ValueId, Channels> stored_;  // values that are there in another order only
};

}  // namespace

void LowerShuffles(Graph& graph) { ShuffleLowering(graph).Run(); }

}  // namespace deltacnn
