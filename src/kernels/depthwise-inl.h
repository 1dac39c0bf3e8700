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

/// Adds all taps for `kVectors` vectors of channels, from channel `c` on, at `kRows` pixels
/// anywhere.
struct ScatteredTaps {
  template <size_t kRows, size_t kVectors, class Lanes>
  static HWY_INLINE void Add(const DepthwiseArgs& args, const float* const* in, size_t c,
                             const Lanes& lanes, V (&sum)[kRows][kVectors]) {
    const float* weights = args.weights + c;
    for (size_t t = 0; t < args.taps; ++t) {
      const ptrdiff_t offset = args.tap_offset[t] + static_cast<ptrdiff_t>(c);
      HWY_UNROLL(2)
      for (size_t v = 0; v < kVectors; ++v) {
        const V w = lanes.Load(weights + v * kLanes);
        HWY_UNROLL(4)
        for (size_t i = 0; i < kRows; ++i)
          sum[i][v] = hn::MulAdd(lanes.Load(in[i] + offset + v * kLanes), w, sum[i][v]);
      }
      weights += args.weight_pitch;
    }
  }
};

/// The same for adjacent pixels: those of a row of `kCols` taps share their inputs. Every sum has
/// the order of ScatteredTaps.
template <size_t kCols>
struct AdjacentTaps {
  template <size_t kRows, size_t kVectors, class Lanes>
  static HWY_INLINE void Add(const DepthwiseArgs& args, const float* const* in, size_t c,
                             const Lanes& lanes, V (&sum)[kRows][kVectors]) {
    const float* weights = args.weights + c;
    for (size_t t = 0; t < args.taps; t += kCols) {
      const float* x = in[0] + args.tap_offset[t] + static_cast<ptrdiff_t>(c);
      HWY_UNROLL(2)
      for (size_t v = 0; v < kVectors; ++v) {
        V w[kCols];
        HWY_UNROLL(5)
        for (size_t k = 0; k < kCols; ++k)
          w[k] = lanes.Load(weights + k * args.weight_pitch + v * kLanes);
        HWY_UNROLL(8)
        for (size_t j = 0; j < kRows + kCols - 1; ++j) {
          const V value = lanes.Load(x + static_cast<ptrdiff_t>(j) * args.pixel_pitch + v * kLanes);
          HWY_UNROLL(4)
          for (size_t i = 0; i < kRows; ++i)
            if (j >= i && j - i < kCols) sum[i][v] = hn::MulAdd(value, w[j - i], sum[i][v]);
        }
      }
      weights += kCols * args.weight_pitch;
    }
  }
};

template <class Taps, size_t kRows, size_t kVectors, class Lanes>
HWY_INLINE void DepthwiseVectors(const DepthwiseArgs& args, const float* const* in, float* out,
                                 size_t pitch, size_t c, const Lanes& lanes) {
  V sum[kRows][kVectors];
  HWY_UNROLL(4)
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t v = 0; v < kVectors; ++v) sum[i][v] = hn::Zero(kF32);
  }
  Taps::Add(args, in, c, lanes, sum);
  const bool clamp = args.epilogue != nullptr && args.epilogue->clamp;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const V low = hn::Set(kF32, clamp ? args.epilogue->low : -kInfinity);
  const V high = hn::Set(kF32, clamp ? args.epilogue->high : kInfinity);
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

/// All channels of `kRows` pixels.
template <class Taps, size_t kRows>
void DepthwiseRows(const DepthwiseArgs& args, const float* const* in, float* out, size_t pitch) {
  size_t c = 0;
  for (; c + 2 * kLanes <= args.channels; c += 2 * kLanes)
    DepthwiseVectors<Taps, kRows, 2>(args, in, out, pitch, c, WholeVector());
  if (c + kLanes <= args.channels) {
    DepthwiseVectors<Taps, kRows, 1>(args, in, out, pitch, c, WholeVector());
    c += kLanes;
  }
  if (c < args.channels)
    DepthwiseVectors<Taps, kRows, 1>(args, in, out, pitch, c, PartialVector(args.channels - c));
}

HWY_INLINE bool Adjacent(const DepthwiseArgs& args, const float* const* in) {
  for (size_t i = 1; i < kDepthwiseRows; ++i)
    if (in[i] - in[i - 1] != args.pixel_pitch) return false;
  return args.pixel_pitch != 0;
}

void DepthwisePixels(const DepthwiseArgs& args, size_t first, size_t end, float* out,
                     size_t pitch) {
  for (; first + kDepthwiseRows <= end; first += kDepthwiseRows, out += kDepthwiseRows * pitch) {
    const float* const* in = args.pixels + first;
    const size_t columns = Adjacent(args, in) ? args.columns : 0;
    if (columns == 3) {
      DepthwiseRows<AdjacentTaps<3>, kDepthwiseRows>(args, in, out, pitch);
    } else if (columns == 5) {
      DepthwiseRows<AdjacentTaps<5>, kDepthwiseRows>(args, in, out, pitch);
    } else {
      DepthwiseRows<ScatteredTaps, kDepthwiseRows>(args, in, out, pitch);
    }
  }
  for (; first < end; ++first, out += pitch)
    DepthwiseRows<ScatteredTaps, 1>(args, args.pixels + first, out, pitch);
}

void Depthwise(const DepthwiseArgs& args) {
  if (args.epilogue == nullptr)
    return DepthwisePixels(args, 0, args.count, args.out, args.out_pitch);
  HWY_ALIGN float tile[kDepthwiseRows * kDepthwiseWidth];
  const size_t pitch = (args.channels + kLanes - 1) / kLanes * kLanes;
  const size_t most = kDepthwiseWidth / pitch * kDepthwiseRows;
  for (size_t first = 0; first < args.count; first += most) {
    const size_t rows = HWY_MIN(most, args.count - first);
    PrefetchTile(*args.epilogue, first, rows);
    DepthwisePixels(args, first, first + rows, tile, pitch);
    FinishTile(*args.epilogue, tile, pitch, first, rows);
  }
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
