// Pictures that grow by repeating every pixel, as exporters without a Resize spell it: reshapes
// around a concatenation of a value with itself, an Expand or a Tile.
#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <utility>

#include "graph/lower.h"
#include "ops/move.h"
#include "ops/placement.h"

namespace deltacnn {
namespace {

/// Files may leave out an output that nobody reads.
bool HasOutput(const Node& node) { return node.outputs[0] != kNoValue; }

bool Repeats(const Node& node) { return node.op == "Expand" || node.op == "Tile"; }

/// Whether it changes nothing but, perhaps, the sign of a zero.
bool IsNeutral(const Graph& graph, const Node& node) {
  if (!HasOutput(node)) return false;
  if (KeepsOrder(node) || Repeats(node))
    return *At(graph, node.inputs[0]).shape == *At(graph, node.outputs[0]).shape;
  const bool sum = node.op == "Add" || node.op == "Sub";
  if ((!sum && node.op != "Mul" && node.op != "Div") || node.inputs.size() != 2) return false;
  const TensorPtr& constant = graph.Constant(node.inputs[1]);
  if (constant == nullptr || constant->dtype != DType::kFloat32) return false;
  return *At(graph, node.inputs[0]).shape == *At(graph, node.outputs[0]).shape &&
         std::ranges::all_of(constant->as<float>(),
                             [&](float value) { return value == (sum ? 0.0f : 1.0f); });
}

/// Readers of what such an operation gives read its first operand instead.
void SkipNeutral(Graph& graph) {
  std::vector<ValueId> same(graph.values.size());
  std::iota(same.begin(), same.end(), 0);
  for (Node& node : graph.nodes) {
    for (ValueId& input : node.inputs)
      if (input != kNoValue) input = same[static_cast<size_t>(input)];
    if (IsNeutral(graph, node)) same[static_cast<size_t>(node.outputs[0])] = node.inputs[0];
  }
}

void MakeTile(Node& node) {
  const bool concat = node.op == "Concat" && node.inputs.size() > 1;
  if (!concat || !std::ranges::all_of(node.inputs, [&](ValueId i) { return i == node.inputs[0]; }))
    return;
  node.op = "Tile";  // whose repeats are those of the shapes
  node.inputs.resize(1);
  node.attributes.clear();
}

/// By element of the last node's output, row-major, the element of the first one's input.
std::vector<int64_t> Sources(const Graph& graph, std::span<const Node* const> path) {
  std::vector<int64_t> source(
      static_cast<size_t>(ElementCount(*At(graph, path.front()->inputs[0]).shape)));
  std::iota(source.begin(), source.end(), int64_t{0});
  for (const Node* node : path) {
    if (KeepsOrder(*node)) continue;
    const IndexMap map = MakeIndexMap(graph, *node);
    const Shape& in = *At(graph, node->inputs[0]).shape;
    std::vector<std::vector<int64_t>> axis_offset;  // of every output axis, by index
    for (const std::vector<int64_t>& delta : map.delta) {
      std::vector<int64_t>& axis = axis_offset.emplace_back(delta.size() / in.size());
      for (size_t i = 0; i < axis.size(); ++i)
        for (size_t a = 0; a < in.size(); ++a) axis[i] = axis[i] * in[a] + delta[i * in.size() + a];
    }
    const Shape& out = *At(graph, node->outputs[0]).shape;
    std::vector<int64_t> offsets = SplitByLayout(out, /*pixel_axes=*/0, axis_offset).channel;
    for (int64_t& offset : offsets) offset = source[static_cast<size_t>(offset)];
    source = std::move(offsets);
  }
  return source;
}

/// How often a picture's rows and columns are repeated to make the other one; nothing else may
/// happen to it.
std::optional<std::array<int64_t, 2>> Growth(const Shape& in, const Shape& out) {
  if (in.size() != 4 || out.size() != 4 || in[0] != out[0] || in[1] != out[1]) return std::nullopt;
  if (ElementCount(in) == 0 || ElementCount(out) == 0 || out[2] % in[2] != 0 || out[3] % in[3] != 0)
    return std::nullopt;
  return std::array{out[2] / in[2], out[3] / in[3]};
}

bool RepeatsPixels(const Graph& graph, std::span<const Node* const> path,
                   const std::array<int64_t, 2>& times) {
  const Shape& out = *At(graph, path.back()->outputs[0]).shape;
  const std::vector<int64_t> source = Sources(graph, path);
  size_t i = 0;
  for (int64_t plane = 0; plane < out[0] * out[1]; ++plane) {
    for (int64_t y = 0; y < out[2]; ++y) {
      const int64_t row = (plane * (out[2] / times[0]) + y / times[0]) * (out[3] / times[1]);
      for (int64_t x = 0; x < out[3]; ++x, ++i)
        if (source[i] != row + x / times[1]) return false;
    }
  }
  return true;
}

}  // namespace

void LowerRepeats(Graph& graph) {
  constexpr int64_t kMostElements = int64_t{1} << 24;  // not worth longer proofs
  constexpr size_t kLongestPath = 12;
  SkipNeutral(graph);
  std::ranges::for_each(graph.nodes, MakeTile);
  const std::vector<int> producer = Producers(graph);
  for (Node& last : graph.nodes) {
    if (!HasOutput(last) || (!KeepsOrder(last) && !Repeats(last))) continue;
    const Shape& out = *At(graph, last.outputs[0]).shape;
    if (out.size() != 4 || ElementCount(out) > kMostElements) continue;
    std::vector<const Node*> path = {&last};  // from the last node back
    while (path.size() < kLongestPath) {
      const ValueId in = path.back()->inputs[0];
      const auto times = Growth(*At(graph, in).shape, out);
      const bool grows = std::ranges::any_of(path, [](const Node* node) { return Repeats(*node); });
      if (times && grows) {
        const std::vector<const Node*> forward(path.rbegin(), path.rend());
        if (!RepeatsPixels(graph, forward, *times)) break;
        last.op = "Upsample";
        last.inputs = {in};
        last.attributes = {{"scales", std::vector<float>{1, 1, static_cast<float>((*times)[0]),
                                                         static_cast<float>((*times)[1])}},
                           {"coordinate_transformation_mode", std::string("asymmetric")},
                           {"nearest_mode", std::string("floor")}};
        break;
      }
      const int before = producer[static_cast<size_t>(in)];
      if (before < 0) break;
      const Node& node = graph.nodes[static_cast<size_t>(before)];
      if (!Rearranges(node) && !Repeats(node)) break;
      path.push_back(&node);
    }
  }
}

}  // namespace deltacnn
