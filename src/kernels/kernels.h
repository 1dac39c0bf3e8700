// The arithmetic of the engine, one table of function pointers for every instruction set.
//
// Bit stability: what a kernel computes for a pixel depends on that pixel's inputs only, never on
// how many or which other pixels are computed in the same call, nor on their order. Every variant
// (remainder sizes, vector tails) therefore uses the same operations in the same order. Which of
// several different NaNs comes out is unspecified.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace deltacnn::kernels {

/// Pointwise functions of one argument. `a` and `b` are parameters where the formula shows them.
enum class Unary : uint8_t {
  kRelu,         // max(x, 0); NaN stays NaN (as for all below)
  kClip,         // min(max(x, a), b)
  kLeakyRelu,    // x < 0 ? a * x : x
  kElu,          // x < 0 ? a * (exp(x) - 1) : x
  kSelu,         // b * (x > 0 ? x : a * (exp(x) - 1))
  kSigmoid,      // 1 / (1 + exp(-x))
  kSilu,         // x * sigmoid(x)
  kHardSigmoid,  // max(0, min(1, a * x + b))
  kHardSwish,    // x * max(0, min(1, x / 6 + 0.5))
  kMish,         // x * tanh(softplus(x))
  kGelu,         // 0.5 * x * (1 + erf(x / sqrt(2)))
  kGeluTanh,     // 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))
  kTanh,
  kErf,
  kSoftplus,  // log(1 + exp(x))
  kSoftsign,  // x / (1 + |x|)
  kExp,
  kLog,
  kSqrt,
  kReciprocal,
  kNeg,
  kAbs,
  kFloor,
  kCeil,
  kRound,  // half to even
  kSign,
  kSin,
  kCos,
  kAffine,  // a * x + b, two roundings
};

/// Pointwise functions of two arguments, x first.
enum class Binary : uint8_t {
  kAdd,
  kSub,
  kRsub,  // y - x
  kMul,
  kDiv,
  kRdiv,  // y / x
  kMin,
  kMax,
  kPow,    // x ^ y
  kRpow,   // y ^ x
  kPrelu,  // x < 0 ? y * x : x
};

/// One pointwise step of an epilogue.
struct EpilogueStep {
  enum class Kind : uint8_t {
    kUnary,    // x = unary(x)
    kScalar,   // x = binary(x, a)
    kOperand,  // x = binary(x, operand)
  };
  Kind kind = Kind::kUnary;
  Unary unary = Unary::kRelu;
  Binary binary = Binary::kAdd;
  bool single = false;  // kOperand: one float a pixel, for all its channels
  float a = 0, b = 0;
  const float* const* operand = nullptr;  // kOperand: channel 0 of the second argument, by pixel
};

/// What a GEMM or a depthwise convolution does with its results while they are in cache.
struct Epilogue {
  // First of all, results are rectified: clipped to [low, high], or x < 0 ? slope * x : x. NaN
  // stays NaN.
  enum class Rectifier : uint8_t { kNone, kClip, kLeaky };
  Rectifier rectifier = Rectifier::kNone;
  float low = 0, high = 0;
  float slope = 0;
  // Unless null: channel 0 of what is added before (`add_first`) or right after that, by pixel. The
  // GEMM and Winograd's outputs take it, the depthwise convolution does not.
  const float* const* addend = nullptr;
  bool add_first = false;
  const EpilogueStep* steps = nullptr;
  size_t step_count = 0;
  float* const* targets = nullptr;  // where channel 0 goes, by pixel
  // Unless 0: that of pixel i goes to targets[0] + i * target_step, and no other pointer is read.
  ptrdiff_t target_step = 0;
  size_t channel = 0;          // of the first result
  size_t width = 0;            // results stored of every pixel
  uint8_t* changed = nullptr;  // by pixel: set to 1 where a stored bit changed; null: stores
};

/// The weights of one GEMM panel, [runs * run_length] rows of `panel` outputs: floats, or pairs of
/// bfloat16. Then a row has panel / 2 words; word i holds output i in its lower half and output
/// panel / 2 + i in its upper half. Either way products and sums are those of floats.
struct PanelWeights {
  const float* floats = nullptr;
  const uint32_t* pairs = nullptr;

