#include "ops/chain.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <limits>

#include "ops/store.h"

namespace deltacnn {

using Kind = ChainStep::Kind;

namespace {

// Operands of so few channels are laid side by side before they are applied, some at a time.
constexpr size_t kNarrow = 16;
constexpr size_t kPacked = 512;

}  // namespace

Chain::Chain(const MakeContext& context, size_t first_operand)
    : kernels_(context.kernels), out_(context.out(0)), steps_(context.node.chain) {
  for (size_t i = first_operand; i < context.inputs.size(); ++i)
    operands_.emplace_back(*context.inputs[i], context.out(0));
  saves_ = std::ranges::any_of(steps_, [](const ChainStep& s) { return s.kind == Kind::kSave; });
  fuses_ = !saves_ && std::ranges::all_of(operands_, [](const BroadcastMap& operand) {
    return operand.full() || operand.single();
  });
}

bool TakeRectifier(const ChainStep& step, kernels::Epilogue& epilogue) {
  using Rectifier = kernels::Epilogue::Rectifier;
  if (epilogue.rectifier != Rectifier::kNone || step.kind != Kind::kUnary) return false;
  switch (step.unary) {
    case kernels::Unary::kRelu:
      epilogue.rectifier = Rectifier::kClip;
      epilogue.high = std::numeric_limits<float>::infinity();
      return true;
    case kernels::Unary::kClip:
      epilogue.rectifier = Rectifier::kClip;
      epilogue.low = step.a;
      epilogue.high = step.b;
      return true;
    case kernels::Unary::kLeakyRelu:
      epilogue.rectifier = Rectifier::kLeaky;
      epilogue.slope = step.a;
      return true;
    default:
      return false;
  }
}

kernels::EpilogueStep MakeEpilogueStep(const ChainStep& step) {
  return {.kind = step.kind == Kind::kScalar ? kernels::EpilogueStep::Kind::kScalar
                                             : kernels::EpilogueStep::Kind::kUnary,
          .unary = step.unary,
          .binary = step.binary,
          .a = step.a,
          .b = step.b};
}

void Chain::SetTargets(const Work& work, float** targets, kernels::Epilogue& epilogue) const {
  epilogue.targets = targets;
  epilogue.target_step = EqualStep(work.spans, out_.col_stride,
                                   [this](int row, int col) { return out_.Offset(row, col); });
  if (work.compare) epilogue.changed = work.changed + work.spans.front().first;
  if (epilogue.target_step != 0) {
    *targets = work.Pixel<float>(out_, work.spans.front().row, work.spans.front().col);
    return;
  }
  for (const Span& span : work.spans) {
    float* target = work.Pixel<float>(out_, span.row, span.col);
    for (int k = 0; k < span.count; ++k, target += out_.col_stride) *targets++ = target;
  }
}

kernels::Epilogue Chain::Fused(const Work& work, bool adds, const float** operand_pointers,
                               kernels::EpilogueStep* epilogue_steps) const {
  kernels::Epilogue epilogue{.steps = epilogue_steps};
  for (const ChainStep& step : steps_) {
    const bool first = epilogue.step_count == 0;  // what may happen in registers still may
    if (first && (epilogue.addend == nullptr || epilogue.add_first) &&
        TakeRectifier(step, epilogue))
      continue;
    const float* const* operand_pixels = operand_pointers;
    const bool operand = step.kind == Kind::kOperand;
    const bool single = operand && !operands_[static_cast<size_t>(step.operand)].full();
    if (operand) {
      const BroadcastMap& map = operands_[static_cast<size_t>(step.operand)];
      for (const Span& span : work.spans)
        for (int k = 0; k < span.count; ++k)
          *operand_pointers++ = map.Pixel<float>(work, span.row, span.col + k);
    }
    if (first && adds && operand && !single && step.binary == kernels::Binary::kAdd &&
        epilogue.addend == nullptr) {
      epilogue.addend = operand_pixels;
      epilogue.add_first = epilogue.rectifier == kernels::Epilogue::Rectifier::kNone;
      continue;
    }
    kernels::EpilogueStep& made = epilogue_steps[epilogue.step_count++];
    made = MakeEpilogueStep(step);
    if (!operand) continue;
    made.kind = kernels::EpilogueStep::Kind::kOperand;
    made.single = single;
    made.operand = operand_pixels;
  }
  return epilogue;
}

void Chain::Prefetch(const Work& work) const {
  constexpr int64_t kLine = 64 / sizeof(float);
  for (const Span& span : work.spans) {
    const float* target = work.Pixel<float>(out_, span.row, span.col);
    for (int k = 0; k < span.count; ++k, target += out_.col_stride)
      for (int64_t c = 0; c < out_.channels; c += kLine) __builtin_prefetch(target + c, 1);
  }
}

void Chain::Finish(const Work& work, std::span<const Span> spans, size_t channel, size_t width,
                   size_t pitch, float* x, float* saved) const {
  Apply(work, spans, channel, width, pitch, x, saved);
  Store(work, spans, channel, width, pitch, x);
}

void Chain::Store(const Work& work, std::span<const Span> spans, size_t channel, size_t width,
                  size_t pitch, const float* x) const {
  for (const Span& span : spans) {
    StoreChannels(kernels_, work, out_, span, channel, width, x, static_cast<int64_t>(pitch));
    x += static_cast<size_t>(span.count) * pitch;
  }
}

void Chain::Apply(const Work& work, std::span<const Span> spans, size_t channel, size_t width,
                  size_t pitch, float* x, float* saved) const {
  if (steps_.empty()) return;
  size_t pixels = 0;
  for (const Span& span : spans) pixels += static_cast<size_t>(span.count);
  const size_t n = pixels * pitch;
  for (const ChainStep& step : steps_) {
    switch (step.kind) {
      case Kind::kUnary:
        kernels_.unary(step.unary, step.a, step.b, x, n);
        break;
      case Kind::kScalar:
        kernels_.binary_scalar(step.binary, x, step.a, n);
        break;
      case Kind::kSave:
        std::memcpy(saved, x, n * sizeof(float));
        break;
      case Kind::kSaved:
        kernels_.binary(step.binary, x, saved, n);
        break;
      case Kind::kOperand:
        ApplyOperand(work, step, spans, channel, width, pitch, x);
        break;
    }
  }
}

void Chain::ApplyOperand(const Work& work, const ChainStep& step, std::span<const Span> spans,
                         size_t channel, size_t width, size_t pitch, float* x) const {
  const BroadcastMap& operand = operands_[static_cast<size_t>(step.operand)];
  for (const Span& span : spans) {
    const float* first = operand.Pixel<float>(work, span.row, span.col);
    const float* last = operand.Pixel<float>(work, span.row, span.col + span.count - 1);
    const size_t run = static_cast<size_t>(span.count) * width;
    if (operand.full() && pitch == width && last - first == static_cast<ptrdiff_t>(run - width)) {
      kernels_.binary(step.binary, x, first + channel, run);  // packed pixels
      x += run;
      continue;
    }
    if (operand.single() && first == last) {  // one number for all of them
      kernels_.binary_scalar(step.binary, x, *first, static_cast<size_t>(span.count) * pitch);
      x += static_cast<size_t>(span.count) * pitch;
      continue;
    }
    if (operand.full() && pitch == width && width <= kNarrow) {
      const ptrdiff_t pixel_step = span.count > 1 ? (last - first) / (span.count - 1) : 0;
      std::array<float, kPacked> packed;
      const size_t at_once = kPacked / width;
      for (size_t k = 0; k < static_cast<size_t>(span.count); k += at_once) {
        const size_t count = std::min(at_once, static_cast<size_t>(span.count) - k);
        PackPixels(first + static_cast<ptrdiff_t>(k) * pixel_step + channel, pixel_step, count,
                   width, packed.data());
        kernels_.binary(step.binary, x, packed.data(), count * width);
        x += count * width;
      }
      continue;
    }
    for (int k = 0; k < span.count; ++k, x += pitch) {
      const float* y = operand.Pixel<float>(work, span.row, span.col + k);
      if (operand.full()) {
        kernels_.binary(step.binary, x, y + channel, width);
      } else if (operand.single()) {
        kernels_.binary_scalar(step.binary, x, *y, width);
      } else {
        const int32_t* table = operand.channel_table().data() + channel;
        for (size_t c = 0; c < width; ++c) kernels_.binary(step.binary, x + c, y + table[c], 1);
      }
    }
  }
}

void Chain::Affect(std::span<const MaskView> masks, const MaskView& out) const {
  for (size_t i = 0; i < operands_.size(); ++i) operands_[i].Affect(masks[i], out);
}

void LayoutChainOperands(LayoutContext& context) {
  for (size_t i = 0; i < context.node.chain_inputs.size(); ++i) {
    const ValueId id = context.node.chain_inputs[i];
    context.input_axes[context.node.inputs.size() + i] =
        BroadcastAxes(*context.graph.values[static_cast<size_t>(id)].shape, context.output_shape(0),
                      context.output_axes[0]);
  }
}

std::string DescribeChain(const Node& node) {
  static constexpr const char* kUnaryNames[] = {
      "Relu",      "Clip", "LeakyRelu", "Elu",        "Selu",  "Sigmoid", "Silu",     "HardSigmoid",
      "HardSwish", "Mish", "Gelu",      "GeluTanh",   "Tanh",  "Erf",     "Softplus", "Softsign",
      "Exp",       "Log",  "Sqrt",      "Reciprocal", "Neg",   "Abs",     "Floor",    "Ceil",
      "Round",     "Sign", "Sin",       "Cos",        "Affine"};
  static constexpr const char* kBinaryNames[] = {"Add", "Sub", "Sub", "Mul", "Div",  "Div",
                                                 "Min", "Max", "Pow", "Pow", "PRelu"};
  static_assert(std::size(kUnaryNames) == static_cast<size_t>(kernels::Unary::kAffine) + 1);
  static_assert(std::size(kBinaryNames) == static_cast<size_t>(kernels::Binary::kPrelu) + 1);
  std::string text;
  for (const ChainStep& step : node.chain) {
    if (step.kind == Kind::kSave) continue;
    text += '+';
    text += step.kind == Kind::kUnary ? kUnaryNames[static_cast<size_t>(step.unary)]
                                      : kBinaryNames[static_cast<size_t>(step.binary)];
  }
  return text;
}

}  // namespace deltacnn
