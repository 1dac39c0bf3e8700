#include "ops/move.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

namespace deltacnn {
namespace {

/// Where each output pixel comes from, split by grid row, grid column and channel.
class MoveKernel : public Kernel {
 public:
  MoveKernel(const MakeContext& context, const IndexMap& map)
      : in_(context.in(0)), out_(context.out(0)), kernels_(context.kernels), alias_(context.alias) {
    element_ = SizeOf(out_.dtype);
    fill_.assign(element_, std::byte{0});
    std::vector<std::vector<int64_t>> offset(out_.shape.size());
    std::vector<std::vector<int64_t>> bit(out_.shape.size());
    std::vector<int64_t> bit_weight = BitWeights();
    for (size_t b = 0; b < out_.shape.size(); ++b) {
      for (int64_t i = 0; i < out_.shape[b]; ++i) {
        int64_t o = 0;
        int64_t p = 0;
        for (size_t a = 0; a < map.input_rank; ++a) {
          const int64_t delta = map.delta[b][static_cast<size_t>(i) * map.input_rank + a];
          o += delta * in_.strides[a];
          p += delta * bit_weight[a];
        }
        const bool fill = map.fill[b][static_cast<size_t>(i)];
        offset[b].push_back(fill ? kFill : o);
        bit[b].push_back(fill ? kFill : p);
      }
    }
    offset_ = SplitByLayout(out_.shape, out_.pixel_axes, offset);
    bit_ = SplitByLayout(out_.shape, out_.pixel_axes, bit);
    start_ = in_.row_offset.empty() ? 0 : in_.row_offset[0];
    if (map.flat) {  // one pixel to one pixel, in row-major order
      offset_.channel.resize(static_cast<size_t>(out_.channels));
      std::iota(offset_.channel.begin(), offset_.channel.end(), 0);
      bit_.channel = {0};
    }
    FindRuns();
    // Short runs cost more as copies of their own than gathered element by element.
    constexpr size_t kShort = 8;
    shuffled_ = element_ == 4 && runs_.size() > 1 &&
                runs_.size() * kShort > offset_.channel.size() &&
                std::ranges::none_of(runs_, [](const Run& run) { return run.offset < 0; });
    std::ranges::sort(bit_.channel);
    bit_.channel.erase(std::unique(bit_.channel.begin(), bit_.channel.end()), bit_.channel.end());
    std::erase_if(bit_.channel, [](int64_t b) { return b < 0; });
    for (const int64_t b : bit_.col) {
      if (b < 0) continue;
      first_col_bit_ = std::min(first_col_bit_, b);
      last_col_bit_ = std::max(last_col_bit_, b);
    }
    IndexColumns();
    packed_ = runs_.size() == 1 && runs_[0].offset >= 0 && out_.col_stride == out_.channels &&
              std::ranges::none_of(offset_.row, [](int64_t row) { return row < 0; });
    for (size_t c = 0; c < offset_.col.size(); ++c)
      packed_ = packed_ && offset_.col[c] == static_cast<int64_t>(c) * out_.channels;
  }

  void SetFill(std::span<const std::byte> value) { fill_.assign(value.begin(), value.end()); }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    const MaskView& in = inputs[0];
    if (in.words == nullptr || in.Empty()) return;
    if (in.grid.pixels() == 1) return out.Fill();
    for (int r = 0; r < out.grid.rows; ++r) {
      const int64_t row = bit_.row[static_cast<size_t>(r)];
      if (row < 0 || !MayReach(in, row)) continue;
      if (!cols_before_.empty()) {
        for (const int64_t channel : bit_.channel) AffectRow(in, row + channel, r, out);
        continue;
      }
      for (int c = 0; c < out.grid.cols; ++c) {
        const int64_t col = bit_.col[static_cast<size_t>(c)];
        if (col < 0) continue;
        for (const int64_t channel : bit_.channel) {
          if (!in.Test(row + col + channel)) continue;
          out.Set(out.grid.Bit(r, c));
          break;
        }
      }
    }
  }

