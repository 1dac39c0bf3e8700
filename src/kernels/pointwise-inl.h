// Functions of one and two arguments, element by element. Compiled once per target: see kernels.cc.
#if defined(DELTACNN_KERNELS_POINTWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DELTACNN_KERNELS_POINTWISE_INL_H_
#undef DELTACNN_KERNELS_POINTWISE_INL_H_
#else
#define DELTACNN_KERNELS_POINTWISE_INL_H_
#endif

#include <cmath>
#include <cstring>
#include <iterator>

#include "kernels/kernels.h"
#include "kernels/math-inl.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace deltacnn::kernels::HWY_NAMESPACE {

// ---- One argument ----

HWY_INLINE V Relu(V x) { return AtLeast(x, hn::Zero(kF32)); }
HWY_INLINE V Sigmoid(V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, TimesSigmoid(Constant(1.0f), x));
}

HWY_INLINE V Gelu(V x) {
  const V erf = Erf(hn::Mul(x, Constant(0.707106781f)));
  return hn::Mul(hn::Mul(x, Constant(0.5f)), hn::Add(erf, Constant(1.0f)));
}

HWY_INLINE V GeluTanh(V x) {
  // 0.5 * (1 + tanh(u)) = sigmoid(2 * u), here with 2 * u = x * (factor of x^2).
  const V factor = hn::MulAdd(hn::Mul(x, x), Constant(0.0713548163f), Constant(1.59576912f));
  return TimesSigmoid(x, hn::Mul(x, factor));
}

HWY_INLINE V Softsign(V x) { return hn::Div(x, hn::Add(Constant(1.0f), hn::Abs(x))); }
HWY_INLINE V Reciprocal(V x) { return hn::Div(Constant(1.0f), x); }

HWY_INLINE V Sign(V x) {
  const V one = hn::CopySign(Constant(1.0f), x);
  return hn::IfThenElse(hn::Gt(hn::Abs(x), hn::Zero(kF32)), one, x);
}

HWY_INLINE V Clip(V x, V a, V b) { return AtMost(AtLeast(x, a), b); }

template <class Vec>
HWY_INLINE Vec Leaky(Vec x, Vec slope) {
  return hn::IfThenElse(hn::Lt(x, hn::Zero(hn::DFromV<Vec>())), hn::Mul(slope, x), x);
}
HWY_INLINE V LeakyRelu(V x, V a, V /*b*/) { return Leaky(x, a); }

HWY_INLINE V Elu(V x, V a, V /*b*/) {
  return hn::IfThenElse(hn::Lt(x, hn::Zero(kF32)), hn::Mul(a, Expm1NotPositive(x)), x);
}

HWY_INLINE V Selu(V x, V a, V b) { return hn::Mul(b, Elu(x, a, b)); }

HWY_INLINE V HardSigmoid(V x, V a, V b) {
  return Clip(hn::MulAdd(a, x, b), hn::Zero(kF32), Constant(1.0f));
}

HWY_INLINE V HardSwish(V x) {
  return hn::Mul(x, HardSigmoid(x, Constant(1.0f / 6.0f), Constant(0.5f)));
}

HWY_INLINE V Affine(V x, V a, V b) { return hn::Add(hn::Mul(a, x), b); }

HWY_INLINE V Sqrt(V x) { return hn::Sqrt(x); }
HWY_INLINE V Neg(V x) { return hn::Neg(x); }
HWY_INLINE V Abs(V x) { return hn::Abs(x); }
HWY_INLINE V Floor(V x) { return hn::Floor(x); }
HWY_INLINE V Ceil(V x) { return hn::Ceil(x); }

template <V (*kFunction)(V x, V a, V b)>
void Transform(float a, float b, float* x, size_t n) {
  const V va = Constant(a);
  const V vb = Constant(b);
  const WholeVector whole;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    whole.Store(kFunction(whole.Load(x + i), va, vb), x + i);
  }
  if (i < n) {
    const PartialVector rest(n - i);
    rest.Store(kFunction(rest.Load(x + i), va, vb), x + i);
  }
}

