// The weights of a GEMM as its kernel reads them.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "ops/op.h"

namespace deltacnn {

/// The bias of a panel of sums that are not finished; no instruction set has larger panels.
inline constexpr std::array<float, 64> kNoBias{};

/// Weights and bias in panels of the kernel table: [panels][depth][panel], zero padded; in the
/// memory of the plan. Either `weights` or `pairs` is empty.
struct PackedWeights {
  size_t panels = 0;
  size_t depth = 0;
  size_t outputs = 0;
  std::span<const float> weights{};
  std::span<const uint32_t> pairs{};  // of bfloat16, as kernels::PanelWeights has them
  std::span<const float> bias{};

  size_t Bytes() const { return (weights.size() + pairs.size() + bias.size()) * sizeof(float); }
  /// Those of panel p, from row k of its `depth` on.
  kernels::PanelWeights Panel(size_t p, size_t k = 0) const {
    const size_t panel = bias.size() / panels;
    const size_t row = p * depth + k;
    if (pairs.empty()) return weights.data() + row * panel;
    return pairs.data() + row * panel / 2;
  }
};

/// Pairs of bfloat16 of rows of `panel` floats.
void RoundToPairs(std::span<const float> weights, size_t panel, std::span<uint32_t> pairs);

/// `weight(output, k)` gives the k-th weight of an output, `bias(output)` its bias. `rounds`: to
/// bfloat16.
template <class WeightAt, class BiasAt>
PackedWeights Pack(const MakeContext& context, size_t outputs, size_t depth, bool rounds,
                   WeightAt&& weight, BiasAt&& bias) {
  const size_t panel = context.kernels.panel;
  PackedWeights packed{.panels = (outputs + panel - 1) / panel, .depth = depth, .outputs = outputs};
  const size_t count = packed.panels * depth * panel;
  std::vector<float> unrounded(rounds ? count : 0);
  const std::span<float> weights = rounds ? unrounded : context.memory.Take<float>(count);
  const std::span<float> biases = context.memory.Take<float>(packed.panels * panel);
  for (size_t o = 0; o < outputs; ++o) {
    float* column = weights.data() + o / panel * depth * panel + o % panel;
    for (size_t k = 0; k < depth; ++k) column[k * panel] = weight(o, k);
    biases[o] = bias(o);
  }
  packed.bias = biases;
  if (rounds) {
    const std::span<uint32_t> pairs = context.memory.Take<uint32_t>(count / 2);
    RoundToPairs(weights, panel, pairs);
    packed.pairs = pairs;
  } else {
    packed.weights = weights;
  }
  return packed;
}

}  // namespace deltacnn
