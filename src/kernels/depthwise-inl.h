// The depthwise convolution. Compiled once per target: see kernels.cc.
#if defined(DELTACNN_KERNELS_DEPTHWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DELTACNN_KERNELS_DEPTHWISE_INL_H_
#undef DELTACNN_KERNELS_DEPTHWISE_INL_H_
#else
#define DELTACNN_KERNELS_DEPTHWISE_INL_H_
#endif

#include <type_traits>

#include "kernels/epilogue-inl.h"
#include "kernels/kernels.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace deltacnn::kernels::HWY_NAMESPACE {

/// Pixels computed together: their sums, nine weights and an input share the registers.
#if HWY_TARGET == HWY_AVX3 || (HWY_TARGET == HWY_NEON && HWY_ARCH_ARM_A64)
inline constexpr size_t kDepthwiseRows = 8;
#else
inline constexpr size_t kDepthwiseRows = 4;
#endif

/// The taps of one vector of channels, at pixels anywhere.
class ScatteredTaps {
 public:
  template <class Lanes>
  HWY_INLINE ScatteredTaps(const DepthwiseArgs& /*args*/, const float* weights,
                           const Lanes& /*lanes*/)
      : weights_(weights) {}

  /// Adds all products to the sums of adjacent outputs; the window of the first starts at `in`.
  template <size_t kPixels, class Inputs, class Lanes>
  HWY_INLINE void Add(const DepthwiseArgs& args, const float* in, const Inputs& inputs,
                      const Lanes& lanes, V (&sum)[kPixels]) const {
    const float* weights = weights_;
    for (size_t t = 0; t < args.taps; ++t, weights += args.weight_pitch) {
      const V w = lanes.Load(weights);
      const float* x = in + args.tap_offset[t];
      HWY_UNROLL(8)
      for (size_t i = 0; i < kPixels; ++i, x += args.step)
        sum[i] = hn::MulAdd(inputs.Load(x), w, sum[i]);
    }
  }

 private:
  const float* weights_;
};

/// The same, by the same order, for taps that are rows of `kCols` adjacent pixels: outputs share
/// the inputs where their windows overlap. `kRows`: rows if known, else 0; known ones keep their
/// weights in registers.
template <size_t kRows, size_t kCols, size_t kStride>
class AdjacentTaps {
 public:
  template <class Lanes>
  HWY_INLINE AdjacentTaps(const DepthwiseArgs& args, const float* weights, const Lanes& lanes)
      : weights_(weights) {
    HWY_UNROLL(9)
    for (size_t t = 0; t < kRows * kCols; ++t)
      kept_[t] = lanes.Load(weights + t * args.weight_pitch);
  }

  template <size_t kPixels, class Inputs, class Lanes>
  HWY_INLINE void Add(const DepthwiseArgs& args, const float* in, const Inputs& inputs,
                      const Lanes& lanes, V (&sum)[kPixels]) const {
    const auto row = [&](const float* x, const V* w) HWY_ATTR {
      HWY_UNROLL(16)
      for (size_t j = 0; j < (kPixels - 1) * kStride + kCols; ++j, x += args.pixel_pitch) {
        const V value = InRegister(inputs.Load(x));
        HWY_UNROLL(8)
        for (size_t i = 0; i < kPixels; ++i) {
          if (j >= i * kStride && j - i * kStride < kCols)
            sum[i] = hn::MulAdd(value, w[j - i * kStride], sum[i]);
        }
      }
    };
    if constexpr (kRows > 0) {
      HWY_UNROLL(3)
      for (size_t y = 0; y < kRows; ++y) row(in + args.tap_offset[y * kCols], kept_ + y * kCols);
    } else {
      const float* weights = weights_;
      for (size_t t = 0; t < args.taps; t += kCols) {
        V w[kCols];
        HWY_UNROLL(8)
        for (size_t k = 0; k < kCols; ++k, weights += args.weight_pitch) w[k] = lanes.Load(weights);
        row(in + args.tap_offset[t], w);
      }
    }
  }

 private:
  const float* weights_;
  V kept_[kRows == 0 ? 1 : kRows * kCols];
};

/// Loads of inputs that each serve `multiplier` outputs: a vector has every input that often.
class RepeatedInputs {
 public:
  /// `order`: by lane, the input it takes, counted from the first.
  HWY_INLINE RepeatedInputs(const int32_t* order, size_t lanes)
      : lanes_(static_cast<size_t>(order[lanes - 1]) + 1),
        order_(hn::SetTableIndices(kF32, order)) {}
  HWY_INLINE V Load(const float* from) const {
    return hn::TableLookupLanes(lanes_.Load(from), order_);
  }

