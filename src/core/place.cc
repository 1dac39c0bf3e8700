#include "core/place.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "ops/concat.h"
#include "ops/move.h"
#include "ops/placement.h"

namespace deltacnn {
namespace {

constexpr uint64_t kAlignment = 64;

// Memory of a stream's work list for every pixel of the largest value.
// Of a row, column or channel in the tables of addresses that kernels and ports keep of a value.
constexpr uint64_t kTableBytes = 24;
constexpr uint64_t kListBytes = 48;

Error TooLarge(const Value& value, uint64_t max_bytes) {
  return {ErrorCode::kLimit, "value '" + value.name + "' of shape " + ToString(*value.shape) +
                                 ": the model needs more than " + std::to_string(max_bytes >> 20) +
                                 " MiB a stream (a smaller input shape needs less)"};
}

bool IsMove(const Node& node) {
  const OpDef* op = FindOp(node.op);
  return op != nullptr && op->layout == FindOp("Identity")->layout;
}

class Placer {
 public:
  Placer(const Graph& graph, const Layouts& layouts, uint64_t max_bytes, PlanState& state)
      : graph_(graph), layouts_(layouts), max_bytes_(max_bytes), state_(state) {
    const size_t n = graph.values.size();
    state_.placements.assign(n, {});
    state_.masks.assign(n, -1);
    whole_.assign(n, kNoValue);
    start_.assign(n, 0);
    done_.assign(n, false);
    halo_ = layouts.halo;
    for (size_t v = 0; v < n; ++v) {
      Placement& p = state_.placements[v];
      const Value& value = graph.values[v];
      p.dtype = value.dtype;
      p.shape = value.shape.value_or(Shape{});
      p.pixel_axes = layouts.axes[v];
      p.constant = value.constant;
    }
  }

  Status Run(std::vector<bool>& aliases) {
    aliases.assign(graph_.nodes.size(), false);
    FindConcatenations();
    ShareHalos();
    for (const ValueId in : graph_.inputs) {
      DELTACNN_RETURN_IF_ERROR(Place(in));
      AddMask(in);
    }
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const Node& node = graph_.nodes[n];
      DELTACNN_RETURN_IF_ERROR(PlaceConstants(node));
      if (IsMove(node) && TryAlias(node)) {
        aliases[n] = true;
        continue;
      }
      int mask = -1;  // one for all outputs
      for (const ValueId out : node.outputs) {
        if (out == kNoValue) continue;
        DELTACNN_RETURN_IF_ERROR(Place(out));
        if (mask < 0) {
          AddMask(out);
          mask = state_.masks[static_cast<size_t>(out)];
        } else {
          state_.masks[static_cast<size_t>(out)] = mask;
        }
      }
    }
    return {};
  }

 private:
  Placement& At(ValueId id) { return state_.placements[static_cast<size_t>(id)]; }

  void FindConcatenations() {
    for (const Node& node : graph_.nodes) {
      if (node.op != "Concat") continue;
      const ValueId out = node.outputs[0];
      const size_t axis = ConcatAxis(node, At(out).shape.size());
      int64_t start = 0;
      for (const ValueId in : node.inputs) {
        whole_[static_cast<size_t>(in)] = out;
        start_[static_cast<size_t>(in)] = start;
        axis_[in] = axis;
        start += At(in).shape[axis];
      }
    }
  }

  /// Zeros around a value are zeros around the buffer that holds it. Later nodes first, so that
  /// wants travel from moved values to their sources and from parts to the whole.
  void ShareHalos() {
    for (size_t n = graph_.nodes.size(); n-- > 0;) {
      const Node& node = graph_.nodes[n];
      if (!IsMove(node) || node.outputs[0] == kNoValue) continue;
      const ValueId in = node.inputs[0];
      if (GridOf(At(in).shape, At(in).pixel_axes) ==
          GridOf(At(node.outputs[0]).shape, At(node.outputs[0]).pixel_axes))
        halo_[static_cast<size_t>(in)].Cover(halo_[static_cast<size_t>(node.outputs[0])]);
    }
    for (const Node& node : graph_.nodes) {
      if (node.op != "Concat") continue;
      for (const ValueId in : node.inputs)
        halo_[static_cast<size_t>(node.outputs[0])].Cover(halo_[static_cast<size_t>(in)]);
    }
  }

