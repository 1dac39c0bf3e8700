// Transposed convolution as a gather. Output row y reads input row (y + pad - ky * dilation) /
// stride for the taps ky for which that is whole; which taps those are depends on (y + pad) %
// stride only. So every phase of rows and columns is an ordinary convolution with its own few taps.
#include <algorithm>
#include <memory>

#include "ops/chain.h"
#include "ops/checks.h"
#include "ops/conv_window.h"
#include "ops/op.h"
#include "ops/packed_weights.h"

namespace deltacnn {
namespace {

constexpr int kChunk = 224;

/// One tap of a phase: kernel index, and the input's distance from floor((y + pad) / stride).
struct Tap {
  int64_t kernel;
  int64_t shift;
};

/// The taps of every phase of an axis; shifts fall from the first to the last.
std::vector<std::vector<Tap>> TapsByPhase(const ConvWindow& window, size_t axis) {
  const int64_t stride = window.stride[axis];
  std::vector<std::vector<Tap>> phases(static_cast<size_t>(stride));
  for (int64_t k = 0; k < window.kernel[axis]; ++k) {
    const int64_t distance = k * window.dilation[axis];
    phases[static_cast<size_t>(distance % stride)].push_back({k, -(distance / stride)});
  }
  return phases;
}

/// Pads and output size of one axis, by the formulas of the ONNX specification.
Status ResolveOutput(const Node& node, const Shape& input, ConvWindow& window,
                     std::array<int64_t, 2>& outputs) {
  const auto dims = SpatialDims(input);
  const size_t spatial = input.size() - 2;
  std::vector<int64_t> extra = node.Ints("output_padding");
  std::vector<int64_t> wanted = node.Ints("output_shape");
  extra.resize(spatial, 0);
  if (!wanted.empty() && wanted.size() == input.size())
    wanted.erase(wanted.begin(), wanted.begin() + 2);
  const std::string auto_pad = node.String("auto_pad", "NOTSET");
  outputs = {1, 1};
  for (size_t d = 0; d < spatial; ++d) {
    const size_t a = d + 2 - spatial;
    if (extra[d] < 0 || extra[d] > (1 << 24))
      return NodeError(ErrorCode::kInvalidModel, node, "output_padding is out of range");
    const int64_t full = (dims[a] - 1) * window.stride[a] + extra[d] + window.Extent(a);
    if (!wanted.empty() || auto_pad.starts_with("SAME")) {
      if (!wanted.empty() && (wanted.size() != spatial || wanted[d] < 1 || wanted[d] > (1 << 24)))
        return NodeError(ErrorCode::kInvalidModel, node, "output_shape is out of range");
      outputs[a] = wanted.empty() ? dims[a] * window.stride[a] : wanted[d];
      const int64_t total = std::max<int64_t>(full - outputs[a], 0);
      const int64_t small = total / 2;
      window.pad_before[a] = auto_pad == "SAME_UPPER" ? small : total - small;
      window.pad_after[a] = total - window.pad_before[a];
    } else {
      outputs[a] = full - window.pad_before[a] - window.pad_after[a];
    }
    if (outputs[a] < 1)
      return NodeError(ErrorCode::kInvalidModel, node, "its output would be empty");
  }
  return {};
}

class ConvTransposeKernel : public Kernel {
 public:
  ConvTransposeKernel(const MakeContext& context, const ConvWindow& window)
      : in_(context.in(0)),
        out_(context.out(0)),
        kernels_(context.kernels),
        window_(window),
        chain_(context, context.node.inputs.size()),
        operand_masks_(context.node.inputs.size()) {
    const auto in_dims = SpatialDims(in_.shape);
    out_dims_ = SpatialDims(out_.shape);
    row_stride_ = in_.shape.size() == 4 ? in_.strides[2] : 0;
    for (size_t a = 0; a < 2; ++a) {
      taps_[a] = TapsByPhase(window_, a);
      const auto clip = [&](int64_t i) {
        return static_cast<int>(std::clamp<int64_t>(i, 0, in_dims[a]));
      };
      for (int64_t o = 0; o < out_dims_[a]; ++o) {
        const int64_t at = o + window_.pad_before[a];
        const auto& taps = taps_[a][static_cast<size_t>(at % window_.stride[a])];
        const int64_t base = at / window_.stride[a];
        map_[a].first.push_back(taps.empty() ? 0 : clip(base + taps.back().shift));
        map_[a].last.push_back(taps.empty() ? 0 : clip(base + taps.front().shift + 1));
      }
      map_[a].Invert(static_cast<int>(in_dims[a]));
    }
    PackPhases(context);
  }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    if (inputs[0].words != nullptr)
      Affect(inputs[0], map_[0], map_[1], static_cast<int>(out_.shape[0]), out);
    chain_.Affect(inputs.subspan(operand_masks_), out);
  }

