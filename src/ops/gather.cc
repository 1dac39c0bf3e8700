// Gather and GatherElements: elements picked by position along one axis. Constant positions are
// resolved when the kernel is made. Positions that are computed in a step cannot be refused any
// more: those out of range are moved to the nearest valid one.
#include <algorithm>
#include <utility>

#include "ops/op.h"
#include "ops/store.h"

namespace deltacnn {
namespace {

bool IsIndexType(DType dtype) { return dtype == DType::kInt64 || dtype == DType::kInt32; }

int64_t IndexAt(const std::byte* indices, DType dtype, size_t i) {
  return dtype == DType::kInt64 ? reinterpret_cast<const int64_t*>(indices)[i]
                                : reinterpret_cast<const int32_t*>(indices)[i];
}

/// Counts a negative position from the end and moves one out of range to the nearest valid one.
int64_t ValidPosition(int64_t index, int64_t dim) {
  return std::clamp<int64_t>(index < 0 ? index + dim : index, 0, dim - 1);
}

/// Checks the inputs and returns the axis, counted from the front.
Result<size_t> CheckInputs(InferContext& context) {
  if (!context.Has(0) || !context.Has(1)) return context.Invalid("needs data and indices");
  if (!IsIndexType(context.dtype(1))) {
    return context.Invalid(std::string("indices are ") + NameOf(context.dtype(1)) +
                           " where int32 or int64 is needed");
  }
  auto axis = context.NormalisedAxis(context.node.Int("axis", 0), context.rank(0));
  if (!axis) return axis;
  const int64_t dim = context.shape(0)[*axis];
  if (dim == 0 && ElementCount(context.shape(1)) != 0)
    return context.Invalid("cannot pick elements of an empty axis");
  const Tensor* indices = context.constant(1);
  if (indices == nullptr) return axis;
  for (size_t i = 0; i < static_cast<size_t>(indices->elements()); ++i) {
    const int64_t index = IndexAt(indices->bytes.data(), indices->dtype, i);
    if (index < -dim || index >= dim) {
      return context.Invalid("index " + std::to_string(index) + " is out of range for axis " +
                             std::to_string(*axis) + " of " + ToString(context.shape(0)));
    }
  }
  return axis;
}

size_t GatherAxis(const Node& node, const Shape& data) {
  return FromFront(node.Int("axis", 0), data.size());
}

/// Product of dimensions [begin, end).
int64_t CountOf(const Shape& shape, size_t begin, size_t end) {
  return ElementCount(std::span(shape).subspan(begin, end - begin));
}

/// For every element of the result of a Gather of a row-major tensor of shape `data`: its position
/// in that tensor.
std::vector<int32_t> GatherTable(const Shape& data, size_t axis,
                                 const std::vector<int64_t>& positions) {
  const int64_t outer = CountOf(data, 0, axis);
  const int64_t inner = CountOf(data, axis + 1, data.size());
  std::vector<int32_t> table;
  table.reserve(static_cast<size_t>(outer * inner) * positions.size());
  for (int64_t o = 0; o < outer; ++o) {
    for (const int64_t position : positions) {
      for (int64_t i = 0; i < inner; ++i)
        table.push_back(static_cast<int32_t>((o * data[axis] + position) * inner + i));
    }
  }
  return table;
}

/// Gather with constant indices: output pixel p is a selection of the elements of pixel pixel_[p].
class GatherConstant : public Kernel {
 public:
  GatherConstant(const MakeContext& context, size_t axis, const Tensor& indices)
      : data_(context.in(0)), out_(context.out(0)) {
    std::vector<int64_t> positions(static_cast<size_t>(indices.elements()));
    for (size_t i = 0; i < positions.size(); ++i) {
      positions[i] =
          ValidPosition(IndexAt(indices.bytes.data(), indices.dtype, i), data_.shape[axis]);
    }
    // The axis is one of the pixel or of the channel axes; the other ones are copied one to one.
    const bool of_pixels = HasAxis(data_.pixel_axes, axis);
    Shape pixels, channels;
    size_t axis_among = 0;  // number of the axis among those of its kind
    for (size_t a = 0; a < data_.shape.size(); ++a) {
      const bool is_pixel = HasAxis(data_.pixel_axes, a);
      if (a == axis) axis_among = is_pixel ? pixels.size() : channels.size();
      (is_pixel ? pixels : channels).push_back(data_.shape[a]);
    }
    if (of_pixels) {
      pixel_ = GatherTable(pixels, axis_among, positions);
      stretches_ = {{0, 0, out_.channels}};
    } else {
      Select(GatherTable(channels, axis_among, positions));
    }
  }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    const MaskView& in = inputs[0];
    if (in.words == nullptr) return;
    if (pixel_.empty()) {
      out.Or(in);
      return;
    }
    for (int r = 0; r < out.grid.rows; ++r) {
      for (int c = 0; c < out.grid.cols; ++c) {
        const auto [row, col] = Source(r, c);
        if (in.Test(in.grid.Bit(row, col))) out.Set(out.grid.Bit(r, c));
      }
    }
  }

