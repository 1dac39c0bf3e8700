// The depthwise convolution. Compiled once per target: see kernels.cc.
#if defined(DELTACNN_KERNELS_DEPTHWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DELTACNN_KERNELS_DEPTHWISE_INL_H_
#undef DELTACNN_KERNELS_DEPTHWISE_INL_H_
#else
#define DELTACNN_KERNELS_DEPTHWISE_INL_H_
#endif

#include <limits>
#include <optional>

#include "kernels/epilogue-inl.h"
#include "kernels/kernels.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace deltacnn::kernels::HWY_NAMESPACE {

/// Pixels that share one load of the weights.
inline constexpr size_t kDepthwiseRows = 4;

/// Adds all taps at pixels anywhere, for one vector of channels: `c` is its first input, `weights`
/// are its weights.
struct ScatteredTaps {
  HWY_INLINE explicit ScatteredTaps(const DepthwiseArgs& /*args*/) {}

  template <size_t kPixels, class Inputs, class Lanes>
  HWY_INLINE void Add(const DepthwiseArgs& args, const float* const* in, size_t c,
                      const Inputs& inputs, const float* weights, const Lanes& lanes,
                      V (&sum)[kPixels]) const {
    for (size_t t = 0; t < args.taps; ++t, weights += args.weight_pitch) {
      const ptrdiff_t offset = args.tap_offset[t] + static_cast<ptrdiff_t>(c);
      const V w = lanes.Load(weights);
      HWY_UNROLL(4)
      for (size_t i = 0; i < kPixels; ++i)
        sum[i] = hn::MulAdd(inputs.Load(in[i] + offset), w, sum[i]);
    }
  }
};

/// The same, by the same order, for adjacent outputs and taps that are rows of `kCols` adjacent
/// pixels: outputs share the inputs where their windows overlap. `kRows`: rows if known, else 0.
template <size_t kRows, size_t kCols, size_t kStride>
class AdjacentTaps {
 public:
  HWY_INLINE explicit AdjacentTaps(const DepthwiseArgs& args) {
    HWY_UNROLL(3)
    for (size_t y = 0; y < kRows; ++y) offset_[y] = args.tap_offset[y * kCols];
  }

  template <size_t kPixels, class Inputs, class Lanes>
  HWY_INLINE void Add(const DepthwiseArgs& args, const float* const* in, size_t c,
                      const Inputs& inputs, const float* weights, const Lanes& lanes,
                      V (&sum)[kPixels]) const {
    const auto row = [&](size_t y, ptrdiff_t offset) HWY_ATTR {
      const float* x = in[0] + offset + static_cast<ptrdiff_t>(c);
      V w[kCols];
      HWY_UNROLL(5)
      for (size_t k = 0; k < kCols; ++k)
        w[k] = lanes.Load(weights + (y * kCols + k) * args.weight_pitch);
      HWY_UNROLL(16)
      for (size_t j = 0; j < (kPixels - 1) * kStride + kCols; ++j, x += args.pixel_pitch) {
        const V value = inputs.Load(x);
        HWY_UNROLL(4)
        for (size_t i = 0; i < kPixels; ++i) {
          if (j >= i * kStride && j - i * kStride < kCols)
            sum[i] = hn::MulAdd(value, w[j - i * kStride], sum[i]);
        }
      }
    };
    if constexpr (kRows == 0) {
      const size_t rows = args.taps / kCols;
      for (size_t y = 0; y < rows; ++y) row(y, args.tap_offset[y * kCols]);
    } else {
      HWY_UNROLL(3)
      for (size_t y = 0; y < kRows; ++y) row(y, offset_[y]);
    }
  }

 private:
  ptrdiff_t offset_[kRows == 0 ? 1 : kRows];  // of the rows of taps
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

/// Which inputs the outputs of a call take, if that is not one each: see DepthwiseArgs::multiplier.
class InputOrder {
 public:
  explicit InputOrder(const DepthwiseArgs& args) {
    size_t input = args.first_channel / args.multiplier;
    size_t served = args.first_channel % args.multiplier;  // outputs of this input
    for (size_t c = 0; c < args.channels; ++c) {
      if (c % kLanes == 0) first_[c / kLanes] = input;
      lane_[c] = static_cast<int32_t>(input - first_[c / kLanes]);
      if (++served == args.multiplier) ++input, served = 0;
    }
    for (size_t c = args.channels; c % kLanes != 0; ++c) lane_[c] = 0;
  }
  /// The input of the first of the outputs that start with `c`, and by lane the distance from it.
  size_t First(size_t c) const { return first_[c / kLanes]; }
  const int32_t* Lanes(size_t c) const { return lane_ + c; }

