#include "ops/broadcast.h"

#include <algorithm>

namespace deltacnn {
namespace {

/// Dimension of `operand` under axis `axis` of a tensor of rank `rank`; 1 where it has no such
/// axis.
int64_t AlignedDim(const Shape& operand, size_t axis, size_t rank) {
  const size_t missing = rank - operand.size();
  return axis < missing ? 1 : operand[axis - missing];
}

int64_t PixelCount(const Shape& shape, AxisSet pixel_axes) {
  int64_t count = 1;
  for (size_t a = 0; a < shape.size(); ++a) {
    if (HasAxis(pixel_axes, a)) count *= shape[a];
  }
  return count;
}

/// Walks the positions of the selected axes of `output` in logical order and calls
/// visit(position, index), where `index` is the operand's position among the same axes.
template <class Visit>
void ForEachPosition(const Shape& operand, const Shape& output, AxisSet selected, Visit&& visit) {
  const size_t rank = output.size();
  std::vector<int64_t> dims, weights, at;
  int64_t weight = 1;
  for (size_t a = rank; a-- > 0;) {
    if (!HasAxis(selected, a)) continue;
    const int64_t dim = AlignedDim(operand, a, rank);
    dims.push_back(output[a]);
    weights.push_back(dim == 1 ? 0 : weight);
    weight *= dim;
  }
  at.assign(dims.size(), 0);
  const int64_t count = PixelCount(output, selected);
  int64_t index = 0;
  for (int64_t position = 0; position < count; ++position) {
    visit(position, index);
    for (size_t i = 0; i < dims.size(); ++i) {  // innermost axis first
      index += weights[i];
      if (++at[i] < dims[i]) break;
      index -= weights[i] * dims[i];
      at[i] = 0;
    }
  }
}

}  // namespace

std::optional<Shape> BroadcastShapes(const Shape& a, const Shape& b) {
  const size_t rank = std::max(a.size(), b.size());
  Shape shape(rank);
  for (size_t i = 0; i < rank; ++i) {
    const int64_t x = AlignedDim(a, i, rank);
    const int64_t y = AlignedDim(b, i, rank);
    if (x != y && x != 1 && y != 1) return std::nullopt;
    shape[i] = x == 1 ? y : x;
  }
  return shape;
}

bool BroadcastsTo(const Shape& operand, const Shape& output) {
  return BroadcastShapes(operand, output) == output;
}

AxisSet BroadcastAxes(const Shape& operand, const Shape& output, AxisSet output_axes) {
  const size_t missing = output.size() - operand.size();
  AxisSet axes = 0;
  for (size_t a = 0; a < operand.size(); ++a) {
    // An axis that is 1 on both sides stays, so that equal shapes get equal layouts.
    const bool repeats = operand[a] == 1 && output[a + missing] != 1;
    if (HasAxis(output_axes, a + missing) && !repeats) axes |= Axis(a);
  }
  return axes;
}

void LayoutBroadcast(LayoutContext& context, size_t operands) {
  const Shape& output = context.output_shape(0);
  int64_t most = 1;
  AxisSet axes = 0;
  for (size_t i = 0; i < operands; ++i) {
    const ValueId id = context.node.inputs[i];
    if (id == kNoValue || context.graph.Constant(id) != nullptr) continue;
    const Shape& shape = context.shape(i);
    const int64_t pixels = PixelCount(shape, context.input_axes[i]);
    if (pixels <= most) continue;
    most = pixels;
    axes = context.input_axes[i] << (output.size() - shape.size());
  }
  for (size_t i = 0; i < operands; ++i) {
    if (context.node.inputs[i] != kNoValue)
      context.input_axes[i] = BroadcastAxes(context.shape(i), output, axes);
  }
  context.output_axes[0] = axes;
}

BroadcastMap::BroadcastMap(const Placement& operand, const Placement& output)
    : buffer_(operand.buffer), element_bytes_(SizeOf(operand.dtype)) {
  MapPixels(operand, output);
  MapChannels(operand, output);
}

void BroadcastMap::MapPixels(const Placement& operand, const Placement& output) {
  const int cols = output.grid.cols;
  pixel_.resize(static_cast<size_t>(output.grid.rows));
  same_grid_ = operand.grid == output.grid;
  ForEachPosition(operand.shape, output.shape, output.pixel_axes,
                  [&](int64_t position, int64_t index) {
                    const auto row = static_cast<size_t>(position / cols);
                    const int col = static_cast<int>(position % cols);
                    same_grid_ &= position == index;
                    if (col == 0) {
                      pixel_[row] = {static_cast<int>(index / operand.grid.cols),
                                     static_cast<int>(index % operand.grid.cols)};
                    } else if (col == 1) {
                      // The columns are one axis, which the operand either has or repeats.
                      steps_ = index % operand.grid.cols != pixel_[row].col;
                    }
                  });
  for (const RowStart& start : pixel_) row_offset_.push_back(operand.Offset(start.row, start.col));
  col_stride_ = steps_ ? operand.col_stride : 0;
}

void BroadcastMap::MapChannels(const Placement& operand, const Placement& output) {
  full_ = operand.channels == output.channels;
  single_ = operand.channels == 1;
  if (!full_ && !single_) {
    const AxisSet channel_axes = AllAxes(output.shape.size()) & ~output.pixel_axes;
    ForEachPosition(operand.shape, output.shape, channel_axes, [&](int64_t, int64_t index) {
      channel_table_.push_back(static_cast<int32_t>(index));
    });
  }
}

void BroadcastMap::Affect(const MaskView& in, const MaskView& out) const {
  if (in.words == nullptr) return;
  if (same_grid_) {
    out.Or(in);
  } else if (in.grid.pixels() == 1) {
    if (in.Test(0)) out.Fill();
  } else {
    for (int r = 0; r < out.grid.rows; ++r) {
      const RowStart& start = pixel_[static_cast<size_t>(r)];
      if (steps_) {
        const uint64_t* from = in.row(start.row);
        uint64_t* to = out.row(r);
        for (int w = 0; w < out.grid.words_per_row(); ++w) to[w] |= from[w];
      } else if (in.Test(in.grid.Bit(start.row, start.col))) {
        out.SetRange(r, 0, out.grid.cols);
      }
    }
  }
}

}  // namespace deltacnn
