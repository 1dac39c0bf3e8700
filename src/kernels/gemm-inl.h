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
  static constexpr bool kAllVariants = true;
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
  static constexpr bool kAllVariants = false;  // they wait for memory
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

/// The inputs of `kRows` pixels anywhere.
template <size_t kRows>
struct ScatteredPixels {
  const float* at[kRows];

  HWY_INLINE ScatteredPixels(const GemmArgs& args, size_t first, ptrdiff_t offset) {
    for (size_t i = 0; i < kRows; ++i) at[i] = args.pixels[first + i] + offset;
  }
  HWY_INLINE float Get(size_t i, size_t k) const { return at[i][k]; }
};

/// Those of pixels at equal distances: a pointer to every third one and the distance address all of
/// them with few registers.
template <size_t kRows>
struct SteppedPixels {
  static constexpr size_t kPointers = (kRows + 2) / 3;
  const float* at[kPointers];
  ptrdiff_t step;

  HWY_INLINE SteppedPixels(const GemmArgs& args, size_t first, ptrdiff_t offset)
      : step(args.pixel_step) {
    at[0] = args.pixels[0] + static_cast<ptrdiff_t>(first) * step + offset;
    for (size_t i = 1; i < kPointers; ++i) at[i] = at[i - 1] + 3 * step;
  }
  HWY_INLINE float Get(size_t i, size_t k) const {
    return at[i / 3][static_cast<ptrdiff_t>(i % 3) * step + static_cast<ptrdiff_t>(k)];
  }
};

/// sum[i] += the products of elements [begin, end) of input i with the next rows of weights.
template <class C, class Rows, size_t kRows, class Inputs>
HWY_INLINE void AddProducts(const Inputs& in, size_t begin, size_t end, Rows& weights,
                            hn::Vec<typename C::Tag> (&sum)[kRows][C::kCount]) {
  const typename C::Tag d;
  HWY_UNROLL(3)
  for (size_t k = begin; k < end; ++k) {
    hn::Vec<typename C::Tag> weight[C::kCount];
    weights.Next(weight);
    HWY_UNROLL(16)
    for (size_t i = 0; i < kRows; ++i) {
      const auto x = hn::Set(d, in.Get(i, k));
      for (size_t v = 0; v < C::kCount; ++v) sum[i][v] = hn::MulAdd(x, weight[v], sum[i][v]);
    }
  }
}

/// The sums of any runs. `out` (kRows rows of `pitch` floats) holds totals in between.
template <template <size_t> class Inputs>
struct AnyRuns {
  template <class C, class Rows, size_t kRows>
  static HWY_INLINE void Sum(const GemmArgs& args, size_t first, float* out, size_t pitch,
                             hn::Vec<typename C::Tag> (&sum)[kRows][C::kCount]) {
    const typename C::Tag d;
    constexpr size_t kWide = hn::MaxLanes(d);
    constexpr size_t kVectors = C::kCount;
    Rows weights(args.weights);
    size_t summed = 0;
    const bool continues = args.sums != nullptr;
    bool totals = continues;  // `out` holds the sums so far
    for (size_t i = 0; i < kRows && continues; ++i) {
      const float* row = args.sums + (first + i) * kPanel;
      for (size_t v = 0; v < kVectors; ++v)
        hn::StoreU(hn::LoadU(d, row + v * kWide), d, out + i * pitch + v * kWide);
    }
    const auto add_total = [&]() HWY_ATTR {
      HWY_UNROLL(16)
      for (size_t i = 0; i < kRows; ++i) {
        for (size_t v = 0; v < kVectors; ++v)
          sum[i][v] = hn::Add(hn::LoadU(d, out + i * pitch + v * kWide), sum[i][v]);
      }
    };
    // Of equal length, nearly. Most runs are one: no time for divisions then.
    const size_t pieces =
        args.run_length <= kSummed ? 1 : (args.run_length + kSummed - 1) / kSummed;
    for (size_t r = 0; r < args.runs; ++r) {
      size_t begin = 0;
      for (size_t piece = 0; piece < pieces; ++piece) {
        const size_t end = pieces == 1 ? args.run_length : args.run_length * (piece + 1) / pieces;
        if (summed + (end - begin) > kSummed) {
          if (totals) add_total();
          totals = true;
          summed = 0;
          HWY_UNROLL(16)
          for (size_t i = 0; i < kRows; ++i) {
            for (size_t v = 0; v < kVectors; ++v) {
              hn::StoreU(sum[i][v], d, out + i * pitch + v * kWide);
              sum[i][v] = hn::Zero(d);
            }
          }
        }
        summed += end - begin;
        const Inputs<kRows> in(args, first, args.run_offset[r]);
        AddProducts<C>(in, begin, end, weights, sum);
        begin = end;
      }
    }
    if (totals) add_total();
  }
};

/// Those of runs that have at most kSummed elements in all, as in most 1x1 convolutions and in
/// first layers.
template <template <size_t> class Inputs>
struct FewProducts {
  template <class C, class Rows, size_t kRows>
  static HWY_INLINE void Sum(const GemmArgs& args, size_t first, float* /*out*/, size_t /*pitch*/,
                             hn::Vec<typename C::Tag> (&sum)[kRows][C::kCount]) {
    Rows weights(args.weights);
    for (size_t r = 0; r < args.runs; ++r) {
      const Inputs<kRows> in(args, first, args.run_offset[r]);
      AddProducts<C>(in, 0, args.run_length, weights, sum);
    }
  }
};

