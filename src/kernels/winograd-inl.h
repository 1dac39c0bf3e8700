// The transforms of Winograd's F(m x m, 3x3). Compiled once per target: see kernels.cc.
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

/// One-dimensional transforms of F(2, 3), points 0, 1, -1 and infinity.
struct WinogradF2 {
  static constexpr size_t kOut = 2;
  static constexpr size_t kIn = 4;

  /// B^T d
  static HWY_INLINE void Input(const V (&d)[kIn], V (&t)[kIn]) {
    t[0] = hn::Sub(d[0], d[2]);
    t[1] = hn::Add(d[1], d[2]);
    t[2] = hn::Sub(d[2], d[1]);
    t[3] = hn::Sub(d[1], d[3]);
  }
  /// A^T p
  static HWY_INLINE void Output(const V (&p)[kIn], V (&t)[kOut]) {
    t[0] = hn::Add(hn::Add(p[0], p[1]), p[2]);
    t[1] = hn::Sub(hn::Sub(p[1], p[2]), p[3]);
  }
};

/// Those of F(4, 3), points 0, a, -a, b, -b and infinity. With a = 1 / sqrt(2), b = sqrt(2) the
/// transforms lose fewer bits than with the usual 1 and 2: their coefficients lie closer together.
struct WinogradF4 {
  static constexpr size_t kOut = 4;
  static constexpr size_t kIn = 6;
  static constexpr float kA = 0.70710678f;
  static constexpr float kB = 1.41421356f;

  static HWY_INLINE void Input(const V (&d)[kIn], V (&t)[kIn]) {
    const V a = hn::Set(kF32, kA);
    const V b = hn::Set(kF32, kB);
    const V sum = hn::Set(kF32, kA * kA + kB * kB);
    const V even_a = hn::NegMulAdd(hn::Set(kF32, 2.0f), d[2], d[4]);
    const V odd_a = hn::NegMulAdd(b, d[1], hn::Mul(a, d[3]));
    const V even_b = hn::NegMulAdd(hn::Set(kF32, 0.5f), d[2], d[4]);
    const V odd_b = hn::NegMulAdd(a, d[1], hn::Mul(b, d[3]));
    t[0] = hn::NegMulAdd(sum, d[2], hn::Add(d[0], d[4]));
    t[1] = hn::Add(even_a, odd_a);
    t[2] = hn::Sub(even_a, odd_a);
    t[3] = hn::Add(even_b, odd_b);
    t[4] = hn::Sub(even_b, odd_b);
    t[5] = hn::NegMulAdd(sum, d[3], hn::Add(d[1], d[5]));
  }
  static HWY_INLINE void Output(const V (&p)[kIn], V (&t)[kOut]) {
    const V even_a = hn::Add(p[1], p[2]);
    const V odd_a = hn::Sub(p[1], p[2]);
    const V even_b = hn::Add(p[3], p[4]);
    const V odd_b = hn::Sub(p[3], p[4]);
    t[0] = hn::Add(hn::Add(p[0], even_a), even_b);
    t[1] = hn::MulAdd(hn::Set(kF32, kA), odd_a, hn::Mul(hn::Set(kF32, kB), odd_b));
    t[2] = hn::MulAdd(hn::Set(kF32, 0.5f), even_a, hn::Mul(hn::Set(kF32, 2.0f), even_b));
    t[3] = hn::Add(
        hn::MulAdd(hn::Set(kF32, kA * kA * kA), odd_a, hn::Mul(hn::Set(kF32, kB * kB * kB), odd_b)),
        p[5]);
  }
};

/// One vector of channels of B^T d B.
template <class F, class Lanes>
HWY_INLINE void TransformInput(const WinogradInputArgs& args, const float* window, float* out,
                               const Lanes& lanes) {
  constexpr size_t kIn = F::kIn;
  HWY_ALIGN float half[kIn * kIn * kLanes];  // B^T d: more than the registers hold
  HWY_UNROLL(6)
  for (size_t x = 0; x < kIn; ++x) {
    const float* column = window + static_cast<ptrdiff_t>(x) * args.col_stride;
    V d[kIn];
    V t[kIn];
    HWY_UNROLL(6)
    for (size_t y = 0; y < kIn; ++y)
      d[y] = lanes.Load(column + static_cast<ptrdiff_t>(y) * args.row_stride);
    F::Input(d, t);
    HWY_UNROLL(6)
    for (size_t i = 0; i < kIn; ++i) hn::Store(t[i], kF32, half + (i * kIn + x) * kLanes);
  }
  for (size_t i = 0; i < kIn; ++i) {
    V d[kIn];
    V t[kIn];
    HWY_UNROLL(6)
    for (size_t x = 0; x < kIn; ++x) d[x] = hn::Load(kF32, half + (i * kIn + x) * kLanes);
    F::Input(d, t);
    HWY_UNROLL(6)
    for (size_t j = 0; j < kIn; ++j) lanes.Store(t[j], out + (i * kIn + j) * args.out_pitch);
  }
}