  void Compute(const Work& work) const override {
    if (packed_ && !work.compare) return CopySpans(work);
    if (element_ == 4 && offset_.channel.size() == 1) return MoveWords(work);
    const auto* source = work.buffers[in_.buffer];
    for (const Span& span : work.spans) {
      const int64_t row = offset_.row[static_cast<size_t>(span.row)];
      for (int k = 0; k < span.count; ++k) {
        const int64_t col = offset_.col[static_cast<size_t>(span.col + k)];
        std::byte* pixel = work.buffers[out_.buffer] +
                           out_.Offset(span.row, span.col + k) * static_cast<int64_t>(element_);
        bool changed = false;
        if (shuffled_ && row >= 0 && col >= 0) {
          changed = Shuffle(pixel, source + (start_ + row + col) * 4, work.scratch);
          if (changed) work.changed[span.first + static_cast<size_t>(k)] = 1;
          continue;
        }
        for (const Run& run : runs_) {
          std::byte* target = pixel + run.channel * element_;
          if (run.offset < 0 || row < 0 || col < 0) {
            changed |= Fill(target, run.count);
          } else {
            const int64_t from = start_ + row + col + run.offset;
            changed |= Copy(target, source + from * static_cast<int64_t>(element_), run.count);
          }
        }
        if (changed) work.changed[span.first + static_cast<size_t>(k)] = 1;
      }
    }
  }

  bool computes() const override { return !alias_; }
  size_t ScratchBytes() const override { return shuffled_ ? offset_.channel.size() * 4 : 0; }

 private:
  // More negative than any sum of true offsets can make positive again. Offsets of a reversed slice
  // are counted from the first element, so true ones are never negative.
  static constexpr int64_t kFill = -(int64_t{1} << 56);

  struct Run {  // `count` output channels from `channel` on are adjacent in the input
    size_t channel;
    int64_t offset;
    size_t count;
  };

  std::vector<int64_t> BitWeights() const {
    std::vector<int64_t> weight(in_.shape.size(), 0);
    const int64_t row_bits = int64_t{in_.grid.words_per_row()} * 64;
    int64_t rows = 1;
    bool last = true;
    for (size_t a = in_.shape.size(); a-- > 0;) {
      if (!HasAxis(in_.pixel_axes, a)) continue;
      weight[a] = last ? 1 : rows * row_bits;
      if (!last) rows *= in_.shape[a];
      last = false;
    }
    return weight;
  }

  void FindRuns() {
    const auto& channel = offset_.channel;
    for (size_t c = 0; c < channel.size(); ++c) {
      const bool fill = channel[c] < 0;
      if (!runs_.empty()) {
        Run& run = runs_.back();
        const bool next =
            fill ? run.offset < 0
                 : run.offset >= 0 && channel[c] == run.offset + static_cast<int64_t>(run.count);
        if (next) {
          ++run.count;
          continue;
        }
      }
      runs_.push_back({c, fill ? kFill : channel[c], 1});
    }
  }

  /// If each output column reads one input column, in ascending order: how many read one before it.
  void IndexColumns() {
    const auto descends = [](int64_t a, int64_t b) { return a >= b; };
    if (bit_.col.empty() || bit_.col[0] < 0 ||
        std::ranges::adjacent_find(bit_.col, descends) != bit_.col.end())
      return;
    for (int64_t bit = 0, c = 0; bit <= bit_.col.back() + 1; ++bit) {
      while (c < static_cast<int64_t>(bit_.col.size()) && bit_.col[static_cast<size_t>(c)] < bit)
        ++c;
      cols_before_.push_back(static_cast<int32_t>(c));
    }
  }

