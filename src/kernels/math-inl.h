// Transcendental functions on vectors of float. Compiled once per target: see kernels.cc.
//
// The coefficients are minimax fits of our own. tests/kernels/unary_test.cc states and checks the
// errors. Every function passes NaN on, by a formula in which no two different NaNs meet: which of
// them comes out would depend on the compiler.
#if defined(DELTACNN_KERNELS_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DELTACNN_KERNELS_MATH_INL_H_
#undef DELTACNN_KERNELS_MATH_INL_H_
#else
#define DELTACNN_KERNELS_MATH_INL_H_
#endif

#include <limits>

#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace deltacnn::kernels::HWY_NAMESPACE {

HWY_INLINE V Constant(float value) { return hn::Set(kF32, value); }

/// coefficients[0] + coefficients[1] * x + coefficients[2] * x^2 ...
template <size_t kCount>
HWY_INLINE V Polynomial(V x, const float (&coefficients)[kCount]) {
  V sum = Constant(coefficients[kCount - 1]);
  HWY_UNROLL(8)
  for (size_t i = kCount - 1; i > 0; --i) sum = hn::MulAdd(sum, x, Constant(coefficients[i - 1]));
  return sum;
}

// These keep a NaN in `x`. So do hn::Min and hn::Max on x86, which return their second argument if
// one is NaN; elsewhere they may not. On Arm they return the number, other instructions the NaN.
#if HWY_ARCH_X86 && HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SCALAR
template <class Vec>
HWY_INLINE Vec AtLeast(Vec x, Vec low) {
  return hn::Max(low, x);
}
template <class Vec>
HWY_INLINE Vec AtMost(Vec x, Vec high) {
  return hn::Min(high, x);
}
#elif HWY_TARGET == HWY_NEON
template <size_t kCount>
HWY_INLINE hn::Vec128<float, kCount> AtLeast(hn::Vec128<float, kCount> x,
                                             hn::Vec128<float, kCount> low) {
  using Vec = hn::Vec128<float, kCount>;
  if constexpr (kCount == 4) {
    return Vec(vmaxq_f32(low.raw, x.raw));
  } else {
    return Vec(vmax_f32(low.raw, x.raw));
  }
}
template <size_t kCount>
HWY_INLINE hn::Vec128<float, kCount> AtMost(hn::Vec128<float, kCount> x,
                                            hn::Vec128<float, kCount> high) {
  using Vec = hn::Vec128<float, kCount>;
  if constexpr (kCount == 4) {
    return Vec(vminq_f32(high.raw, x.raw));
  } else {
    return Vec(vmin_f32(high.raw, x.raw));
  }
}
#else
template <class Vec>
HWY_INLINE Vec AtLeast(Vec x, Vec low) {
  return hn::IfThenElse(hn::Lt(x, low), low, x);
}
template <class Vec>
HWY_INLINE Vec AtMost(Vec x, Vec high) {
  return hn::IfThenElse(hn::Gt(x, high), high, x);
}
#endif

/// exp(x) = 2^n * (1 + fraction), where n = shifted_n - kExpShift.
struct ExpParts {
  V fraction;
  VU shifted_n;
};
inline constexpr uint32_t kExpShift = 0x4B400000;  // the bits of 1.5 * 2^23

/// For |x| <= 1000; beyond, the parts are of no use.
HWY_INLINE ExpParts SplitExp(V x) {
  // Adding 1.5 * 2^23 rounds to integer, and leaves that integer in the low bits of the sum.
  const V shift = hn::BitCast(kF32, hn::Set(kU32, kExpShift));
  const V sum = hn::MulAdd(x, Constant(0x1.715476p0f), shift);
  const V n = hn::Sub(sum, shift);
  // ln(2) in two parts; n times the first part is exact.
  V r = hn::NegMulAdd(n, Constant(0.693359375f), x);
  r = hn::NegMulAdd(n, Constant(-2.12194440e-4f), r);
  const V q = Polynomial(r, {0.5f, 0.166665435f, 0.0416662805f, 0.00836661085f, 0.00139464962f});
  return {hn::MulAdd(hn::Mul(r, r), q, r), hn::BitCast(kU32, sum)};
}

/// 2^n for n in [-126, 127]. The shift pushes kExpShift out of the word.
HWY_INLINE V Pow2(VU shifted_n) {
  return hn::BitCast(kF32, hn::Add(hn::ShiftLeft<23>(shifted_n), hn::Set(kU32, 127u << 23)));
}