template <V (*kFunction)(V x)>
HWY_INLINE V WithoutParameters(V x, V /*a*/, V /*b*/) {
  return kFunction(x);
}

template <V (*kFunction)(V x)>
void Transform(float* x, size_t n) {
  Transform<WithoutParameters<kFunction>>(0.0f, 0.0f, x, n);
}

/// For functions too rare to be worth vectors.
template <float (*kFunction)(float x)>
void TransformScalars(float* x, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] = kFunction(x[i]);
}

void ApplyUnary(Unary function, float a, float b, float* x, size_t n) {
  switch (function) {
    case Unary::kRelu:
      return Transform<Relu>(x, n);
    case Unary::kClip:
      return Transform<Clip>(a, b, x, n);
    case Unary::kLeakyRelu:
      return Transform<LeakyRelu>(a, b, x, n);
    case Unary::kElu:
      return Transform<Elu>(a, b, x, n);
    case Unary::kSelu:
      return Transform<Selu>(a, b, x, n);
    case Unary::kSigmoid:
      return Transform<Sigmoid>(x, n);
    case Unary::kSilu:
      return Transform<Silu>(x, n);
    case Unary::kHardSigmoid:
      return Transform<HardSigmoid>(a, b, x, n);
    case Unary::kHardSwish:
      return Transform<HardSwish>(x, n);
    case Unary::kMish:
      return Transform<Mish>(x, n);
    case Unary::kGelu:
      return Transform<Gelu>(x, n);
    case Unary::kGeluTanh:
      return Transform<GeluTanh>(x, n);
    case Unary::kTanh:
      return Transform<Tanh>(x, n);
    case Unary::kErf:
      return Transform<Erf>(x, n);
    case Unary::kSoftplus:
      return Transform<Softplus>(x, n);
    case Unary::kSoftsign:
      return Transform<Softsign>(x, n);
    case Unary::kExp:
      return Transform<Exp>(x, n);
    case Unary::kLog:
      return Transform<Log>(x, n);
    case Unary::kSqrt:
      return Transform<Sqrt>(x, n);
    case Unary::kReciprocal:
      return Transform<Reciprocal>(x, n);
    case Unary::kNeg:
      return Transform<Neg>(x, n);
    case Unary::kAbs:
      return Transform<Abs>(x, n);
    case Unary::kFloor:
      return Transform<Floor>(x, n);
    case Unary::kCeil:
      return Transform<Ceil>(x, n);
    case Unary::kRound:
      return Transform<RoundHalfToEven>(x, n);
    case Unary::kSign:
      return Transform<Sign>(x, n);
    case Unary::kSin:
      return TransformScalars<std::sin>(x, n);
    case Unary::kCos:
      return TransformScalars<std::cos>(x, n);
    case Unary::kAffine:
      return Transform<Affine>(a, b, x, n);
  }
}

// ---- Two arguments ----

HWY_INLINE V Add(V x, V y) { return hn::Add(x, y); }
HWY_INLINE V Sub(V x, V y) { return hn::Sub(x, y); }
HWY_INLINE V Rsub(V x, V y) { return hn::Sub(y, x); }
HWY_INLINE V Mul(V x, V y) { return hn::Mul(x, y); }
HWY_INLINE V Div(V x, V y) { return hn::Div(x, y); }
HWY_INLINE V Rdiv(V x, V y) { return hn::Div(y, x); }
HWY_INLINE V Prelu(V x, V y) { return Leaky(x, y); }

// NaN if either argument is NaN.
HWY_INLINE V Min(V x, V y) { return hn::IfThenElse(hn::Or(hn::Lt(x, y), hn::IsNaN(x)), x, y); }
HWY_INLINE V Max(V x, V y) { return hn::IfThenElse(hn::Or(hn::Gt(x, y), hn::IsNaN(x)), x, y); }

inline float Pow(float x, float y) { return std::pow(x, y); }
inline float Rpow(float x, float y) { return std::pow(y, x); }

/// A second argument with a value for every element.
struct Elements {
  const float* y;

  template <class Lanes>
  HWY_INLINE V Load(size_t i, const Lanes& lanes) const {
    return lanes.Load(y + i);
  }
  HWY_INLINE float operator[](size_t i) const { return y[i]; }
};

