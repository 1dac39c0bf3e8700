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

// A quarter of a panel is half a vector: where halves of vectors are as fast as whole ones it costs
// what half a panel does, on cores that execute wide vectors in two halves it costs less.
using HalfVector = hn::CappedTag<float, (kLanes >= 2 ? kLanes / 2 : 1)>;

/// What GemmRows computes: the first `kVectors` vectors of type `D` of a panel.
template <class D, size_t kVectors>
struct Columns {
  using Tag = D;
  static constexpr size_t kCount = kVectors;
  static constexpr size_t kWidth = kVectors * hn::MaxLanes(D());
};
using WholePanel = Columns<F32, 2>;
using HalfPanel = Columns<F32, 1>;
using QuarterPanel = Columns<HalfVector, 1>;

/// The vector at from + begin, of which only what lies before from + end may be read.
template <class D>
HWY_INLINE hn::Vec<D> LoadFirst(D d, const float* from, size_t begin, size_t end) {
  constexpr size_t kWide = hn::MaxLanes(d);
  if (begin + kWide <= end) return hn::LoadU(d, from + begin);
  HWY_ALIGN float lanes[kWide] = {};
  for (size_t i = begin; i < end; ++i) lanes[i - begin] = from[i];
  return hn::Load(d, lanes);
}

/// Reads the rows of a panel of floats, from the first on.
template <class C>
struct FloatRows {
  const float* at;

  HWY_INLINE explicit FloatRows(const PanelWeights& weights) : at(weights.floats) {}
  HWY_INLINE void Next(hn::Vec<typename C::Tag> (&row)[C::kCount]) {
    const typename C::Tag d;
    for (size_t v = 0; v < C::kCount; ++v) row[v] = hn::LoadU(d, at + v * hn::MaxLanes(d));
    at += kPanel;
  }
};

/// The same of pairs of bfloat16, which are the upper halves of floats.
template <class C>
struct PairedRows {
  const uint32_t* at;

  HWY_INLINE explicit PairedRows(const PanelWeights& weights) : at(weights.pairs) {}
  HWY_INLINE void Next(hn::Vec<typename C::Tag> (&row)[C::kCount]) {
    const typename C::Tag d;
    const hn::RebindToUnsigned<typename C::Tag> bits;
    const auto pair = hn::LoadU(bits, at);
    row[0] = hn::BitCast(d, hn::ShiftLeft<16>(pair));
    if constexpr (C::kCount == 2)
      row[1] = hn::BitCast(d, hn::And(pair, hn::Set(bits, 0xFFFF0000u)));
    at += kPanel / 2;
  }
};