  Status Place(ValueId id) {
    if (done_[static_cast<size_t>(id)]) return {};
    done_[static_cast<size_t>(id)] = true;
    const ValueId whole = whole_[static_cast<size_t>(id)];
    if (whole == kNoValue) return PlaceAlone(id);
    DELTACNN_RETURN_IF_ERROR(Place(whole));
    const Placement& outer = At(whole);
    Placement& p = At(id);
    p.buffer = outer.buffer;
    p.strides = outer.strides;
    CompletePlacement(
        p, outer.row_offset.empty()
               ? 0
               : outer.row_offset[0] + start_[static_cast<size_t>(id)] * outer.strides[axis_[id]]);
    return {};
  }

  /// A buffer of its own: pixel axes outside, with zeros around the last two; channel axes inside.
  Status PlaceAlone(ValueId id) {
    Placement& p = At(id);
    const Halo& halo = halo_[static_cast<size_t>(id)];
    p.strides.assign(p.shape.size(), 0);
    int64_t stride = 1;
    bool fits = true;
    const auto multiply = [&](int64_t by) {
      fits = fits && !__builtin_mul_overflow(stride, by, &stride);
    };
    for (size_t a = p.shape.size(); a-- > 0;) {
      if (HasAxis(p.pixel_axes, a)) continue;
      p.strides[a] = stride;
      multiply(p.shape[a]);
    }
    const int64_t pixel = stride;
    int64_t offset = 0;
    int place = 0;  // 0: columns, 1: rows
    for (size_t a = p.shape.size(); a-- > 0;) {
      if (!HasAxis(p.pixel_axes, a)) continue;
      p.strides[a] = stride;
      const int before = place == 0 ? halo.left : place == 1 ? halo.top : 0;
      const int after = place == 0 ? halo.right : place == 1 ? halo.bottom : 0;
      fits = fits && stride < (int64_t{1} << 50);
      offset += fits ? before * stride : 0;
      multiply(p.shape[a] + before + after);
      ++place;
    }
    multiply(static_cast<int64_t>(SizeOf(p.dtype)));
    const Grid grid = fits ? GridOf(p.shape, p.pixel_axes) : Grid{};
    bytes_ += fits ? static_cast<uint64_t>(stride) + grid.words() * 8 : 0;
    table_bytes_ += fits ? kTableBytes * static_cast<uint64_t>(grid.rows + grid.cols + pixel) : 0;
    list_bytes_ = std::max(list_bytes_, static_cast<uint64_t>(grid.pixels()) * kListBytes);
    if (!fits || bytes_ + table_bytes_ + list_bytes_ > max_bytes_)
      return TooLarge(graph_.values[static_cast<size_t>(id)], max_bytes_);
    p.buffer = static_cast<int>(state_.buffer_bytes.size());
    const auto bytes = static_cast<uint64_t>(stride);
    state_.buffer_bytes.push_back((bytes + kAlignment - 1) / kAlignment * kAlignment);
    state_.constants.emplace_back();
    CompletePlacement(p, offset);
    state_.halos.push_back(halo.Empty() ? std::vector<ByteRange>() : Gaps(p, pixel, bytes));
    return {};
  }

  /// The bytes of a buffer that belong to no pixel.
  static std::vector<ByteRange> Gaps(const Placement& p, int64_t pixel, uint64_t bytes) {
    std::vector<ByteRange> gaps;
    const uint64_t element = SizeOf(p.dtype);
    uint64_t end = 0;  // of the row before
    const auto add = [&](uint64_t next) {
      if (next > end) gaps.push_back({end, next - end});
    };
    for (const int64_t row : p.row_offset) {
      add(static_cast<uint64_t>(row) * element);
      end = static_cast<uint64_t>(row + p.grid.cols * pixel) * element;
    }
    add(bytes);
    return gaps;
  }

  void AddMask(ValueId id) {
    state_.masks[static_cast<size_t>(id)] = static_cast<int>(state_.mask_grids.size());
    state_.mask_grids.push_back(At(id).grid);
  }

