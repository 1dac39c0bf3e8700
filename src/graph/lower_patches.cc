// A convolution of a picture whose 2x2 patches were made channels ("Focus", SpaceToDepth) is a
// convolution of the picture itself with a window and a stride twice as large: the same products,
// without the copies.
#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "graph/lower.h"
#include "ops/conv_window.h"
#include "ops/move.h"

namespace deltacnn {
namespace {

/// Every step[a]-th row (a = 0) or column of [N,C,H,W] from start[a] on.
struct Sample {
  ValueId source;
  std::array<int64_t, 2> start{0, 0};
  std::array<int64_t, 2> step{1, 1};
};

/// What a value samples, through any number of slices that leave batch and channels alone.
Sample SampleOf(const Graph& graph, const std::vector<int>& producer, ValueId id) {
  Sample sample{.source = id};
  while (producer[static_cast<size_t>(sample.source)] >= 0) {
    const Node& node =
        graph.nodes[static_cast<size_t>(producer[static_cast<size_t>(sample.source)])];
    if (node.op != "Slice" || !HasConstantArguments(graph, node)) break;
    const Shape& in = *At(graph, node.inputs[0]).shape;
    const Shape& out = *At(graph, node.outputs[0]).shape;
    if (in.size() != 4 || in[0] != out[0] || in[1] != out[1] || out[2] * out[3] == 0) break;
    const IndexMap map = MakeIndexMap(graph, node);
    for (size_t a = 0; a < 2; ++a) {
      const auto [start, step] = StartAndStep(map, a + 2);
      sample.start[a] = start + step * sample.start[a];
      sample.step[a] *= step;
    }
    sample.source = node.inputs[0];
  }
  return sample;
}

/// The four patches' places that `node` makes channels, in the order of its output, and of what.
struct Patches {
  ValueId source;
  std::vector<std::array<int64_t, 2>> place;  // row and column within a patch
};

std::optional<Patches> PatchesOf(const Graph& graph, const std::vector<int>& producer,
                                 const Node& node) {
  if (node.op == "SpaceToDepth" && node.Int("blocksize", 0) == 2)
    return Patches{node.inputs[0], {{0, 0}, {0, 1}, {1, 0}, {1, 1}}};
  if (node.op != "Concat" || node.inputs.size() != 4) return std::nullopt;
  const Shape& out = *At(graph, node.outputs[0]).shape;
  const int64_t axis = node.Int("axis", 0);
  if (out.size() != 4 || (axis != 1 && axis != -3)) return std::nullopt;
  Patches patches{.source = kNoValue, .place = {}};
  for (const ValueId id : node.inputs) {
    const Sample sample = SampleOf(graph, producer, id);
    if (patches.source == kNoValue) patches.source = sample.source;
    const bool fits = sample.source == patches.source &&
                      sample.step == std::array<int64_t, 2>{2, 2} && sample.start[0] >= 0 &&
                      sample.start[0] < 2 && sample.start[1] >= 0 && sample.start[1] < 2;
    if (!fits || std::ranges::count(patches.place, sample.start) > 0) return std::nullopt;
    patches.place.push_back(sample.start);
  }
  const Shape& in = *At(graph, patches.source).shape;
  if (in[2] != 2 * out[2] || in[3] != 2 * out[3] || out[1] != 4 * in[1]) return std::nullopt;
  return patches;
}

/// The weights of a window over patches as those of a window over their pixels.
TensorPtr WidenWeights(const Tensor& weights, const Patches& patches) {
  const Shape& shape = weights.shape;
  const int64_t channels = shape[1] / 4;
  Tensor wide(DType::kFloat32, {shape[0], channels, 2 * shape[2], 2 * shape[3]});
  const auto from = weights.as<float>();
  const auto to = wide.as<float>();
  size_t i = 0;
  for (int64_t o = 0; o < shape[0]; ++o) {
    for (int64_t k = 0; k < shape[1]; ++k) {
      const auto [row, col] = patches.place[static_cast<size_t>(k / channels)];
      for (int64_t y = 0; y < shape[2]; ++y) {
        for (int64_t x = 0; x < shape[3]; ++x) {
          const int64_t line = (o * channels + k % channels) * 2 * shape[2] + 2 * y + row;
          to[static_cast<size_t>(line * 2 * shape[3] + 2 * x + col)] = from[i++];
        }
      }
    }
  }
  return std::make_shared<const Tensor>(std::move(wide));
}

}  // namespace

void FoldPatches(Graph& graph) {
  const std::vector<int> producer = Producers(graph);
  const std::vector<int> uses = CountUses(graph);
  for (Node& conv : graph.nodes) {
    if (conv.op != "Conv" || conv.Int("group", 1) != 1) continue;
    const ValueId x = conv.inputs[0];
    const TensorPtr weights = graph.Constant(conv.inputs[1]);
    const std::string auto_pad = conv.String("auto_pad", "NOTSET");
    const std::vector<int64_t> dilations = conv.Ints("dilations");
    const bool dilated = std::ranges::any_of(dilations, [](int64_t d) { return d != 1; });
    if (producer[static_cast<size_t>(x)] < 0 || uses[static_cast<size_t>(x)] != 1 || dilated ||
        weights == nullptr || weights->dtype != DType::kFloat32 || weights->shape.size() != 4 ||
        (auto_pad != "NOTSET" && auto_pad != "VALID")) {
      continue;
    }
    const Node& maker = graph.nodes[static_cast<size_t>(producer[static_cast<size_t>(x)])];
    const auto patches = PatchesOf(graph, producer, maker);
    if (!patches) continue;
    Node folded = conv;
    const auto twice = [&](const char* key, std::vector<int64_t> fallback) {
      std::vector<int64_t> values = conv.Ints(key);
      if (values.empty()) values = std::move(fallback);
      for (int64_t& value : values) value *= 2;
      folded.attributes[key] = std::move(values);
    };
    twice("strides", {1, 1});
    twice("pads", {0, 0, 0, 0});
    Value wide = At(graph, conv.inputs[1]);
    wide.constant = WidenWeights(*weights, *patches);
    wide.shape = wide.constant->shape;
    folded.attributes["kernel_shape"] = std::vector<int64_t>{(*wide.shape)[2], (*wide.shape)[3]};
    // Twice an extreme stride or pad may be out of range.
    if (!ReadConvWindow(folded, *At(graph, patches->source).shape, *wide.shape).ok()) continue;
    folded.inputs[0] = patches->source;
    folded.inputs[1] = graph.AddValue(std::move(wide));
    conv = std::move(folded);
  }
  RemoveDeadNodes(graph);
}

}  // namespace deltacnn
