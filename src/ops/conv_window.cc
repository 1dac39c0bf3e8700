#include "ops/conv_window.h"

#include <algorithm>

namespace deltacnn {
namespace {}  // namespace

std::array<int64_t, 2> SpatialDims(const Shape& shape) {
  if (shape.size() == 3) return {1, shape[2]};
  return {shape[2], shape[3]};
}

bool ConvWindow::IsPixel() const {
  constexpr std::array<int64_t, 2> kOnes{1, 1}, kNone{0, 0};
  return kernel == kOnes && stride == kOnes && pad_before == kNone && pad_after == kNone;
}

std::array<int64_t, 2> ConvWindow::Outputs(const Shape& in) const {
  std::array<int64_t, 2> outputs = SpatialDims(in);
  for (size_t a = 0; a < 2; ++a) {
    const int64_t room = outputs[a] + pad_before[a] + pad_after[a] - Extent(a);
    outputs[a] = room < 0 || outputs[a] == 0 ? 0 : room / stride[a] + 1;
  }
  return outputs;
}

Halo ConvWindow::HaloOf(const Shape& in, const Shape& out, int64_t tile) const {
  const auto in_dims = SpatialDims(in);
  const auto out_dims = SpatialDims(out);
  // Pads at the end that no window reaches are not needed.
  const auto after = [&](size_t a) {
    const int64_t outputs = (out_dims[a] + tile - 1) / tile * tile;
    return static_cast<int>(
        std::max<int64_t>(0, (outputs - 1) * stride[a] + Extent(a) - pad_before[a] - in_dims[a]));
  };
  return {.top = static_cast<int>(pad_before[0]),
          .bottom = after(0),
          .left = static_cast<int>(pad_before[1]),
          .right = after(1)};
}

Result<ConvWindow> ReadConvWindow(const Node& node, const Shape& input, const Shape& weights) {
  const size_t spatial = input.size() - 2;
  const auto invalid = [&](const std::string& what) {
    return NodeError(ErrorCode::kInvalidModel, node, what);
  };
  const auto read = [&](const char* name, int64_t fallback,
                        int64_t least) -> Result<std::vector<int64_t>> {
    std::vector<int64_t> values = node.Ints(name);
    if (values.empty()) values.assign(spatial, fallback);
    const bool valid = values.size() == spatial && std::ranges::all_of(values, [&](int64_t v) {
                         return v >= least && v <= kMostOfWindow;
                       });
    if (!valid) return invalid(std::string(name) + " is out of range");
    return values;
  };
  auto kernel = read("kernel_shape", 0, 0);
  if (!kernel.ok()) return kernel.error();
  auto strides = read("strides", 1, 1);
  if (!strides.ok()) return strides.error();
  auto dilations = read("dilations", 1, 1);
  if (!dilations.ok()) return dilations.error();
  std::vector<int64_t> pads = node.Ints("pads");
  if (pads.empty()) pads.assign(2 * spatial, 0);
  const bool pads_valid = pads.size() == 2 * spatial && std::ranges::all_of(pads, [](int64_t p) {
                            return p >= 0 && p <= kMostOfWindow;
                          });
  if (!pads_valid) return invalid("pads are out of range (negative pads are not supported)");
  const std::string auto_pad = node.String("auto_pad", "NOTSET");
  if (auto_pad != "NOTSET" && auto_pad != "VALID" && auto_pad != "SAME_UPPER" &&
      auto_pad != "SAME_LOWER")
    return invalid("auto_pad '" + auto_pad + "' is unknown");
  if (auto_pad != "NOTSET") std::ranges::fill(pads, 0);

  ConvWindow window;
  window.groups = node.Int("group", 1);
  for (size_t d = 0; d < spatial; ++d) {
    const size_t axis = d + 2 - spatial;
    window.kernel[axis] = weights[d + 2];
    if (node.Has("kernel_shape") && (*kernel)[d] != weights[d + 2])
      return invalid("kernel_shape differs from the shape of the weights " + ToString(weights));
    window.stride[axis] = (*strides)[d];
    window.dilation[axis] = (*dilations)[d];
    window.pad_before[axis] = pads[d];
    window.pad_after[axis] = pads[d + spatial];
    if (window.kernel[axis] < 1 || window.kernel[axis] > kMostOfWindow)
      return invalid("its kernel is empty");
  }
  return window;
}

void ResolveSamePads(const Node& node, const Shape& input, ConvWindow& window) {
  const std::string auto_pad = node.String("auto_pad", "NOTSET");
  if (!auto_pad.starts_with("SAME")) return;
  const auto dims = SpatialDims(input);
  for (size_t a = 0; a < 2; ++a) {
    const int64_t outputs = (dims[a] + window.stride[a] - 1) / window.stride[a];
    const int64_t total =
        std::max<int64_t>(0, (outputs - 1) * window.stride[a] + window.Extent(a) - dims[a]);
    const int64_t small = total / 2;
    window.pad_before[a] = auto_pad == "SAME_UPPER" ? small : total - small;
    window.pad_after[a] = total - window.pad_before[a];
  }
}

Result<ConvWindow> WindowOf(const Node& node, const Shape& input, const Shape& weights) {
  auto window = ReadConvWindow(node, input, weights);
  if (window.ok()) ResolveSamePads(node, input, *window);
  return window;
}

}  // namespace deltacnn
