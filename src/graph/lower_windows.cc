// Windows that move over a picture: padding becomes their own, large maxima those of smaller ones.
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "graph/lower.h"
#include "ops/conv_window.h"

namespace deltacnn {
namespace {

/// How much a Pad that surrounds pictures with zeros adds along the spatial axes: before all, then
/// after all, as `pads` of a window has them.
std::optional<std::vector<int64_t>> ZerosAround(const Graph& graph, const Node& pad) {
  if (pad.op != "Pad" || pad.String("mode", "constant") != "constant" ||
      pad.Float("value", 0.0f) != 0.0f || pad.Input(3) != kNoValue)
    return std::nullopt;
  if (const ValueId fill = pad.Input(2); fill != kNoValue) {
    const TensorPtr& value = graph.Constant(fill);
    if (value == nullptr || value->dtype != DType::kFloat32 || value->as<float>()[0] != 0.0f)
      return std::nullopt;
  }
  std::vector<int64_t> amounts = pad.Ints("pads");
  if (const ValueId id = pad.Input(1); id != kNoValue) {
    if (graph.Constant(id) == nullptr) return std::nullopt;
    amounts = IntsOf(*graph.Constant(id));
  }
  const size_t rank = At(graph, pad.inputs[0]).shape->size();
  if (amounts.size() != 2 * rank || rank < 3) return std::nullopt;
  const bool spatial_only = amounts[0] == 0 && amounts[1] == 0 && amounts[rank] == 0 &&
                            amounts[rank + 1] == 0 &&
                            std::ranges::all_of(amounts, [](int64_t p) { return p >= 0; });
  if (!spatial_only) return std::nullopt;
  amounts.erase(amounts.begin() + static_cast<ptrdiff_t>(rank),
                amounts.begin() + static_cast<ptrdiff_t>(rank) + 2);
  amounts.erase(amounts.begin(), amounts.begin() + 2);
  return amounts;
}

/// Whether zeros around the input of a node can be padding of its own, `pads` with what it has.
bool TakesZeros(const Node& node, const std::vector<int64_t>& pads) {
  if (node.op == "Conv")
    return std::ranges::all_of(pads, [](int64_t p) { return p <= kMostOfWindow; });
  // The zeros count in its means, what it pads itself must do so, too.
  const bool padded = std::ranges::any_of(node.Ints("pads"), [](int64_t p) { return p != 0; });
  const std::vector<int64_t> kernel = node.Ints("kernel_shape");
  if (node.op != "AveragePool" || (padded && node.Int("count_include_pad", 0) == 0) ||
      node.Int("ceil_mode", 0) != 0 || 2 * kernel.size() != pads.size())
    return false;
  for (size_t i = 0; i < pads.size(); ++i)
    if (pads[i] >= kernel[i % kernel.size()]) return false;
  return true;
}

/// Some of a kernel's taps along an axis: from `begin` on, before `end`.
struct Taps {
  int64_t begin, end;
};

/// Those between the outermost that read pixels of the input for some output. What is left out must
/// leave pads that are none below zero.
Taps LivingTaps(const ConvWindow& window, size_t axis, int64_t inputs, int64_t outputs) {
  const int64_t dilation = window.dilation[axis];
  const int64_t before = window.pad_before[axis];
  const int64_t farthest = (outputs - 1) * window.stride[axis] - before;  // start of a window
  Taps taps{0, window.kernel[axis]};
  while (taps.end - taps.begin > 1 && farthest + taps.begin * dilation < 0 &&
         before >= (taps.begin + 1) * dilation)
    ++taps.begin;
  while (taps.end - taps.begin > 1 && (taps.end - 1) * dilation - before >= inputs &&
         window.pad_after[axis] >= (window.kernel[axis] - taps.end + 1) * dilation)
    --taps.end;
  return taps;
}

/// The weights [O,C,H,W] of some rows and columns.
Tensor SomeTaps(const Tensor& weights, const Taps& rows, const Taps& cols) {
  const Shape& shape = weights.shape;
  Tensor some(DType::kFloat32, {shape[0], shape[1], rows.end - rows.begin, cols.end - cols.begin});
  auto to = some.as<float>().begin();
  for (int64_t kernel = 0; kernel < shape[0] * shape[1]; ++kernel) {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const int64_t first = (kernel * shape[2] + row) * shape[3] + cols.begin;
      to = std::copy_n(weights.as<float>().begin() + first, cols.end - cols.begin, to);
    }
  }
  return some;
}

using Size = std::array<int64_t, 2>;

/// The window of a MaxPool that stands around every pixel of its input: odd, padded by half.
std::optional<Size> CentredWindow(const Graph& graph, const Node& node) {
  const auto window = MaxPoolWindow(graph, node);
  if (!window) return std::nullopt;
  for (size_t a = 0; a < 2; ++a) {
    const int64_t half = window->kernel[a] / 2;
    if (window->kernel[a] % 2 == 0 || window->stride[a] != 1 || window->dilation[a] != 1 ||
        window->pad_before[a] != half || window->pad_after[a] != half)
      return std::nullopt;
  }
  return window->kernel;
}

struct Pool {
  Node node;
  Size size;
};

/// Each pool of one input reads the next smaller one.
void Cascade(std::vector<Pool>& pools) {
  std::ranges::stable_sort(pools, {}, &Pool::size);
  for (size_t i = pools.size(); i-- > 1;) {
    const Pool& smaller = pools[i - 1];
    Pool& pool = pools[i];
    const Size half = {(pool.size[0] - smaller.size[0]) / 2, (pool.size[1] - smaller.size[1]) / 2};
    if (half[1] < 0 || half[0] + half[1] == 0) continue;  // not within; the same
    pool.node.inputs[0] = smaller.node.outputs[0];
    pool.node.attributes.erase("auto_pad");
    pool.node.attributes["kernel_shape"] = std::vector<int64_t>{2 * half[0] + 1, 2 * half[1] + 1};
    pool.node.attributes["pads"] = std::vector<int64_t>{half[0], half[1], half[0], half[1]};
  }
}

}  // namespace