/// exp(x), denormal results included.
HWY_INLINE V Exp(V x) {
  const ExpParts parts = SplitExp(AtMost(AtLeast(x, Constant(-105.0f)), Constant(90.0f)));
  // 2^n may be no normal float, but 2^floor(n / 2) and 2^ceil(n / 2) are.
  const VU biased = hn::Sub(parts.shifted_n, hn::Set(kU32, kExpShift - 2 * 128));
  const VU half = hn::ShiftRight<1>(biased);
  const VU one = hn::Set(kU32, 1);
  const V scale1 = hn::BitCast(kF32, hn::ShiftLeft<23>(hn::Sub(half, one)));
  const V scale2 = hn::BitCast(kF32, hn::ShiftLeft<23>(hn::Sub(hn::Sub(biased, half), one)));
  return hn::Mul(hn::MulAdd(scale1, parts.fraction, scale1), scale2);
}

/// exp(-|x|); 0 where that is below the normal range, and for NaN.
HWY_INLINE V ExpMinusAbs(V x) {
  const V a = hn::Neg(hn::Abs(x));
  const ExpParts parts = SplitExp(a);
  const V scale = Pow2(parts.shifted_n);
  const V e = hn::MulAdd(scale, parts.fraction, scale);
  return hn::IfThenElseZero(hn::Ge(a, Constant(-87.3f)), e);
}

/// exp(x) - 1 for x <= 0; some finite number for x > 0.
HWY_INLINE V Expm1NotPositive(V x) {
  const ExpParts parts = SplitExp(AtMost(AtLeast(x, Constant(-30.0f)), hn::Zero(kF32)));
  const V scale = Pow2(parts.shifted_n);
  return hn::MulAdd(scale, parts.fraction, hn::Sub(scale, Constant(1.0f)));
}

/// factor / (1 + exp(-x)); `factor` where x is NaN.
HWY_INLINE V TimesSigmoid(V factor, V x) {
  const V e = ExpMinusAbs(x);
  const V numerator = hn::IfThenElse(hn::Lt(x, hn::Zero(kF32)), hn::Mul(factor, e), factor);
  return hn::Div(numerator, hn::Add(Constant(1.0f), e));
}

/// 1 / d for d in [1, 2^126], without a division: an estimate of 12 bits or more and, from there,
/// Newton's iteration.
HWY_INLINE V Reciprocal1(V d) {
  V y = hn::ApproximateReciprocal(d);
#if HWY_TARGET == HWY_NEON
  y = hn::Mul(y, hn::NegMulAdd(d, y, Constant(2.0f)));  // 8 bits to begin with
#endif
  return hn::Mul(y, hn::NegMulAdd(d, y, Constant(2.0f)));
}

/// x / (1 + exp(-x)) in as few operations as float accuracy allows: networks of SiLU layers spend a
/// tenth of their time here. Within 8 units in the last place
/// or 1e-35.
HWY_INLINE V Silu(V x) {
  const V low = AtLeast(x, Constant(-87.0f));
  const V a = AtMost(low, Constant(87.0f));
  const V shift = hn::BitCast(kF32, hn::Set(kU32, kExpShift));
  const V sum = hn::NegMulAdd(a, Constant(0x1.715476p0f), shift);
  const V n = hn::Sub(sum, shift);
#if HWY_NATIVE_FMA
  // One constant for ln(2) will do: what it loses at large n is lost in 1 + exp(-a), or is tiny.
  const V r = hn::MulAdd(n, Constant(0.693147182f), a);
#else
  const V r = hn::MulAdd(n, Constant(-2.12194440e-4f), hn::MulAdd(n, Constant(0.693359375f), a));
#endif
  const V q = Polynomial(r, {0.499992311f, -0.166671142f, 0.0418902002f, -0.00831251591f});
  const V fraction = hn::MulSub(hn::Mul(r, r), q, r);  // exp(-r) - 1
  const V scale = Pow2(hn::BitCast(kU32, sum));
  return hn::Mul(low, Reciprocal1(hn::MulAdd(scale, fraction, hn::Add(scale, Constant(1.0f)))));
}

HWY_INLINE V Tanh(V x) {
  // tanh(a) = (1 - exp(-2a)) / (1 + exp(-2a)) for a = |x|, without cancellation near 0.
  const V t = Expm1NotPositive(hn::Mul(hn::Abs(x), Constant(-2.0f)));
  const V positive = hn::Div(hn::Neg(t), hn::Add(t, Constant(2.0f)));
  return hn::CopySign(positive, x);
}

/// log(1 + exp(x))
HWY_INLINE V Softplus(V x) {
  // log(1 + e) = 2 * atanh(e / (2 + e)), an odd series.
  const V e = ExpMinusAbs(x);
  const V s = hn::Div(e, hn::Add(e, Constant(2.0f)));
  const V s2 = hn::Mul(s, s);
  const V p = Polynomial(s2, {0.666666746f, 0.39998877f, 0.286168993f, 0.214274779f, 0.24301672f});
  const V log1p = hn::MulAdd(hn::Mul(s2, s), p, hn::Add(s, s));
  return hn::Add(AtLeast(x, hn::Zero(kF32)), log1p);
}

