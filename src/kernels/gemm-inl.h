// The indirect GEMM. Compiled once per target: see kernels.cc.
#if defined(DELTACNN_KERNELS_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DELTACNN_KERNELS_GEMM_INL_H_
#undef DELTACNN_KERNELS_GEMM_INL_H_
#else
#define DELTACNN_KERNELS_GEMM_INL_H_
#endif

#include <array>
#include <utility>

#include "kernels/epilogue-inl.h"
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

// Products that one accumulator sums before it is added to the pixel's total. Sums of sums lose
// less to rounding: the error of a sum of n terms grows like the square root of n.
inline constexpr size_t kSummed = 128;

/// `kRows` pixels times the first `kVectors` vectors of a panel, all accumulators in registers.
/// Row i of the results goes to out + i * pitch.
template <size_t kRows, size_t kVectors>
void GemmRows(const GemmArgs& args, size_t first, float* out, size_t pitch) {
  V sum[kRows][kVectors];
  HWY_UNROLL(16)
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t v = 0; v < kVectors; ++v) sum[i][v] = hn::Zero(kF32);
  }
  const float* weights = args.weights;
  size_t summed = 0;
  bool totals = false;  // `out` holds the sums so far
  const auto add_total = [&]() HWY_ATTR {
    HWY_UNROLL(16)
    for (size_t i = 0; i < kRows; ++i) {
      for (size_t v = 0; v < kVectors; ++v)
        sum[i][v] = hn::Add(hn::LoadU(kF32, out + i * pitch + v * kLanes), sum[i][v]);
    }
  };
  const auto store = [&]() HWY_ATTR {
    HWY_UNROLL(16)
    for (size_t i = 0; i < kRows; ++i) {
      for (size_t v = 0; v < kVectors; ++v)
        hn::StoreU(sum[i][v], kF32, out + i * pitch + v * kLanes);
    }
  };
  const size_t pieces = (args.run_length + kSummed - 1) / kSummed;  // of equal length, nearly
  for (size_t r = 0; r < args.runs; ++r) {
    size_t begin = 0;
    for (size_t piece = 0; piece < pieces; ++piece) {
      const size_t end = args.run_length * (piece + 1) / pieces;
      if (summed + (end - begin) > kSummed) {
        if (totals) add_total();
        store();
        totals = true;
        summed = 0;
        HWY_UNROLL(16)
        for (size_t i = 0; i < kRows; ++i) {
          for (size_t v = 0; v < kVectors; ++v) sum[i][v] = hn::Zero(kF32);
        }
      }
      summed += end - begin;
      const float* in[kRows];
      for (size_t i = 0; i < kRows; ++i) in[i] = args.pixels[first + i] + args.run_offset[r];
      HWY_UNROLL(4)
      for (size_t k = begin; k < end; ++k) {
        V weight[kVectors];
        for (size_t v = 0; v < kVectors; ++v) weight[v] = hn::LoadU(kF32, weights + v * kLanes);
        weights += kPanel;
        HWY_UNROLL(16)
        for (size_t i = 0; i < kRows; ++i) {
          const V x = hn::Set(kF32, in[i][k]);
          for (size_t v = 0; v < kVectors; ++v) sum[i][v] = hn::MulAdd(x, weight[v], sum[i][v]);
        }
      }
      begin = end;
    }
  }
  if (totals) add_total();
  // The bias comes last: a large one would cost every partial sum its low bits.
  HWY_UNROLL(16)
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t v = 0; v < kVectors; ++v)
      sum[i][v] = hn::Add(sum[i][v], hn::LoadU(kF32, args.bias + v * kLanes));
  }
  if (args.epilogue != nullptr && args.epilogue->clamp) {
    const V low = hn::Set(kF32, args.epilogue->low);
    const V high = hn::Set(kF32, args.epilogue->high);
    HWY_UNROLL(16)
    for (size_t i = 0; i < kRows; ++i) {
      for (size_t v = 0; v < kVectors; ++v) sum[i][v] = AtMost(AtLeast(sum[i][v], low), high);
    }
  }
  store();
}

using GemmRowsFunction = void (*)(const GemmArgs& args, size_t first, float* out, size_t pitch);

template <size_t kVectors, size_t... kRowsMinusOne>
constexpr std::array<GemmRowsFunction, kMaxRows> MakeGemmRows(
    std::index_sequence<kRowsMinusOne...>) {
  return {GemmRows<kRowsMinusOne + 1, kVectors>...};
}

/// Element i handles i + 1 pixels.
inline constexpr std::array<GemmRowsFunction, kMaxRows> kGemmRows =
    MakeGemmRows<2>(std::make_index_sequence<kMaxRows>());
inline constexpr std::array<GemmRowsFunction, kMaxRows> kHalfGemmRows =
    MakeGemmRows<1>(std::make_index_sequence<kMaxRows>());

void Gemm(const GemmArgs& args) {
  const auto& functions = args.half ? kHalfGemmRows : kGemmRows;
  HWY_ALIGN float tile[kMaxRows * kPanel];
  const size_t tile_pitch = args.half ? kPanel / 2 : kPanel;
  // Groups of nearly equal size: 15 pixels run faster as 8 + 7 than as 14 + 1.
  size_t groups = (args.count + kMaxRows - 1) / kMaxRows;
  for (size_t first = 0; groups > 0; --groups) {
    const size_t rows = (args.count - first + groups - 1) / groups;
    if (args.epilogue == nullptr) {
      functions[rows - 1](args, first, args.out + first * args.out_pitch, args.out_pitch);
    } else {
      PrefetchTile(*args.epilogue, first, rows);
      functions[rows - 1](args, first, tile, tile_pitch);
      FinishTile(*args.epilogue, tile, tile_pitch, first, rows);
    }
    first += rows;
  }
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