std::optional<ConvWindow> MaxPoolWindow(const Graph& graph, const Node& node) {
  if (node.op != "MaxPool" || node.outputs.size() != 1) return std::nullopt;
  const Shape& shape = *At(graph, node.inputs[0]).shape;
  Shape kernel = node.Ints("kernel_shape");
  if (shape.size() != 4 || kernel.size() != 2) return std::nullopt;
  kernel.insert(kernel.begin(), 2, 1);
  Result<ConvWindow> window = ReadConvWindow(node, shape, kernel);
  if (!window.ok()) return std::nullopt;
  ResolveSamePads(node, shape, *window);
  return *window;
}

void FoldPads(Graph& graph) {
  const std::vector<int> producer = Producers(graph);
  for (Node& node : graph.nodes) {
    if (node.inputs.empty() || node.inputs[0] == kNoValue) continue;
    const int before = producer[static_cast<size_t>(node.inputs[0])];
    const std::string auto_pad = node.String("auto_pad", "NOTSET");
    if (before < 0 || (auto_pad != "NOTSET" && auto_pad != "VALID")) continue;
    const Node& pad = graph.nodes[static_cast<size_t>(before)];
    auto pads = ZerosAround(graph, pad);
    if (!pads) continue;
    std::vector<int64_t> own = node.Ints("pads");
    own.resize(pads->size(), 0);
    for (size_t i = 0; i < pads->size() && auto_pad != "VALID"; ++i) (*pads)[i] += own[i];
    if (!TakesZeros(node, *pads)) continue;
    node.attributes["pads"] = std::move(*pads);
    node.attributes["auto_pad"] = std::string("NOTSET");
    if (node.op == "AveragePool") node.attributes["count_include_pad"] = int64_t{1};
    node.inputs[0] = pad.inputs[0];
  }
  RemoveDeadNodes(graph);
}

void TrimTaps(Graph& graph) {
  for (Node& conv : graph.nodes) {
    if (conv.op != "Conv") continue;
    const TensorPtr weights = graph.Constant(conv.inputs[1]);
    const Shape& in = *At(graph, conv.inputs[0]).shape;
    if (weights == nullptr || weights->dtype != DType::kFloat32 || in.size() != 4) continue;
    const auto window = WindowOf(conv, in, weights->shape);
    if (!window.ok()) continue;
    const auto outputs = window->Outputs(in);
    const Taps rows = LivingTaps(*window, 0, in[2], outputs[0]);
    const Taps cols = LivingTaps(*window, 1, in[3], outputs[1]);
    const Size left = {rows.end - rows.begin, cols.end - cols.begin};
    if (left == window->kernel) continue;
    const auto pad = [&](size_t axis, int64_t given, int64_t taps) {
      return given - taps * window->dilation[axis];
    };
    conv.attributes["pads"] = std::vector<int64_t>{
        pad(0, window->pad_before[0], rows.begin), pad(1, window->pad_before[1], cols.begin),
        pad(0, window->pad_after[0], window->kernel[0] - rows.end),
        pad(1, window->pad_after[1], window->kernel[1] - cols.end)};
    conv.attributes["auto_pad"] = std::string("NOTSET");
    conv.attributes["kernel_shape"] = std::vector<int64_t>{left[0], left[1]};
    Value some = At(graph, conv.inputs[1]);
    some.constant = std::make_shared<const Tensor>(SomeTaps(*weights, rows, cols));
    some.shape = some.constant->shape;
    conv.inputs[1] = graph.AddValue(std::move(some));
  }
}

void CascadePools(Graph& graph) {
  std::map<ValueId, std::vector<Pool>> pools;  // by input
  for (const Node& node : graph.nodes) {
    if (const auto size = CentredWindow(graph, node))
      pools[node.inputs[0]].push_back({node, *size});
  }
  std::ranges::for_each(pools, [](auto& entry) { Cascade(entry.second); });
  // All of one input where the first of them was.
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    if (!CentredWindow(graph, node)) {
      nodes.push_back(std::move(node));
      continue;
    }
    std::vector<Pool>& siblings = pools[node.inputs[0]];
    for (Pool& pool : siblings) nodes.push_back(std::move(pool.node));
    siblings.clear();
  }
  graph.nodes = std::move(nodes);
}

}  // namespace deltacnn
