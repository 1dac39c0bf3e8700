// ArgMax, ArgMin, TopK and NonMaxSuppression.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "ops/op.h"
#include "ops/store.h"

namespace deltacnn {
namespace {

/// The selecting axis, counted from the front.
size_t AxisOf(const Node& node, int64_t fallback, const Shape& shape) {
  return FromFront(node.Int("axis", fallback), shape.size());
}

/// The axes of a tensor of `rank` axes other than `axis`.
AxisSet AllBut(size_t axis, size_t rank) { return AllAxes(rank) & ~Axis(axis); }

/// The largest (or smallest) element of every pixel; the first or the last one among equals.
template <class T>
class ArgMaxKernel : public Kernel {
 public:
  explicit ArgMaxKernel(const MakeContext& context)
      : in_(context.in(0)),
        out_(context.out(0)),
        smallest_(context.node.op == "ArgMin"),
        last_(context.node.Int("select_last_index", 0) != 0) {}

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    if (inputs[0].words != nullptr) out.Or(inputs[0]);
  }

  void Compute(const Work& work) const override {
    ForEachPixel(work, [&](int row, int col) {
      const int64_t best = Best(work.Pixel<T>(in_, row, col));
      return StoreChanged(work.Pixel<int64_t>(out_, row, col), &best, sizeof best);
    });
  }

 private:
  int64_t Best(const T* x) const {
    int64_t best = 0;
    for (int64_t i = 1; i < in_.channels; ++i) {
      const bool better = smallest_ ? x[i] < x[best] : x[i] > x[best];
      if (better || (last_ && x[i] == x[best])) best = i;
    }
    return best;
  }

  Placement in_;
  Placement out_;
  bool smallest_;
  bool last_;
};

/// The k largest (or smallest) elements of every pixel, best first; the first one among equals.
/// NaN counts as larger than every number.
template <class T>
class TopKKernel : public Kernel {
 public:
  explicit TopKKernel(const MakeContext& context)
      : in_(context.in(0)), largest_(context.node.Int("largest", 1) != 0) {
    for (const Placement* output : context.outputs) {
      if (output != nullptr) count_ = output->channels;
    }
    if (context.outputs[0] != nullptr) values_ = context.out(0);
    if (context.outputs.size() > 1 && context.outputs[1] != nullptr) indices_ = context.out(1);
  }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    if (inputs[0].words != nullptr) out.Or(inputs[0]);
  }

  void Compute(const Work& work) const override {
    auto* order = reinterpret_cast<int32_t*>(work.scratch);
    ForEachPixel(work, [&](int row, int col) {
      const T* x = work.Pixel<T>(in_, row, col);
      Sort(x, order);
      return Store(work, row, col, x, order);
    });
  }

  size_t ScratchBytes() const override {
    return static_cast<size_t>(in_.channels) * sizeof(int32_t);
  }

 private:
  static bool Less(T a, T b) { return a < b || (a == a && b != b); }

  void Sort(const T* x, int32_t* order) const {
    std::iota(order, order + in_.channels, 0);
    std::partial_sort(order, order + count_, order + in_.channels, [&](int32_t a, int32_t b) {
      if (Less(x[a], x[b])) return !largest_;
      if (Less(x[b], x[a])) return largest_;
      return a < b;
    });
  }

  bool Store(const Work& work, int row, int col, const T* x, const int32_t* order) const {
    bool changed = false;
    for (int64_t i = 0; i < count_; ++i) {
      const int64_t index = order[i];
      if (values_)
        changed |= StoreChanged(work.Pixel<T>(*values_, row, col) + i, x + index, sizeof(T));
      if (indices_) {
        changed |= StoreChanged(work.Pixel<int64_t>(*indices_, row, col) + i, &index, sizeof index);
      }
    }
    return changed;
  }

  Placement in_;
  std::optional<Placement> values_;
  std::optional<Placement> indices_;
  int64_t count_ = 0;
  bool largest_;
};

