#include "video/rows.h"

#include <algorithm>
#include <cstdlib>

// Spans of changed pixels are short: wider vectors than AVX2's bring nothing.
#define HWY_DISABLED_TARGETS \
  (HWY_AVX3 | HWY_AVX3_DL | HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "video/rows.cc"
// clang-format off: the order matters
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace deltacnn::rows::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using I32 = hn::RebindToSigned<F32>;
using I16 = hn::ScalableTag<int16_t>;
using V = hn::Vec<F32>;
constexpr size_t kSubBlock = 4;  // columns
inline constexpr F32 kF32{};
inline constexpr I16 kI16{};

static_assert(hn::MaxLanes(kF32) <= kPadding && hn::MaxLanes(kI16) <= kPadding);

HWY_INLINE V Load(const uint8_t* samples) {
  const auto bytes = hn::LoadU(hn::Rebind<uint8_t, I32>(), samples);
  return hn::ConvertTo(kF32, hn::PromoteTo(I32(), bytes));
}

HWY_INLINE void StoreLevels(V level, float* levels) {
  const V clamped = hn::Min(hn::Max(level, hn::Zero(kF32)), hn::Set(kF32, 255));
  hn::StoreU(clamped, kF32, levels);
}

void YuvToRgb(const YuvCoefficients& k, const uint8_t* luma, const uint8_t* u, const uint8_t* v,
              size_t count, float* red, float* green, float* blue) {
  const V scale = hn::Set(kF32, k.luma_scale);
  const V offset = hn::Set(kF32, k.luma_offset);
  const V middle = hn::Set(kF32, 128);
  const V red_v = hn::Set(kF32, k.red_v);
  const V green_u = hn::Set(kF32, k.green_u);
  const V green_v = hn::Set(kF32, k.green_v);
  const V blue_u = hn::Set(kF32, k.blue_u);
  for (size_t i = 0; i < count; i += hn::Lanes(kF32)) {
    const V y = hn::Mul(hn::Sub(Load(luma + i), offset), scale);
    const V cb = hn::Sub(Load(u + i), middle);
    const V cr = hn::Sub(Load(v + i), middle);
    StoreLevels(hn::Add(y, hn::Mul(red_v, cr)), red + i);
    StoreLevels(hn::Sub(hn::Sub(y, hn::Mul(green_u, cb)), hn::Mul(green_v, cr)), green + i);
    StoreLevels(hn::Add(y, hn::Mul(blue_u, cb)), blue + i);
  }
}

void LumaToGray(const YuvCoefficients& k, const uint8_t* luma, size_t count, float* gray) {
  const V scale = hn::Set(kF32, k.luma_scale);
  const V offset = hn::Set(kF32, k.luma_offset);
  for (size_t i = 0; i < count; i += hn::Lanes(kF32))
    StoreLevels(hn::Mul(hn::Sub(Load(luma + i), offset), scale), gray + i);
}

void RgbToGray(const uint8_t* red, const uint8_t* green, const uint8_t* blue, size_t count,
               float* gray) {
  // Of luma, BT.601.
  const V red_weight = hn::Set(kF32, 0.299F);
  const V green_weight = hn::Set(kF32, 0.587F);
  const V blue_weight = hn::Set(kF32, 0.114F);
  for (size_t i = 0; i < count; i += hn::Lanes(kF32)) {
    const V both =
        hn::Add(hn::Mul(red_weight, Load(red + i)), hn::Mul(green_weight, Load(green + i)));
    hn::StoreU(hn::Add(both, hn::Mul(blue_weight, Load(blue + i))), kF32, gray + i);
  }
}

void ToFloat(const uint8_t* samples, size_t count, float* levels) {
  for (size_t i = 0; i < count; i += hn::Lanes(kF32))
    hn::StoreU(Load(samples + i), kF32, levels + i);
}

void Blend(const float* top, const float* bottom, float weight, size_t count, float* result) {
  const V w = hn::Set(kF32, weight);
  for (size_t i = 0; i < count; i += hn::Lanes(kF32)) {
    const V t = hn::LoadU(kF32, top + i);
    const V b = hn::LoadU(kF32, bottom + i);
    hn::StoreU(hn::Add(t, hn::Mul(hn::Sub(b, t), w)), kF32, result + i);
  }
}

// Up to four lanes: pairs of neighbours are loaded faster than a gather's lanes one by one.
using F32x4 = hn::CappedTag<float, 4>;

HWY_INLINE void LoadNeighbours(const float* levels, const int32_t* columns, hn::Vec<F32x4>& first,
                               hn::Vec<F32x4>& second) {
  const F32x4 d;
#if HWY_TARGET == HWY_SCALAR
  first = hn::LoadU(d, levels + columns[0]);
  second = hn::LoadU(d, levels + columns[0] + 1);
#else
  const hn::Half<F32x4> half;
  const auto pairs = [&](const int32_t* of_two) {
    return hn::Combine(d, hn::LoadU(half, levels + of_two[1]), hn::LoadU(half, levels + of_two[0]));
  };
  const auto low = pairs(columns);
  const auto high = pairs(columns + 2);
  first = hn::ConcatEven(d, high, low);
  second = hn::ConcatOdd(d, high, low);
#endif
}

void Interpolate(const float* levels, const int32_t* columns, const float* weights, float mean,
                 float deviation, size_t count, float* result) {
  const F32x4 d;
  const auto m = hn::Set(d, mean);
  const auto s = hn::Set(d, deviation);
  for (size_t i = 0; i < count; i += hn::Lanes(d)) {
    hn::Vec<F32x4> first;
    hn::Vec<F32x4> second;
    LoadNeighbours(levels, columns + i, first, second);
    const auto difference = hn::Sub(second, first);
    const auto level = hn::Add(first, hn::Mul(difference, hn::LoadU(d, weights + i)));
    hn::StoreU(hn::Div(hn::Sub(level, m), s), d, result + i);
  }
}

template <class D>
HWY_INLINE hn::Vec<D> AbsoluteDifference(D d, const uint8_t* a, const uint8_t* b) {
  const auto va = hn::LoadU(d, a);
  const auto vb = hn::LoadU(d, b);
  return hn::Or(hn::SaturatedSub(va, vb), hn::SaturatedSub(vb, va));
}

// The sum over a sub-block that its mean may not exceed. Sums are whole numbers.
HWY_INLINE int SumLimit(float limit, int rows, size_t columns) {
  return static_cast<int>(std::min(limit * static_cast<float>(rows * static_cast<int>(columns)),
                                   static_cast<float>(1 << 16)));
}

// The bits of sub-blocks from `block` on, those of any step, the last one perhaps cut.
bool FindLargeBlocks(const PlanePair& planes, int rows, size_t bytes, size_t step, float limit,
                     size_t block, int16_t* sums, uint8_t* large) {
  // Of each column of bytes first.
  const hn::Rebind<uint8_t, I16> bytes_of_sums;
  const size_t lanes = hn::Lanes(kI16);
  size_t x = kSubBlock * step * block;
  for (; x + lanes <= bytes; x += lanes) {
    auto sum = hn::Zero(kI16);
    for (int y = 0; y < rows; ++y) {
      const auto difference = AbsoluteDifference(bytes_of_sums, planes.a + y * planes.a_stride + x,
                                                 planes.b + y * planes.b_stride + x);
      sum = hn::Add(sum, hn::PromoteTo(kI16, difference));
    }
    hn::StoreU(sum, kI16, sums + x);
  }
  for (; x < bytes; ++x) {
    int sum = 0;
    for (int y = 0; y < rows; ++y)
      sum += std::abs(planes.a[y * planes.a_stride + x] - planes.b[y * planes.b_stride + x]);
    sums[x] = static_cast<int16_t>(sum);
  }

  // Then of four columns of each component, at the first one of them: in place, from left to right.
  std::fill_n(sums + bytes, 4 * kPadding, int16_t{0});
  for (x = kSubBlock * step * block; x < bytes; x += lanes) {
    auto sum = hn::LoadU(kI16, sums + x);
    for (size_t i = 1; i < kSubBlock; ++i) sum = hn::Add(sum, hn::LoadU(kI16, sums + x + i * step));
    hn::StoreU(sum, kI16, sums + x);
  }

  bool any = false;
  for (x = kSubBlock * step * block; x < bytes; x += kSubBlock * step, ++block) {
    const int most = SumLimit(limit, rows, std::min(kSubBlock, (bytes - x) / step));
    bool exceeds = false;
    for (size_t c = 0; c < step; ++c) exceeds |= sums[x + c] > most;
    if (!exceeds) continue;
    large[block / 8] |= static_cast<uint8_t>(1 << block % 8);
    any = true;
  }
  return any;
}

#if HWY_TARGET != HWY_SCALAR
constexpr size_t kLine = 64;  // bytes looked at together: a line of the cache
constexpr size_t kLineBlocks = kLine / kSubBlock;

// The bits of a line's sub-blocks, of step 1.
HWY_INLINE uint32_t FindLargeInLine(const PlanePair& planes, int rows, size_t x, int most) {
  const hn::ScalableTag<uint8_t> d8;
  const hn::RepartitionToWide<decltype(d8)> d16;
  const hn::RepartitionToWide<decltype(d16)> d32;
  const hn::RebindToSigned<decltype(d32)> i32;
  constexpr size_t kVector = hn::MaxLanes(d8);
  hn::Vec<decltype(d16)> pairs[kLine / kVector];
  for (auto& sum : pairs) sum = hn::Zero(d16);
  const uint8_t* a = planes.a + x;
  const uint8_t* b = planes.b + x;
  for (int y = 0; y < rows; ++y, a += planes.a_stride, b += planes.b_stride) {
    for (size_t v = 0; v < kLine / kVector; ++v) {
      const auto bytes = AbsoluteDifference(d8, a + v * kVector, b + v * kVector);
      const auto difference = hn::BitCast(d16, bytes);
      const auto even = hn::And(difference, hn::Set(d16, 0xFF));
      pairs[v] = hn::Add(pairs[v], hn::Add(even, hn::ShiftRight<8>(difference)));
    }
  }
  uint32_t large = 0;
  for (size_t v = 0; v < kLine / kVector; ++v) {
    const auto of_pairs = hn::BitCast(d32, pairs[v]);
    const auto even = hn::And(of_pairs, hn::Set(d32, 0xFFFF));
    const auto sums = hn::BitCast(i32, hn::Add(even, hn::ShiftRight<16>(of_pairs)));
    uint8_t bits[8];
    hn::StoreMaskBits(i32, hn::Gt(sums, hn::Set(i32, most)), bits);
    large |= uint32_t{bits[0]} << (v * kVector / kSubBlock);
  }
  return large;
}
#endif

bool FindLargeDifferences(const PlanePair& planes, int rows, size_t bytes, size_t step, float limit,
                          int16_t* sums, uint8_t* large) {
  std::fill_n(large, bytes / (8 * kSubBlock * step) + 1, uint8_t{0});
  size_t block = 0;
  uint32_t any = 0;
#if HWY_TARGET != HWY_SCALAR
  if (step == 1) {
    const int most = SumLimit(limit, rows, kSubBlock);
    for (; kSubBlock * (block + kLineBlocks) <= bytes; block += kLineBlocks) {
      const uint32_t bits = FindLargeInLine(planes, rows, kSubBlock * block, most);
      any |= bits;
      large[block / 8] = static_cast<uint8_t>(bits);
      large[block / 8 + 1] = static_cast<uint8_t>(bits >> 8);
    }
  }
#endif
  return FindLargeBlocks(planes, rows, bytes, step, limit, block, sums, large) || any != 0;
}

}  // namespace deltacnn::rows::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace deltacnn::rows {