/// A second argument with one value for all elements.
struct Uniform {
  float y;

  template <class Lanes>
  HWY_INLINE V Load(size_t /*i*/, const Lanes& /*lanes*/) const {
    return Constant(y);
  }
  HWY_INLINE float operator[](size_t /*i*/) const { return y; }
};

template <V (*kFunction)(V x, V y), class Argument>
void Combine(float* x, Argument y, size_t n) {
  const WholeVector whole;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    whole.Store(kFunction(whole.Load(x + i), y.Load(i, whole)), x + i);
  }
  if (i < n) {
    const PartialVector rest(n - i);
    rest.Store(kFunction(rest.Load(x + i), y.Load(i, rest)), x + i);
  }
}

template <float (*kFunction)(float x, float y), class Argument>
void CombineScalars(float* x, Argument y, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] = kFunction(x[i], y[i]);
}

template <class Argument>
void ApplyBinary(Binary function, float* x, Argument y, size_t n) {
  switch (function) {
    case Binary::kAdd:
      return Combine<Add>(x, y, n);
    case Binary::kSub:
      return Combine<Sub>(x, y, n);
    case Binary::kRsub:
      return Combine<Rsub>(x, y, n);
    case Binary::kMul:
      return Combine<Mul>(x, y, n);
    case Binary::kDiv:
      return Combine<Div>(x, y, n);
    case Binary::kRdiv:
      return Combine<Rdiv>(x, y, n);
    case Binary::kMin:
      return Combine<Min>(x, y, n);
    case Binary::kMax:
      return Combine<Max>(x, y, n);
    case Binary::kPow:
      return CombineScalars<Pow>(x, y, n);
    case Binary::kRpow:
      return CombineScalars<Rpow>(x, y, n);
    case Binary::kPrelu:
      return Combine<Prelu>(x, y, n);
  }
}

void BinaryElements(Binary function, float* x, const float* y, size_t n) {
  ApplyBinary(function, x, Elements{y}, n);
}

void BinaryUniform(Binary function, float* x, float y, size_t n) {
  ApplyBinary(function, x, Uniform{y}, n);
}

void Accumulate(float* acc, const float* x, float scale, size_t n) {
  const V factor = Constant(scale);
  const WholeVector whole;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    whole.Store(hn::MulAdd(whole.Load(x + i), factor, whole.Load(acc + i)), acc + i);
  }
  if (i < n) {
    const PartialVector rest(n - i);
    rest.Store(hn::MulAdd(rest.Load(x + i), factor, rest.Load(acc + i)), acc + i);
  }
}

// ---- Storing ----

template <class D>
HWY_INLINE bool SameBits(D /*d*/, hn::Vec<D> x, hn::Vec<D> y) {
  const hn::RebindToUnsigned<D> bits;
  return hn::AllTrue(bits, hn::Eq(hn::BitCast(bits, x), hn::BitCast(bits, y)));
}

HWY_INLINE float SquaredDistance(const float* a, const float* b, const float* weights, size_t n) {
  const WholeVector whole;
  const auto add = [&](size_t i, const auto& lanes, V sum) HWY_ATTR {
    const V d = hn::Sub(lanes.Load(a + i), lanes.Load(b + i));
    return hn::MulAdd(hn::Mul(d, d), lanes.Load(weights + i), sum);
  };
  // Four sums: one would wait for itself.
  V sum[4];
  for (V& part : sum) part = hn::Zero(kF32);
  size_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    HWY_UNROLL(4)
    for (size_t s = 0; s < 4; ++s) sum[s] = add(i + s * kLanes, whole, sum[s]);
  }
  for (; i + kLanes <= n; i += kLanes) sum[0] = add(i, whole, sum[0]);
  if (i < n) sum[1] = add(i, PartialVector(n - i), sum[1]);
  return hn::GetLane(
      hn::SumOfLanes(kF32, hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3]))));
}