/// A kernel class template for the element type of the input.
template <template <class> class K>
Result<KernelPtr> MakeOf(const MakeContext& context) {
  switch (context.in(0).dtype) {
    case DType::kFloat32:
      return KernelPtr(std::make_unique<K<float>>(context));
    case DType::kFloat64:
      return KernelPtr(std::make_unique<K<double>>(context));
    case DType::kInt8:
      return KernelPtr(std::make_unique<K<int8_t>>(context));
    case DType::kUint8:
      return KernelPtr(std::make_unique<K<uint8_t>>(context));
    case DType::kInt32:
      return KernelPtr(std::make_unique<K<int32_t>>(context));
    case DType::kInt64:
      return KernelPtr(std::make_unique<K<int64_t>>(context));
    default:
      return context.Unsupported(std::string(NameOf(context.in(0).dtype)) + " input");
  }
}

Status CheckNumber(const InferContext& context) {
  if (!context.Has(0)) return context.Invalid("input 0 is missing");
  if (context.dtype(0) == DType::kBool || context.dtype(0) == DType::kFloat16) {
    return context.Unsupported(std::string(NameOf(context.dtype(0))) +
                               " input; float32, float64 and integers are supported");
  }
  return {};
}

struct Box {
  float y1, x1, y2, x2;  // y1 <= y2, x1 <= x2

  float Area() const { return (y2 - y1) * (x2 - x1); }
};

Box ToBox(const float* corners, bool center_point) {
  if (center_point) {
    const float half_width = corners[2] / 2;
    const float half_height = corners[3] / 2;
    return {corners[1] - half_height, corners[0] - half_width, corners[1] + half_height,
            corners[0] + half_width};
  }
  return {std::min(corners[0], corners[2]), std::min(corners[1], corners[3]),
          std::max(corners[0], corners[2]), std::max(corners[1], corners[3])};
}

/// True if the intersection of the boxes is more than `threshold` of their union.
bool Overlap(const Box& a, const Box& b, float threshold) {
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  if (!(height > 0) || !(width > 0)) return false;
  const float intersection = height * width;
  const float all = a.Area() + b.Area() - intersection;
  return a.Area() > 0 && b.Area() > 0 && all > 0 && intersection / all > threshold;
}

struct Suppression {
  int64_t most = 0;  // boxes of a class
  float overlap = 0;
  float score = 0;
  bool has_score = false;
  bool center_point = false;
};

/// Appends the boxes of one class that remain, best score first.
void Suppress(const float* boxes, std::span<const float> scores, const Suppression& options,
              std::vector<int64_t>& kept) {
  std::vector<int64_t> order;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i]) || (options.has_score && !(scores[i] > options.score))) continue;
    order.push_back(static_cast<int64_t>(i));
  }
  std::ranges::stable_sort(order, [&](int64_t a, int64_t b) {
    return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
  });
  std::vector<Box> winners;
  for (const int64_t i : order) {
    if (static_cast<int64_t>(winners.size()) >= options.most) break;
    const Box box = ToBox(boxes + i * 4, options.center_point);
    const bool beaten = std::ranges::any_of(
        winners, [&](const Box& winner) { return Overlap(box, winner, options.overlap); });
    if (beaten) continue;
    winners.push_back(box);
    kept.push_back(i);
  }
}

/// A constant scalar input of type T; `fallback` if it is absent.
template <class T>
Result<T> Scalar(InferContext& context, size_t input, DType dtype, T fallback) {
  if (!context.Has(input)) return fallback;
  const std::string name = "input " + std::to_string(input);
  if (context.dtype(input) != dtype || ElementCount(context.shape(input)) != 1)
    return context.Invalid(name + " must be one " + NameOf(dtype));
  if (context.constant(input) == nullptr) return context.DataDependent(name + " is no constant");
  return context.constant(input)->as<T>()[0];
}

}  // namespace

Status InferArgMax(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckNumber(context));
  Shape shape = context.shape(0);
  const auto axis = context.NormalisedAxis(context.node.Int("axis", 0), shape.size());
  if (!axis) return axis.error();
  if (shape[*axis] == 0) return context.Invalid("the selecting axis is empty");
  if (context.node.Int("keepdims", 1) != 0) {
    shape[*axis] = 1;
  } else {
    shape.erase(shape.begin() + static_cast<int64_t>(*axis));
  }
  context.SetOutput(0, DType::kInt64, std::move(shape));
  return {};
}

void LayoutArgMax(LayoutContext& context) {
  const Shape& shape = context.shape(0);
  const size_t axis = AxisOf(context.node, 0, shape);
  context.input_axes[0] = AllBut(axis, shape.size());
  context.output_axes[0] =
      context.node.Int("keepdims", 1) != 0 ? AllBut(axis, shape.size()) : AllAxes(shape.size() - 1);
}

