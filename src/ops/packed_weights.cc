#include "ops/packed_weights.h"

#include <bit>
#include <cmath>

namespace deltacnn {

void RoundToPairs(std::span<const float> weights, size_t panel, std::span<uint32_t> pairs) {
  // The upper half of a float, rounded to nearest even. Weights are finite or already useless.
  const auto rounded = [](float x) {
    const auto bits = std::bit_cast<uint32_t>(x);
    return std::isnan(x) ? 0x7FC0u : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  };
  const size_t half = panel / 2;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const float* low = weights.data() + i / half * panel + i % half;
    pairs[i] = rounded(low[0]) | rounded(low[half]) << 16;
  }
}

}  // namespace deltacnn