  void Compute(const Work& work) const override {
    auto* pixels = reinterpret_cast<const float**>(work.scratch);
    auto* place = reinterpret_cast<size_t*>(work.scratch + kChunk * sizeof(float*));
    auto* phase_block = reinterpret_cast<float*>(place + kChunk);
    float* block = phase_block + kChunk * kernels_.panel;
    float* saved = block + kChunk * kernels_.panel;
    const size_t panel = kernels_.panel;
    const auto groups = static_cast<size_t>(window_.groups);
    const size_t outputs = static_cast<size_t>(out_.channels) / groups;
    const size_t channels = static_cast<size_t>(in_.channels) / groups;
    for (size_t g = 0; g < groups; ++g) {
      for (size_t p = 0; p * panel < outputs; ++p) {
        for (size_t f = 0; f < phases_.size(); ++f) {
          const size_t count = PixelsOf(work, f, g * channels, pixels, place);
          if (count == 0) continue;
          const Phase& phase = phases_[f];
          const PackedWeights& weights = phase.groups[g];
          kernels_.gemm({.pixels = pixels,
                         .count = count,
                         .run_offset = phase.runs.data(),
                         .runs = phase.runs.size(),
                         .run_length = channels,
                         .weights = weights.Panel(p),
                         .bias = weights.bias.data() + p * panel,
                         .out = phase_block,
                         .out_pitch = panel});
          for (size_t i = 0; i < count; ++i)
            std::copy_n(phase_block + i * panel, panel, block + place[i] * panel);
        }
        chain_.Finish(work, work.spans, g * outputs + p * panel,
                      std::min(panel, outputs - p * panel), panel, block, saved);
      }
    }
  }

  int ChunkPixels() const override { return kChunk; }
  size_t ScratchBytes() const override {
    return kChunk * (sizeof(float*) + sizeof(size_t)) + 3 * kChunk * kernels_.panel * sizeof(float);
  }
  int64_t MacsPerPixel() const override {
    int64_t taps = window_.kernel[0] * window_.kernel[1];
    taps = std::max<int64_t>(1, taps / (window_.stride[0] * window_.stride[1]));
    return taps * in_.channels / window_.groups * out_.channels;
  }
  size_t WeightBytes() const override {
    size_t bytes = 0;
    for (const Phase& phase : phases_)
      for (const PackedWeights& group : phase.groups) bytes += group.Bytes();
    return bytes;
  }

 private:
  struct Phase {
    std::vector<ptrdiff_t> runs;  // one a tap
    std::vector<PackedWeights> groups;
  };

  void PackPhases(const MakeContext& context) {
    const float* weights = context.in(1).constant->as<float>().data();
    const float* bias = context.Has(2) ? context.in(2).constant->as<float>().data() : nullptr;
    const auto groups = static_cast<size_t>(window_.groups);
    const size_t outputs = static_cast<size_t>(out_.channels) / groups;
    const size_t channels = static_cast<size_t>(in_.channels) / groups;
    const auto kernel_size = static_cast<size_t>(window_.kernel[0] * window_.kernel[1]);
    for (const std::vector<Tap>& row_taps : taps_[0]) {
      for (const std::vector<Tap>& col_taps : taps_[1]) {
        Phase phase;
        std::vector<size_t> taps;  // positions in the kernel
        for (const Tap& y : row_taps) {
          for (const Tap& x : col_taps) {
            phase.runs.push_back(y.shift * row_stride_ + x.shift * in_.col_stride);
            taps.push_back(static_cast<size_t>(y.kernel * window_.kernel[1] + x.kernel));
          }
        }
        for (size_t g = 0; g < groups; ++g) {
          phase.groups.push_back(Pack(
              context, outputs, taps.size() * channels, context.bfloat16_weights,
              [&](size_t o, size_t k) {
                const size_t c = g * channels + k % channels;
                return weights[(c * outputs + o) * kernel_size + taps[k / channels]];
              },
              [&](size_t o) { return bias != nullptr ? bias[g * outputs + o] : 0.0f; }));
        }
        phases_.push_back(std::move(phase));
      }
    }
  }

