// The depthwise convolution. Compiled once per target: see kernels.cc.
#if defined(DELTACNN_KERNELS_DEPTHWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DELTACNN_KERNELS_DEPTHWISE_INL_H_
#undef DELTACNN_KERNELS_DEPTHWISE_INL_H_
#else
#define DELTACNN_KERNELS_DEPTHWISE_INL_H_
#endif

#include <limits>

#include "kernels/epilogue-inl.h"
#include "kernels/kernels.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace deltacnn::kernels::HWY_NAMESPACE {

/// Pixels that share one load of the weights.
inline constexpr size_t kDepthwiseRows = 4;

/// `kVectors` vectors of channels, from channel `c` on, at `kRows` pixels.
template <size_t kVectors, size_t kRows, class Lanes>
HWY_INLINE void DepthwiseVectors(const DepthwiseArgs& args, const float* const (&in)[kRows],
                                 float* out, size_t pitch, size_t c, const Lanes& lanes) {
  V sum[kRows][kVectors];
  HWY_UNROLL(2)
  for (size_t v = 0; v < kVectors; ++v) {
    HWY_UNROLL(4)
    for (size_t i = 0; i < kRows; ++i) sum[i][v] = hn::Zero(kF32);
  }
  const float* weights = args.weights + c;
  for (size_t t = 0; t < args.taps; ++t) {
    const ptrdiff_t offset = args.tap_offset[t] + static_cast<ptrdiff_t>(c);
    HWY_UNROLL(2)
    for (size_t v = 0; v < kVectors; ++v) {
      const V w = lanes.Load(weights + v * kLanes);
      HWY_UNROLL(4)
      for (size_t i = 0; i < kRows; ++i) {
        const V x = lanes.Load(in[i] + offset + v * kLanes);
        sum[i][v] = hn::MulAdd(x, w, sum[i][v]);
      }
    }
    weights += args.weight_pitch;
  }
  const bool clamp = args.epilogue != nullptr && args.epilogue->clamp;
  const V low = hn::Set(kF32, clamp ? args.epilogue->low : -std::numeric_limits<float>::infinity());
  const V high =
      hn::Set(kF32, clamp ? args.epilogue->high : std::numeric_limits<float>::infinity());
  HWY_UNROLL(2)
  for (size_t v = 0; v < kVectors; ++v) {
    const V bias = lanes.Load(args.bias + c + v * kLanes);  // last, as in the GEMM
    HWY_UNROLL(4)
    for (size_t i = 0; i < kRows; ++i) {
      const V clamped = AtMost(AtLeast(hn::Add(sum[i][v], bias), low), high);
      lanes.Store(clamped, out + i * pitch + c + v * kLanes);
    }
  }
}

template <size_t kRows>
void DepthwiseRows(const DepthwiseArgs& args, size_t first, float* out, size_t pitch) {
  const float* in[kRows];
  for (size_t i = 0; i < kRows; ++i) in[i] = args.pixels[first + i];
  size_t c = 0;
  for (; c + 2 * kLanes <= args.channels; c += 2 * kLanes) {
    DepthwiseVectors<2>(args, in, out, pitch, c, WholeVector());
  }
  if (c + kLanes <= args.channels) {
    DepthwiseVectors<1>(args, in, out, pitch, c, WholeVector());
    c += kLanes;
  }
  if (c < args.channels) {
    DepthwiseVectors<1>(args, in, out, pitch, c, PartialVector(args.channels - c));
  }
}

void DepthwisePixels(const DepthwiseArgs& args, size_t first, size_t end, float* out,
                     size_t pitch) {
  for (; first + kDepthwiseRows <= end; first += kDepthwiseRows, out += kDepthwiseRows * pitch)
    DepthwiseRows<kDepthwiseRows>(args, first, out, pitch);
  for (; first < end; ++first, out += pitch) DepthwiseRows<1>(args, first, out, pitch);
}

void Depthwise(const DepthwiseArgs& args) {
  if (args.epilogue == nullptr)
    return DepthwisePixels(args, 0, args.count, args.out, args.out_pitch);
  constexpr size_t kRows = 4 * kDepthwiseRows;
  HWY_ALIGN float tile[kRows * kDepthwiseWidth];
  const size_t pitch = (args.channels + kLanes - 1) / kLanes * kLanes;
  for (size_t first = 0; first < args.count; first += kRows) {
    const size_t rows = HWY_MIN(kRows, args.count - first);
    DepthwisePixels(args, first, first + rows, tile, pitch);
    FinishTile(*args.epilogue, tile, pitch, first, rows);
  }
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