  /// From the outermost axis on. Zeros lie along the last two; of the others, the strides of axes
  /// of a single pixel mean nothing.
  static std::vector<int64_t> PixelStrides(const Placement& p) {
    std::vector<int64_t> strides;
    std::vector<int64_t> sizes;
    for (size_t a = 0; a < p.shape.size(); ++a) {
      if (!HasAxis(p.pixel_axes, a)) continue;
      strides.push_back(p.strides[a]);
      sizes.push_back(p.shape[a]);
    }
    for (size_t i = 0; i + 2 < strides.size(); ++i)
      if (sizes[i] == 1) strides[i] = 0;
    return strides;
  }

  bool TryAlias(const Node& node) {
    const ValueId in = node.inputs[0];
    const ValueId out = node.outputs[0];
    if (graph_.Constant(in) != nullptr || whole_[static_cast<size_t>(out)] != kNoValue)
      return false;
    const IndexMap map = MakeIndexMap(graph_, node);
    const auto alias = AliasPlacement(map, At(in), At(out));
    if (!alias) return false;
    const bool same_pixels = SamePixels(map, At(in), *alias);
    const Halo& halo = halo_[static_cast<size_t>(out)];
    if (!halo.Empty() && !(same_pixels && PixelStrides(*alias) == PixelStrides(At(in))))
      return false;
    At(out) = *alias;
    done_[static_cast<size_t>(out)] = true;
    if (same_pixels) {
      state_.masks[static_cast<size_t>(out)] = state_.masks[static_cast<size_t>(in)];
    } else {
      AddMask(out);
    }
    return true;
  }

  /// Copies the constants that a node reads at run time into buffers of the plan.
  Status PlaceConstants(const Node& node) {
    for (const auto* list : {&node.inputs, &node.chain_inputs}) {
      for (const ValueId id : *list) {
        if (id == kNoValue || graph_.Constant(id) == nullptr) continue;
        if (done_[static_cast<size_t>(id)] || !layouts_.in_memory[static_cast<size_t>(id)])
          continue;
        DELTACNN_RETURN_IF_ERROR(Place(id));
        FillConstant(id);
      }
    }
    return {};
  }

  void FillConstant(ValueId id) {
    const Placement& p = At(id);
    auto& bytes = state_.constants[static_cast<size_t>(p.buffer)];
    bytes.assign(state_.buffer_bytes[static_cast<size_t>(p.buffer)], std::byte{0});
    std::vector<std::vector<int64_t>> plain(p.shape.size());
    int64_t stride = 1;
    for (size_t a = p.shape.size(); a-- > 0;) {
      for (int64_t i = 0; i < p.shape[a]; ++i) plain[a].push_back(i * stride);
      stride *= p.shape[a];
    }
    const SplitOffsets from = SplitByLayout(p.shape, p.pixel_axes, plain);
    const size_t element = SizeOf(p.dtype);
    for (int r = 0; r < p.grid.rows; ++r) {
      for (int c = 0; c < p.grid.cols; ++c) {
        std::byte* to = bytes.data() + static_cast<size_t>(p.Offset(r, c)) * element;
        for (const int64_t channel : from.channel) {
          const int64_t source =
              from.row[static_cast<size_t>(r)] + from.col[static_cast<size_t>(c)] + channel;
          std::memcpy(to, p.constant->bytes.data() + static_cast<size_t>(source) * element,
                      element);
          to += element;
        }
      }
    }
  }

  const Graph& graph_;
  const Layouts& layouts_;
  uint64_t max_bytes_;
  PlanState& state_;
  std::vector<ValueId> whole_;      // the concatenation that holds a value
  std::vector<int64_t> start_;      // its first index there
  std::map<ValueId, size_t> axis_;  // along this axis
  std::vector<bool> done_;
  std::vector<Halo> halo_;
  uint64_t bytes_ = 0;
  uint64_t table_bytes_ = 0;
  uint64_t list_bytes_ = 0;
};

}  // namespace

Status CheckSizes(const Graph& graph, uint64_t max_bytes) {
  for (const Node& node : graph.nodes) {
    for (const ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      const Value& value = graph.values[static_cast<size_t>(id)];
      const auto count = static_cast<uint64_t>(ElementCount(*value.shape));
      if (count > max_bytes / SizeOf(value.dtype)) return TooLarge(value, max_bytes);
    }
  }
  return {};
}

Status PlaceValues(const Graph& graph, const Layouts& layouts, uint64_t max_bytes, PlanState& state,
                   std::vector<bool>& aliases) {
  return Placer(graph, layouts, max_bytes, state).Run(aliases);
}

}  // namespace deltacnn
