// Transposition of 4-byte elements. Compiled once per target: see kernels.cc.
#if defined(DELTACNN_KERNELS_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DELTACNN_KERNELS_TRANSPOSE_INL_H_
#undef DELTACNN_KERNELS_TRANSPOSE_INL_H_
#else
#define DELTACNN_KERNELS_TRANSPOSE_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace deltacnn::kernels::HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR
/// 4 x 4 elements, by blocks of 128 bits: every target has them.
HWY_INLINE void Transpose4x4(const uint32_t* from, ptrdiff_t from_pitch, uint32_t* to,
                             ptrdiff_t to_pitch) {
  const hn::Full128<uint32_t> d;
  const hn::Full128<uint64_t> pairs;
  const auto a = hn::LoadU(d, from);
  const auto b = hn::LoadU(d, from + from_pitch);
  const auto c = hn::LoadU(d, from + 2 * from_pitch);
  const auto e = hn::LoadU(d, from + 3 * from_pitch);
  const auto ab0 = hn::BitCast(pairs, hn::InterleaveLower(d, a, b));
  const auto ab2 = hn::BitCast(pairs, hn::InterleaveUpper(d, a, b));
  const auto ce0 = hn::BitCast(pairs, hn::InterleaveLower(d, c, e));
  const auto ce2 = hn::BitCast(pairs, hn::InterleaveUpper(d, c, e));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, ab0, ce0)), d, to);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, ab0, ce0)), d, to + to_pitch);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, ab2, ce2)), d, to + 2 * to_pitch);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, ab2, ce2)), d, to + 3 * to_pitch);
}
#endif

#if HWY_TARGET != HWY_SCALAR
/// 2 x 4 elements to 4 x 2 adjacent ones.
HWY_INLINE void Interleave2x4(const uint32_t* from, ptrdiff_t from_pitch, uint32_t* to) {
  const hn::Full128<uint32_t> d;
  const auto a = hn::LoadU(d, from);
  const auto b = hn::LoadU(d, from + from_pitch);
  hn::StoreU(hn::InterleaveLower(d, a, b), d, to);
  hn::StoreU(hn::InterleaveUpper(d, a, b), d, to + 4);
}

/// 4 x 2 adjacent elements to 2 x 4.
HWY_INLINE void Deinterleave4x2(const uint32_t* from, uint32_t* to, ptrdiff_t to_pitch) {
  const hn::Full128<uint32_t> d;
  const auto a = hn::LoadU(d, from);
  const auto b = hn::LoadU(d, from + 4);
  hn::StoreU(hn::ConcatEven(d, b, a), d, to);
  hn::StoreU(hn::ConcatOdd(d, b, a), d, to + to_pitch);
}
#endif

void Transpose(const void* source, ptrdiff_t from_pitch, size_t rows, size_t columns, void* target,
               ptrdiff_t to_pitch) {
  const auto* from = static_cast<const uint32_t*>(source);
  auto* to = static_cast<uint32_t*>(target);
  const auto at = [&](size_t r, size_t c) {
    return from + static_cast<ptrdiff_t>(r) * from_pitch + static_cast<ptrdiff_t>(c);
  };
  const auto put = [&](size_t c, size_t r) {
    return to + static_cast<ptrdiff_t>(c) * to_pitch + static_cast<ptrdiff_t>(r);
  };
  size_t whole_rows = 0;
  size_t whole_columns = 0;
#if HWY_TARGET != HWY_SCALAR
  if (rows == 2 && to_pitch == 2) {
    whole_rows = 2;
    whole_columns = columns / 4 * 4;
    for (size_t c = 0; c < whole_columns; c += 4) Interleave2x4(at(0, c), from_pitch, put(c, 0));
  } else if (columns == 2 && from_pitch == 2) {
    whole_rows = rows / 4 * 4;
    whole_columns = 2;
    for (size_t r = 0; r < whole_rows; r += 4) Deinterleave4x2(at(r, 0), put(0, r), to_pitch);
  } else {
    whole_rows = rows / 4 * 4;
    whole_columns = columns / 4 * 4;
    const auto block = [&](size_t r, size_t c) {
      Transpose4x4(at(r, c), from_pitch, put(c, r), to_pitch);
    };
    // Along the side whose rows lie further apart: a cache line of theirs may not survive until the
    // next block needs it, least of all if the pitch is a power of two.
    if (from_pitch > to_pitch) {
      for (size_t r = 0; r < whole_rows; r += 4)
        for (size_t c = 0; c < whole_columns; c += 4) block(r, c);
    } else {
      for (size_t c = 0; c < whole_columns; c += 4)
        for (size_t r = 0; r < whole_rows; r += 4) block(r, c);
    }
  }
#endif
  for (size_t c = 0; c < columns; ++c)
    for (size_t r = c < whole_columns ? whole_rows : 0; r < rows; ++r) *put(c, r) = *at(r, c);
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
