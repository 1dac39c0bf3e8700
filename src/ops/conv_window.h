// The window of a convolution: strides, dilations and pads of both spatial axes, checked.
#pragma once

#include <array>

#include "ops/op.h"

namespace deltacnn {

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

/// Weights and bias of a GEMM, in panels of the kernel table: [panels][depth][panel], zero padded.
/// Either `weights` or `pairs` is empty.
struct PackedWeights {
  size_t panels = 0;
  size_t depth = 0;
  size_t outputs = 0;
  std::vector<float> weights;
  std::vector<uint32_t> pairs;  // of bfloat16, as kernels::PanelWeights has them
  std::vector<float> bias;

  size_t Bytes() const { return (weights.size() + pairs.size() + bias.size()) * sizeof(float); }
  /// Those of panel p, from row k of its `depth` on.
  kernels::PanelWeights Panel(size_t p, size_t k = 0) const {
    const size_t panel = bias.size() / panels;
    const size_t row = p * depth + k;
    if (pairs.empty()) return weights.data() + row * panel;
    return pairs.data() + row * panel / 2;
  }
  /// Rounds the weights to bfloat16.
  void RoundWeights();
};

/// `weight(output, k)` gives the k-th weight of an output, `bias(output)` its bias.
template <class WeightAt, class BiasAt>
PackedWeights Pack(size_t outputs, size_t depth, size_t panel, WeightAt&& weight, BiasAt&& bias) {
  PackedWeights packed;
  packed.panels = (outputs + panel - 1) / panel;
  packed.depth = depth;
  packed.outputs = outputs;
  packed.weights.assign(packed.panels * depth * panel, 0.0f);
  packed.bias.assign(packed.panels * panel, 0.0f);
  for (size_t o = 0; o < outputs; ++o) {
    float* column = packed.weights.data() + o / panel * depth * panel + o % panel;
    for (size_t k = 0; k < depth; ++k) column[k * panel] = weight(o, k);
    packed.bias[o] = bias(o);
  }
  return packed;
}

}  // namespace deltacnn
