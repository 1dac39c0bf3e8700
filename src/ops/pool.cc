// MaxPool and AveragePool over one or two spatial axes.
#include <algorithm>
#include <array>
#include <limits>

#include "ops/conv_window.h"
#include "ops/op.h"
#include "ops/prefetch.h"
#include "ops/store.h"

namespace deltacnn {
namespace {

/// The window along one spatial axis.
struct WindowAxis {
  int inputs = 1;
  int outputs = 1;
  int taps = 1;
  int stride = 1;
  int dilation = 1;
  int pad_begin = 0;
  int pad_end = 0;

  int Reach() const { return (taps - 1) * dilation + 1; }
  WindowMap Map() const {
    return WindowMap::Window(inputs, outputs, taps, stride, dilation, pad_begin);
  }
};

/// The inputs that one output reads along an axis: first, first + dilation, ...
struct Taps {
  int first;
  int count;
  int divisor;  // how many an average counts, padding included if it wants that
};

std::vector<Taps> TapsOf(const WindowAxis& axis, bool count_padding) {
  std::vector<Taps> table;
  for (int o = 0; o < axis.outputs; ++o) {
    const int64_t begin = int64_t{o} * axis.stride - axis.pad_begin;
    // Taps that lie before position `end`.
    const auto before = [&](int64_t end) {
      const int64_t count = (end - begin + axis.dilation - 1) / axis.dilation;
      return std::clamp<int64_t>(end > begin ? count : 0, 0, axis.taps);
    };
    const int64_t skipped = before(0);
    const int64_t count = before(axis.inputs) - skipped;
    // ceil_mode may add taps beyond the padding: these never count.
    const int64_t divisor = count_padding ? before(int64_t{axis.inputs} + axis.pad_end) : count;
    table.push_back({static_cast<int>(begin + skipped * axis.dilation), static_cast<int>(count),
                     static_cast<int>(divisor)});
  }
  return table;
}

struct Window {
  WindowAxis rows;  // the neutral axis for [N,C,W]
  WindowAxis cols;
};

Result<Window> ReadWindow(const Node& node, const Shape& shape) {
  const auto invalid = [&](const std::string& what) {
    return NodeError(ErrorCode::kInvalidModel, node, what);
  };
  constexpr int64_t kLargest = 1 << 28;
  Shape kernel = node.Ints("kernel_shape");
  if (kernel.size() + 2 != shape.size())
    return invalid("kernel_shape " + ToString(kernel) + " does not fit " + ToString(shape));
  kernel.insert(kernel.begin(), 2, 1);
  Result<ConvWindow> read = ReadConvWindow(node, shape, kernel);
  if (!read.ok()) return read.error();
  ResolveSamePads(node, shape, *read);
  const bool ceil_mode = node.Int("ceil_mode", 0) != 0;
  const std::array<int64_t, 2> dims = SpatialDims(shape);

  Window window;
  for (size_t d = 0; d < 2; ++d) {
    const int64_t reach = read->Extent(d);
    const int64_t before = read->pad_before[d];
    const int64_t after = read->pad_after[d];
    const int64_t stride = read->stride[d];
    if (before >= reach || after >= reach) return invalid("pads are not smaller than the window");
    const int64_t steps = dims[d] + before + after - reach;
    if (dims[d] < 1 || steps < 0 || reach > kLargest || dims[d] > kLargest) {
      return invalid("a window that reaches over " + std::to_string(reach) +
                     " pixels does not fit " + ToString(shape));
    }
    int64_t outputs = (steps + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    // A window that would start behind the input and its leading padding is left out.
    if (ceil_mode && (outputs - 1) * stride >= dims[d] + before) --outputs;
    (d == 0 ? window.rows : window.cols) = {.inputs = static_cast<int>(dims[d]),
                                            .outputs = static_cast<int>(outputs),
                                            .taps = static_cast<int>(read->kernel[d]),
                                            .stride = static_cast<int>(stride),
                                            .dilation = static_cast<int>(read->dilation[d]),
                                            .pad_begin = static_cast<int>(before),
                                            .pad_end = static_cast<int>(after)};
  }
  return window;
}

/// What all pools share: windows clipped to the input, and which outputs a change reaches.
class PoolKernel : public Kernel {
 public:
  PoolKernel(const MakeContext& context, const Window& window)
      : in_(context.in(0)),
        out_(context.out(0)),
        in_rows_(window.rows.inputs),
        out_rows_(window.rows.outputs),
        images_(in_.grid.rows / in_rows_),
        row_map_(window.rows.Map()),
        col_map_(window.cols.Map()) {
    const bool count_padding = context.node.Int("count_include_pad", 0) != 0;
    rows_ = TapsOf(window.rows, count_padding);
    cols_ = TapsOf(window.cols, count_padding);
    row_dilation_ = window.rows.dilation;
    col_dilation_ = window.cols.dilation;
  }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    Affect(inputs[0], row_map_, col_map_, images_, out);
  }

 protected:
  size_t channels() const { return static_cast<size_t>(in_.channels); }
  const Taps& RowTaps(int out_row) const { return rows_[static_cast<size_t>(out_row % out_rows_)]; }
  const Taps& ColTaps(int out_col) const { return cols_[static_cast<size_t>(out_col)]; }
  /// The input row of tap `t` of an output row.
  int InputRow(int out_row, int t) const {
    return out_row / out_rows_ * in_rows_ + RowTaps(out_row).first + t * row_dilation_;
  }

  Placement in_;
  Placement out_;
  int in_rows_;
  int out_rows_;
  int images_;
  WindowMap row_map_;
  WindowMap col_map_;
  std::vector<Taps> rows_;
  std::vector<Taps> cols_;
  int row_dilation_ = 1;
  int col_dilation_ = 1;
};

/// Float maxima and means.
class WindowPool : public PoolKernel {
 public:
  WindowPool(const MakeContext& context, const Window& window, bool average)
      : PoolKernel(context, window),
        kernels_(context.kernels),
        average_(average),
        stride_(window.cols.stride),
        tile_(static_cast<int>(std::clamp<int64_t>(kTileFloats / std::max<int64_t>(in_.channels, 1),
                                                   1, ChunkPixels()))) {}