template <class F>
void InputTiles(const WinogradInputArgs& args) {
  for (size_t tile = 0; tile < args.count; ++tile) {
    const float* window = args.windows[tile];
    float* out = args.out + tile * args.channels;
    size_t c = 0;
    for (; c + kLanes <= args.channels; c += kLanes)
      TransformInput<F>(args, window + c, out + c, WholeVector());
    if (c < args.channels)
      TransformInput<F>(args, window + c, out + c, PartialVector(args.channels - c));
  }
}

/// One vector of channels of a tile, from channel `c` of the panel on: the wanted outputs, pixels
/// of the epilogue from `pixel` on, go to adjacent rows of `out`.
template <class F>
HWY_INLINE void TransformOutput(const WinogradOutputArgs& args, const float* products,
                                unsigned wanted, V bias, const Rectify<F32>& rectify, size_t pixel,
                                size_t c, float* out) {
  constexpr size_t kIn = F::kIn;
  constexpr size_t kOut = F::kOut;
  const Epilogue& epilogue = *args.epilogue;
  HWY_ALIGN float half[kOut * kIn * kLanes];  // A^T p
  HWY_UNROLL(6)
  for (size_t j = 0; j < kIn; ++j) {
    V p[kIn];
    V t[kOut];
    HWY_UNROLL(6)
    for (size_t i = 0; i < kIn; ++i) p[i] = hn::LoadU(kF32, products + (i * kIn + j) * args.pitch);
    F::Output(p, t);
    HWY_UNROLL(4)
    for (size_t y = 0; y < kOut; ++y) hn::Store(t[y], kF32, half + (y * kIn + j) * kLanes);
  }
  for (size_t y = 0; y < kOut; ++y) {
    const unsigned row = wanted >> (kOut * y) & ((1u << kOut) - 1);
    if (row == 0) continue;
    V p[kIn];
    V t[kOut];
    HWY_UNROLL(6)
    for (size_t j = 0; j < kIn; ++j) p[j] = hn::Load(kF32, half + (y * kIn + j) * kLanes);
    F::Output(p, t);
    HWY_UNROLL(4)
    for (size_t x = 0; x < kOut; ++x) {
      if ((row >> x & 1) == 0) continue;
      V result[1] = {hn::Add(t[x], bias)};
      if (epilogue.addend == nullptr) {
        rectify.Apply(result);
      } else {
        const V addend =
            LoadFirst(kF32, epilogue.addend[pixel] + epilogue.channel, c, epilogue.width);
        if (epilogue.add_first) result[0] = hn::Add(result[0], addend);
        rectify.Apply(result);
        if (!epilogue.add_first) result[0] = hn::Add(result[0], addend);
      }
      hn::StoreU(result[0], kF32, out);
      out += kPanel;
      ++pixel;
    }
  }
}

template <class F>
void OutputTiles(const WinogradOutputArgs& args) {
  const Epilogue& epilogue = *args.epilogue;
  const Rectify<F32> rectify(&epilogue);
  // As many tiles as leave their results in the first-level cache.
  constexpr size_t kGroup = 32 / (F::kOut * F::kOut);
  HWY_ALIGN float results[kGroup * F::kOut * F::kOut * kPanel];
  size_t first = args.first;
  for (size_t begin = 0; begin < args.count; begin += kGroup) {
    const size_t end = HWY_MIN(begin + kGroup, args.count);
    size_t rows = 0;
    for (size_t tile = begin; tile < end; ++tile)
      rows += static_cast<size_t>(std::popcount(args.wanted[tile]));
    PrefetchTile(epilogue, first, rows);
    size_t row = 0;
    for (size_t tile = begin; tile < end; ++tile) {
      for (size_t c = 0; c < epilogue.width; c += kLanes) {
        TransformOutput<F>(args, args.products + tile * kPanel + c, args.wanted[tile],
                           hn::LoadU(kF32, args.bias + c), rectify, first + row, c,
                           results + row * kPanel + c);
      }
      row += static_cast<size_t>(std::popcount(args.wanted[tile]));
    }
    FinishTile(epilogue, results, kPanel, first, rows);
    first += rows;
  }
}

void WinogradInput(const WinogradInputArgs& args) {
  args.m == WinogradF4::kOut ? InputTiles<WinogradF4>(args) : InputTiles<WinogradF2>(args);
}

void WinogradOutput(const WinogradOutputArgs& args) {
  args.m == WinogradF4::kOut ? OutputTiles<WinogradF4>(args) : OutputTiles<WinogradF2>(args);
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
