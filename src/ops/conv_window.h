// The window of a convolution: strides, dilations and pads of both spatial axes, checked.
#pragma once

#include <array>

#include "ops/op.h"

namespace deltacnn {

/// No kernel, stride, dilation or pad may be larger; no real one comes near.
inline constexpr int64_t kMostOfWindow = int64_t{1} << 24;

/// Axis 0 is the rows, axis 1 the columns; a 1-D convolution has one row.
struct ConvWindow {
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> stride{1, 1};
  std::array<int64_t, 2> dilation{1, 1};
  std::array<int64_t, 2> pad_before{0, 0};
  std::array<int64_t, 2> pad_after{0, 0};
  int64_t groups = 1;

  /// Input span of the window, in pixels.
  int64_t Extent(size_t axis) const { return (kernel[axis] - 1) * dilation[axis] + 1; }
  /// True of a window that is the pixel at the same place: both pictures have the same grid.
  bool IsPixel() const;
  /// Windows that fit the input along each axis; 0 where none does.
  std::array<int64_t, 2> Outputs(const Shape& in) const;
  /// The zeros that the windows of the outputs `out` read around the input `in`, where outputs are
  /// computed by whole tiles of `tile` x `tile`.
  Halo HaloOf(const Shape& in, const Shape& out, int64_t tile) const;
};

/// Height and width of [N,C,H,W], or {1, W} of [N,C,W].
std::array<int64_t, 2> SpatialDims(const Shape& shape);

/// Reads and checks the attributes of a Conv or ConvTranspose. `weight_spatial` are the spatial
/// dimensions of the weights. Pads that auto_pad decides are left zero; `auto_pad` tells.
Result<ConvWindow> ReadConvWindow(const Node& node, const Shape& input, const Shape& weights);

/// Resolves auto_pad SAME_UPPER, SAME_LOWER of a Conv: ceil(size / stride) outputs.
void ResolveSamePads(const Node& node, const Shape& input, ConvWindow& window);

/// Both, for a Conv.
Result<ConvWindow> WindowOf(const Node& node, const Shape& input, const Shape& weights);

}  // namespace deltacnn
