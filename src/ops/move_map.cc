#include <algorithm>
#include <numeric>

#include "ops/move.h"
#include "ops/placement.h"

namespace deltacnn {
namespace {

const Shape& ShapeOf(const Graph& graph, ValueId id) {
  return *graph.values[static_cast<size_t>(id)].shape;
}

/// A map in which output axis b follows input axis `axes[b]` (-1: none) by `index(b, i)`.
template <class Index>
IndexMap AxisWise(size_t input_rank, const Shape& out, const std::vector<int>& axes,
                  Index&& index) {
  IndexMap map;
  map.input_rank = input_rank;
  for (size_t b = 0; b < out.size(); ++b) {
    const auto n = static_cast<size_t>(out[b]);
    map.delta.emplace_back(n * input_rank, 0);
    map.fill.emplace_back(n, false);
    if (axes[b] < 0) continue;
    for (size_t i = 0; i < n; ++i) {
      const int64_t source = index(b, static_cast<int64_t>(i));
      if (source < 0) {
        map.fill[b][i] = true;
      } else {
        map.delta[b][i * input_rank + static_cast<size_t>(axes[b])] = source;
      }
    }
  }
  return map;
}

std::vector<int> SameAxes(size_t rank) {
  std::vector<int> axes(rank);
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

IndexMap ReshapeMap(const Shape& in, const Shape& out) {
  // The dimensions of both sides are split into their common factors, outermost first.
  struct Factor {
    int64_t size;
    size_t in_axis, out_axis;
  };
  std::vector<Factor> factors;
  IndexMap map;
  map.input_rank = in.size();
  size_t i = 0;
  size_t j = 0;
  int64_t a = 1;
  int64_t b = 1;
  while (true) {
    while (a == 1 && i < in.size()) a = in[i++];
    while (b == 1 && j < out.size()) b = out[j++];
    if (a <= 1 || b <= 1) break;  // used up, or an empty tensor
    const int64_t size = std::min(a, b);
    if (a % size != 0 || b % size != 0) {
      map.flat = true;
      break;
    }
    factors.push_back({size, i - 1, j - 1});
    a /= size;
    b /= size;
  }
  for (const int64_t dim : out) {
    map.delta.emplace_back(static_cast<size_t>(dim) * in.size(), 0);
    map.fill.emplace_back(static_cast<size_t>(dim), false);
  }
  if (map.flat) return map;
  for (size_t f = 0; f < factors.size(); ++f) {
    int64_t in_weight = 1;   // of this factor's digit within its input index ...
    int64_t out_weight = 1;  // ... and its output index
    for (size_t g = f + 1; g < factors.size(); ++g) {
      if (factors[g].in_axis == factors[f].in_axis) in_weight *= factors[g].size;
      if (factors[g].out_axis == factors[f].out_axis) out_weight *= factors[g].size;
    }
    auto& delta = map.delta[factors[f].out_axis];
    const int64_t n = out[factors[f].out_axis];
    for (int64_t k = 0; k < n; ++k) {
      delta[static_cast<size_t>(k) * in.size() + factors[f].in_axis] +=
          k / out_weight % factors[f].size * in_weight;
    }
  }
  return map;
}

IndexMap TransposeMap(const Node& node, const Shape& in, const Shape& out) {
  std::vector<int64_t> perm = node.Ints("perm");
  if (perm.empty()) {
    perm.resize(in.size());
    std::iota(perm.rbegin(), perm.rend(), 0);
  }
  const std::vector<int> axes(perm.begin(), perm.end());
  return AxisWise(in.size(), out, axes, [](size_t, int64_t i) { return i; });
}

/// The k-th integer argument: an attribute in old opsets, a constant input in new ones.
std::vector<int64_t> IntsArgument(const Graph& graph, const Node& node, size_t input,
                                  const char* attribute) {
  const ValueId id = node.Input(input);
  if (id == kNoValue) return node.Ints(attribute);
  const TensorPtr& constant = graph.Constant(id);
  return constant == nullptr ? std::vector<int64_t>{} : IntsOf(*constant);
}

IndexMap SliceMap(const Graph& graph, const Node& node, const Shape& in, const Shape& out) {
  const std::vector<int64_t> starts = IntsArgument(graph, node, 1, "starts");
  std::vector<int64_t> axes = IntsArgument(graph, node, 3, "axes");
  const std::vector<int64_t> steps = IntsArgument(graph, node, 4, "steps");
  if (axes.empty()) {
    axes.resize(starts.size());
    std::iota(axes.begin(), axes.end(), 0);
  }
  std::vector<int64_t> start(in.size(), 0);
  std::vector<int64_t> step(in.size(), 1);
  for (size_t k = 0; k < axes.size(); ++k) {
    const size_t axis = FromFront(axes[k], in.size());
    step[axis] = steps.empty() ? 1 : steps[k];
    start[axis] = SliceStart(starts[k], step[axis], in[axis]);
  }
  return AxisWise(in.size(), out, SameAxes(in.size()),
                  [&](size_t b, int64_t i) { return start[b] + i * step[b]; });
}

IndexMap PadMap(const Graph& graph, const Node& node, const Shape& in, const Shape& out) {
  const std::vector<int64_t> pads = IntsArgument(graph, node, 1, "pads");
  std::vector<int64_t> axes = IntsArgument(graph, node, 3, "axes");
  const std::string mode = node.String("mode", "constant");
  if (axes.empty()) {
    axes.resize(in.size());
    std::iota(axes.begin(), axes.end(), 0);
  }
  std::vector<int64_t> before(in.size(), 0);
  for (size_t k = 0; k < axes.size(); ++k) {
    const size_t axis = FromFront(axes[k], in.size());
    before[axis] = pads[k];
  }
  return AxisWise(in.size(), out, SameAxes(in.size()), [&](size_t b, int64_t i) -> int64_t {
    const int64_t n = in[b];
    const int64_t at = i - before[b];
    if (at >= 0 && at < n) return at;
    if (mode == "edge") return std::clamp<int64_t>(at, 0, n - 1);
    if (mode == "wrap") return (at % n + n) % n;
    if (mode != "reflect") return -1;
    if (n == 1) return 0;
    const int64_t period = 2 * (n - 1);
    const int64_t phase = (at % period + period) % period;
    return phase < n ? phase : period - phase;
  });
}

IndexMap RepeatMap(const Shape& in, const Shape& out) {  // Expand and Tile
  std::vector<int> axes(out.size(), -1);
  const size_t extra = out.size() - in.size();
  for (size_t a = 0; a < in.size(); ++a) axes[a + extra] = static_cast<int>(a);
  return AxisWise(in.size(), out, axes, [&](size_t b, int64_t i) { return i % in[b - extra]; });
}

IndexMap BlockMap(const Node& node, const Shape& in, const Shape& out) {
  const bool to_space = node.op == "DepthToSpace";
  const bool crd = node.String("mode", "DCR") == "CRD";
  const int64_t block = node.Int("blocksize", 1);
  IndexMap map = AxisWise(4, out, {0, 1, 2, 3}, [](size_t, int64_t) { return 0; });
  const auto at = [&](size_t b, int64_t i, size_t a) -> int64_t& {
    return map.delta[b][static_cast<size_t>(i) * 4 + a];
  };
  for (int64_t i = 0; i < out[0]; ++i) at(0, i, 0) = i;
  if (to_space) {
    // Output (c, y, x) reads channel c + (y % block, x % block) * depth (DCR), or the transpose
    // (CRD).
    const int64_t depth = in[1] / (block * block);
    for (int64_t c = 0; c < out[1]; ++c) at(1, c, 1) = crd ? c * block * block : c;
    for (size_t d = 2; d < 4; ++d) {
      const int64_t weight = (d == 2 ? block : 1) * (crd ? 1 : depth);
      for (int64_t i = 0; i < out[d]; ++i) {
        at(d, i, d) = i / block;
        at(d, i, 1) = i % block * weight;
      }
    }
  } else {
    for (int64_t c = 0; c < out[1]; ++c) {
      const int64_t place = crd ? c % (block * block) : c / in[1];  // within the block
      at(1, c, 1) = crd ? c / (block * block) : c % in[1];
      at(1, c, 2) = place / block;
      at(1, c, 3) = place % block;
    }
    for (size_t d = 2; d < 4; ++d)
      for (int64_t i = 0; i < out[d]; ++i) at(d, i, d) = i * block;
  }
  return map;
}

}  // namespace

int64_t SliceStart(int64_t start, int64_t step, int64_t dim) {
  if (start < 0) start += dim;
  return std::min(std::max<int64_t>(start, 0), step > 0 ? dim : dim - 1);
}

IndexMap MakeIndexMap(const Graph& graph, const Node& node) {
  const Shape& in = ShapeOf(graph, node.inputs[0]);
  const Shape& out = ShapeOf(graph, node.outputs[0]);
  if (node.op == "Transpose") return TransposeMap(node, in, out);
  if (node.op == "Slice") return SliceMap(graph, node, in, out);
  if (node.op == "Pad") return PadMap(graph, node, in, out);
  if (node.op == "Expand" || node.op == "Tile") return RepeatMap(in, out);
  if (node.op == "DepthToSpace" || node.op == "SpaceToDepth") return BlockMap(node, in, out);
  return ReshapeMap(in, out);
}

std::optional<Placement> AliasPlacement(const IndexMap& map, const Placement& in,
                                        const Placement& out) {
  Placement alias = out;
  alias.buffer = in.buffer;
  const int64_t start = in.row_offset.empty() ? 0 : in.row_offset[0];
  if (map.flat) {
    if (in.grid.pixels() != 1 || out.pixel_axes != 0) return std::nullopt;
    alias.strides.assign(out.shape.size(), 1);
    for (size_t a = out.shape.size(); a-- > 1;)
      alias.strides[a - 1] = alias.strides[a] * out.shape[a];
    CompletePlacement(alias, start);
    return alias;
  }
  int64_t base = 0;
  alias.strides.assign(out.shape.size(), 0);
  for (size_t b = 0; b < out.shape.size(); ++b) {
    const auto offset = [&](int64_t i) {
      int64_t sum = 0;
      for (size_t a = 0; a < map.input_rank; ++a)
        sum += map.delta[b][static_cast<size_t>(i) * map.input_rank + a] * in.strides[a];
      return sum;
    };
    if (std::ranges::find(map.fill[b], true) != map.fill[b].end()) return std::nullopt;
    if (out.shape[b] == 0) return std::nullopt;
    base += offset(0);
    if (out.shape[b] > 1) alias.strides[b] = offset(1) - offset(0);
    if (alias.strides[b] < 0) return std::nullopt;
    for (int64_t i = 1; i < out.shape[b]; ++i)
      if (offset(i) != offset(0) + i * alias.strides[b]) return std::nullopt;
  }
  int64_t expected = 1;  // the channel axes must be one contiguous stretch
  for (size_t b = out.shape.size(); b-- > 0;) {
    if (HasAxis(out.pixel_axes, b)) continue;
    if (out.shape[b] == 1) {
      alias.strides[b] = expected;
    } else if (alias.strides[b] != expected) {
      return std::nullopt;
    }
    expected *= out.shape[b];
  }
  CompletePlacement(alias, start + base);
  return alias;
}

bool SamePixels(const IndexMap& map, const Placement& in, const Placement& out) {
  if (in.grid != out.grid) return false;
  if (in.grid.pixels() == 1) return true;
  if (map.flat) return false;
  // Bit positions as a function of the output index must be the identity.
  std::vector<int64_t> weight(map.input_rank, 0);
  int64_t rows = 1;
  bool last = true;
  for (size_t a = map.input_rank; a-- > 0;) {
    if (!HasAxis(in.pixel_axes, a)) continue;
    weight[a] = last ? 1 : rows * in.grid.cols;
    if (!last) rows *= in.shape[a];
    last = false;
  }
  std::vector<std::vector<int64_t>> axis_pixel(out.shape.size());
  for (size_t b = 0; b < out.shape.size(); ++b) {
    for (int64_t i = 0; i < out.shape[b]; ++i) {
      int64_t pixel = 0;
      for (size_t a = 0; a < map.input_rank; ++a)
        pixel += map.delta[b][static_cast<size_t>(i) * map.input_rank + a] * weight[a];
      axis_pixel[b].push_back(map.fill[b][static_cast<size_t>(i)] ? -1 : pixel);
    }
  }
  const SplitOffsets split = SplitByLayout(out.shape, out.pixel_axes, axis_pixel);
  for (size_t r = 0; r < split.row.size(); ++r)
    if (split.row[r] != static_cast<int64_t>(r) * out.grid.cols) return false;
  for (size_t c = 0; c < split.col.size(); ++c)
    if (split.col[c] != static_cast<int64_t>(c)) return false;
  return std::ranges::all_of(split.channel, [](int64_t d) { return d == 0; });
}

}  // namespace deltacnn
