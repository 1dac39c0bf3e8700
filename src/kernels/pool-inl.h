// Maximum and mean over windows of pixels. Compiled once per target: see kernels.cc.
#if defined(DELTACNN_KERNELS_POOL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DELTACNN_KERNELS_POOL_INL_H_
#undef DELTACNN_KERNELS_POOL_INL_H_
#else
#define DELTACNN_KERNELS_POOL_INL_H_
#endif

#include "kernels/kernels.h"
#include "kernels/pointwise-inl.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace deltacnn::kernels::HWY_NAMESPACE {

/// `kVectors` vectors of channels of one window.
template <bool kAverage, size_t kVectors, class Lanes>
HWY_INLINE void PoolWindow(const PoolArgs& args, const float* window, const Lanes& lanes,
                           float* out) {
  const auto fold = [](V a, V b)
                        HWY_ATTR { return kAverage ? hn::Add(a, b) : HWY_NAMESPACE::Max(a, b); };
  const auto fold_row = [&](V(&row)[kVectors]) HWY_ATTR {
    for (size_t v = 0; v < kVectors; ++v) row[v] = lanes.Load(window + v * kLanes);
    const float* pixel = window;
    for (size_t c = 1; c < args.columns; ++c) {
      pixel += args.col_pitch;
      for (size_t v = 0; v < kVectors; ++v) row[v] = fold(row[v], lanes.Load(pixel + v * kLanes));
    }
  };
  V total[kVectors];
  fold_row(total);
  for (size_t r = 1; r < args.rows; ++r) {
    window += args.row_pitch;
    V row[kVectors];
    fold_row(row);
    for (size_t v = 0; v < kVectors; ++v) total[v] = fold(total[v], row[v]);
  }
  for (size_t v = 0; v < kVectors; ++v) {
    if (kAverage) total[v] = hn::Div(total[v], Constant(args.divisor));
    lanes.Store(total[v], out + v * kLanes);
  }
}

template <bool kAverage>
void PoolWindows(const PoolArgs& args) {
  constexpr size_t kMany = 4;
  const float* window = args.from;
  float* out = args.out;
  for (size_t i = 0; i < args.count; ++i, window += args.step, out += args.channels) {
    size_t c = 0;
    for (; c + kMany * kLanes <= args.channels; c += kMany * kLanes)
      PoolWindow<kAverage, kMany>(args, window + c, WholeVector(), out + c);
    for (; c + kLanes <= args.channels; c += kLanes)
      PoolWindow<kAverage, 1>(args, window + c, WholeVector(), out + c);
    if (c < args.channels)
      PoolWindow<kAverage, 1>(args, window + c, PartialVector(args.channels - c), out + c);
  }
}

void Pool(const PoolArgs& args) {
  args.average ? PoolWindows<true>(args) : PoolWindows<false>(args);
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