 private:
  HWY_ALIGN int32_t lane_[kDepthwiseWidth];
  size_t first_[kDepthwiseWidth / kLanes];
};

/// Where the results of a group go, and what is done with them before.
struct DepthwiseOutput {
  V low, high;
  float* const* pixels;
  uint8_t* changed;  // by pixel; null: nothing is compared
};

/// All channels of `kPixels` pixels. `order` is null if inputs and outputs are as many.
template <class Taps, size_t kPixels>
void DepthwisePixels(const DepthwiseArgs& call, const InputOrder* order,
                     const float* const* windows, const DepthwiseOutput& output) {
  // Copies: as far as the compiler knows, a stored vector may be anything that others point at.
  const DepthwiseArgs args = call;
  const DepthwiseOutput out = output;
  const float* in[kPixels];
  float* target[kPixels];
  HWY_UNROLL(4)
  for (size_t i = 0; i < kPixels; ++i) in[i] = windows[i], target[i] = out.pixels[i];
  const Taps taps(args);
  const auto vector = [&](size_t c, const auto& lanes, size_t width) HWY_ATTR {
    V sum[kPixels];
    HWY_UNROLL(4)
    for (size_t i = 0; i < kPixels; ++i) sum[i] = hn::Zero(kF32);
    if (order == nullptr) {
      taps.Add(args, in, c, lanes, args.weights + c, lanes, sum);
    } else {
      taps.Add(args, in, order->First(c), RepeatedInputs(order->Lanes(c), width), args.weights + c,
               lanes, sum);
    }
    const V bias = lanes.Load(args.bias + c);
    HWY_UNROLL(4)
    for (size_t i = 0; i < kPixels; ++i) {
      // The bias comes last, as in the GEMM.
      const V result = AtMost(AtLeast(hn::Add(sum[i], bias), out.low), out.high);
      if (out.changed != nullptr) {
        if (SameBits(kF32, lanes.Keep(result), lanes.Load(target[i] + c))) continue;
        out.changed[i] = 1;
      }
      lanes.Store(result, target[i] + c);
    }
  };
  size_t c = 0;
  for (; c + kLanes <= args.channels; c += kLanes) vector(c, WholeVector(), kLanes);
  const size_t rest = args.channels - c;
  if (rest > 0) vector(c, PartialVector(rest), rest);
}

template <class Taps>
void DepthwiseGroup(const DepthwiseArgs& args, const InputOrder* order, const float* const* in,
                    size_t count, const DepthwiseOutput& out) {
  switch (count) {
    case 1:
      return DepthwisePixels<Taps, 1>(args, order, in, out);
    case 2:
      return DepthwisePixels<Taps, 2>(args, order, in, out);
    case 3:
      return DepthwisePixels<Taps, 3>(args, order, in, out);
    default:
      return DepthwisePixels<Taps, kDepthwiseRows>(args, order, in, out);
  }
}

using DepthwiseGroupFunction = void (*)(const DepthwiseArgs& args, const InputOrder* order,
                                        const float* const* in, size_t count,
                                        const DepthwiseOutput& out);

/// The function for groups of up to kDepthwiseRows adjacent pixels, null if there is none.
HWY_INLINE DepthwiseGroupFunction AdjacentGroup(const DepthwiseArgs& args) {
  const size_t rows = args.columns == 0 ? 0 : args.taps / args.columns;
  if (args.pixel_pitch == 0) return nullptr;
  if (args.columns == 3 && rows == 3 && args.stride == 1)
    return DepthwiseGroup<AdjacentTaps<3, 3, 1>>;
  if (args.columns == 3 && rows == 3 && args.stride == 2)
    return DepthwiseGroup<AdjacentTaps<3, 3, 2>>;
  if (args.columns == 5 && args.stride == 1) return DepthwiseGroup<AdjacentTaps<0, 5, 1>>;
  if (args.columns == 5 && args.stride == 2) return DepthwiseGroup<AdjacentTaps<0, 5, 2>>;
  return nullptr;
}

// How many pixels ahead memory is asked for: the work on so many takes about as long as the memory.
inline constexpr size_t kPrefetched = 8;

/// Asks for what up to `count` pixels from number `first` on are the first to read, and for their
/// targets.
HWY_INLINE void PrefetchPixels(const DepthwiseArgs& args, size_t first, size_t count) {
  constexpr size_t kLine = 64 / sizeof(float);
  const size_t channel = args.multiplier == 1 ? 0 : args.first_channel / args.multiplier;
  first = HWY_MIN(first, args.count);
  count = HWY_MIN(count, args.count - first);
  for (size_t i = first; i < first + count; ++i) {
    for (size_t s = 0; s < HWY_MIN(args.stride, args.taps); ++s) {
      const float* newest = args.pixels[i] + args.tap_offset[args.taps - 1 - s] + channel;
      for (size_t c = 0; c < args.channels / args.multiplier; c += kLine)
        __builtin_prefetch(newest + c);
    }
  }
  if (args.epilogue != nullptr) PrefetchTile(*args.epilogue, first, count);
}

/// Pixels [first, end). They go to the rows of a tile or, if that is null, to the epilogue's
/// targets.
void DepthwiseRange(const DepthwiseArgs& args, const InputOrder* order, size_t first, size_t end,
                    float* tile, size_t tile_pitch) {
  const Epilogue* epilogue = args.epilogue;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const bool clamp = epilogue != nullptr && epilogue->clamp;
  const bool compare = tile == nullptr && epilogue->changed != nullptr;
  const DepthwiseGroupFunction adjacent_group = AdjacentGroup(args);
  const DepthwiseGroupFunction group =
      adjacent_group != nullptr ? adjacent_group : DepthwiseGroup<ScatteredTaps>;
  const ptrdiff_t step = args.pixel_pitch * static_cast<ptrdiff_t>(args.stride);
  float* pixels[kDepthwiseRows];
  DepthwiseOutput out = {
      .low = hn::Set(kF32, clamp ? epilogue->low : -kInfinity),
      .high = hn::Set(kF32, clamp ? epilogue->high : kInfinity),
      .pixels = pixels,
      .changed = nullptr,
  };
  if (first == 0) PrefetchPixels(args, 0, kPrefetched);
  while (first < end) {
    const float* const* in = args.pixels + first;
    size_t count = HWY_MIN(kDepthwiseRows, end - first);
    if (adjacent_group != nullptr) {
      size_t adjacent = 1;
      while (adjacent < count && in[adjacent] - in[adjacent - 1] == step) ++adjacent;
      count = adjacent;
    }
    for (size_t i = 0; i < count; ++i) {
      if (tile == nullptr) {
        pixels[i] = epilogue->targets[first + i] + epilogue->channel;
      } else {
        pixels[i] = tile, tile += tile_pitch;
      }
    }
    if (compare) out.changed = epilogue->changed + first;
    PrefetchPixels(args, first + kPrefetched, count);
    group(args, order, in, count, out);
    first += count;
  }
}

void Depthwise(const DepthwiseArgs& args) {
  std::optional<InputOrder> order;
  if (args.multiplier != 1) order.emplace(args);
  const InputOrder* const inputs = order ? &*order : nullptr;
  const Epilogue* epilogue = args.epilogue;
  if (epilogue == nullptr)
    return DepthwiseRange(args, inputs, 0, args.count, args.out, args.out_pitch);
  if (epilogue->step_count == 0) return DepthwiseRange(args, inputs, 0, args.count, nullptr, 0);
  // Pointwise steps work on a tile that stays in the first-level cache.
  HWY_ALIGN float tile[kDepthwiseRows * kDepthwiseWidth];
  const size_t pitch = (args.channels + kLanes - 1) / kLanes * kLanes;
  const size_t most = kDepthwiseWidth / pitch * kDepthwiseRows;
  for (size_t first = 0; first < args.count; first += most) {
    const size_t end = HWY_MIN(first + most, args.count);
    DepthwiseRange(args, inputs, first, end, tile, pitch);
    FinishTile(*epilogue, tile, pitch, first, end - first);
  }
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
