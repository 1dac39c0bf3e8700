// Shapes of the operators that only move elements, and of Split and Concat.
#include <algorithm>
#include <numeric>

#include "ops/broadcast.h"
#include "ops/move.h"
#include "ops/op.h"

namespace deltacnn {
namespace {

// Keeps sums and products of hostile attributes inside 64 bits.
constexpr int64_t kLargest = int64_t{1} << 40;

/// Integers that old opsets give as an attribute and new ones as an input; empty if absent.
Result<std::vector<int64_t>> Ints(InferContext& context, const char* attribute, size_t input) {
  if (context.Has(input)) return context.ConstantInts(input);
  return context.node.Ints(attribute);
}

/// The same, as axes counted from the front, each at most once.
Result<std::vector<int64_t>> Axes(InferContext& context, std::vector<int64_t> axes, size_t rank) {
  std::vector<bool> seen(rank, false);
  for (int64_t& axis : axes) {
    auto normal = context.NormalisedAxis(axis, rank);
    if (!normal.ok()) return normal.error();
    if (seen[*normal]) return context.Invalid("axis " + std::to_string(axis) + " is listed twice");
    seen[*normal] = true;
    axis = static_cast<int64_t>(*normal);
  }
  return axes;
}

Result<Shape> ReshapedShape(InferContext& context) {
  auto target = Ints(context, "shape", 1);
  if (!target.ok()) return target.error();
  const Shape& in = context.shape(0);
  Shape out = *target;
  int64_t known = 1;
  int unknown = -1;
  for (size_t d = 0; d < out.size(); ++d) {
    if (out[d] == 0 && context.node.Int("allowzero", 0) == 0) {
      if (d >= in.size())
        return context.Invalid("dimension 0 copies an input dimension that is not there");
      out[d] = in[d];
    }
    if (out[d] == -1 && unknown < 0) {
      unknown = static_cast<int>(d);
    } else if (out[d] < 0 || __builtin_mul_overflow(known, out[d], &known)) {
      return context.Invalid("impossible target shape " + ToString(*target));
    }
  }
  const int64_t count = ElementCount(in);
  if (unknown >= 0) {
    if (known == 0 || count % known != 0)
      return context.Invalid("cannot reshape " + ToString(in) + " to " + ToString(*target));
    out[static_cast<size_t>(unknown)] = count / known;
  }
  if (ElementCount(out) != count)
    return context.Invalid("cannot reshape " + ToString(in) + " to " + ToString(*target));
  return out;
}

Result<Shape> SlicedShape(InferContext& context) {
  auto starts = Ints(context, "starts", 1);
  if (!starts.ok()) return starts.error();
  auto ends = Ints(context, "ends", 2);
  if (!ends.ok()) return ends.error();
  auto axes = Ints(context, "axes", 3);
  if (!axes.ok()) return axes.error();
  auto steps = Ints(context, "steps", 4);
  if (!steps.ok()) return steps.error();
  Shape out = context.shape(0);
  if (axes->empty()) {
    axes->resize(starts->size());
    std::iota(axes->begin(), axes->end(), 0);
  }
  if (starts->size() != axes->size() || ends->size() != axes->size() ||
      (!steps->empty() && steps->size() != axes->size())) {
    return context.Invalid("starts, ends, axes and steps differ in length");
  }
  auto normal = Axes(context, *axes, out.size());
  if (!normal.ok()) return normal.error();
  for (size_t k = 0; k < normal->size(); ++k) {
    int64_t& dim = out[static_cast<size_t>((*normal)[k])];
    const int64_t step = steps->empty() ? 1 : (*steps)[k];
    if (step == 0 || step < -kLargest || step > kLargest)
      return context.Invalid("step " + std::to_string(step) + " is out of range");
    const int64_t first = SliceStart((*starts)[k], step, dim);
    // An end of "minus infinity" means past the first element in a reversed slice.
    const int64_t end = (*ends)[k] < 0 ? (*ends)[k] + dim : (*ends)[k];
    const int64_t last = std::clamp<int64_t>(end, step > 0 ? 0 : -1, dim);
    const int64_t length = step > 0 ? last - first : first - last;
    const int64_t stride = step > 0 ? step : -step;
    dim = length <= 0 ? 0 : (length + stride - 1) / stride;
  }
  return out;
}

Result<Shape> PaddedShape(InferContext& context) {
  const std::string mode = context.node.String("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge" && mode != "wrap")
    return context.Unsupported("mode '" + mode + "' (supported: constant, reflect, edge, wrap)");
  auto pads = Ints(context, "pads", 1);
  if (!pads.ok()) return pads.error();
  auto axes = Ints(context, "axes", 3);
  if (!axes.ok()) return axes.error();
  if (context.Has(2) && context.constant(2) == nullptr)
    return context.DataDependent("the fill value is not a constant");
  if (context.Has(2) &&
      (context.constant(2)->elements() != 1 || context.dtype(2) != context.dtype(0)))
    return context.Invalid("the fill value is not one element of the input's type");
  Shape out = context.shape(0);
  if (axes->empty()) {
    axes->resize(out.size());
    std::iota(axes->begin(), axes->end(), 0);
  }
  auto normal = Axes(context, *axes, out.size());
  if (!normal.ok()) return normal.error();
  if (pads->size() != 2 * normal->size())
    return context.Invalid("pads has " + std::to_string(pads->size()) +
                           " entries, not two per axis");
  for (size_t k = 0; k < normal->size(); ++k) {
    const int64_t before = (*pads)[k];
    const int64_t after = (*pads)[k + normal->size()];
    int64_t& dim = out[static_cast<size_t>((*normal)[k])];
    const auto absurd = [](int64_t pad) { return pad < -kLargest || pad > kLargest; };
    if (absurd(before) || absurd(after) || dim + before + after < 0)
      return context.Invalid("pads are out of range");
    if (mode != "constant" && dim == 0 && before + after > 0)
      return context.Invalid("cannot extend an empty axis by " + mode);
    if (mode == "reflect" &&
        (before >= std::max<int64_t>(dim, 1) + (dim == 1) ||
         after >= std::max<int64_t>(dim, 1) + (dim == 1)) &&
        dim > 1) {
      return context.Invalid("reflection is wider than the input");
    }
    dim += before + after;
  }
  return out;
}

Result<Shape> SqueezedShape(InferContext& context) {
  auto listed = Ints(context, "axes", 1);
  if (!listed.ok()) return listed.error();
  const Shape& in = context.shape(0);
  auto axes = Axes(context, *listed, in.size());
  if (!axes.ok()) return axes.error();
  const bool all = axes->empty();
  Shape out;
  for (size_t d = 0; d < in.size(); ++d) {
    const bool named = std::ranges::find(*axes, static_cast<int64_t>(d)) != axes->end();
    if (named && in[d] != 1)
      return context.Invalid("axis " + std::to_string(d) + " has " + std::to_string(in[d]) +
                             " elements, not 1");
    if (!named && !(all && in[d] == 1)) out.push_back(in[d]);
  }
  return out;
}

Result<Shape> UnsqueezedShape(InferContext& context) {
  auto listed = Ints(context, "axes", 1);
  if (!listed.ok()) return listed.error();
  const Shape& in = context.shape(0);
  auto axes = Axes(context, *listed, in.size() + listed->size());
  if (!axes.ok()) return axes.error();
  Shape out(in.size() + axes->size(), 0);
  for (const int64_t axis : *axes) out[static_cast<size_t>(axis)] = 1;
  size_t next = 0;
  for (int64_t& dim : out)
    if (dim == 0) dim = in[next++];
  return out;
}

Result<Shape> BlockShape(InferContext& context) {
  const int64_t block = context.node.Int("blocksize", 0);
  const std::string mode = context.node.String("mode", "DCR");
  const Shape& in = context.shape(0);
  if (in.size() != 4)
    return context.Invalid("the input has rank " + std::to_string(in.size()) + ", not 4");
  if (block < 1 || block > 65536) return context.Invalid("blocksize is out of range");
  if (mode != "DCR" && mode != "CRD")
    return context.Invalid("mode '" + mode + "' (allowed: DCR, CRD)");
  if (context.node.op == "DepthToSpace") {
    if (in[1] % (block * block) != 0)
      return context.Invalid("channels are not a multiple of blocksize^2");
    return Shape{in[0], in[1] / (block * block), in[2] * block, in[3] * block};
  }
  if (in[2] % block != 0 || in[3] % block != 0)
    return context.Invalid("height and width are not multiples of blocksize");
  return Shape{in[0], in[1] * block * block, in[2] / block, in[3] / block};
}

Result<Shape> MovedShape(InferContext& context) {
  const std::string& op = context.node.op;
  const Shape& in = context.shape(0);
  if (op == "Reshape") return ReshapedShape(context);
  if (op == "Slice") return SlicedShape(context);
  if (op == "Pad") return PaddedShape(context);
  if (op == "Squeeze") return SqueezedShape(context);
  if (op == "Unsqueeze") return UnsqueezedShape(context);
  if (op == "DepthToSpace" || op == "SpaceToDepth") return BlockShape(context);
  if (op == "Flatten") {
    const int64_t axis = context.node.Int("axis", 1);
    const auto rank = static_cast<int64_t>(in.size());
    if (axis < -rank || axis > rank)
      return context.Invalid("axis " + std::to_string(axis) + " is out of range");
    const size_t split = FromFront(axis, in.size());
    return Shape{ElementCount(std::span(in).first(split)),
                 ElementCount(std::span(in).subspan(split))};
  }
  if (op == "Transpose") {
    std::vector<int64_t> perm = context.node.Ints("perm");
    if (perm.empty()) {
      perm.resize(in.size());
      std::iota(perm.rbegin(), perm.rend(), 0);
    }
    auto axes = Axes(context, perm, in.size());
    if (!axes.ok()) return axes.error();
    if (perm.size() != in.size() || *axes != perm)
      return context.Invalid("perm is not a permutation");
    Shape out;
    for (const int64_t axis : *axes) out.push_back(in[static_cast<size_t>(axis)]);
    return out;
  }
  if (op == "Expand") {
    auto target = context.ConstantInts(1);
    if (!target.ok()) return target.error();
    const auto shape = BroadcastShapes(in, *target);
    if (!shape || ElementCount(*shape) < 0)
      return context.Invalid("cannot expand " + ToString(in) + " to " + ToString(*target));
    return *shape;
  }
  if (op == "Tile") {
    auto repeats = context.ConstantInts(1);
    if (!repeats.ok()) return repeats.error();
    if (repeats->size() != in.size())
      return context.Invalid("repeats does not have one entry per axis");
    Shape out = in;
    for (size_t d = 0; d < in.size(); ++d) {
      if ((*repeats)[d] < 0 || __builtin_mul_overflow(out[d], (*repeats)[d], &out[d]))
        return context.Invalid("repeats are out of range");
    }
    return out;
  }
  return in;  // Identity, Dropout
}

}  // namespace

Status InferMove(InferContext& context) {
  if (context.node.inputs.empty() || !context.Has(0))
    return context.Invalid("its input is missing");
  if (context.node.op == "Dropout") {
    if (context.Has(2)) {
      const Tensor* training = context.constant(2);
      if (training == nullptr || training->bytes.empty() || training->bytes[0] != std::byte{0})
        return context.Unsupported(
            "training mode is not supported; export the model for inference");
    }
  }
  auto shape = MovedShape(context);
  if (!shape.ok()) return shape.error();
  if (ElementCount(*shape) < 0) return context.Invalid("its output would be too large");
  if (context.node.op == "Dropout" && context.node.outputs.size() > 1) {
    Tensor mask(DType::kBool, *shape);  // nothing is dropped
    std::ranges::fill(mask.as<bool>(), true);
    context.SetConstant(1, std::move(mask));
  }
  context.SetOutput(0, context.dtype(0), std::move(*shape));
  return {};
}

Status InferSplit(InferContext& context) {
  if (!context.Has(0)) return context.Invalid("its input is missing");
  const Shape& in = context.shape(0);
  auto axis = context.NormalisedAxis(context.node.Int("axis", 0), in.size());
  if (!axis.ok()) return axis.error();
  auto sizes = Ints(context, "split", 1);
  if (!sizes.ok()) return sizes.error();
  const auto parts = static_cast<int64_t>(context.node.outputs.size());
  if (parts == 0 || std::ranges::find(context.node.outputs, kNoValue) != context.node.outputs.end())
    return context.Invalid("an output is missing");
  if (sizes->empty()) {
    // Equal parts; since opset 18 the last one may be smaller.
    const int64_t part = (in[*axis] + parts - 1) / parts;
    for (int64_t p = 0; p < parts; ++p)
      sizes->push_back(std::clamp<int64_t>(in[*axis] - p * part, 0, part));
  }
  const bool valid =
      static_cast<int64_t>(sizes->size()) == parts &&
      std::ranges::all_of(*sizes, [&](int64_t s) { return s >= 0 && s <= in[*axis]; }) &&
      std::accumulate(sizes->begin(), sizes->end(), int64_t{0}) == in[*axis];
  if (!valid) return context.Invalid("split sizes do not add up to the axis");
  for (size_t o = 0; o < sizes->size(); ++o) {
    Shape out = in;
    out[*axis] = (*sizes)[o];
    context.SetOutput(o, context.dtype(0), std::move(out));
  }
  return {};
}

Status InferConcat(InferContext& context) {
  if (context.node.inputs.empty()) return context.Invalid("it has no inputs");
  Shape out;
  size_t axis = 0;
  for (size_t i = 0; i < context.node.inputs.size(); ++i) {
    if (!context.Has(i)) return context.Invalid("input " + std::to_string(i) + " is missing");
    const Shape& in = context.shape(i);
    if (i == 0) {
      out = in;
      auto normal = context.NormalisedAxis(context.node.Int("axis", 1), in.size());
      if (!normal.ok()) return normal.error();
      axis = *normal;
      continue;
    }
    bool fits = in.size() == out.size() && context.dtype(i) == context.dtype(0);
    for (size_t d = 0; fits && d < in.size(); ++d) fits = d == axis || in[d] == out[d];
    if (!fits || __builtin_add_overflow(out[axis], in[axis], &out[axis])) {
      return context.Invalid("input " + std::to_string(i) + " of shape " + ToString(in) +
                             " does not fit the first of shape " + ToString(context.shape(0)));
    }
  }
  context.SetOutput(0, context.dtype(0), std::move(out));
  return {};
}

}  // namespace deltacnn