HWY_INLINE bool StoreChangedRow(float* dst, const float* src, size_t n) {
  // Equal values need no store: an unchanged row costs no memory writes.
  const WholeVector whole;
  size_t i = 0;
  while (i + kLanes <= n && SameBits(kF32, whole.Load(dst + i), whole.Load(src + i))) i += kLanes;
  bool changed = i + kLanes <= n;
  for (; i + kLanes <= n; i += kLanes) whole.Store(whole.Load(src + i), dst + i);
  if (i < n) {
    const PartialVector rest(n - i);
    const V value = rest.Load(src + i);
    changed |= !SameBits(kF32, rest.Load(dst + i), value);
    rest.Store(value, dst + i);
  }
  return changed;
}

bool StoreChanged(float* dst, const float* src, size_t n) { return StoreChangedRow(dst, src, n); }

HWY_INLINE void StoreRow(float* dst, const float* src, size_t n) {
  const WholeVector whole;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) whole.Store(whole.Load(src + i), dst + i);
  if (i < n) {
    const PartialVector rest(n - i);
    rest.Store(rest.Load(src + i), dst + i);
  }
}

/// `kCount` floats of each pixel.
template <size_t kCount>
HWY_INLINE void StoreFew(float* dst, ptrdiff_t dst_pitch, const float* src, ptrdiff_t src_pitch,
                         size_t count, uint8_t* changed) {
  for (size_t i = 0; i < count; ++i, dst += dst_pitch, src += src_pitch) {
    if (std::memcmp(dst, src, kCount * sizeof(float)) == 0) continue;
    std::memcpy(dst, src, kCount * sizeof(float));
    if (changed != nullptr) changed[i] |= 1;
  }
}

void StorePixels(float* dst, ptrdiff_t dst_pitch, const float* src, ptrdiff_t src_pitch,
                 size_t count, size_t n, uint8_t* changed) {
  const bool packed = dst_pitch == src_pitch && dst_pitch == static_cast<ptrdiff_t>(n);
  if (packed && changed == nullptr) return StoreRow(dst, src, count * n);
  if (n == 1) return StoreFew<1>(dst, dst_pitch, src, src_pitch, count, changed);
  if (n == 2) return StoreFew<2>(dst, dst_pitch, src, src_pitch, count, changed);
  if (n == 4) return StoreFew<4>(dst, dst_pitch, src, src_pitch, count, changed);
  for (size_t i = 0; i < count; ++i, dst += dst_pitch, src += src_pitch) {
    if (changed == nullptr) {
      StoreRow(dst, src, n);
    } else if (StoreChangedRow(dst, src, n)) {
      changed[i] |= 1;
    }
  }
}

#if HWY_TARGET == HWY_AVX3
/// Pixels of kVectors vectors and, with kHalf, half of one. Whether a pixel changes enough is
/// anyone's guess: of a few vectors, stores of no lanes cost less than branches taken wrongly. Not
/// so with AVX2, whose masked stores take 12 cycles on a Zen 4.
template <size_t kVectors, bool kHalf>
void StoreStrongerNarrow(float* dst, ptrdiff_t dst_pitch, const float* src, ptrdiff_t src_pitch,
                         size_t count, const StrengthLimits& limits, uint8_t* flags) {
  using Half = hn::Half<F32>;
  constexpr size_t kWhole = kVectors * kLanes;
  const WholeVector whole;
  const WholeLanes<Half> half;
  V weights[kVectors + 1];
  for (size_t v = 0; v < kVectors; ++v) weights[v] = whole.Load(limits.weights + v * kLanes);
  const auto half_weights = half.Load(limits.weights + (kHalf ? kWhole : 0));
  for (size_t i = 0; i < count; ++i, dst += dst_pitch, src += src_pitch) {
    V value[kVectors + 1];
    V sum = hn::Zero(kF32);
    for (size_t v = 0; v < kVectors; ++v) {
      value[v] = whole.Load(src + v * kLanes);
      const V d = hn::Sub(whole.Load(dst + v * kLanes), value[v]);
      sum = hn::MulAdd(hn::Mul(d, d), weights[v], sum);
    }
    auto half_value = hn::Zero(Half());
    auto half_sum = hn::Add(hn::LowerHalf(sum), hn::UpperHalf(Half(), sum));
    if constexpr (kHalf) {
      half_value = half.Load(src + kWhole);
      const auto d = hn::Sub(half.Load(dst + kWhole), half_value);
      half_sum = hn::MulAdd(hn::Mul(d, d), half_weights, half_sum);
    }
    const float strength = hn::GetLane(hn::SumOfLanes(Half(), half_sum));
    const bool changed = !(strength <= limits.cutoff);
    const bool strong = !(strength <= limits.strong);
    flags[i] |= static_cast<uint8_t>(changed | (changed & strong) << 1);
    const auto lanes = hn::FirstN(kF32, changed ? kLanes : 0);
    for (size_t v = 0; v < kVectors; ++v) hn::BlendedStore(value[v], lanes, kF32, dst + v * kLanes);
    if constexpr (kHalf) {
      const auto half_lanes = hn::FirstN(Half(), changed ? kLanes / 2 : 0);
      hn::BlendedStore(half_value, half_lanes, Half(), dst + kWhole);
    }
  }
}
#endif