/// Stores the sums where the epilogue wants them. `last` moves the lanes of the last vector.
template <class C, size_t kRows, class Lanes>
HWY_INLINE void StoreTargets(const Epilogue& epilogue, size_t first, const Lanes& last,
                             const hn::Vec<typename C::Tag> (&sum)[kRows][C::kCount]) {
  const typename C::Tag d;
  constexpr size_t kWide = hn::MaxLanes(d);
  constexpr size_t kLast = C::kCount - 1;
  const WholeLanes<typename C::Tag> whole;
  HWY_UNROLL(16)
  for (size_t i = 0; i < kRows; ++i) {
    float* target = Target(epilogue, first + i);
    if (epilogue.changed != nullptr) {
      bool same = SameBits(d, last.Keep(sum[i][kLast]), last.Load(target + kLast * kWide));
      for (size_t v = 0; v < kLast; ++v)
        same = same && SameBits(d, sum[i][v], whole.Load(target + v * kWide));
      if (same) continue;  // no store: an unchanged pixel costs no memory writes
      epilogue.changed[first + i] = 1;
    }
    for (size_t v = 0; v < kLast; ++v) whole.Store(sum[i][v], target + v * kWide);
    last.Store(sum[i][kLast], target + kLast * kWide);
  }
}

/// `kRows` pixels, all accumulators in registers. Row i of the results goes to out + i * pitch or,
/// if `direct`, to the epilogue's targets; then it has no steps.
template <class C, class Rows, size_t kRows, class Sums>
void GemmRows(const GemmArgs& args, size_t first, float* out, size_t pitch, bool direct) {
  const typename C::Tag d;
  constexpr size_t kWide = hn::MaxLanes(d);
  constexpr size_t kVectors = C::kCount;
  hn::Vec<typename C::Tag> sum[kRows][kVectors];
  HWY_UNROLL(16)
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t v = 0; v < kVectors; ++v) sum[i][v] = hn::Zero(d);
  }
  Sums::template Sum<C, Rows>(args, first, out, pitch, sum);
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
    Rectify<typename C::Tag>(&epilogue).Apply(sum);
    if (epilogue.addend != nullptr && !epilogue.add_first) add();
    if (direct) {
      const size_t rest = epilogue.width - (kVectors - 1) * kWide;
      if (rest == kWide)
        return StoreTargets<C>(epilogue, first, WholeLanes<typename C::Tag>(), sum);
      return StoreTargets<C>(epilogue, first, PartialLanes<typename C::Tag>(rest), sum);
    }
  }
  HWY_UNROLL(16)
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t v = 0; v < kVectors; ++v) hn::StoreU(sum[i][v], d, out + i * pitch + v * kWide);
  }
}

using GemmRowsFunction = void (*)(const GemmArgs& args, size_t first, float* out, size_t pitch,
                                  bool direct);
using GemmRowsFunctions = std::array<GemmRowsFunction, kMaxRows>;

template <class C, class Rows, class Sums, size_t... kRowsMinusOne>
constexpr GemmRowsFunctions MakeGemmRows(std::index_sequence<kRowsMinusOne...>) {
  return {GemmRows<C, Rows, kRowsMinusOne + 1, Sums>...};
}

/// Element i handles i + 1 pixels.
template <class C, class Rows, class Sums>
inline constexpr GemmRowsFunctions kGemmRows =
    MakeGemmRows<C, Rows, Sums>(std::make_index_sequence<kMaxRows>());

template <class C, class Rows>
const GemmRowsFunctions& ChooseGemmRows(const GemmArgs& args) {
  if constexpr (Rows::kAllVariants) {
    if (args.runs * args.run_length <= kSummed && args.sums == nullptr) {
      return args.pixel_step == 0 ? kGemmRows<C, Rows, FewProducts<ScatteredPixels>>
                                  : kGemmRows<C, Rows, FewProducts<SteppedPixels>>;
    }
  }
  return args.pixel_step == 0 ? kGemmRows<C, Rows, AnyRuns<ScatteredPixels>>
                              : kGemmRows<C, Rows, AnyRuns<SteppedPixels>>;
}

template <class C, class Rows>
void GemmColumns(const GemmArgs& args) {
  const Epilogue* epilogue = args.epilogue;
  const bool direct = epilogue != nullptr && epilogue->step_count == 0;
  const GemmRowsFunctions& compute = ChooseGemmRows<C, Rows>(args);
  HWY_ALIGN float tile[kMaxRows * C::kWidth];
  // Groups of nearly equal size: 15 pixels run faster as 8 + 7 than as 14 + 1.
  const size_t groups = (args.count + kMaxRows - 1) / kMaxRows;
  const size_t least = groups == 0 ? 0 : args.count / groups;
  const size_t larger = args.count - least * groups;  // groups of one more
  size_t first = 0;
  for (size_t group = 0; group < groups; ++group) {
    const size_t rows = least + (group < larger ? 1 : 0);
    if (epilogue == nullptr) {
      compute[rows - 1](args, first, args.out + first * args.out_pitch, args.out_pitch, false);
    } else {
      PrefetchTile(*epilogue, first, rows);
      compute[rows - 1](args, first, tile, C::kWidth, direct);
      if (!direct) FinishTile(*epilogue, tile, C::kWidth, first, rows);
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
