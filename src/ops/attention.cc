#include "ops/attention.h"

#include <array>
#include <utility>

#include "ops/broadcast.h"
#include "ops/checks.h"
#include "ops/op.h"

namespace deltacnn {

Shape AttentionSizes::Output() const {
  if (merged) return {batch, queries, query_heads * width};
  return {batch, query_heads, queries, width};
}

std::optional<AttentionSizes> ReadAttention(const Node& node, const Shape& q, const Shape& k,
                                            const Shape& v) {
  AttentionSizes sizes;
  sizes.merged = q.size() == 3;
  if ((q.size() != 3 && q.size() != 4) || k.size() != q.size() || v.size() != q.size()) return {};
  if (ElementCount(q) == 0 || ElementCount(k) == 0 || ElementCount(v) == 0) return {};
  const size_t row = q.size() - 2;
  sizes.batch = q[0];
  sizes.query_heads = sizes.merged ? node.Int("q_num_heads", 0) : q[1];
  sizes.key_heads = sizes.merged ? node.Int("kv_num_heads", 0) : k[1];
  if (sizes.query_heads <= 0 || sizes.key_heads <= 0) return {};
  sizes.queries = q[row];
  sizes.keys = k[row];
  const int64_t q_heads = sizes.merged ? sizes.query_heads : 1;  // within the last axis
  const int64_t k_heads = sizes.merged ? sizes.key_heads : 1;
  sizes.depth = q.back() / q_heads;
  sizes.width = v.back() / k_heads;
  const bool fits = k[0] == q[0] && v[0] == q[0] && v[row] == k[row] && v[1] == k[1] &&
                    sizes.query_heads % sizes.key_heads == 0 && q.back() % q_heads == 0 &&
                    v.back() % k_heads == 0 && k.back() == sizes.depth * k_heads;
  return fits ? std::optional(sizes) : std::nullopt;
}

Status InferAttention(InferContext& context) {
  const Node& node = context.node;
  DELTACNN_RETURN_IF_ERROR(CheckFloats(context, 3, 3));
  constexpr std::array<std::pair<size_t, const char*>, 3> kStates = {
      {{4, "keys"}, {5, "values"}, {6, "numbers of keys"}}};
  for (const auto& [input, what] : kStates) {
    if (context.Has(input))
      return context.Unsupported(std::string("an input of ") + what + " from before");
  }
  for (size_t o = 1; o < node.outputs.size(); ++o) {
    if (node.outputs[o] != kNoValue) return context.Unsupported("a second output");
  }
  const auto sizes = ReadAttention(node, context.shape(0), context.shape(1), context.shape(2));
  if (!sizes) {
    return context.Invalid("Q " + ToString(context.shape(0)) + ", K " + ToString(context.shape(1)) +
                           " and V " + ToString(context.shape(2)) + " do not belong together");
  }
  if (context.Has(3)) {
    const DType dtype = context.dtype(3);
    if (dtype != DType::kFloat32 && dtype != DType::kBool)
      return context.Unsupported(std::string("a mask of ") + NameOf(dtype));
    const Shape scores = {sizes->batch, sizes->query_heads, sizes->queries, sizes->keys};
    const Shape& mask = context.shape(3);
    if (!BroadcastsTo(mask, scores))
      return context.Unsupported("a mask " + ToString(mask) + " for scores " + ToString(scores));
  }
  // What positions see is written out (graph/lower_attention.cc).
  DELTACNN_RETURN_IF_ERROR(context.CheckConstant({sizes->queries, sizes->keys}, DType::kFloat32));
  context.SetOutput(0, DType::kFloat32, sizes->Output());
  return {};
}

void LayoutAttention(LayoutContext&) {}

Result<KernelPtr> MakeAttention(const MakeContext& context) { return NeverPlanned(context); }

}  // namespace deltacnn
