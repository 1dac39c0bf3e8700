// The indirect GEMM. Compiled once per target: see kernels.cc.
#if defined(DELTACNN_KERNELS_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DELTACNN_KERNELS_GEMM_INL_H_
#undef DELTACNN_KERNELS_GEMM_INL_H_
#else
#define DELTACNN_KERNELS_GEMM_INL_H_
#endif

#include <array>
#include <utility>

#include "kernels/kernels.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace deltacnn::kernels::HWY_NAMESPACE {

inline constexpr size_t kPanel = 2 * kLanes;

// Two accumulators a pixel, two vectors of weights and a broadcast input share the registers: 32 of
// AVX-512 and NEON (where GCC 12 needs some to spare: it spills from 11 rows on), else 16.
#if HWY_TARGET == HWY_AVX3
inline constexpr size_t kMaxRows = 14;
#elif HWY_TARGET == HWY_NEON && HWY_ARCH_ARM_A64
inline constexpr size_t kMaxRows = 10;
#else
inline constexpr size_t kMaxRows = 6;
#endif

/// `kRows` pixels times one panel, all accumulators in registers.
template <size_t kRows>
void GemmRows(const GemmArgs& args, size_t first) {
  V low[kRows];
  V high[kRows];
  const V bias_low = hn::LoadU(kF32, args.bias);
  const V bias_high = hn::LoadU(kF32, args.bias + kLanes);
  HWY_UNROLL(16)
  for (size_t i = 0; i < kRows; ++i) {
    low[i] = bias_low;
    high[i] = bias_high;
  }
  const float* weights = args.weights;
  for (size_t r = 0; r < args.runs; ++r) {
    const float* in[kRows];
    for (size_t i = 0; i < kRows; ++i) in[i] = args.pixels[first + i] + args.run_offset[r];
    HWY_UNROLL(4)
    for (size_t k = 0; k < args.run_length; ++k) {
      const V weights_low = hn::LoadU(kF32, weights);
      const V weights_high = hn::LoadU(kF32, weights + kLanes);
      weights += kPanel;
      HWY_UNROLL(16)
      for (size_t i = 0; i < kRows; ++i) {
        const V x = hn::Set(kF32, in[i][k]);
        low[i] = hn::MulAdd(x, weights_low, low[i]);
        high[i] = hn::MulAdd(x, weights_high, high[i]);
      }
    }
  }
  float* out = args.out + first * args.out_pitch;
  HWY_UNROLL(16)
  for (size_t i = 0; i < kRows; ++i) {
    hn::StoreU(low[i], kF32, out + i * args.out_pitch);
    hn::StoreU(high[i], kF32, out + i * args.out_pitch + kLanes);
  }
}

using GemmRowsFunction = void (*)(const GemmArgs& args, size_t first);

template <size_t... kRowsMinusOne>
constexpr std::array<GemmRowsFunction, kMaxRows> MakeGemmRows(
    std::index_sequence<kRowsMinusOne...>) {
  return {GemmRows<kRowsMinusOne + 1>...};
}

/// Element i handles i + 1 pixels.
inline constexpr std::array<GemmRowsFunction, kMaxRows> kGemmRows =
    MakeGemmRows(std::make_index_sequence<kMaxRows>());

void Gemm(const GemmArgs& args) {
  // Groups of nearly equal size: 15 pixels run faster as 8 + 7 than as 14 + 1.
  size_t groups = (args.count + kMaxRows - 1) / kMaxRows;
  for (size_t first = 0; groups > 0; --groups) {
    const size_t rows = (args.count - first + groups - 1) / groups;
    kGemmRows[rows - 1](args, first);
    first += rows;
  }
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
