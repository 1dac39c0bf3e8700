// Convolutions of few output channels: dot products along the inputs. Compiled once per target: see
// kernels.cc.
#if defined(DELTACNN_KERNELS_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DELTACNN_KERNELS_DOT_INL_H_
#undef DELTACNN_KERNELS_DOT_INL_H_
#else
#define DELTACNN_KERNELS_DOT_INL_H_
#endif

#include "kernels/epilogue-inl.h"
#include "kernels/kernels.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace deltacnn::kernels::HWY_NAMESPACE {

// Pixels that share the loads of weights: with four columns, the accumulators fill the registers of
// AVX2 but for what is loaded.
inline constexpr size_t kDotRows = 3;

/// Products of `lanes` elements of `kRows` pixels with the weights of `kColumns` outputs.
template <size_t kRows, size_t kColumns, class Lanes>
HWY_INLINE void AddProducts(const float* const (&in)[kRows], const float* weights, size_t pitch,
                            const Lanes& lanes, V (&sum)[kRows][kColumns]) {
  V x[kRows];
  HWY_UNROLL(4)
  for (size_t i = 0; i < kRows; ++i) x[i] = lanes.Load(in[i]);
  HWY_UNROLL(4)
  for (size_t j = 0; j < kColumns; ++j) {
    const V weight = hn::LoadU(kF32, weights + j * pitch);
    for (size_t i = 0; i < kRows; ++i) sum[i][j] = hn::MulAdd(x[i], weight, sum[i][j]);
  }
}

/// Row i of the results goes to out + i * kColumns.
template <size_t kRows, size_t kColumns>
void DotRows(const DotArgs& args, size_t first, float* out) {
  V sum[kRows][kColumns];
  for (size_t i = 0; i < kRows; ++i)
    for (size_t j = 0; j < kColumns; ++j) sum[i][j] = hn::Zero(kF32);
  const float* weights = args.weights;
  const size_t whole = args.run_length / kLanes * kLanes;
  const size_t pitch = args.run_pitch;
  for (size_t r = 0; r < args.runs; ++r, weights += kColumns * pitch) {
    const float* in[kRows];
    for (size_t i = 0; i < kRows; ++i) in[i] = args.pixels[first + i] + args.run_offset[r];
    for (size_t k = 0; k < whole; k += kLanes) {
      AddProducts<kRows, kColumns>(in, weights + k, pitch, WholeVector(), sum);
      for (size_t i = 0; i < kRows; ++i) in[i] += kLanes;
    }
    if (whole < args.run_length) {
      const PartialVector rest(args.run_length - whole);
      AddProducts<kRows, kColumns>(in, weights + whole, pitch, rest, sum);
    }
  }
  for (size_t i = 0; i < kRows; ++i)
    for (size_t j = 0; j < kColumns; ++j)
      out[i * kColumns + j] = hn::GetLane(hn::SumOfLanes(kF32, sum[i][j])) + args.bias[j];
}

template <size_t kColumns>
void DotColumns(const DotArgs& args) {
  const Epilogue& epilogue = *args.epilogue;
  HWY_ALIGN float tile[kDotRows * kColumns];
  for (size_t first = 0; first < args.count;) {
    const size_t rows = args.count - first >= kDotRows ? kDotRows : 1;
    PrefetchTile(epilogue, first, rows);
    if (rows == kDotRows) {
      DotRows<kDotRows, kColumns>(args, first, tile);
    } else {
      DotRows<1, kColumns>(args, first, tile);
    }
    const auto add = [&] {
      for (size_t i = 0; i < rows; ++i) {
        BinaryElements(Binary::kAdd, tile + i * kColumns,
                       epilogue.addend[first + i] + epilogue.channel, kColumns);
      }
    };
    if (epilogue.addend != nullptr && epilogue.add_first) add();
    if (epilogue.rectifier == Epilogue::Rectifier::kClip)
      ApplyUnary(Unary::kClip, epilogue.low, epilogue.high, tile, rows * kColumns);
    if (epilogue.rectifier == Epilogue::Rectifier::kLeaky)
      ApplyUnary(Unary::kLeakyRelu, epilogue.slope, 0, tile, rows * kColumns);
    if (epilogue.addend != nullptr && !epilogue.add_first) add();
    FinishTile(epilogue, tile, kColumns, first, rows);
    first += rows;
  }
}

void Dot(const DotArgs& args) {
  static_assert(kDotColumns == 4);
  switch (args.columns) {
    case 1:
      return DotColumns<1>(args);
    case 2:
      return DotColumns<2>(args);
    case 3:
      return DotColumns<3>(args);
    default:
      return DotColumns<4>(args);
  }
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