  /// The listed pixels of a phase: pointers to the input pixel at shift zero, and places in the
  /// list.
  size_t PixelsOf(const Work& work, size_t phase, size_t channel, const float** pixels,
                  size_t* place) const {
    const auto* data = reinterpret_cast<const float*>(work.buffers[in_.buffer]) + channel;
    const int64_t origin = in_.row_offset[0];
    const auto py = static_cast<int64_t>(phase) / window_.stride[1];
    const auto px = static_cast<int64_t>(phase) % window_.stride[1];
    size_t n = 0;
    size_t at = 0;
    for (const Span& span : work.spans) {
      const int64_t image = span.row / out_dims_[0];
      const int64_t y = span.row % out_dims_[0] + window_.pad_before[0];
      const int64_t start = origin + image * in_.strides[0] + y / window_.stride[0] * row_stride_;
      for (int k = 0; k < span.count; ++k, ++at) {
        const int64_t x = span.col + k + window_.pad_before[1];
        if (y % window_.stride[0] != py || x % window_.stride[1] != px) continue;
        pixels[n] = data + start + x / window_.stride[1] * in_.col_stride;
        place[n++] = at;
      }
    }
    return n;
  }

  Placement in_, out_;
  const kernels::Table& kernels_;
  ConvWindow window_;
  Chain chain_;
  size_t operand_masks_;
  std::array<int64_t, 2> out_dims_{};
  int64_t row_stride_ = 0;
  std::array<WindowMap, 2> map_;
  std::array<std::vector<std::vector<Tap>>, 2> taps_;  // by axis and phase
  std::vector<Phase> phases_;                          // row phase major
};

}  // namespace

Status InferConvTranspose(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckConvInputs(context));
  const Shape& in = context.shape(0);
  const Shape& weights = context.shape(1);
  auto window = ReadConvWindow(context.node, in, weights);
  if (!window.ok()) return window.error();
  if (window->groups < 1 || weights[0] != in[1] || in[1] % window->groups != 0 || in[1] == 0 ||
      weights[1] == 0 || window->groups > in[1]) {
    return context.Invalid("weights " + ToString(weights) + " do not fit " + std::to_string(in[1]) +
                           " input channels in " + std::to_string(window->groups) + " groups");
  }
  if (window->stride[0] * window->stride[1] > 4096)
    return context.Unsupported("strides beyond 64 x 64 are not supported");
  const int64_t channels = weights[1] * window->groups;
  DELTACNN_RETURN_IF_ERROR(CheckConvConstants(context, channels));
  const auto dims = SpatialDims(in);
  if (dims[0] == 0 || dims[1] == 0) return context.Invalid("its input is empty");
  std::array<int64_t, 2> outputs{};
  DELTACNN_RETURN_IF_ERROR(ResolveOutput(context.node, in, *window, outputs));
  Shape out = {in[0], channels};
  for (size_t a = in.size() == 3 ? 1 : 0; a < 2; ++a) out.push_back(outputs[a]);
  context.SetOutput(0, DType::kFloat32, std::move(out));
  return {};
}

void LayoutConvTranspose(LayoutContext& context) {
  const Shape& in = context.shape(0);
  context.input_axes[0] = SpatialAxes(in.size());
  context.output_axes[0] = SpatialAxes(in.size());
  for (size_t i = 1; i < context.node.inputs.size(); ++i) context.input_in_memory[i] = false;
  auto window = ReadConvWindow(context.node, in, context.shape(1));
  std::array<int64_t, 2> outputs{};
  if (!ResolveOutput(context.node, in, *window, outputs).ok()) return;  // inference has checked it
  const auto dims = SpatialDims(in);
  std::array<int, 2> before{};
  std::array<int, 2> after{};
  for (size_t a = 0; a < 2; ++a) {
    int64_t lowest = 0;
    int64_t highest = 0;
    for (const std::vector<Tap>& taps : TapsByPhase(*window, a)) {
      for (const Tap& tap : taps) {
        lowest = std::min(lowest, tap.shift);
        highest = std::max(highest, tap.shift);
      }
    }
    const int64_t first = window->pad_before[a] / window->stride[a];
    const int64_t last = (outputs[a] - 1 + window->pad_before[a]) / window->stride[a];
    before[a] = static_cast<int>(std::max<int64_t>(0, -(first + lowest)));
    after[a] = static_cast<int>(std::max<int64_t>(0, last + highest - (dims[a] - 1)));
  }
  context.input_halo[0] = {
      .top = before[0], .bottom = after[0], .left = before[1], .right = after[1]};
  LayoutChainOperands(context);
}

Result<KernelPtr> MakeConvTranspose(const MakeContext& context) {
  auto window = ReadConvWindow(context.node, context.in(0).shape, context.in(1).shape);
  if (!window.ok()) return window.error();
  std::array<int64_t, 2> outputs{};
  DELTACNN_RETURN_IF_ERROR(ResolveOutput(context.node, context.in(0).shape, *window, outputs));
  return KernelPtr(std::make_unique<ConvTransposeKernel>(context, *window));
}

}  // namespace deltacnn