  /// Sets in row `r` of `out` the columns whose input, at bit `base` + that of the column, is set.
  void AffectRow(const MaskView& in, int64_t base, int r, const MaskView& out) const {
    const int64_t begin = std::max<int64_t>(base + first_col_bit_, 0) / 64 * 64;
    const int64_t end =
        std::min(base + last_col_bit_ + 1, static_cast<int64_t>(in.grid.words()) * 64);
    if (begin >= end) return;
    const auto column = [&](int64_t bit) {
      return cols_before_[static_cast<size_t>(
          std::clamp<int64_t>(bit, 0, static_cast<int64_t>(cols_before_.size()) - 1))];
    };
    ForEachRun(in.words + begin / 64, static_cast<int>(end - begin), [&](int first, int last) {
      out.SetRange(r, column(begin - base + first), column(begin - base + last));
    });
  }

  /// Rows of pixels that lie without a gap here and there.
  void CopySpans(const Work& work) const {
    const auto bytes = static_cast<int64_t>(element_);
    for (const Span& span : work.spans) {
      const int64_t from = start_ + offset_.row[static_cast<size_t>(span.row)] +
                           offset_.col[static_cast<size_t>(span.col)] + runs_[0].offset;
      std::memcpy(work.buffers[out_.buffer] + out_.Offset(span.row, span.col) * bytes,
                  work.buffers[in_.buffer] + from * bytes,
                  static_cast<size_t>(span.count * out_.channels * bytes));
    }
  }

  /// False if no input row that an output row at bit `row` reads has changed. Most rows of most
  /// steps end here.
  bool MayReach(const MaskView& in, int64_t row) const {
    const int64_t row_bits = int64_t{in.grid.words_per_row()} * 64;
    for (const int64_t channel : bit_.channel) {
      const int64_t first = std::max<int64_t>(row + channel + first_col_bit_, 0) / row_bits;
      const int64_t last =
          std::min<int64_t>((row + channel + last_col_bit_) / row_bits, in.grid.rows - 1);
      for (int64_t r = first; r <= last; ++r)
        if (!in.RowEmpty(static_cast<int>(r))) return true;
    }
    return false;
  }

  /// Pixels of one 32-bit element.
  void MoveWords(const Work& work) const {
    const auto* source = reinterpret_cast<const uint32_t*>(work.buffers[in_.buffer]) + start_;
    auto* target = reinterpret_cast<uint32_t*>(work.buffers[out_.buffer]);
    uint32_t fill = 0;
    std::memcpy(&fill, fill_.data(), sizeof(fill));
    for (const Span& span : work.spans) {
      const int64_t row = offset_.row[static_cast<size_t>(span.row)] + offset_.channel[0];
      const int64_t* col = offset_.col.data() + span.col;
      uint32_t* to = target + out_.Offset(span.row, span.col);
      for (int k = 0; k < span.count; ++k, to += out_.col_stride) {
        const uint32_t value = row + col[k] < 0 ? fill : source[row + col[k]];
        if (*to == value) continue;
        *to = value;
        work.changed[span.first + static_cast<size_t>(k)] = 1;
      }
    }
  }

  /// A pixel whose channels come from all over the input's pixel: gathered first, compared at once.
  bool Shuffle(std::byte* to, const std::byte* from, std::byte* scratch) const {
    auto* gathered = reinterpret_cast<float*>(scratch);
    const auto* values = reinterpret_cast<const float*>(from);
    const size_t channels = offset_.channel.size();
    for (size_t c = 0; c < channels; ++c) gathered[c] = values[offset_.channel[c]];
    return kernels_.store_changed(reinterpret_cast<float*>(to), gathered, channels);
  }

  bool Copy(std::byte* to, const std::byte* from, size_t count) const {
    if (element_ == 4) {
      return kernels_.store_changed(reinterpret_cast<float*>(to),
                                    reinterpret_cast<const float*>(from), count);
    }
    if (std::memcmp(to, from, count * element_) == 0) return false;
    std::memcpy(to, from, count * element_);
    return true;
  }