/// x * tanh(softplus(x))
HWY_INLINE V Mish(V x) {
  // tanh(log(y)) = (y^2 - 1) / (y^2 + 1) with y = 1 + exp(x), scaled by exp(-2x) where x > 0.
  const V e = ExpMinusAbs(x);
  const V two_e = hn::Add(e, e);
  const V two_e2 = hn::Mul(two_e, e);
  const auto negative = hn::Lt(x, hn::Zero(kF32));
  const V numerator =
      hn::IfThenElse(negative, hn::MulAdd(e, e, two_e), hn::Add(two_e, Constant(1.0f)));
  const V rest = hn::IfThenElse(negative, Constant(2.0f), two_e2);
  return hn::Div(hn::Mul(x, numerator), hn::Add(numerator, rest));
}

HWY_INLINE V Erf(V x) {
  const V a = hn::Abs(x);
  const V x2 = hn::Mul(x, x);
  const V p = Polynomial(x2, {0.128379166f, -0.37612626f, 0.112836003f, -0.0268544443f,
                              0.00518953567f, -0.000802084222f, 7.88912294e-05f});
  const V near = hn::MulAdd(x, p, x);
  // From |x| = 1 on: 1 - exp(polynomial), which is 1 in float beyond 4.
  const V log_erfc = Polynomial(AtMost(a, Constant(4.0f)),
                                {-0.000341522187f, -1.12708914f, -0.638144851f, -0.103106759f,
                                 0.0218380671f, -0.002947659f, 0.000186379271f});
  const V far = hn::CopySign(hn::Neg(Expm1NotPositive(log_erfc)), x);
  return hn::IfThenElse(hn::Ge(a, Constant(1.0f)), far, near);
}

HWY_INLINE V Log(V x) {
  using Limits = std::numeric_limits<float>;
  // x = 2^n * m with m in [sqrt(1/2), sqrt(2)); denormal numbers are scaled up first.
  const auto denormal = hn::Lt(x, Constant(Limits::min()));
  const V scaled = hn::IfThenElse(denormal, hn::Mul(x, Constant(0x1p25f)), x);
  const V extra = hn::IfThenElseZero(denormal, Constant(25.0f));
  const hn::RebindToSigned<F32> i32;
  const VU sqrt_half = hn::Set(kU32, 0x3F3504F3);
  const auto n =
      hn::ShiftRight<23>(hn::BitCast(i32, hn::Sub(hn::BitCast(kU32, scaled), sqrt_half)));
  const VU m = hn::Sub(hn::BitCast(kU32, scaled), hn::ShiftLeft<23>(hn::BitCast(kU32, n)));
  const V f = hn::Sub(hn::BitCast(kF32, m), Constant(1.0f));
  const V n_float = hn::Sub(hn::ConvertTo(kF32, n), extra);
  // log(1 + f) = f - f^2 / 2 + f^3 * p(f)
  const V p = Polynomial(f, {0.333333164f, -0.250008106f, 0.200022861f, -0.166245535f, 0.141811922f,
                             -0.131287545f, 0.1288165f, -0.0785961673f});
  const V f2 = hn::Mul(f, f);
  V sum = hn::Mul(hn::Mul(f2, f), p);
  sum = hn::MulAdd(n_float, Constant(-2.12194440e-4f), sum);
  sum = hn::MulAdd(f2, Constant(-0.5f), sum);
  sum = hn::Add(sum, f);
  sum = hn::MulAdd(n_float, Constant(0.693359375f), sum);
  // +inf and NaN pass through; 0 and negative numbers are replaced.
  sum = hn::IfThenElse(hn::Lt(x, Constant(Limits::infinity())), sum, x);
  sum = hn::IfThenElse(hn::Eq(x, hn::Zero(kF32)), Constant(-Limits::infinity()), sum);
  return hn::IfThenElse(hn::Lt(x, hn::Zero(kF32)), Constant(Limits::quiet_NaN()), sum);
}

/// To the nearest integer, half to even. (hn::Round of the scalar target errs just below 0.5.)
HWY_INLINE V RoundHalfToEven(V x) {
  const V limit = Constant(0x1p23f);
  const V signed_limit = hn::CopySign(limit, x);
  const V rounded = hn::CopySign(hn::Sub(hn::Add(x, signed_limit), signed_limit), x);
  return hn::IfThenElse(hn::Lt(hn::Abs(x), limit), rounded, x);
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