/// `kRows` pixels, all accumulators in registers. Row i of the results goes to out + i * pitch or,
/// if `kDirect`, to the epilogue's targets; then there are no steps and all columns are wanted.
template <class C, class Rows, size_t kRows, bool kDirect>
void GemmRows(const GemmArgs& args, size_t first, float* out, size_t pitch) {
  const typename C::Tag d;
  constexpr size_t kWide = hn::MaxLanes(d);
  constexpr size_t kVectors = C::kCount;
  hn::Vec<typename C::Tag> sum[kRows][kVectors];
  HWY_UNROLL(16)
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t v = 0; v < kVectors; ++v) sum[i][v] = hn::Zero(d);
  }
  Rows weights(args.weights);
  size_t summed = 0;
  bool totals = false;  // `out` holds the sums so far
  const auto add_total = [&]() HWY_ATTR {
    HWY_UNROLL(16)
    for (size_t i = 0; i < kRows; ++i) {
      for (size_t v = 0; v < kVectors; ++v)
        sum[i][v] = hn::Add(hn::LoadU(d, out + i * pitch + v * kWide), sum[i][v]);
    }
  };
  const auto store = [&]() HWY_ATTR {
    HWY_UNROLL(16)
    for (size_t i = 0; i < kRows; ++i) {
      for (size_t v = 0; v < kVectors; ++v) hn::StoreU(sum[i][v], d, out + i * pitch + v * kWide);
    }
  };
  // Of equal length, nearly. Most runs are one: no time for divisions then.
  const size_t pieces = args.run_length <= kSummed ? 1 : (args.run_length + kSummed - 1) / kSummed;
  for (size_t r = 0; r < args.runs; ++r) {
    size_t begin = 0;
    for (size_t piece = 0; piece < pieces; ++piece) {
      const size_t end = pieces == 1 ? args.run_length : args.run_length * (piece + 1) / pieces;
      if (summed + (end - begin) > kSummed) {
        if (totals) add_total();
        store();
        totals = true;
        summed = 0;
        HWY_UNROLL(16)
        for (size_t i = 0; i < kRows; ++i) {
          for (size_t v = 0; v < kVectors; ++v) sum[i][v] = hn::Zero(d);
        }
      }
      summed += end - begin;
      const float* in[kRows];
      for (size_t i = 0; i < kRows; ++i) in[i] = args.pixels[first + i] + args.run_offset[r];
      HWY_UNROLL(4)
      for (size_t k = begin; k < end; ++k) {
        hn::Vec<typename C::Tag> weight[kVectors];
        weights.Next(weight);
        HWY_UNROLL(16)
        for (size_t i = 0; i < kRows; ++i) {
          const auto x = hn::Set(d, in[i][k]);
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
      sum[i][v] = hn::Add(sum[i][v], hn::LoadU(d, args.bias + v * kWide));
  }
  if (args.epilogue != nullptr) {
    const Epilogue& epilogue = *args.epilogue;
    const auto add = [&]() HWY_ATTR {
      HWY_UNROLL(16)
      for (size_t i = 0; i < kRows; ++i) {
        const float* addend = epilogue.addend[first + i] + epilogue.channel;
        for (size_t v = 0; v < kVectors; ++v)
          sum[i][v] = hn::Add(sum[i][v], LoadFirst(d, addend, v * kWide, epilogue.width));
      }
    };
    if (epilogue.addend != nullptr && epilogue.add_first) add();
    if (epilogue.clamp) {
      const auto low = hn::Set(d, epilogue.low);
      const auto high = hn::Set(d, epilogue.high);
      HWY_UNROLL(16)
      for (size_t i = 0; i < kRows; ++i) {
        for (size_t v = 0; v < kVectors; ++v) sum[i][v] = AtMost(AtLeast(sum[i][v], low), high);
      }
    }
    if (epilogue.addend != nullptr && !epilogue.add_first) add();
  }
  if constexpr (!kDirect) {
    store();
  } else {
    const Epilogue& epilogue = *args.epilogue;
    const bool compare = epilogue.changed != nullptr;
    HWY_UNROLL(16)
    for (size_t i = 0; i < kRows; ++i) {
      float* target = epilogue.targets[first + i] + epilogue.channel;
      if (compare) {
        bool same = true;
        for (size_t v = 0; v < kVectors; ++v)
          same = same && SameBits(d, sum[i][v], hn::LoadU(d, target + v * kWide));
        if (same) continue;  // no store: an unchanged pixel costs no memory writes
        epilogue.changed[first + i] = 1;
      }
      for (size_t v = 0; v < kVectors; ++v) hn::StoreU(sum[i][v], d, target + v * kWide);
    }
  }
}

using GemmRowsFunction = void (*)(const GemmArgs& args, size_t first, float* out, size_t pitch);

template <class C, class Rows, bool kDirect, size_t... kRowsMinusOne>
constexpr std::array<GemmRowsFunction, kMaxRows> MakeGemmRows(
    std::index_sequence<kRowsMinusOne...>) {
  return {GemmRows<C, Rows, kRowsMinusOne + 1, kDirect>...};
}

/// Element i handles i + 1 pixels.
template <class C, class Rows, bool kDirect>
inline constexpr std::array<GemmRowsFunction, kMaxRows> kGemmRows =
    MakeGemmRows<C, Rows, kDirect>(std::make_index_sequence<kMaxRows>());

template <class C, class Rows>
void GemmColumns(const GemmArgs& args) {
  const Epilogue* epilogue = args.epilogue;
  HWY_ALIGN float tile[kMaxRows * C::kWidth];
  // Groups of nearly equal size: 15 pixels run faster as 8 + 7 than as 14 + 1.
  const size_t groups = (args.count + kMaxRows - 1) / kMaxRows;
  const size_t least = groups == 0 ? 0 : args.count / groups;
  const size_t larger = args.count - least * groups;  // groups of one more
  size_t first = 0;
  for (size_t group = 0; group < groups; ++group) {
    const size_t rows = least + (group < larger ? 1 : 0);
    if (epilogue == nullptr) {
      kGemmRows<C, Rows, false>[rows - 1](args, first, args.out + first * args.out_pitch,
                                          args.out_pitch);
    } else {
      PrefetchTile(*epilogue, first, rows);
      if (epilogue->step_count == 0 && epilogue->width == C::kWidth) {
        kGemmRows<C, Rows, true>[rows - 1](args, first, tile, C::kWidth);
      } else {
        kGemmRows<C, Rows, false>[rows - 1](args, first, tile, C::kWidth);
        FinishTile(*epilogue, tile, C::kWidth, first, rows);
      }
    }
    first += rows;
  }
}

template <template <class> class Rows>
void GemmPanel(const GemmArgs& args) {
  if (args.columns <= QuarterPanel::kWidth) {
    GemmColumns<QuarterPanel, Rows<QuarterPanel>>(args);
  } else if (args.columns <= HalfPanel::kWidth) {
    GemmColumns<HalfPanel, Rows<HalfPanel>>(args);
  } else {
    GemmColumns<WholePanel, Rows<WholePanel>>(args);
  }
}

void Gemm(const GemmArgs& args) {
  args.weights.pairs == nullptr ? GemmPanel<FloatRows>(args) : GemmPanel<PairedRows>(args);
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
