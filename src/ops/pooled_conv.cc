// A convolution, depthwise or of few outputs, and the maximum pool behind it, whose windows do not
// overlap, in one pass over tiles of pooled pixels: what lies between them stays in the first- or
// second-level cache. A pixel's bits are those of the two one after the other.
//
// Inputs: x, weights and bias of the convolution. The attributes are the convolution's and the
// pool's: pool_window (its size), pool_pads (before the first one), pool_outputs (how many).
#include "ops/pooled_conv.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <memory>

#include "ops/inner_conv.h"
#include "ops/prefetch.h"
#include "ops/scratch.h"
#include "ops/store.h"

namespace deltacnn {
namespace {

constexpr int kSide = 16;  // of a tile, in pooled pixels
constexpr int kTiles = 4;  // of a call: their inputs are asked for together

std::array<int, 2> Pair(const Node& node, const char* name) {
  const std::vector<int64_t> values = node.Ints(name);
  return {static_cast<int>(values[0]), static_cast<int>(values[1])};
}

class PooledConv : public Kernel {
 public:
  PooledConv(const MakeContext& context, const ConvWindow& window)
      : in_(context.in(0)),
        out_(context.out(0)),
        kernels_(context.kernels),
        window_(window),
        pool_(Pair(context.node, "pool_window")),
        pad_(Pair(context.node, "pool_pads")),
        inner_(context, window) {
    const auto convolved = window.Outputs(in_.shape);
    for (size_t a = 0; a < 2; ++a) {
      size_[a] = static_cast<int>(convolved[a]);
      region_[a] = kSide * pool_[a];
      map_[a] = ReadsOf(a);
    }
    pitch_ = (out_.channels + 15) / 16 * 16;
  }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    Affect(inputs[0], map_[0], map_[1], 1, out);
  }

  bool takes_cutoff() const override { return true; }
  int TileSide() const override { return kSide; }
  int ChunkPixels() const override { return kTiles * kSide * kSide; }
  size_t ScratchBytes() const override { return Divide(nullptr).bytes; }

  void Compute(const Work& work) const override {
    PrefetchWindows(work, in_, map_[0], map_[1]);
    const auto tile_of = [](const Span& span) {
      return std::array{span.row / kSide, span.col / kSide};
    };
    for (size_t begin = 0; begin < work.spans.size();) {
      size_t end = begin + 1;
      while (end < work.spans.size() && tile_of(work.spans[end]) == tile_of(work.spans[begin]))
        ++end;
      ComputeTile(work, work.spans.subspan(begin, end - begin));
      begin = end;
    }
  }

  int64_t MacsPerPixel() const override { return inner_.MacsPerPixel() * pool_[0] * pool_[1]; }
  size_t WeightBytes() const override { return inner_.WeightBytes(); }

 private:
  static constexpr int kLargestRegion = kSide * kMostPool;
  static_assert(kLargestRegion <= 64, "a row of it is a word of bits");

  struct Scratch {
    const float** pixels;  // of the windows that are computed
    float** targets;       // of these, in `between`
    kernels::PixelRun* runs;
    float* between;  // the pooled pixels' windows, row by row
    float* pooled;
    float* sums;
    size_t bytes;
  };

  Scratch Divide(std::byte* scratch) const {
    const size_t count = RegionPixels();
    ScratchDivider divider(scratch);
    return {.pixels = divider.Take<const float*>(count),
            .targets = divider.Take<float*>(count),
            .runs = divider.Take<kernels::PixelRun>(count),
            .between = divider.Take<float>(count * static_cast<size_t>(pitch_)),
            .pooled = divider.Take<float>(static_cast<size_t>(kSide * out_.channels)),
            .sums = divider.Take<float>(inner_.SumBytes(count) / sizeof(float)),
            .bytes = divider.used()};
  }

  size_t RegionPixels() const {
    return static_cast<size_t>(region_[0]) * static_cast<size_t>(region_[1]);
  }

  /// What a pooled row or column reads of the input.
  WindowMap ReadsOf(size_t axis) const {
    const auto inputs = static_cast<int>(SpatialDims(in_.shape)[axis]);
    const auto outputs = static_cast<int>(SpatialDims(out_.shape)[axis]);
    const WindowMap conv = WindowMap::Window(
        inputs, size_[axis], static_cast<int>(window_.kernel[axis]),
        static_cast<int>(window_.stride[axis]), static_cast<int>(window_.dilation[axis]),
        static_cast<int>(window_.pad_before[axis]));
    WindowMap map;
    for (int o = 0; o < outputs; ++o) {
      const int begin = std::max(o * pool_[axis] - pad_[axis], 0);
      const int end = std::min(o * pool_[axis] - pad_[axis] + pool_[axis], size_[axis]);
      map.first.push_back(conv.first[static_cast<size_t>(begin)]);
      map.last.push_back(conv.last[static_cast<size_t>(end) - 1]);
    }
    map.Invert(inputs);
    return map;
  }