Result<KernelPtr> MakeArgMax(const MakeContext& context) { return MakeOf<ArgMaxKernel>(context); }

Status InferTopK(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckNumber(context));
  Shape shape = context.shape(0);
  const auto axis = context.NormalisedAxis(context.node.Int("axis", -1), shape.size());
  if (!axis) return axis.error();
  std::vector<int64_t> k = {context.node.Int("k", -1)};
  if (context.opset() >= 10) {
    auto input = context.ConstantInts(1);
    if (!input) return input.error();
    k = *std::move(input);
  }
  if (k.size() != 1 || k[0] < 0 || k[0] > shape[*axis]) {
    return context.Invalid("k must be one number from 0 to " + std::to_string(shape[*axis]) +
                           ", the size of the axis");
  }
  shape[*axis] = k[0];
  context.SetOutput(0, context.dtype(0), shape);
  context.SetOutput(1, DType::kInt64, std::move(shape));
  return {};
}

void LayoutTopK(LayoutContext& context) {
  const Shape& shape = context.shape(0);
  const AxisSet axes = AllBut(AxisOf(context.node, -1, shape), shape.size());
  context.input_axes[0] = axes;
  if (context.node.Input(1) != kNoValue) context.input_in_memory[1] = false;
  std::ranges::fill(context.output_axes, axes);
}

Result<KernelPtr> MakeTopK(const MakeContext& context) { return MakeOf<TopKKernel>(context); }

Status InferNonMaxSuppression(InferContext& context) {
  if (!context.Has(0) || !context.Has(1)) return context.Invalid("needs boxes and scores");
  const Shape& boxes = context.shape(0);
  const Shape& scores = context.shape(1);
  if (context.dtype(0) != DType::kFloat32 || context.dtype(1) != DType::kFloat32)
    return context.Unsupported("boxes and scores must be float32");
  if (boxes.size() != 3 || scores.size() != 3 || boxes[2] != 4 || boxes[0] != scores[0] ||
      boxes[1] != scores[2]) {
    return context.Invalid("boxes " + ToString(boxes) + " and scores " + ToString(scores) +
                           " must be [batch,count,4] and [batch,classes,count]");
  }
  const auto most = Scalar<int64_t>(context, 2, DType::kInt64, 0);
  if (!most) return most.error();
  const auto overlap = Scalar<float>(context, 3, DType::kFloat32, 0);
  if (!overlap) return overlap.error();
  const auto score = Scalar<float>(context, 4, DType::kFloat32, 0);
  if (!score) return score.error();
  if (!(*overlap >= 0 && *overlap <= 1)) return context.Invalid("iou_threshold is not in [0,1]");
  if (context.constant(0) == nullptr || context.constant(1) == nullptr)
    return context.DataDependent("the number of boxes that remain depends on the input");

  const Suppression options = {.most = *most,
                               .overlap = *overlap,
                               .score = *score,
                               .has_score = context.Has(4),
                               .center_point = context.node.Int("center_point_box", 0) != 0};
  const auto all_boxes = context.constant(0)->as<float>();
  const auto all_scores = context.constant(1)->as<float>();
  const auto count = static_cast<size_t>(boxes[1]);
  std::vector<int64_t> rows;  // batch, class, box
  std::vector<int64_t> kept;
  for (int64_t batch = 0; batch < scores[0]; ++batch) {
    for (int64_t label = 0; label < scores[1]; ++label) {
      kept.clear();
      Suppress(all_boxes.data() + static_cast<size_t>(batch) * count * 4,
               all_scores.subspan(static_cast<size_t>(batch * scores[1] + label) * count, count),
               options, kept);
      for (const int64_t box : kept) rows.insert(rows.end(), {batch, label, box});
    }
  }
  Tensor selected(DType::kInt64, {static_cast<int64_t>(rows.size()) / 3, 3});
  std::ranges::copy(rows, selected.as<int64_t>().begin());
  context.SetConstant(0, std::move(selected));
  return {};
}

void LayoutNonMaxSuppression(LayoutContext&) {}

Result<KernelPtr> MakeNonMaxSuppression(const MakeContext& context) {
  return NeverPlanned(context);
}

}  // namespace deltacnn