  void Compute(const Work& work) const override {
    const size_t size = SizeOf(out_.dtype);
    ForEachPixel(work, [&](int row, int col) {
      const auto [from_row, from_col] = Source(row, col);
      const std::byte* from = PixelBytes(work, data_, from_row, from_col);
      std::byte* to = PixelBytes(work, out_, row, col);
      bool changed = false;
      for (const Stretch& s : stretches_) {
        changed |= StoreChanged(to + static_cast<size_t>(s.to) * size,
                                from + static_cast<size_t>(s.from) * size,
                                static_cast<size_t>(s.count) * size);
      }
      return changed;
    });
  }

 private:
  /// Adjacent channels that are copied together.
  struct Stretch {
    int64_t from;
    int64_t to;
    int64_t count;
  };

  void Select(const std::vector<int32_t>& channels) {
    for (size_t c = 0; c < channels.size(); ++c) {
      if (c > 0 && channels[c] == channels[c - 1] + 1) {
        ++stretches_.back().count;
      } else {
        stretches_.push_back({channels[c], static_cast<int64_t>(c), 1});
      }
    }
  }

  std::pair<int, int> Source(int row, int col) const {
    if (pixel_.empty()) return {row, col};
    const int pixel = pixel_[static_cast<size_t>(row) * static_cast<size_t>(out_.grid.cols) +
                             static_cast<size_t>(col)];
    return {pixel / data_.grid.cols, pixel % data_.grid.cols};
  }

  Placement data_;
  Placement out_;
  std::vector<int32_t> pixel_;  // empty if the pixels are those of the data
  std::vector<Stretch> stretches_;
};

/// Gather with indices that a step computes. Everything is one cell.
class GatherComputed : public Kernel {
 public:
  GatherComputed(const MakeContext& context, size_t axis)
      : data_(context.in(0)),
        indices_(context.in(1)),
        out_(context.out(0)),
        outer_(CountOf(data_.shape, 0, axis)),
        dim_(data_.shape[axis]),
        inner_(static_cast<size_t>(CountOf(data_.shape, axis + 1, data_.shape.size()))) {}

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    for (const MaskView& in : inputs.first(2)) {
      if (in.words != nullptr) out.Or(in);
    }
  }

  void Compute(const Work& work) const override {
    const std::byte* data = PixelBytes(work, data_, 0, 0);
    const std::byte* indices = PixelBytes(work, indices_, 0, 0);
    std::byte* to = PixelBytes(work, out_, 0, 0);
    const size_t block = inner_ * SizeOf(out_.dtype);
    bool changed = false;
    for (int64_t o = 0; o < outer_; ++o) {
      for (size_t i = 0; i < static_cast<size_t>(indices_.channels); ++i) {
        const int64_t position = ValidPosition(IndexAt(indices, indices_.dtype, i), dim_);
        changed |= StoreChanged(to, data + static_cast<size_t>(o * dim_ + position) * block, block);
        to += block;
      }
    }
    if (changed) work.changed[work.spans[0].first] = kChanged;
  }

 private:
  Placement data_;
  Placement indices_;
  Placement out_;
  int64_t outer_;
  int64_t dim_;
  size_t inner_;
};