HWY_EXPORT(YuvToRgb);
HWY_EXPORT(LumaToGray);
HWY_EXPORT(RgbToGray);
HWY_EXPORT(ToFloat);
HWY_EXPORT(Blend);
HWY_EXPORT(Interpolate);
HWY_EXPORT(FindLargeDifferences);

void YuvToRgb(const YuvCoefficients& k, const uint8_t* luma, const uint8_t* u, const uint8_t* v,
              size_t count, float* red, float* green, float* blue) {
  HWY_DYNAMIC_DISPATCH(YuvToRgb)(k, luma, u, v, count, red, green, blue);
}
void LumaToGray(const YuvCoefficients& k, const uint8_t* luma, size_t count, float* gray) {
  HWY_DYNAMIC_DISPATCH(LumaToGray)(k, luma, count, gray);
}
void RgbToGray(const uint8_t* red, const uint8_t* green, const uint8_t* blue, size_t count,
               float* gray) {
  HWY_DYNAMIC_DISPATCH(RgbToGray)(red, green, blue, count, gray);
}
void ToFloat(const uint8_t* samples, size_t count, float* levels) {
  HWY_DYNAMIC_DISPATCH(ToFloat)(samples, count, levels);
}
void Blend(const float* top, const float* bottom, float weight, size_t count, float* result) {
  HWY_DYNAMIC_DISPATCH(Blend)(top, bottom, weight, count, result);
}
void Interpolate(const float* levels, const int32_t* columns, const float* weights, float mean,
                 float deviation, size_t count, float* result) {
  HWY_DYNAMIC_DISPATCH(Interpolate)(levels, columns, weights, mean, deviation, count, result);
}
bool FindLargeDifferences(const PlanePair& planes, int rows, size_t bytes, size_t step, float limit,
                          int16_t* sums, uint8_t* large) {
  return HWY_DYNAMIC_DISPATCH(FindLargeDifferences)(planes, rows, bytes, step, limit, sums, large);
}

}  // namespace deltacnn::rows
#endif  // HWY_ONCE