  bool takes_cutoff() const override { return true; }
  size_t ScratchBytes() const override {
    return static_cast<size_t>(tile_) * channels() * sizeof(float);
  }

  void Compute(const Work& work) const override {
    PrefetchWindows(work, in_, row_map_, col_map_);
    for (const Span& span : work.spans) {
      for (int k = 0; k < span.count;) {
        const int count = AlikeFrom(span.col + k, std::min(span.count - k, tile_));
        ComputeTile(work, span.Part(k, count));
        k += count;
      }
    }
  }

 private:
  static constexpr int64_t kTileFloats = 4096;  // results that stay in the first-level cache

  /// How many of `most` outputs from column `col` on have windows of the same shape at the same
  /// distance.
  int AlikeFrom(int col, int most) const {
    const Taps& first = ColTaps(col);
    int count = 1;
    for (; count < most; ++count) {
      const Taps& next = ColTaps(col + count);
      if (next.first != first.first + count * stride_ || next.count != first.count ||
          next.divisor != first.divisor)
        break;
    }
    return count;
  }

  void ComputeTile(const Work& work, const Span& tile) const {
    const Taps& rows = RowTaps(tile.row);
    const Taps& cols = ColTaps(tile.col);
    auto* pixels = reinterpret_cast<float*>(work.scratch);
    if (rows.count == 0 || cols.count == 0) {
      std::fill_n(pixels, static_cast<size_t>(tile.count) * channels(),
                  average_ ? 0.0f : std::numeric_limits<float>::lowest());
    } else {
      const int row = InputRow(tile.row, 0);
      const ptrdiff_t row_pitch =
          rows.count > 1 ? in_.Offset(InputRow(tile.row, 1), 0) - in_.Offset(row, 0) : 0;
      kernels_.pool({.average = average_,
                     .from = work.Pixel<float>(in_, row, cols.first),
                     .rows = static_cast<size_t>(rows.count),
                     .columns = static_cast<size_t>(cols.count),
                     .row_pitch = row_pitch,
                     .col_pitch = col_dilation_ * in_.col_stride,
                     .step = stride_ * in_.col_stride,
                     .count = static_cast<size_t>(tile.count),
                     .channels = channels(),
                     .divisor = static_cast<float>(rows.divisor) * static_cast<float>(cols.divisor),
                     .out = pixels});
    }
    StorePixels(kernels_, work, out_, tile, pixels, out_.channels);
  }