 private:
  PartialVector lanes_;
  decltype(hn::SetTableIndices(kF32, static_cast<const int32_t*>(nullptr))) order_;
};

/// Where the outputs from channel `c` on find their inputs if they are as many.
struct SameOrder {
  size_t First(size_t c) const { return c; }
  template <class Lanes>
  HWY_INLINE const Lanes& Inputs(size_t /*c*/, const Lanes& lanes, size_t /*width*/) const {
    return lanes;
  }
};

/// The same if every input has several outputs: see DepthwiseArgs::multiplier.
class RepeatedOrder {
 public:
  explicit RepeatedOrder(const DepthwiseArgs& args) {
    size_t input = args.first_channel / args.multiplier;
    size_t served = args.first_channel % args.multiplier;  // outputs of this input
    for (size_t c = 0; c < args.channels; ++c) {
      if (c % kLanes == 0) first_[c / kLanes] = input;
      lane_[c] = static_cast<int32_t>(input - first_[c / kLanes]);
      if (++served == args.multiplier) ++input, served = 0;
    }
    for (size_t c = args.channels; c % kLanes != 0; ++c) lane_[c] = 0;
  }
  /// The input of the first of them.
  size_t First(size_t c) const { return first_[c / kLanes]; }
  template <class Lanes>
  HWY_INLINE RepeatedInputs Inputs(size_t c, const Lanes& /*lanes*/, size_t width) const {
    return RepeatedInputs(lane_ + c, width);
  }

 private:
  HWY_ALIGN int32_t lane_[kDepthwiseWidth];  // by output: its input, counted from the first
  size_t first_[kDepthwiseWidth / kLanes];
};

/// Adjacent outputs: where their windows start, where they go, and what is done before.
struct DepthwiseRun {
  Rectify<F32> rectify;
  const float* in = nullptr;
  float* out = nullptr;
  ptrdiff_t out_step = 0;
  size_t count = 0;
  uint8_t* changed = nullptr;  // by pixel; null: nothing is compared
};

// How many pixels ahead memory is asked for: the work on so many takes about as long as that.
inline constexpr size_t kPrefetched = 8;

/// One vector of channels, from `c` on, of the pixels [first, end) of a run.
template <class Taps, class Order, class Lanes>
HWY_INLINE void DepthwiseVector(const DepthwiseArgs& args, const Order& order,
                                const DepthwiseRun& run, size_t first, size_t end, size_t c,
                                const Lanes& lanes, size_t width) {
  const Taps taps(args, args.weights + c, lanes);
  const auto inputs = order.Inputs(c, lanes, width);
  const V bias = lanes.Load(args.bias + c);
  const float* in = run.in + static_cast<ptrdiff_t>(first) * args.step + order.First(c);
  float* out = run.out + static_cast<ptrdiff_t>(first) * run.out_step + c;
  uint8_t* changed = run.changed + (run.changed == nullptr ? 0 : first);
  // Long runs mostly go on with the next call; nobody needs what lies behind short ones.
  const ptrdiff_t ahead = run.count > 2 * kPrefetched ? kPrefetched : 0;
  const ptrdiff_t newest = args.tap_offset[args.taps - 1] + ahead * args.step;
  const auto group = [&](auto pixels) HWY_ATTR {
    constexpr size_t kPixels = decltype(pixels)::value;
    V sum[kPixels];
    HWY_UNROLL(8)
    for (size_t i = 0; i < kPixels; ++i) sum[i] = hn::Zero(kF32);
    taps.Add(args, in, inputs, lanes, sum);
    // The bias comes last, as in the GEMM.
    HWY_UNROLL(8)
    for (size_t i = 0; i < kPixels; ++i) sum[i] = hn::Add(sum[i], bias);
    run.rectify.Apply(sum);
    HWY_UNROLL(8)
    for (size_t i = 0; i < kPixels; ++i, in += args.step, out += run.out_step) {
      __builtin_prefetch(in + newest);
      __builtin_prefetch(out + ahead * run.out_step, 1);
      if (changed != nullptr) {
        uint8_t& flag = *changed++;
        if (SameBits(kF32, lanes.Keep(sum[i]), lanes.Load(out))) continue;
        flag = 1;
      }
      lanes.Store(sum[i], out);
    }
  };
  size_t left = end - first;
  static_assert(kDepthwiseRows == 4 || kDepthwiseRows == 8);
  if constexpr (kDepthwiseRows == 8)
    for (; left >= 8; left -= 8) group(std::integral_constant<size_t, 8>());
  for (; left >= 4; left -= 4) group(std::integral_constant<size_t, 4>());
  if (left == 1) group(std::integral_constant<size_t, 1>());
  if (left == 2) group(std::integral_constant<size_t, 2>());
  if (left == 3) group(std::integral_constant<size_t, 3>());
}

