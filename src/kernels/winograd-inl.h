// The transforms of Winograd's F(2x2, 3x3). Compiled once per target: see kernels.cc.
#if defined(DELTACNN_KERNELS_WINOGRAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DELTACNN_KERNELS_WINOGRAD_INL_H_
#undef DELTACNN_KERNELS_WINOGRAD_INL_H_
#else
#define DELTACNN_KERNELS_WINOGRAD_INL_H_
#endif

#include <bit>

#include "kernels/epilogue-inl.h"
#include "kernels/gemm-inl.h"
#include "kernels/kernels.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace deltacnn::kernels::HWY_NAMESPACE {

/// One vector of channels of B^T d B.
template <class Lanes>
HWY_INLINE void TransformInput(const WinogradInputArgs& args, const float* window, float* out,
                               const Lanes& lanes) {
  V t[4][4];  // B^T d
  HWY_UNROLL(4)
  for (size_t x = 0; x < 4; ++x) {
    const float* column = window + static_cast<ptrdiff_t>(x) * args.col_stride;
    const V d0 = lanes.Load(column);
    const V d1 = lanes.Load(column + args.row_stride);
    const V d2 = lanes.Load(column + 2 * args.row_stride);
    const V d3 = lanes.Load(column + 3 * args.row_stride);
    t[0][x] = hn::Sub(d0, d2);
    t[1][x] = hn::Add(d1, d2);
    t[2][x] = hn::Sub(d2, d1);
    t[3][x] = hn::Sub(d1, d3);
  }
  HWY_UNROLL(4)
  for (size_t i = 0; i < 4; ++i) {
    float* row = out + 4 * i * args.out_pitch;
    lanes.Store(hn::Sub(t[i][0], t[i][2]), row);
    lanes.Store(hn::Add(t[i][1], t[i][2]), row + args.out_pitch);
    lanes.Store(hn::Sub(t[i][2], t[i][1]), row + 2 * args.out_pitch);
    lanes.Store(hn::Sub(t[i][1], t[i][3]), row + 3 * args.out_pitch);
  }
}

void WinogradInput(const WinogradInputArgs& args) {
  for (size_t tile = 0; tile < args.count; ++tile) {
    const float* window = args.windows[tile];
    float* out = args.out + tile * args.channels;
    size_t c = 0;
    for (; c + kLanes <= args.channels; c += kLanes)
      TransformInput(args, window + c, out + c, WholeVector());
    if (c < args.channels)
      TransformInput(args, window + c, out + c, PartialVector(args.channels - c));
  }
}

/// One vector of channels of a tile: the wanted outputs go to adjacent rows of `out`.
HWY_INLINE void TransformOutput(const WinogradOutputArgs& args, const float* products,
                                unsigned wanted, V bias, V low, V high, float* out) {
  V t[2][4];  // A^T m
  HWY_UNROLL(4)
  for (size_t j = 0; j < 4; ++j) {
    const V m0 = hn::LoadU(kF32, products + j * args.pitch);
    const V m1 = hn::LoadU(kF32, products + (4 + j) * args.pitch);
    const V m2 = hn::LoadU(kF32, products + (8 + j) * args.pitch);
    const V m3 = hn::LoadU(kF32, products + (12 + j) * args.pitch);
    t[0][j] = hn::Add(hn::Add(m0, m1), m2);
    t[1][j] = hn::Sub(hn::Sub(m1, m2), m3);
  }
  HWY_UNROLL(2)
  for (size_t y = 0; y < 2; ++y) {
    const V left = hn::Add(hn::Add(t[y][0], t[y][1]), t[y][2]);
    const V right = hn::Sub(hn::Sub(t[y][1], t[y][2]), t[y][3]);
    if ((wanted >> (2 * y) & 1) != 0) {
      hn::StoreU(AtMost(AtLeast(hn::Add(left, bias), low), high), kF32, out);
      out += kPanel;
    }
    if ((wanted >> (2 * y + 1) & 1) != 0) {
      hn::StoreU(AtMost(AtLeast(hn::Add(right, bias), low), high), kF32, out);
      out += kPanel;
    }
  }
}

void WinogradOutput(const WinogradOutputArgs& args) {
  const Epilogue& epilogue = *args.epilogue;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const V low = hn::Set(kF32, epilogue.clamp ? epilogue.low : -kInfinity);
  const V high = hn::Set(kF32, epilogue.clamp ? epilogue.high : kInfinity);
  // As many tiles as leave their results in the first-level cache.
  constexpr size_t kGroup = 8;
  HWY_ALIGN float results[kGroup * 4 * kPanel];
  size_t first = args.first;
  for (size_t begin = 0; begin < args.count; begin += kGroup) {
    const size_t end = HWY_MIN(begin + kGroup, args.count);
    size_t rows = 0;
    for (size_t tile = begin; tile < end; ++tile)
      rows += static_cast<size_t>(std::popcount(args.wanted[tile]));
    PrefetchTile(epilogue, first, rows);
    float* out = results;
    for (size_t tile = begin; tile < end; ++tile) {
      for (size_t c = 0; c < epilogue.width; c += kLanes) {
        TransformOutput(args, args.products + tile * kPanel + c, args.wanted[tile],
                        hn::LoadU(kF32, args.bias + c), low, high, out + c);
      }
      out += static_cast<size_t>(std::popcount(args.wanted[tile])) * kPanel;
    }
    FinishTile(epilogue, results, kPanel, first, rows);
    first += rows;
  }
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