/// out[.., i, ..] = data[.., indices[.., i, ..], ..]. Everything is one cell.
class GatherElements : public Kernel {
 public:
  GatherElements(const MakeContext& context, size_t axis)
      : data_(context.in(0)), indices_(context.in(1)), out_(context.out(0)), axis_(axis) {}

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    for (const MaskView& in : inputs.first(2)) {
      if (in.words != nullptr) out.Or(in);
    }
  }

  void Compute(const Work& work) const override {
    const std::byte* data = PixelBytes(work, data_, 0, 0);
    const std::byte* indices = PixelBytes(work, indices_, 0, 0);
    std::byte* to = PixelBytes(work, out_, 0, 0);
    const size_t size = SizeOf(out_.dtype);
    bool changed = false;
    for (size_t i = 0; i < static_cast<size_t>(out_.channels); ++i) {
      int64_t rest = static_cast<int64_t>(i);
      int64_t from = 0;
      for (size_t a = out_.shape.size(); a-- > 0;) {
        const int64_t at = a == axis_
                               ? ValidPosition(IndexAt(indices, indices_.dtype, i), data_.shape[a])
                               : rest % out_.shape[a];
        from += at * data_.strides[a];
        rest /= out_.shape[a];
      }
      changed |= StoreChanged(to + i * size, data + static_cast<size_t>(from) * size, size);
    }
    if (changed) work.changed[work.spans[0].first] = kChanged;
  }

 private:
  Placement data_;
  Placement indices_;
  Placement out_;
  size_t axis_;
};

}  // namespace

Status InferGather(InferContext& context) {
  const auto axis = CheckInputs(context);
  if (!axis) return axis.error();
  const Shape& data = context.shape(0);
  const Shape& indices = context.shape(1);
  const auto split = data.begin() + static_cast<int64_t>(*axis);
  Shape shape(data.begin(), split);
  shape.insert(shape.end(), indices.begin(), indices.end());
  shape.insert(shape.end(), split + 1, data.end());
  context.SetOutput(0, context.dtype(0), std::move(shape));
  return {};
}

void LayoutGather(LayoutContext& context) {
  if (context.graph.Constant(context.node.inputs[1]) == nullptr) {
    context.input_axes[0] = context.input_axes[1] = 0;
    context.output_axes[0] = 0;
    return;
  }
  context.input_in_memory[1] = false;
  // The axes of the indices take the place of the axis that they select from.
  const AxisSet axes = context.input_axes[0];
  const size_t axis = GatherAxis(context.node, context.shape(0));
  const size_t index_rank = context.shape(1).size();
  const AxisSet before = axes & (Axis(axis) - 1);
  const AxisSet behind = axes >> (axis + 1) << (axis + index_rank);
  const AxisSet selected = HasAxis(axes, axis) ? AllAxes(index_rank) << axis : 0;
  context.output_axes[0] = before | selected | behind;
}

Result<KernelPtr> MakeGather(const MakeContext& context) {
  const size_t axis = GatherAxis(context.node, context.in(0).shape);
  if (const TensorPtr& indices = context.in(1).constant)
    return KernelPtr(std::make_unique<GatherConstant>(context, axis, *indices));
  return KernelPtr(std::make_unique<GatherComputed>(context, axis));
}

Status InferGatherElements(InferContext& context) {
  const auto axis = CheckInputs(context);
  if (!axis) return axis.error();
  const Shape& data = context.shape(0);
  const Shape& indices = context.shape(1);
  if (indices.size() != data.size())
    return context.Invalid("data and indices must have the same rank");
  for (size_t a = 0; a < data.size(); ++a) {
    if (a != *axis && indices[a] > data[a]) {
      return context.Invalid("indices " + ToString(indices) + " are larger than the data " +
                             ToString(data));
    }
  }
  context.SetOutput(0, context.dtype(0), indices);
  return {};
}

void LayoutGatherElements(LayoutContext& context) {
  context.input_axes[0] = context.input_axes[1] = 0;
  context.output_axes[0] = 0;
}

Result<KernelPtr> MakeGatherElements(const MakeContext& context) {
  const size_t axis = GatherAxis(context.node, context.in(0).shape);
  return KernelPtr(std::make_unique<GatherElements>(context, axis));
}

}  // namespace deltacnn
