// GridSample: pixels interpolated at positions that a second input gives, as [N,H,W,2] of (x, y)
// from -1 to 1.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "ops/op.h"
#include "ops/store.h"

namespace deltacnn {
namespace {

enum class Mode { kNearest, kLinear, kCubic };
enum class Padding { kZeros, kBorder, kReflection };

/// Everything that a node says.
struct Spec {
  Mode mode = Mode::kLinear;
  Padding padding = Padding::kZeros;
  bool align_corners = false;
};

std::optional<Spec> ReadSpec(const Node& node) {
  Spec spec;
  // The names since opset 20, and those before.
  const std::string mode = node.String("mode", "linear");
  if (mode == "nearest") {
    spec.mode = Mode::kNearest;
  } else if (mode == "cubic" || mode == "bicubic") {
    spec.mode = Mode::kCubic;
  } else if (mode != "linear" && mode != "bilinear") {
    return std::nullopt;
  }
  const std::string padding = node.String("padding_mode", "zeros");
  if (padding == "border") {
    spec.padding = Padding::kBorder;
  } else if (padding == "reflection") {
    spec.padding = Padding::kReflection;
  } else if (padding != "zeros") {
    return std::nullopt;
  }
  spec.align_corners = node.Int("align_corners", 0) != 0;
  return spec;
}

constexpr int kMostTaps = 4;
constexpr int kOutside = -1;  // index of a tap that is zero

/// One axis of a position: the sum of weight[t] * input[index[t]].
struct Taps {
  int count = 0;
  std::array<int, kMostTaps> index = {};
  std::array<float, kMostTaps> weight = {};
};

/// Mirrors `x` at the borders until it lies between them; exact for halves.
double Reflect(double x, double low, double high) {
  const double range = high - low;
  if (range <= 0) return low;
  const double rest = std::fmod(std::abs(x - low), 2 * range);
  return low + std::min(rest, 2 * range - rest);
}

/// The index of position `i`, which may lie outside.
int IndexOf(const Spec& spec, double i, int inputs) {
  const double last = inputs - 1;
  if (i >= 0 && i <= last) return static_cast<int>(i);
  if (spec.padding == Padding::kZeros) return kOutside;
  if (spec.padding == Padding::kReflection) {
    const double beyond = spec.align_corners ? 0 : 0.5;
    i = Reflect(i, -beyond, last + beyond);
  }
  return static_cast<int>(std::clamp(i, 0.0, last));
}

/// The taps of a coordinate from -1 to 1. Those that are no numbers lie outside.
Taps TapsAt(const Spec& spec, float coordinate, int inputs) {
  constexpr double kFar = 1 << 30;  // beyond it, neighbours would be the same double
  const double length = inputs;
  double x = spec.align_corners ? (coordinate + 1.0) / 2 * (length - 1)
                                : ((coordinate + 1.0) * length - 1) / 2;
  x = x >= -kFar && x <= kFar ? x : (x > 0 ? kFar : -kFar);
  const double floor = std::floor(x);
  const auto s = static_cast<float>(x - floor);
  Taps taps;
  const auto add = [&](double i, float weight) {
    const auto t = static_cast<size_t>(taps.count++);
    taps.index[t] = IndexOf(spec, i, inputs);
    taps.weight[t] = weight;
  };
  switch (spec.mode) {
    case Mode::kNearest:
      add(std::nearbyint(x), 1);
      break;
    case Mode::kLinear:
      add(floor, 1 - s);
      add(floor + 1, s);
      break;
    case Mode::kCubic: {
      // R. Keys, Cubic convolution interpolation for digital image processing, 1981.
      constexpr float kA = -0.75f;
      const auto near = [](float d) { return ((kA + 2) * d - (kA + 3)) * d * d + 1; };
      const auto far = [](float d) { return ((kA * d - 5 * kA) * d + 8 * kA) * d - 4 * kA; };
      add(floor - 1, far(s + 1));
      add(floor, near(s));
      add(floor + 1, near(1 - s));
      add(floor + 2, far(2 - s));
    }
  }
  return taps;
}

class GridSampleKernel : public Kernel {
 public:
  GridSampleKernel(const MakeContext& context, const Spec& spec)
      : in_(context.in(0)),
        grid_(context.in(1)),
        out_(context.out(0)),
        kernels_(context.kernels),
        spec_(spec),
        in_rows_(static_cast<int>(in_.shape[2])),
        out_rows_(static_cast<int>(out_.shape[2])) {
    if (grid_.constant == nullptr) return;
    for (int row = 0; row < out_.grid.rows; ++row) {
      for (int col = 0; col < out_.grid.cols; ++col)
        sources_.push_back(SourceAt(ConstantPosition(row, col)));
    }
  }

  /// Where the positions are constants, a pixel follows those that it reads; else all of a picture
  /// follow each of its pixels.
  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    if (inputs[1].words != nullptr) out.Or(inputs[1]);
    if (inputs[0].words == nullptr) return;
    if (sources_.empty()) return AffectPictures(inputs[0], out);
    for (int row = 0; row < out.grid.rows; ++row) {
      const int first_row = row / out_rows_ * in_rows_;
      const Source* source = &sources_[static_cast<size_t>(row) * out.grid.cols];
      for (int col = 0; col < out.grid.cols; ++col, ++source) {
        if (AnySet(inputs[0], {first_row + source->row_begin, first_row + source->row_end,
                               source->col_begin, source->col_end}))
          out.Set(out.grid.Bit(row, col));
      }
    }
  }