  bool Fill(std::byte* to, size_t count) const {
    bool changed = false;
    for (size_t i = 0; i < count; ++i, to += element_) {
      changed |= std::memcmp(to, fill_.data(), element_) != 0;
      std::memcpy(to, fill_.data(), element_);
    }
    return changed;
  }

  Placement in_, out_;
  const kernels::Table& kernels_;
  bool alias_;
  size_t element_;
  std::vector<std::byte> fill_;
  int64_t start_;        // of the input's first element
  SplitOffsets offset_;  // elements; negative: fill
  SplitOffsets bit_;     // bits of the input's mask; `channel` holds each distinct one once
  int64_t first_col_bit_ = std::numeric_limits<int32_t>::max();
  int64_t last_col_bit_ = 0;
  std::vector<int32_t> cols_before_;  // by bit; empty if columns are not in ascending order
  std::vector<Run> runs_;
  bool shuffled_ = false;
  bool packed_ = false;  // whole rows can be copied at once
};

}  // namespace

void LayoutMove(LayoutContext& context) {
  const Node& node = context.node;
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (node.inputs[i] != kNoValue) context.input_in_memory[i] = false;
  }
  const AxisSet in_axes = context.input_axes[0];
  const Shape& in = context.shape(0);
  const Shape& out = context.output_shape(0);
  AxisSet axes = 0;
  if (node.op == "Relayout") {
    axes = static_cast<AxisSet>(node.Int("pixel_axes", 0));
  } else if (node.op == "Transpose") {
    std::vector<int64_t> perm = node.Ints("perm");
    for (size_t b = 0; b < out.size(); ++b) {
      const size_t a = perm.empty() ? out.size() - 1 - b : static_cast<size_t>(perm[b]);
      if (HasAxis(in_axes, a)) axes |= Axis(b);
    }
  } else if (node.op == "Pad" && in.size() == 4) {
    // A picture: what reads it wants it so, and without its border there is less to lay out anew.
    axes = context.input_axes[0] = SpatialAxes(4);
  } else if (node.op == "Slice" || node.op == "Pad") {
    axes = in_axes;
  } else if (node.op == "Expand" || node.op == "Tile") {
    const size_t extra = out.size() - in.size();
    for (size_t b = 0; b < out.size(); ++b) {
      const bool grown = b < extra || in[b - extra] != out[b];
      const bool image_axis = out.size() > 2 ? b != 1 : b == 0;
      if (grown ? image_axis : HasAxis(in_axes, b - extra)) axes |= Axis(b);
    }
  } else if (node.op == "DepthToSpace" || node.op == "SpaceToDepth") {
    axes = SpatialAxes(4);
  } else {
    // A reshape: an output axis is a pixel axis if it takes in a part of one.
    const IndexMap map = MakeIndexMap(context.graph, node);
    if (map.flat) {
      context.input_axes[0] = 0;
    } else {
      for (size_t b = 0; b < out.size(); ++b) {
        bool pixels = out[b] == 1 && b == 0 && HasAxis(in_axes, 0);
        for (size_t a = 0; a < in.size(); ++a) {
          if (!HasAxis(in_axes, a)) continue;
          for (size_t i = 0; i < static_cast<size_t>(out[b]); ++i)
            pixels = pixels || map.delta[b][i * map.input_rank + a] != 0;
        }
        if (pixels) axes |= Axis(b);
      }
    }
  }
  context.output_axes[0] = axes;
}

Result<KernelPtr> MakeMove(const MakeContext& context) {
  const IndexMap map = MakeIndexMap(context.graph, context.node);
  auto kernel = std::make_unique<MoveKernel>(context, map);
  if (context.node.op == "Pad") {
    if (context.Has(2)) {
      kernel->SetFill(context.in(2).constant->bytes);
    } else if (context.out(0).dtype == DType::kFloat32) {
      const float value = context.node.Float("value", 0.0f);
      kernel->SetFill(std::as_bytes(std::span(&value, 1)));
    }
  }
  return KernelPtr(std::move(kernel));
}

}  // namespace deltacnn