  /// The pooled pixels of one tile.
  void ComputeTile(const Work& work, std::span<const Span> spans) const {
    const Scratch scratch = Divide(work.scratch);
    const int tile_row = spans.front().row / kSide * kSide;
    const int tile_col = spans.front().col / kSide * kSide;
    std::array<uint64_t, kLargestRegion> wanted{};  // by row of the region, its columns
    for (const Span& span : spans) {
      const int first = (span.row - tile_row) * pool_[0];
      const uint64_t columns = BitRange((span.col - tile_col) * pool_[1], span.count * pool_[1]);
      for (int r = first; r < first + pool_[0]; ++r) wanted[static_cast<size_t>(r)] |= columns;
    }
    Convolve(work, scratch, tile_row * pool_[0] - pad_[0], tile_col * pool_[1] - pad_[1], wanted);
    for (const Span& span : spans) {
      const int first =
          (span.row - tile_row) * pool_[0] * region_[1] + (span.col - tile_col) * pool_[1];
      kernels_.pool({.average = false,
                     .from = scratch.between + first * pitch_,
                     .rows = static_cast<size_t>(pool_[0]),
                     .columns = static_cast<size_t>(pool_[1]),
                     .row_pitch = region_[1] * pitch_,
                     .col_pitch = pitch_,
                     .step = pool_[1] * pitch_,
                     .count = static_cast<size_t>(span.count),
                     .channels = static_cast<size_t>(out_.channels),
                     .divisor = 1,
                     .out = scratch.pooled});
      StorePixels(kernels_, work, out_, span, scratch.pooled, out_.channels);
    }
  }

  /// Fills in the wanted pixels of a region whose first one is (top, left) of the convolution's
  /// output. What lies outside of that is smaller than anything.
  void Convolve(const Work& work, const Scratch& scratch, int top, int left,
                const std::array<uint64_t, kLargestRegion>& wanted) const {
    const auto* data = reinterpret_cast<const float*>(work.buffers[in_.buffer]) + in_.Offset(0, 0);
    const ptrdiff_t row_step = window_.stride[0] * in_.strides[2];
    const ptrdiff_t col_step = window_.stride[1] * in_.col_stride;
    const ptrdiff_t origin =
        -window_.pad_before[0] * in_.strides[2] - window_.pad_before[1] * in_.col_stride;
    const int first_col = std::max(-left, 0);
    const int end_col = std::min(size_[1] - left, region_[1]);
    const uint64_t columns = first_col < end_col ? BitRange(first_col, end_col - first_col) : 0;
    size_t count = 0;
    size_t runs = 0;
    for (int r = 0; r < region_[0]; ++r) {
      const bool exists = top + r >= 0 && top + r < size_[0];
      const uint64_t row = wanted[static_cast<size_t>(r)];
      float* between = scratch.between + r * region_[1] * pitch_;
      for (uint64_t outside = exists ? row & ~columns : row; outside != 0; outside &= outside - 1)
        std::fill_n(between + std::countr_zero(outside) * pitch_, out_.channels,
                    -std::numeric_limits<float>::infinity());
      if (!exists) continue;
      const float* window = data + origin + (top + r) * row_step + left * col_step;
      const uint64_t inside = row & columns;
      ForEachRun(&inside, region_[1], [&](int begin, int end) {
        scratch.runs[runs++] = {window + begin * col_step, static_cast<size_t>(end - begin)};
        for (int c = begin; c < end; ++c) scratch.targets[count++] = between + c * pitch_;
      });
    }
    kernels::Epilogue epilogue = inner_.Functions();
    epilogue.targets = scratch.targets;
    if (count == RegionPixels()) epilogue.target_step = pitch_;
    if (inner_.is_depthwise()) return inner_.Compute({scratch.runs, runs}, epilogue);
    const float** pixel = scratch.pixels;
    for (size_t i = 0; i < runs; ++i) {
      const auto length = static_cast<ptrdiff_t>(scratch.runs[i].count);
      for (ptrdiff_t k = 0; k < length; ++k) *pixel++ = scratch.runs[i].first + k * col_step;
    }
    inner_.Compute(scratch.pixels, count, 0, epilogue, scratch.sums);
  }

  Placement in_, out_;
  const kernels::Table& kernels_;
  ConvWindow window_;
  std::array<int, 2> pool_, pad_;  // of the pool's windows: rows, columns
  std::array<int, 2> size_{};      // of the convolution's output
  std::array<int, 2> region_{};    // of it, what a tile reads
  InnerConv inner_;
  std::array<WindowMap, 2> map_;
  ptrdiff_t pitch_ = 0;  // of the pixels between the two, in floats
};

}  // namespace

Status InferPooledConv(InferContext& context) {
  const std::vector<int64_t> sizes = context.node.Ints("pool_outputs");
  context.SetOutput(0, DType::kFloat32,
                    {context.shape(0)[0], context.shape(1)[0], sizes[0], sizes[1]});
  return {};
}

void LayoutPooledConv(LayoutContext& context) {
  const Shape& in = context.shape(0);
  context.input_axes[0] = SpatialAxes(4);
  context.output_axes[0] = SpatialAxes(4);
  for (size_t i = 1; i < context.node.inputs.size(); ++i) context.input_in_memory[i] = false;
  const auto window = WindowOf(context.node, in, context.shape(1));
  const auto convolved = window->Outputs(in);
  const Shape out = {in[0], context.shape(1)[0], convolved[0], convolved[1]};
  context.input_halo[0] = window->HaloOf(in, out, 1);
}

Result<KernelPtr> MakePooledConv(const MakeContext& context) {
  const auto window = WindowOf(context.node, context.in(0).shape, context.in(1).shape);
  if (!window.ok()) return window.error();
  return KernelPtr(std::make_unique<PooledConv>(context, *window));
}

}  // namespace deltacnn
