// Resize and Upsample: up to two axes, one after the other, with weights that are computed once.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "ops/op.h"
#include "ops/store.h"

namespace deltacnn {
namespace {

enum class Mode { kNearest, kLinear, kCubic };
enum class Coordinates {
  kAsymmetric,
  kHalfPixel,
  kHalfPixelSymmetric,
  kPytorchHalfPixel,
  kTfHalfPixelForNn,
  kAlignCorners
};
enum class Rounding { kPreferFloor, kPreferCeil, kFloor, kCeil };

/// How one axis is resized.
struct AxisSize {
  int inputs;
  int outputs;
  float scale;

  bool resized() const { return inputs != outputs || scale != 1.0f; }
};

/// Everything that a node says, checked.
struct Spec {
  Mode mode = Mode::kNearest;
  Coordinates coordinates = Coordinates::kAsymmetric;
  Rounding rounding = Rounding::kFloor;
  bool antialias = false;
  bool exclude_outside = false;
  double cubic_a = -0.75;
  std::vector<AxisSize> axes;
};

/// Where the node's scales and sizes are among its inputs (an index that no node has: nowhere).
struct InputIndices {
  size_t scales;
  size_t sizes;
};
InputIndices IndicesOf(const Node& node, int64_t opset) {
  constexpr size_t kNowhere = 99;
  if (node.op == "Upsample") return {opset < 9 ? kNowhere : 1, kNowhere};
  return opset < 11 ? InputIndices{1, kNowhere} : InputIndices{2, 3};
}

template <class Enum>
struct Choice {
  const char* name;
  Enum value;
};
constexpr Choice<Mode> kModes[] = {
    {"nearest", Mode::kNearest}, {"linear", Mode::kLinear}, {"cubic", Mode::kCubic}};
constexpr Choice<Coordinates> kCoordinates[] = {
    {"asymmetric", Coordinates::kAsymmetric},
    {"half_pixel", Coordinates::kHalfPixel},
    {"half_pixel_symmetric", Coordinates::kHalfPixelSymmetric},
    {"pytorch_half_pixel", Coordinates::kPytorchHalfPixel},
    {"tf_half_pixel_for_nn", Coordinates::kTfHalfPixelForNn},
    {"align_corners", Coordinates::kAlignCorners}};
constexpr Choice<Rounding> kRoundings[] = {{"round_prefer_floor", Rounding::kPreferFloor},
                                           {"round_prefer_ceil", Rounding::kPreferCeil},
                                           {"floor", Rounding::kFloor},
                                           {"ceil", Rounding::kCeil}};

/// Reads a string attribute that names one of `choices`.
template <class Enum, size_t kCount>
Status Choose(const Node& node, const std::string& key, const std::string& fallback,
              const Choice<Enum> (&choices)[kCount], Enum& value) {
  const std::string name = node.String(key, fallback);
  std::string known;
  for (const Choice<Enum>& choice : choices) {
    if (name == choice.name) {
      value = choice.value;
      return {};
    }
    known += known.empty() ? choice.name : std::string(", ") + choice.name;
  }
  return NodeError(ErrorCode::kUnsupported, node, key + " '" + name + "' is not among " + known);
}

/// Fills Spec::axes from the node's scales (empty if it has sizes) or sizes.
Status ReadSizes(const Node& node, const Shape& shape, std::span<const float> scales,
                 std::span<const int64_t> sizes, Spec& spec) {
  const auto invalid = [&](const std::string& what) {
    return NodeError(ErrorCode::kInvalidModel, node, what);
  };
  const auto rank = static_cast<int64_t>(shape.size());
  if (rank == 0 || ElementCount(shape) < 1)
    return invalid("cannot resize an input " + ToString(shape));
  for (const int64_t dim : shape) {
    if (dim > std::numeric_limits<int>::max()) return invalid(ToString(shape) + " is too large");
    spec.axes.push_back({static_cast<int>(dim), static_cast<int>(dim), 1.0f});
  }
  std::vector<int64_t> axes = node.Ints("axes");
  if (axes.empty()) {
    axes.resize(shape.size());
    std::iota(axes.begin(), axes.end(), 0);
  }
  const size_t given = scales.empty() ? sizes.size() : scales.size();
  if (given != axes.size()) {
    return invalid(std::to_string(given) + " scales or sizes for " + std::to_string(axes.size()) +
                   " axes");
  }
  for (int64_t& axis : axes) {
    if (axis < -rank || axis >= rank)
      return invalid("axes " + ToString(axes) + " are out of range");
    axis = static_cast<int64_t>(FromFront(axis, shape.size()));
  }

  // One scale for all axes, if the node asks to keep the aspect ratio.
  const std::string policy = node.String("keep_aspect_ratio_policy", "stretch");
  if (policy != "stretch" && policy != "not_larger" && policy != "not_smaller")
    return invalid("keep_aspect_ratio_policy '" + policy + "' is unknown");
  float common = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const float scale = static_cast<float>(sizes[i]) / static_cast<float>(shape[axes[i]]);
    if (i == 0 || (policy == "not_larger" ? scale < common : scale > common)) common = scale;
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    AxisSize& axis = spec.axes[static_cast<size_t>(axes[i])];
    const auto inputs = static_cast<float>(axis.inputs);
    float outputs = 0;
    if (!scales.empty()) {
      axis.scale = scales[i];
      outputs = std::floor(scales[i] * inputs);
    } else if (policy == "stretch") {
      axis.scale = static_cast<float>(sizes[i]) / inputs;
      outputs = static_cast<float>(sizes[i]);
    } else {
      axis.scale = common;
      outputs = std::floor(common * inputs + 0.5f);
    }
    constexpr float kMost = 1 << 24;  // a float counts exactly up to here
    if (axis.scale == 1.0f && outputs == inputs) continue;
    if (!(axis.scale > 0) || !(outputs >= 1) || outputs > kMost || inputs > kMost) {
      return invalid("axis " + std::to_string(axes[i]) + " of " + ToString(shape) +
                     " cannot be scaled by " + std::to_string(axis.scale));
    }
    axis.outputs = static_cast<int>(outputs);
  }
  return {};
}

/// `scales` and `sizes` are the node's inputs of these names, null if absent.
Result<Spec> ReadSpec(const Node& node, int64_t opset, const Shape& shape, const Tensor* scales,
                      const Tensor* sizes) {
  const auto invalid = [&](const std::string& what) {
    return NodeError(ErrorCode::kInvalidModel, node, what);
  };
  Spec spec;
  DELTACNN_RETURN_IF_ERROR(Choose(node, "mode", "nearest", kModes, spec.mode));
  if (opset >= 11) {
    DELTACNN_RETURN_IF_ERROR(Choose(node, "coordinate_transformation_mode", "half_pixel",
                                    kCoordinates, spec.coordinates));
    DELTACNN_RETURN_IF_ERROR(
        Choose(node, "nearest_mode", "round_prefer_floor", kRoundings, spec.rounding));
  }
  spec.antialias = node.Int("antialias", 0) != 0;
  spec.exclude_outside = node.Int("exclude_outside", 0) != 0;
  spec.cubic_a = node.Float("cubic_coeff_a", -0.75f);

  std::vector<float> scale_values = node.Floats("scales");
  if (scales != nullptr && scales->elements() > 0) {
    if (scales->dtype != DType::kFloat32) return invalid("scales are not float32");
    const auto values = scales->as<float>();
    scale_values.assign(values.begin(), values.end());
  }
  std::span<const int64_t> size_values;
  if (sizes != nullptr && sizes->elements() > 0) {
    if (sizes->dtype != DType::kInt64) return invalid("sizes are not int64");
    size_values = sizes->as<int64_t>();
  }
  if (scale_values.empty() == size_values.empty()) return invalid("needs either scales or sizes");
  DELTACNN_RETURN_IF_ERROR(ReadSizes(node, shape, scale_values, size_values, spec));
  return spec;
}

/// The position in the input of output `o`, in the arithmetic that exporters check against.
float InputPosition(Coordinates coordinates, const AxisSize& axis, int o) {
  const auto at = static_cast<float>(o);
  const auto inputs = static_cast<float>(axis.inputs);
  const auto outputs = static_cast<float>(axis.outputs);
  const float half_pixel = (at + 0.5f) / axis.scale - 0.5f;
  switch (coordinates) {
    case Coordinates::kAsymmetric:
      return at / axis.scale;
    case Coordinates::kHalfPixel:
      return half_pixel;
    case Coordinates::kHalfPixelSymmetric: {
      const float adjustment = outputs / (axis.scale * inputs);
      return inputs / 2 * (1 - adjustment) + half_pixel;
    }
    case Coordinates::kPytorchHalfPixel:
      return axis.outputs > 1 ? half_pixel : 0.0f;
    case Coordinates::kTfHalfPixelForNn:
      return (at + 0.5f) / axis.scale;
    case Coordinates::kAlignCorners:
      break;
  }
  // By the length of the resized tensor, as the specification's words, PyTorch and ONNX Runtime
  // have it; its reference implementation takes inputs * scale, which may be a fraction.
  return axis.outputs > 1 ? at * (inputs - 1) / (outputs - 1) : 0.0f;
}

double Round(Rounding rounding, double x) {
  switch (rounding) {
    case Rounding::kPreferFloor:
      return std::ceil(x - 0.5);
    case Rounding::kPreferCeil:
      return std::floor(x + 0.5);
    case Rounding::kFloor:
      return std::floor(x);
    case Rounding::kCeil:
      break;
  }
  return std::ceil(x);
}

/// The weight of an input at distance d.
double Filter(const Spec& spec, double d) {
  d = std::abs(d);
  if (spec.mode == Mode::kLinear) return std::max(1 - d, 0.0);
  const double a = spec.cubic_a;
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

/// Output o is the sum of weight[o * taps + t] * input[index[o * taps + t]].
struct AxisTable {
  int inputs = 1;
  size_t taps = 1;
  std::vector<int> index;
  std::vector<float> weight;
  WindowMap map;

  std::span<const int> Indices(int o) const {
    return std::span(index).subspan(static_cast<size_t>(o) * taps, taps);
  }
  std::span<const float> Weights(int o) const {
    return std::span(weight).subspan(static_cast<size_t>(o) * taps, taps);
  }
};

AxisTable MakeTable(const Spec& spec, const AxisSize& axis, int64_t opset) {
  AxisTable table;
  table.inputs = axis.inputs;
  const double shrink = spec.antialias ? std::min(1.0, double{axis.scale}) : 1.0;
  const double radius = (spec.mode == Mode::kCubic ? 2 : 1) / shrink;
  const bool weighted = spec.mode != Mode::kNearest && axis.resized();
  const int reach = static_cast<int>(std::ceil(radius));
  if (weighted) table.taps = 2 * static_cast<size_t>(reach);
  for (int o = 0; o < axis.outputs; ++o) {
    const float x = InputPosition(spec.coordinates, axis, o);
    if (weighted) {
      const int first = static_cast<int>(std::floor(x)) - reach + 1;
      double sum = 0;
      std::vector<double> weights;
      for (int i = first; i < first + 2 * reach; ++i) {
        const bool outside = i < 0 || i >= axis.inputs;
        weights.push_back(outside && spec.exclude_outside ? 0 : Filter(spec, (i - x) * shrink));
        sum += weights.back();
        table.index.push_back(std::clamp(i, 0, axis.inputs - 1));
      }
      const bool normalise = (spec.exclude_outside || spec.antialias) && sum != 0;
      for (const double w : weights)
        table.weight.push_back(static_cast<float>(normalise ? w / sum : w));
    } else {
      Rounding rounding = spec.rounding;
      // Old versions leave it open; this is what the common runtimes do.
      if (opset < 11 && axis.scale < 1) rounding = Rounding::kCeil;
      const double nearest = axis.resized() ? Round(rounding, x) : o;
      table.index.push_back(static_cast<int>(std::clamp(nearest, 0.0, axis.inputs - 1.0)));
      table.weight.push_back(1.0f);
    }
    const auto [low, high] = std::ranges::minmax(table.Indices(o));
    table.map.first.push_back(low);
    table.map.last.push_back(high + 1);
  }
  table.map.Invert(axis.inputs);
  return table;
}

/// The grid that a node works on. Rows of `row_axis` are interpolated, then columns.
struct Axes {
  AxisSet pixel_axes = 0;
  size_t col_axis = 0;
  bool has_row_axis = false;
  size_t row_axis = 0;
};

/// nullopt if more than two axes are resized.
std::optional<Axes> ChooseAxes(const Spec& spec) {
  const size_t rank = spec.axes.size();
  std::vector<size_t> resized;
  for (size_t a = 0; a < rank; ++a) {
    if (spec.axes[a].resized()) resized.push_back(a);
  }
  if (resized.size() > 2) return std::nullopt;
  Axes axes;
  // A picture [N,C,...,H,W] stays in its usual layout, though only its height be resized.
  const bool picture =
      rank >= 3 && (resized.empty() || resized[0] >= std::max<size_t>(rank - 2, 2));
  if (picture) {
    axes = {SpatialAxes(rank), rank - 1, rank > 3, rank - 2};
  } else if (resized.size() == 2) {
    axes = {AllAxes(resized[0] + 1) | Axis(resized[1]), resized[1], true, resized[0]};
  } else {
    axes.col_axis = resized.empty() ? rank - 1 : resized[0];
    axes.pixel_axes = AllAxes(axes.col_axis + 1);
  }
  return axes;
}

class ResizeKernel : public Kernel {
 public:
  ResizeKernel(const MakeContext& context, AxisTable rows, AxisTable cols)
      : in_(context.in(0)),
        out_(context.out(0)),
        kernels_(context.kernels),
        rows_(std::move(rows)),
        cols_(std::move(cols)),
        images_(in_.grid.rows / rows_.inputs),
        out_rows_(out_.grid.rows / images_) {
    do {
      tile_ /= 2;
      columns_ = MostColumns();
    } while (tile_ > 1 && (columns_ + static_cast<size_t>(tile_)) * channels() > kTileFloats);
  }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    Affect(inputs[0], rows_.map, cols_.map, images_, out);
  }

  size_t ScratchBytes() const override {
    return copies() ? 0 : (columns_ + static_cast<size_t>(tile_)) * channels() * sizeof(float);
  }

  void Compute(const Work& work) const override {
    for (const Span& span : work.spans) {
      for (int k = 0; k < span.count; k += tile_) {
        const Span tile = span.Part(k, std::min(tile_, span.count - k));
        copies() ? CopyTile(work, tile) : ComputeTile(work, tile);
      }
    }
  }

 private:
  static constexpr size_t kTileFloats = 16384;  // interpolated rows that stay in the nearest caches

  size_t channels() const { return static_cast<size_t>(in_.channels); }
  /// Whether every output pixel is an input pixel.
  bool copies() const { return rows_.taps == 1 && cols_.taps == 1; }
  int InputRow(int out_row, int row) const { return out_row / out_rows_ * rows_.inputs + row; }

  /// Most input columns under a tile.
  size_t MostColumns() const {
    int most = 0;
    const int outputs = out_.grid.cols;
    for (int o = 0; o < outputs; ++o) {
      const auto last = static_cast<size_t>(std::min(o + tile_, outputs) - 1);
      most = std::max(most, cols_.map.last[last] - cols_.map.first[static_cast<size_t>(o)]);
    }
    return static_cast<size_t>(most);
  }

  void CopyTile(const Work& work, const Span& tile) const {
    const int row = InputRow(tile.row, rows_.Indices(tile.row % out_rows_)[0]);
    const size_t bytes = channels() * SizeOf(in_.dtype);
    for (int k = 0; k < tile.count; ++k) {
      const int col = cols_.Indices(tile.col + k)[0];
      if (StoreChanged(PixelBytes(work, out_, tile.row, tile.col + k),
                       PixelBytes(work, in_, row, col), bytes))
        work.changed[tile.first + static_cast<size_t>(k)] = kChanged;
    }
  }

  /// Interpolates between rows for all input columns under the tile, then between these columns.
  void ComputeTile(const Work& work, const Span& tile) const {
    const size_t n = channels();
    auto* columns = reinterpret_cast<float*>(work.scratch);
    float* pixels = columns + columns_ * n;
    const int begin = cols_.map.first[static_cast<size_t>(tile.col)];
    const int end = cols_.map.last[static_cast<size_t>(tile.col + tile.count - 1)];
    std::fill_n(columns, static_cast<size_t>(end - begin) * n, 0.0f);
    const auto rows = rows_.Indices(tile.row % out_rows_);
    const auto row_weights = rows_.Weights(tile.row % out_rows_);
    for (size_t t = 0; t < rows.size(); ++t)
      AddRow(work, InputRow(tile.row, rows[t]), row_weights[t], begin, end, columns);
    const auto cols = cols_.Indices(tile.col);
    kernels_.interpolate(columns, begin, cols.data(), cols_.Weights(tile.col).data(), cols.size(),
                         static_cast<size_t>(tile.count), n, pixels);
    StorePixels(kernels_, work, out_, tile, pixels, in_.channels);
  }

  void AddRow(const Work& work, int row, float weight, int begin, int end, float* columns) const {
    const bool packed = in_.col_stride == in_.channels;
    const int step = packed ? end - begin : 1;
    const size_t n = static_cast<size_t>(step) * channels();
    for (int col = begin; col < end; col += step, columns += n)
      kernels_.accumulate(columns, work.Pixel<float>(in_, row, col), weight, n);
  }

  Placement in_;
  Placement out_;
  const kernels::Table& kernels_;
  AxisTable rows_;
  AxisTable cols_;
  int images_;
  int out_rows_;
  int tile_ = 128;  // output pixels that share columns; halved before use
  size_t columns_ = 0;
};

}  // namespace