  PanelWeights(const float* weights) : floats(weights) {}    // NOLINT(*-explicit-*)
  PanelWeights(const uint32_t* weights) : pairs(weights) {}  // NOLINT(*-explicit-*)
};

/// An indirect GEMM: `count` output pixels times one panel of output channels. Every pixel reads
/// `runs` contiguous stretches of `run_length` floats; stretch r starts at pixels[i] +
/// run_offset[r]. out[i * out_pitch + j] = bias[j] + sum over r, k of input * weights[(r *
/// run_length + k) * panel + j], summed in the order of r, then k, by fused multiply-add where the
/// instruction set has it; a long sum is a sum of partial sums, divided by `runs` and `run_length`
/// alone.
struct GemmArgs {
  const float* const* pixels;
  size_t count;
  // Unless 0: pixel i is at pixels[0] + i * pixel_step, and no other pointer is read.
  ptrdiff_t pixel_step = 0;
  const ptrdiff_t* run_offset;  // in floats
  size_t runs;
  size_t run_length;
  PanelWeights weights;
  const float* bias;  // [panel]
  // Unless null: count rows of `panel` floats, the sums of runs before these.
  const float* sums = nullptr;
  float* out = nullptr;  // count rows of `panel` floats, unless there is an epilogue
  size_t out_pitch = 0;
  // How many columns of the panel are wanted. Written are all of them if that is more than half of
  // them, else half of them, or a quarter.
  size_t columns = SIZE_MAX;
  const Epilogue* epilogue = nullptr;
};

/// Most outputs of a dot call.
inline constexpr size_t kDotColumns = 4;

/// The same sums for 1 to kDotColumns outputs in all, as dot products: vectors lie along the
/// inputs. The weight of element k of run r for output j is weights[(r * columns + j) * run_pitch +
/// k]; up to the next multiple of `dot_lanes` there are zeros behind every run.
struct DotArgs {
  const float* const* pixels;
  size_t count;
  const ptrdiff_t* run_offset;  // in floats
  size_t runs;
  size_t run_length;
  const float* weights;
  size_t run_pitch;
  const float* bias;
  size_t columns;
  const Epilogue* epilogue;
};

/// Most channels of one depthwise call: a tile of four pixels stays in the
/// first-level cache, and a row of it is long enough for the hardware to prefetch.
inline constexpr size_t kDepthwiseWidth = 256;

/// Adjacent output pixels, of which the first one's window starts at `first`.
struct PixelRun {
  const float* first;
  size_t count;
};

/// A depthwise convolution of `channels` adjacent output channels at the pixels of `run_count`
/// runs, numbered one run after the other. Channel c of pixel i is bias[c] + sum over taps t of
/// window(i)[tap_offset[t] + input(c)] * weights[t * weight_pitch + c]. The windows of a run are
/// `step` apart, and its targets lie at equal distances. input(c) is c or, if every input channel
/// has `multiplier` outputs, (first_channel + c) / multiplier.
struct DepthwiseArgs {
  const PixelRun* runs;
  size_t run_count;
  ptrdiff_t step;               // in floats
  const ptrdiff_t* tap_offset;  // in floats
  size_t taps;
  // If the taps form rows of `columns` adjacent pixels: the distance of adjacent pixels, in floats.
  ptrdiff_t pixel_pitch = 0;
  size_t columns = 0;
  size_t channels;
  size_t multiplier = 1;     // if not 1, there are at most kDepthwiseWidth channels
  size_t first_channel = 0;  // of the outputs, where the inputs' first is that of the windows
  const float* weights;
  size_t weight_pitch;
  const float* bias;
  const Epilogue* epilogue;
};

/// The transformed inputs of Winograd's F(m x m, 3x3), B^T d B of every channel: each tile reads
/// (m + 2) x (m + 2) pixels. out[((m + 2) * i + j) * out_pitch + tile * channels + c] is its row i,
/// column j.
struct WinogradInputArgs {
  size_t m;                     // 2 or 4
  const float* const* windows;  // first pixel, by tile
  size_t count;
  ptrdiff_t row_stride, col_stride;  // in floats
  size_t channels;
  float* out;
  size_t out_pitch;
};