/// All channels of a run.
template <class Taps, class Order>
void DepthwisePixels(const DepthwiseArgs& call, const Order& order, const DepthwiseRun& outputs) {
  // Copies: as far as the compiler knows, a stored vector may be anything that others point at.
  const DepthwiseArgs args = call;
  const DepthwiseRun run = outputs;
  // A vector of weights serves as many pixels as can be without reading memory in short pieces.
  constexpr size_t kBlock = 1024;
  const size_t groups = HWY_MAX(kBlock / kDepthwiseRows / args.channels, 1);
  const size_t block = groups * kDepthwiseRows;
  const size_t rest = args.channels % kLanes;
  for (size_t first = 0; first < run.count; first += block) {
    const size_t end = HWY_MIN(first + block, run.count);
    size_t c = 0;
    for (; c + kLanes <= args.channels; c += kLanes)
      DepthwiseVector<Taps>(args, order, run, first, end, c, WholeVector(), kLanes);
    if (rest > 0) DepthwiseVector<Taps>(args, order, run, first, end, c, PartialVector(rest), rest);
  }
}

template <class Order>
using DepthwiseFunction = void (*)(const DepthwiseArgs& args, const Order& order,
                                   const DepthwiseRun& run);

template <class Order>
DepthwiseFunction<Order> ChooseDepthwise(const DepthwiseArgs& args) {
  const bool stride1 = args.step == args.pixel_pitch;
  const bool stride2 = args.step == 2 * args.pixel_pitch;
  const bool square3 = args.columns == 3 && args.taps == 9;
  if (square3 && stride1) return DepthwisePixels<AdjacentTaps<3, 3, 1>, Order>;
  if (square3 && stride2) return DepthwisePixels<AdjacentTaps<3, 3, 2>, Order>;
  if (args.columns == 5 && stride1) return DepthwisePixels<AdjacentTaps<0, 5, 1>, Order>;
  if (args.columns == 5 && stride2) return DepthwisePixels<AdjacentTaps<0, 5, 2>, Order>;
  if (args.columns == 7 && stride1) return DepthwisePixels<AdjacentTaps<0, 7, 1>, Order>;
  return DepthwisePixels<ScatteredTaps, Order>;
}

template <class Order>
void DepthwiseRuns(const DepthwiseArgs& args, const Order& order) {
  const DepthwiseFunction<Order> compute = ChooseDepthwise<Order>(args);
  const Epilogue& epilogue = *args.epilogue;
  // Pointwise steps work on a tile that stays in the first-level cache.
  const bool tiled = epilogue.step_count > 0;
  HWY_ALIGN float tile[kDepthwiseRows * kDepthwiseWidth];
  const size_t pitch = (args.channels + kLanes - 1) / kLanes * kLanes;
  const size_t most = tiled ? kDepthwiseWidth / pitch * kDepthwiseRows : SIZE_MAX;
  DepthwiseRun run{.rectify = Rectify<F32>(&epilogue)};
  size_t done = 0;    // pixels
  size_t filled = 0;  // pixels of the tile, the last ones done
  const auto finish = [&]() HWY_ATTR {
    FinishTile(epilogue, tile, pitch, done - filled, filled);
    filled = 0;
  };
  for (size_t r = 0; r < args.run_count; ++r) {
    run.in = args.runs[r].first;
    for (size_t left = args.runs[r].count; left > 0; left -= run.count) {
      run.count = HWY_MIN(left, most - filled);
      if (tiled) {
        run.out = tile + filled * pitch;
        run.out_step = static_cast<ptrdiff_t>(pitch);
      } else {
        run.out = Target(epilogue, done);
        run.out_step = run.count == 1 ? 0 : Target(epilogue, done + 1) - run.out;
        run.changed = epilogue.changed + (epilogue.changed == nullptr ? 0 : done);
      }
      compute(args, order, run);
      run.in += static_cast<ptrdiff_t>(run.count) * args.step;
      done += run.count;
      if (!tiled) continue;
      filled += run.count;
      if (filled == most) finish();
    }
  }
  if (filled > 0) finish();
}

void Depthwise(const DepthwiseArgs& args) {
  if (args.multiplier == 1) {
    DepthwiseRuns(args, SameOrder());
  } else {
    DepthwiseRuns(args, RepeatedOrder(args));
  }
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