Status InferResize(InferContext& context) {
  if (!context.Has(0)) return context.Invalid("the input is missing");
  const auto [scales, sizes] = IndicesOf(context.node, context.opset());
  for (const size_t i : {scales, sizes}) {
    if (context.Has(i) && context.constant(i) == nullptr && ElementCount(context.shape(i)) != 0)
      return context.DataDependent("the new size is not a constant");
  }
  const auto tensor = [&](size_t i) { return context.Has(i) ? context.constant(i) : nullptr; };
  const Result<Spec> spec =
      ReadSpec(context.node, context.opset(), context.shape(0), tensor(scales), tensor(sizes));
  if (!spec.ok()) return spec.error();
  if (!ChooseAxes(*spec)) return context.Unsupported("resizes more than two axes");
  if (context.dtype(0) != DType::kFloat32 && spec->mode != Mode::kNearest) {
    return context.Unsupported(std::string("interpolates ") + NameOf(context.dtype(0)) +
                               " elements; float32 is supported");
  }
  Shape shape;
  for (const AxisSize& axis : spec->axes) shape.push_back(axis.outputs);
  context.SetOutput(0, context.dtype(0), std::move(shape));
  return {};
}

void LayoutResize(LayoutContext& context) {
  const auto [scales, sizes] = IndicesOf(context.node, context.graph.opset);
  const auto tensor = [&](size_t i) {
    const ValueId id = context.node.Input(i);
    return id == kNoValue ? nullptr : context.graph.Constant(id).get();
  };
  const Result<Spec> spec =
      ReadSpec(context.node, context.graph.opset, context.shape(0), tensor(scales), tensor(sizes));
  const AxisSet axes = ChooseAxes(*spec)->pixel_axes;
  context.input_axes[0] = axes;
  for (size_t i = 1; i < context.node.inputs.size(); ++i)
    context.input_in_memory[i] = tensor(i) == nullptr;
  context.output_axes[0] = axes;
}

Result<KernelPtr> MakeResize(const MakeContext& context) {
  const auto [scales, sizes] = IndicesOf(context.node, context.opset);
  const auto tensor = [&](size_t i) {
    return context.Has(i) ? context.in(i).constant.get() : nullptr;
  };
  const Result<Spec> spec =
      ReadSpec(context.node, context.opset, context.in(0).shape, tensor(scales), tensor(sizes));
  if (!spec.ok()) return spec.error();
  const Axes axes = *ChooseAxes(*spec);
  const AxisSize no_axis = {1, 1, 1.0f};
  const AxisSize& row_axis = axes.has_row_axis ? spec->axes[axes.row_axis] : no_axis;
  return KernelPtr(
      std::make_unique<ResizeKernel>(context, MakeTable(*spec, row_axis, context.opset),
                                     MakeTable(*spec, spec->axes[axes.col_axis], context.opset)));
}

}  // namespace deltacnn
