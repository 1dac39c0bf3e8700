// Multidirectional broadcasting (numpy's rules: shapes aligned right, axes of size 1 repeat)
// between values that are stored pixel by pixel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "ops/op.h"

namespace deltacnn {

/// The shape that both broadcast to; nullopt if there is none.
std::optional<Shape> BroadcastShapes(const Shape& a, const Shape& b);
/// True if `operand` broadcasts to exactly `output`.
bool BroadcastsTo(const Shape& operand, const Shape& output);

/// The pixel axes that an operand of an output with `output_axes` must have.
AxisSet BroadcastAxes(const Shape& operand, const Shape& output, AxisSet output_axes);

/// Layout of an elementwise node whose first `operands` inputs broadcast to its one output: the
/// output takes the pixel axes of the operand that has the most pixels and is no constant (one cell
/// if there is none), and all operands follow it.
void LayoutBroadcast(LayoutContext& context, size_t operands);

/// Where one operand of an elementwise operator has the elements of an output pixel. The operand's
/// pixel axes must be those of BroadcastAxes.
class BroadcastMap {
 public:
  BroadcastMap(const Placement& operand, const Placement& output);

  /// The operand's pixel under the output pixel (row, col), in elements from the start of its
  /// buffer.
  int64_t Offset(int row, int col) const {
    return row_offset_[static_cast<size_t>(row)] + col * col_stride_;
  }
  template <class T>
  const T* Pixel(const Work& work, int row, int col) const {
    return reinterpret_cast<const T*>(work.buffers[buffer_]) + Offset(row, col);
  }
  const std::byte* PixelBytes(const Work& work, int row, int col) const {
    return work.buffers[buffer_] + Offset(row, col) * static_cast<int64_t>(element_bytes_);
  }
  size_t element_bytes() const { return element_bytes_; }

  /// Output channel c reads element c of the operand's pixel ...
  bool full() const { return full_; }
  /// ... or always its only element (pixels of one element are both) ...
  bool single() const { return single_; }
  /// ... or, if neither, element channel_table()[c].
  const std::vector<int32_t>& channel_table() const { return channel_table_; }

  /// Every output element reads the operand's element at the same place.
  bool elementwise() const { return full_ && same_grid_; }

  /// Sets in `out` the output pixels that read a set pixel of `in`. Does nothing for an absent
  /// mask.
  void Affect(const MaskView& in, const MaskView& out) const;

 private:
  void MapPixels(const Placement& operand, const Placement& output);
  void MapChannels(const Placement& operand, const Placement& output);

  int buffer_;
  size_t element_bytes_;
  bool full_ = false;
  bool single_ = false;
  std::vector<int32_t> channel_table_;
  // Output (row, col) reads operand (pixel_[row].row, pixel_[row].col + (steps_ ? col : 0)).
  struct RowStart {
    int row;
    int col;
  };
  std::vector<RowStart> pixel_;
  bool steps_ = false;
  bool same_grid_ = false;  // every output pixel reads the operand's pixel at the same place
  std::vector<int64_t> row_offset_;
  int64_t col_stride_ = 0;
};

}  // namespace deltacnn