void StoreStronger(float* dst, ptrdiff_t dst_pitch, const float* src, ptrdiff_t src_pitch,
                   size_t count, size_t n, const StrengthLimits& limits, uint8_t* flags) {
#if HWY_TARGET == HWY_AVX3
  constexpr decltype(&StoreStrongerNarrow<1, false>) kNarrow[] = {
      nullptr,  // by half vectors
      StoreStrongerNarrow<0, true>,
      StoreStrongerNarrow<1, false>,
      StoreStrongerNarrow<1, true>,
      StoreStrongerNarrow<2, false>,
      StoreStrongerNarrow<2, true>,
      StoreStrongerNarrow<3, false>,
      StoreStrongerNarrow<3, true>,
      StoreStrongerNarrow<4, false>,
  };
  constexpr size_t kHalfLanes = kLanes / 2;
  if (n % kHalfLanes == 0 && n / kHalfLanes < std::size(kNarrow)) {
    return kNarrow[n / kHalfLanes](dst, dst_pitch, src, src_pitch, count, limits, flags);
  }
#endif
  // All strengths of a group first: a branch taken wrongly then waits for none of them.
  constexpr size_t kGroup = 16;
  float strength[kGroup];
  for (size_t first = 0; first < count; first += kGroup, flags += kGroup) {
    const size_t group = HWY_MIN(count - first, kGroup);
    for (size_t i = 0; i < group; ++i) {
      const auto at = static_cast<ptrdiff_t>(i);
      strength[i] = SquaredDistance(dst + at * dst_pitch, src + at * src_pitch, limits.weights, n);
    }
    for (size_t i = 0; i < group; ++i, dst += dst_pitch, src += src_pitch) {
      if (strength[i] <= limits.cutoff) continue;
      StoreRow(dst, src, n);
      flags[i] |= strength[i] <= limits.strong ? 1 : 3;
    }
  }
}

// ---- Interpolation ----

/// One vector of channels of every pixel.
template <class Lanes>
HWY_INLINE void InterpolateLanes(const float* from, int base, const int* index,
                                 const float* weights, size_t taps, size_t count, size_t channels,
                                 const Lanes& lanes, float* out) {
  const auto pixel = [&](size_t t) {
    return from + (index[t] - base) * static_cast<ptrdiff_t>(channels);
  };
  for (size_t i = 0; i < count; ++i, index += taps, weights += taps, out += channels) {
    V sum = hn::Mul(lanes.Load(pixel(0)), Constant(weights[0]));
    for (size_t t = 1; t < taps; ++t)
      sum = hn::MulAdd(lanes.Load(pixel(t)), Constant(weights[t]), sum);
    lanes.Store(sum, out);
  }
}

void Interpolate(const float* from, int base, const int* index, const float* weights, size_t taps,
                 size_t count, size_t channels, float* out) {
  size_t c = 0;
  for (; c + kLanes <= channels; c += kLanes)
    InterpolateLanes(from + c, base, index, weights, taps, count, channels, WholeVector(), out + c);
  if (c < channels) {
    InterpolateLanes(from + c, base, index, weights, taps, count, channels,
                     PartialVector(channels - c), out + c);
  }
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
