#include "ops/move.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>

#include "ops/placement.h"
#include "ops/store.h"

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
    std::ranges::sort(bit_.channel);
    bit_.channel.erase(std::unique(bit_.channel.begin(), bit_.channel.end()), bit_.channel.end());
    std::erase_if(bit_.channel, [](int64_t b) { return b < 0; });
    for (const int64_t b : bit_.col) {
      if (b < 0) continue;
      first_col_bit_ = std::min(first_col_bit_, b);
      last_col_bit_ = std::max(last_col_bit_, b);
    }
    // Else looking at all that lies between the columns would take longer than at each of them.
    compact_ = last_col_bit_ - first_col_bit_ <= int64_t{64} * out_.grid.cols;
    if (compact_) IndexColumns();
    FindStretches();
    ChooseCopy();
  }

  void SetFill(std::span<const std::byte> value) { fill_.assign(value.begin(), value.end()); }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    const MaskView& in = inputs[0];
    if (in.words == nullptr || in.Empty()) return;
    if (in.grid.pixels() == 1) return out.Fill();
    for (int r = 0; r < out.grid.rows; ++r) {
      const int64_t row = bit_.row[static_cast<size_t>(r)];
      if (row < 0 || (compact_ && !MayReach(in, row))) continue;
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
    for (const Span& span : work.spans) {
      const int64_t row = offset_.row[static_cast<size_t>(span.row)];
      for (int k = 0; k < span.count;) {
        const auto col = static_cast<size_t>(span.col + k);
        const int count = std::min(span.count - k, static_cast<int>(stretch_end_[col] - col));
        const Span stretch = span.Part(k, count);
        const bool fill = row < 0 || offset_.col[col] < 0;
        Move(work, stretch, fill ? kFill : start_ + row + offset_.col[col]);
        k += count;
      }
    }
  }

  bool computes() const override { return !alias_; }
  size_t ScratchBytes() const override {
    return copy_ == Copy::kRuns || copy_ == Copy::kWhole ? 0 : block_ * offset_.channel.size() * 4;
  }

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

  /// If each output column reads one input column, in ascending order: by input column, how many
  /// read one before it.
  void IndexColumns() {
    const auto descends = [](int64_t a, int64_t b) { return a > b; };
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

  /// Splits the columns of the output into stretches whose inputs lie at a regular distance.
  void FindStretches() {
    const auto& col = offset_.col;
    const size_t n = col.size();
    const auto step = [&](size_t c) { return col[c + 1] - col[c]; };
    int votes = 0;  // for the most frequent step, if more than half of all are alike
    for (size_t c = 0; c + 1 < n; ++c) {
      if (col[c] < 0 || col[c + 1] < 0) continue;
      if (votes == 0) col_step_ = step(c);
      votes += step(c) == col_step_ ? 1 : -1;
    }
    stretch_end_.resize(n);
    for (size_t c = n; c-- > 0;) {
      const bool fill = col[c] < 0;
      const bool alike = c + 1 < n && fill == (col[c + 1] < 0);
      const bool goes_on = alike && (fill || step(c) == col_step_);
      stretch_end_[c] = goes_on ? stretch_end_[c + 1] : c + 1;
    }
  }

  /// How a stretch of pixels is copied best.
  void ChooseCopy() {
    const auto& channel = offset_.channel;
    const size_t n = channel.size();
    const bool fills = std::ranges::any_of(runs_, [](const Run& run) { return run.offset < 0; });
    if (element_ != 4 || fills) return;
    if (runs_.size() == 1) {
      copy_ = Copy::kWhole;
      return;
    }
    // Short runs cost more as copies of their own than gathered element by element.
    constexpr size_t kShort = 8;
    if (runs_.size() * kShort <= n) return;
    copy_ = Copy::kGathered;
    block_ = std::clamp<size_t>(kBlock / n / 4 * 4, 4, 256);
    const auto follows = [&](size_t period, int64_t outer, int64_t inner) {
      for (size_t c = 0; c < n; ++c) {
        const auto i = static_cast<int64_t>(c / period);
        const auto j = static_cast<int64_t>(c % period);
        if (channel[c] != channel[0] + i * outer + j * inner) return false;
      }
      return true;
    };
    pitch_ = channel[1] - channel[0];
    // A matrix of pixels and channels, transposed, or one of channels within every pixel.
    if (col_step_ == 1 && follows(n, 0, pitch_)) {
      copy_ = Copy::kAcross;
      return;
    }
    period_ = 1;
    while (period_ < n && channel[period_] != channel[0] + 1) ++period_;
    if (period_ < n && n % period_ == 0 && follows(period_, 1, pitch_)) copy_ = Copy::kShuffled;
  }

  /// Moves the pixels of a stretch; the first one's input is at `from`.
  void Move(const Work& work, const Span& span, int64_t from) const {
    std::byte* to = PixelBytes(work, out_, span.row, span.col);
    const auto size = static_cast<int64_t>(element_);
    if (copy_ == Copy::kRuns || from < 0) {
      for (int k = 0; k < span.count; ++k, to += out_.col_stride * size) {
        if (MovePixel(work, to, from < 0 ? from : from + k * col_step_))
          work.changed[span.first + static_cast<size_t>(k)] = kChanged;
      }
      return;
    }
    const float* source = reinterpret_cast<const float*>(work.buffers[in_.buffer]) + from;
    if (copy_ == Copy::kWhole)
      return StorePixels(kernels_, work, out_, span, source + offset_.channel[0], col_step_);
    auto* gathered = reinterpret_cast<float*>(work.scratch);
    for (int k = 0; k < span.count; k += static_cast<int>(block_)) {
      const int count = std::min(span.count - k, static_cast<int>(block_));
      Gather(source + k * col_step_, static_cast<size_t>(count), gathered);
      StorePixels(kernels_, work, out_,
                  {span.row, span.col + k, count, span.first + static_cast<size_t>(k)}, gathered,
                  out_.channels);
    }
  }

  /// Brings the channels of up to block_ pixels together.
  void Gather(const float* from, size_t pixels, float* gathered) const {
    const auto& channel = offset_.channel;
    const size_t n = channel.size();
    from += channel[0];
    if (copy_ == Copy::kAcross)
      return kernels_.transpose(from, pitch_, n, pixels, gathered, static_cast<ptrdiff_t>(n));
    for (size_t k = 0; k < pixels; ++k, from += col_step_, gathered += n) {
      if (copy_ == Copy::kShuffled) {
        kernels_.transpose(from, pitch_, period_, n / period_, gathered,
                           static_cast<ptrdiff_t>(period_));
      } else {
        for (size_t c = 0; c < n; ++c) gathered[c] = from[channel[c] - channel[0]];
      }
    }
  }

  /// Copies run by run; fills all of it if there is no input.
  bool MovePixel(const Work& work, std::byte* to, int64_t from) const {
    bool changed = false;
    for (const Run& run : runs_) {
      std::byte* target = to + run.channel * element_;
      if (run.offset < 0 || from < 0) {
        changed |= Fill(target, run.count);
      } else {
        const std::byte* source =
            work.buffers[in_.buffer] + (from + run.offset) * static_cast<int64_t>(element_);
        changed |= StoreChanged(target, source, run.count * element_);
      }
    }
    return changed;
  }

  bool Fill(std::byte* to, size_t count) const {
    bool changed = false;
    for (size_t i = 0; i < count; ++i, to += element_) {
      changed |= std::memcmp(to, fill_.data(), element_) != 0;
      std::memcpy(to, fill_.data(), element_);
    }
    return changed;
  }

  static constexpr size_t kBlock = 4096;  // elements gathered at once: they stay in cache

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
  bool compact_ = false;              // the columns of a row read bits that are not far apart
  std::vector<int32_t> cols_before_;  // by bit; empty if columns are not in ascending order
  std::vector<Run> runs_;
  int64_t col_step_ = 0;             // distance of the inputs of adjacent columns of a stretch
  std::vector<size_t> stretch_end_;  // by column
  enum class Copy {
    kRuns,      // run by run, any element
    kWhole,     // of 4-byte elements: the pixel is one run,
    kAcross,    // its channels lie at a distance, those of adjacent pixels are adjacent,
    kShuffled,  // its channels are a matrix, transposed,
    kGathered,  // or lie anywhere
  };
  Copy copy_ = Copy::kRuns;
  size_t block_ = 0;   // pixels gathered at once
  int64_t pitch_ = 0;  // of the matrix to transpose, in elements
  size_t period_ = 0;  // its rows, if kShuffled
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
    // [anchor, y, x, channel]: what follows goes anchor by anchor, and each of a pixel's is
    // contiguous.
    if (axes != 0 && !out.empty() && !HasAxis(axes, out.size() - 1))
      axes |= AllAxes(static_cast<size_t>(std::bit_width(axes)));
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
