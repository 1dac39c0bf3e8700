// Scaled dot product attention of ONNX, as far as it keeps nothing from one run to the next.
#pragma once

#include <optional>

#include "graph/graph.h"

namespace deltacnn {

/// Sizes of Q [batch, query_heads, queries, depth], K [batch, key_heads, keys, depth] and
/// V [batch, key_heads, keys, width]. With `merged`, the heads lie within the last axis:
/// [batch, queries, query_heads * depth], and so on.
struct AttentionSizes {
  bool merged = false;
  int64_t batch = 0, query_heads = 0, key_heads = 0, queries = 0, keys = 0, depth = 0, width = 0;

  Shape Output() const;
};

/// nullopt if the shapes do not belong together.
std::optional<AttentionSizes> ReadAttention(const Node& node, const Shape& q, const Shape& k,
                                            const Shape& v);

}  // namespace deltacnn