  const kernels::Table& kernels_;
  bool average_;
  int stride_;
  int tile_;
};

/// A maximum with its position, or of another element type: element by element.
template <class T>
class PlainMaxPool : public PoolKernel {
 public:
  PlainMaxPool(const MakeContext& context, const Window& window)
      : PoolKernel(context, window),
        column_major_(context.node.Int("storage_order", 0) != 0),
        has_indices_(context.outputs.size() > 1 && context.outputs[1] != nullptr) {
    if (has_indices_) indices_ = context.out(1);
  }

  size_t ScratchBytes() const override { return channels() * (sizeof(int64_t) + sizeof(T)); }

  void Compute(const Work& work) const override {
    auto* index = reinterpret_cast<int64_t*>(work.scratch);
    T* best = reinterpret_cast<T*>(index + channels());
    ForEachPixel(work, [&](int row, int col) {
      ComputePixel(work, row, col, best, index);
      bool changed = StoreChanged(work.Pixel<T>(out_, row, col), best, channels() * sizeof(T));
      if (has_indices_)
        changed |= StoreChanged(work.Pixel<int64_t>(indices_, row, col), index,
                                channels() * sizeof(int64_t));
      return changed;
    });
  }

 private:
  void ComputePixel(const Work& work, int row, int col, T* best, int64_t* index) const {
    std::fill_n(best, channels(), std::numeric_limits<T>::lowest());
    std::fill_n(index, channels(), int64_t{0});
    const int64_t plane = int64_t{in_rows_} * in_.grid.cols;
    const int64_t image = int64_t{row / out_rows_} * in_.channels * plane;
    bool start = true;
    for (int i = 0; i < RowTaps(row).count; ++i) {
      const int y = InputRow(row, i);
      for (int j = 0; j < ColTaps(col).count; ++j) {
        const int x = ColTaps(col).first + j * col_dilation_;
        const T* in = work.Pixel<T>(in_, y, x);
        const int64_t at = column_major_ ? int64_t{x} * in_rows_ + y % in_rows_
                                         : int64_t{y % in_rows_} * in_.grid.cols + x;
        for (size_t c = 0; c < channels(); ++c) {
          if (!start && !(in[c] > best[c])) continue;
          best[c] = in[c];
          index[c] = image + static_cast<int64_t>(c) * plane + at;
        }
        start = false;
      }
    }
  }

  bool column_major_;
  bool has_indices_;
  Placement indices_;
};

}  // namespace

Status InferPool(InferContext& context) {
  const bool average = context.node.op == "AveragePool";
  if (!context.Has(0)) return context.Invalid("the input is missing");
  const size_t rank = context.rank(0);
  if (rank != 3 && rank != 4) {
    return context.Unsupported("pools inputs of rank " + std::to_string(rank) +
                               "; only [N,C,W] and [N,C,H,W] are supported");
  }
  const DType dtype = context.dtype(0);
  const bool bytes = dtype == DType::kInt8 || dtype == DType::kUint8;
  if (dtype != DType::kFloat32 && (average || !bytes))
    return context.Unsupported(std::string(NameOf(dtype)) + " inputs; float32 is supported");
  const Result<Window> window = ReadWindow(context.node, context.shape(0));
  if (!window.ok()) return window.error();
  Shape shape = context.shape(0);
  if (rank == 4) shape[2] = window->rows.outputs;
  shape[rank - 1] = window->cols.outputs;
  context.SetOutput(0, dtype, shape);
  context.SetOutput(1, DType::kInt64, shape);
  return {};
}

void LayoutPool(LayoutContext& context) {
  const AxisSet axes = SpatialAxes(context.shape(0).size());
  context.input_axes[0] = axes;
  std::ranges::fill(context.output_axes, axes);
}

Result<KernelPtr> MakePool(const MakeContext& context) {
  const Result<Window> window = ReadWindow(context.node, context.in(0).shape);
  if (!window.ok()) return window.error();
  if (context.outputs[0] == nullptr) return context.Unsupported("only the positions are used");
  const bool positions = context.outputs.size() > 1 && context.outputs[1] != nullptr;
  switch (context.in(0).dtype) {
    case DType::kInt8:
      return KernelPtr(std::make_unique<PlainMaxPool<int8_t>>(context, *window));
    case DType::kUint8:
      return KernelPtr(std::make_unique<PlainMaxPool<uint8_t>>(context, *window));
    default:
      if (positions) return KernelPtr(std::make_unique<PlainMaxPool<float>>(context, *window));
      return KernelPtr(
          std::make_unique<WindowPool>(context, *window, context.node.op == "AveragePool"));
  }
}

}  // namespace deltacnn