  size_t ScratchBytes() const override { return static_cast<size_t>(in_.channels) * sizeof(float); }

  void Compute(const Work& work) const override {
    auto* sums = reinterpret_cast<float*>(work.scratch);
    for (const Span& span : work.spans) {
      for (int k = 0; k < span.count; ++k) {
        const int col = span.col + k;
        const float* position = grid_.constant != nullptr ? ConstantPosition(span.row, col)
                                                          : work.Pixel<float>(grid_, span.row, col);
        Interpolate(work, span.row / out_rows_ * in_rows_, position, sums);
        StorePixels(kernels_, work, out_, span.Part(k, 1), sums, in_.channels);
      }
    }
  }

 private:
  /// The rows and columns that an output pixel reads, of its picture.
  struct Source {
    int row_begin, row_end;
    int col_begin, col_end;
  };

  /// Sets every picture of `out` of whose input a pixel changed.
  void AffectPictures(const MaskView& in, const MaskView& out) const {
    for (int row = 0; row < out.grid.rows; row += out_rows_) {
      const int first_row = row / out_rows_ * in_rows_;
      if (!AnySet(in, {first_row, first_row + in_rows_, 0, in.grid.cols})) continue;
      for (int k = 0; k < out_rows_; ++k) out.SetRange(row + k, 0, out.grid.cols);
    }
  }

  /// x, y of an output pixel.
  const float* ConstantPosition(int row, int col) const {
    const auto pixel = static_cast<size_t>(row) * static_cast<size_t>(out_.grid.cols) + col;
    return grid_.constant->as<float>().data() + 2 * pixel;
  }

  static std::pair<int, int> Range(const Taps& taps) {
    int begin = 0, end = 0;
    for (size_t t = 0; t < static_cast<size_t>(taps.count); ++t) {
      const int i = taps.index[t];
      if (i == kOutside) continue;
      begin = end == 0 ? i : std::min(begin, i);
      end = std::max(end, i + 1);
    }
    return {begin, end};
  }

  Source SourceAt(const float* position) const {
    const auto [row_begin, row_end] = Range(TapsAt(spec_, position[1], in_rows_));
    const auto [col_begin, col_end] = Range(TapsAt(spec_, position[0], in_.grid.cols));
    return {row_begin, row_end, col_begin, col_end};
  }

  static bool AnySet(const MaskView& mask, const Source& source) {
    for (int row = source.row_begin; row < source.row_end; ++row) {
      bool any = false;
      ForEachWord(source.col_begin, source.col_end, [&](int word, int shift, int count) {
        any |= (mask.row(row)[word] & BitRange(shift, count)) != 0;
      });
      if (any) return true;
    }
    return false;
  }

  void Interpolate(const Work& work, int first_row, const float* position, float* sums) const {
    const auto channels = static_cast<size_t>(in_.channels);
    const Taps rows = TapsAt(spec_, position[1], in_rows_);
    const Taps cols = TapsAt(spec_, position[0], in_.grid.cols);
    std::fill_n(sums, channels, 0.0f);
    for (size_t r = 0; r < static_cast<size_t>(rows.count); ++r) {
      for (size_t c = 0; c < static_cast<size_t>(cols.count); ++c) {
        if (rows.index[r] == kOutside || cols.index[c] == kOutside) continue;
        const float* x = work.Pixel<float>(in_, first_row + rows.index[r], cols.index[c]);
        kernels_.accumulate(sums, x, rows.weight[r] * cols.weight[c], channels);
      }
    }
  }

  Placement in_;
  Placement grid_;
  Placement out_;
  const kernels::Table& kernels_;
  Spec spec_;
  int in_rows_;  // of one picture
  int out_rows_;
  std::vector<Source> sources_;  // by output pixel, if the positions are constants
};

}  // namespace

Status InferGridSample(InferContext& context) {
  if (!context.Has(0) || !context.Has(1)) return context.Invalid("needs an input and a grid");
  if (!ReadSpec(context.node)) return context.Invalid("its mode or padding_mode is unknown");
  const Shape& x = context.shape(0);
  const Shape& grid = context.shape(1);
  if (x.size() == 5) return context.Unsupported("samples volumes; pictures are supported");
  if (x.size() != 4 || grid.size() != 4 || grid[3] != 2 || grid[0] != x[0]) {
    return context.Invalid("a grid " + ToString(grid) + " does not fit an input " + ToString(x) +
                           "; [N,H,W,2] is needed");
  }
  if (x[2] < 1 || x[3] < 1) return context.Invalid("cannot sample an input " + ToString(x));
  if (context.dtype(0) != DType::kFloat32 || context.dtype(1) != DType::kFloat32)
    return context.Unsupported("an input or a grid that is not float32");
  context.SetOutput(0, DType::kFloat32, {x[0], x[1], grid[1], grid[2]});
  return {};
}

void LayoutGridSample(LayoutContext& context) {
  context.input_axes[0] = SpatialAxes(4);
  context.input_axes[1] = AllAxes(3);
  context.input_in_memory[1] = context.graph.Constant(context.node.inputs[1]) == nullptr;
  context.output_axes[0] = SpatialAxes(4);
}

Result<KernelPtr> MakeGridSample(const MakeContext& context) {
  return KernelPtr(std::make_unique<GridSampleKernel>(context, *ReadSpec(context.node)));
}

}  // namespace deltacnn
