// Elementwise operators of any element type, with broadcasting: logic, comparisons, conversions,
// and the arithmetic of types other than float32.
#include <algorithm>
#include <array>
#include <cstring>

#include "graph/data_type.h"
#include "ops/broadcast.h"
#include "ops/op.h"
#include "ops/store.h"
#include "ops/typed_functions.h"

namespace deltacnn {
namespace {

// Elements that go through the function at a time, so that broadcast operands fit on the stack.
constexpr size_t kBlock = 256;
constexpr size_t kMaxElementBytes = 8;
constexpr size_t kMaxArity = 3;

/// The inputs that are read: those present, but only the first one of CastLike.
size_t OperandCount(const Node& node) {
  return TypedName(node) == "CastLike" ? 1 : node.inputs.size();
}

class TypedKernel : public Kernel {
 public:
  TypedKernel(const MakeContext& context, TypedFunction function)
      : out_(context.out(0)),
        function_(function),
        parameter_(context.node.Float("alpha", 1)),
        folded_(IsFolded(TypedName(context.node))) {
    for (size_t i = 0; i < OperandCount(context.node); ++i) {
      if (!context.Has(i)) continue;
      operands_.push_back({i, BroadcastMap(context.in(i), out_)});
    }
  }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    for (const Operand& operand : operands_) operand.map.Affect(inputs[operand.input], out);
  }

  void Compute(const Work& work) const override {
    const size_t size = SizeOf(out_.dtype);
    const auto channels = static_cast<size_t>(out_.channels);
    alignas(64) std::array<std::byte, kBlock * kMaxElementBytes> result;
    ForEachPixel(work, [&](int row, int col) {
      std::byte* to = PixelBytes(work, out_, row, col);
      bool changed = false;
      for (size_t first = 0; first < channels; first += kBlock) {
        const size_t n = std::min(kBlock, channels - first);
        Evaluate(work, row, col, first, n, result.data());
        changed |= StoreChanged(to + first * size, result.data(), n * size);
      }
      return changed;
    });
  }

 private:
  struct Operand {
    size_t input;
    BroadcastMap map;

    /// Elements [first, first + n) of an output pixel; in `block` if the operand does not hold them
    /// side by side.
    const std::byte* Elements(const Work& work, int row, int col, size_t first, size_t n,
                              std::byte* block) const {
      const size_t size = map.element_bytes();
      const std::byte* pixel = map.PixelBytes(work, row, col);
      if (map.full()) return pixel + first * size;
      for (size_t i = 0; i < n; ++i) {
        const auto channel = map.single() ? 0 : static_cast<size_t>(map.channel_table()[first + i]);
        std::memcpy(block + i * size, pixel + channel * size, size);
      }
      return block;
    }
  };

  void Evaluate(const Work& work, int row, int col, size_t first, size_t n, std::byte* out) const {
    alignas(64) std::array<std::array<std::byte, kBlock * kMaxElementBytes>, kMaxArity> blocks;
    std::array<const void*, kMaxArity> in;
    if (folded_) {
      const Operand& start = operands_[0];
      std::memcpy(out, start.Elements(work, row, col, first, n, blocks[0].data()),
                  n * start.map.element_bytes());
      in[0] = out;
      for (size_t i = 1; i < operands_.size(); ++i) {
        in[1] = operands_[i].Elements(work, row, col, first, n, blocks[1].data());
        function_(in.data(), out, n, parameter_);
      }
      return;
    }
    for (size_t i = 0; i < operands_.size(); ++i)
      in[i] = operands_[i].Elements(work, row, col, first, n, blocks[i].data());
    function_(in.data(), out, n, parameter_);
  }

  Placement out_;
  TypedFunction function_;
  float parameter_;
  bool folded_;
  std::vector<Operand> operands_;
};

Result<DType> OutputType(const InferContext& context) {
  const Node& node = context.node;
  if (node.op == "Cast") {
    const int64_t to = node.Int("to", 0);
    if (const auto dtype = ToDType(to)) return *dtype;
    return context.Unsupported("conversion to " + NameOfDataType(to));
  }
  if (node.op == "CastLike" || node.op == "Where") {
    if (!context.Has(1)) return context.Invalid("input 1 is missing");
    return context.dtype(1);
  }
  if (node.op == "Mod" || node.op == "ThresholdedRelu" || node.op == "TypedArithmetic")
    return context.dtype(0);
  return DType::kBool;
}

std::string NotFound(const Node& node, std::span<const DType> types) {
  std::string list;
  for (const DType type : types) list += (list.empty() ? "" : ", ") + std::string(NameOf(type));
  return TypedName(node) + " of " + list + " is not supported";
}

}  // namespace

Status InferTyped(InferContext& context) {
  if (!context.Has(0)) return context.Invalid("input 0 is missing");
  const auto output = OutputType(context);
  if (!output) return output.error();
  std::vector<DType> types;
  Shape shape = context.shape(0);
  for (size_t i = 0; i < OperandCount(context.node); ++i) {
    if (!context.Has(i)) continue;
    types.push_back(context.dtype(i));
    const auto wider = BroadcastShapes(shape, context.shape(i));
    if (!wider) {
      return context.Invalid("shapes " + ToString(shape) + " and " + ToString(context.shape(i)) +
                             " do not broadcast");
    }
    shape = *wider;
  }
  if (FindTypedFunction(context.node, types, *output) == nullptr)
    return context.Unsupported(NotFound(context.node, types));
  context.SetOutput(0, *output, std::move(shape));
  return {};
}

void LayoutTyped(LayoutContext& context) { LayoutBroadcast(context, OperandCount(context.node)); }

Result<KernelPtr> MakeTyped(const MakeContext& context) {
  std::vector<DType> types;
  for (size_t i = 0; i < OperandCount(context.node); ++i) {
    if (context.Has(i)) types.push_back(context.in(i).dtype);
  }
  const TypedFunction function = FindTypedFunction(context.node, types, context.out(0).dtype);
  if (function == nullptr) return context.Unsupported(NotFound(context.node, types));
  return KernelPtr(std::make_unique<TypedKernel>(context, function));
}

}  // namespace deltacnn