/// The m x m outputs of such tiles, A^T p A + bias, for one GEMM panel. p's row i, column j is
/// products[((m + 2) * i + j) * pitch + tile * panel + channel].
struct WinogradOutputArgs {
  size_t m;
  const float* products;
  size_t pitch;
  size_t count;            // tiles
  const uint16_t* wanted;  // by tile, of output (y, x) bit m * y + x
  const float* bias;
  size_t first;  // the wanted outputs are the epilogue's pixels from here on
  const Epilogue* epilogue;
};

struct StrengthLimits {
  const float* weights;  // by channel
  float cutoff;
  float strong;
};

/// The largest or the mean of the pixels in each of `count` windows, channel by channel: out[i *
/// channels + c] is that of window i, which has rows x columns pixels and starts at from + i *
/// step. A mean is a sum of the sums of the rows.
struct PoolArgs {
  bool average;
  const float* from;
  size_t rows, columns;
  ptrdiff_t row_pitch, col_pitch;  // distance of the pixels of a window, in floats
  ptrdiff_t step;                  // distance of the windows, in floats
  size_t count;
  size_t channels;
  float divisor;  // of the sum
  float* out;
};

struct Table {
  const char* name;  // "AVX3", "AVX2", "SSE4", "NEON", ... as Highway spells it
  size_t panel;      // output channels of one GEMM panel (two vectors)
  size_t dot_lanes;  // floats of a vector

  void (*gemm)(const GemmArgs& args);
  void (*dot)(const DotArgs& args);
  void (*depthwise)(const DepthwiseArgs& args);
  void (*winograd_input)(const WinogradInputArgs& args);
  void (*winograd_output)(const WinogradOutputArgs& args);
  /// x[i] = f(x[i]) in place.
  void (*unary)(Unary function, float a, float b, float* x, size_t n);
  /// x[i] = f(x[i], y[i]) in place.
  void (*binary)(Binary function, float* x, const float* y, size_t n);
  /// x[i] = f(x[i], y) in place.
  void (*binary_scalar)(Binary function, float* x, float y, size_t n);
  /// Copies src to dst and tells whether any bit differed before.
  bool (*store_changed)(float* dst, const float* src, size_t n);
  /// Stores `count` pixels of n floats; their distances are the pitches, in floats. Unless
  /// `changed` is null, changed[i] |= 1 where a bit differed before.
  void (*store_pixels)(float* dst, ptrdiff_t dst_pitch, const float* src, ptrdiff_t src_pitch,
                       size_t count, size_t n, uint8_t* changed);
  /// Stores those of such pixels whose change is stronger than limits.cutoff: flags[i] |= 1, and |=
  /// 2 if it is stronger than limits.strong. The strength is the sum of limits.weights[c] *
  /// change^2, in an order that depends on n alone; NaN counts as the strongest.
  void (*store_stronger)(float* dst, ptrdiff_t dst_pitch, const float* src, ptrdiff_t src_pitch,
                         size_t count, size_t n, const StrengthLimits& limits, uint8_t* flags);
  /// to[c * to_pitch + r] = from[r * from_pitch + c] of 4-byte elements; pitches in elements.
  void (*transpose)(const void* from, ptrdiff_t from_pitch, size_t rows, size_t columns, void* to,
                    ptrdiff_t to_pitch);
  /// acc[i] += x[i] * scale, fused where available.
  void (*accumulate)(float* acc, const float* x, float scale, size_t n);
  /// out[i * channels + c] = sum over t of weights[i * taps + t] * from[(index[i * taps + t] -
  /// base)
  /// * channels + c], in the order of t, fused where available. At least one tap.
  void (*interpolate)(const float* from, int base, const int* index, const float* weights,
                      size_t taps, size_t count, size_t channels, float* out);
  void (*pool)(const PoolArgs& args);
};

/// The tables that this machine can execute, best first. Never empty.
const std::vector<const Table*>& Available();
/// The table called `name` (case-insensitive; "" is the best one); null if this machine lacks it.
const Table* Find(const std::string& name);

}  // namespace deltacnn::kernels
