// Attention becomes two products of matrices and a softmax. Heads of queries that share one of
// keys lie one behind the other, and are one product.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "graph/expansion.h"
#include "graph/lower.h"
#include "ops/attention.h"

namespace deltacnn {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

class AttentionLowering {
 public:
  AttentionLowering(Graph& graph, const Node& node, std::vector<Node>& nodes)
      : graph_(graph),
        node_(node),
        parts_(graph, node, nodes),
        sizes_(*ReadAttention(node, ShapeOf(0), ShapeOf(1), ShapeOf(2))) {}

  void Run() {
    const auto& [merged, batch, heads, key_heads, queries, keys, depth, width] = sizes_;
    const int64_t shared = heads / key_heads * queries;
    const Shape all_scores = {batch, heads, queries, keys};
    ValueId q = Heads(".q", 0, heads, queries, depth);
    q = parts_.Add(".scaled", "Mul", {q, Scale()}, {batch, heads, queries, depth});
    q = Reshape(".queries", q, {batch, key_heads, shared, depth});
    // Of keys, what is a row of pixels becomes a column.
    const ValueId k =
        merged ? Transposed(".k",
                            Reshape(".k_heads", node_.inputs[1], {batch, keys, key_heads, depth}),
                            {batch, key_heads, depth, keys}, {0, 2, 3, 1})
               : Transposed(".k", node_.inputs[1], {batch, key_heads, depth, keys}, {0, 1, 3, 2});
    ValueId scores = parts_.Add(".products", "MatMul", {q, k}, {batch, key_heads, shared, keys});
    scores = Reshape(".scores", scores, all_scores);
    if (const float cap = node_.Float("softcap", 0); cap != 0) {
      scores = parts_.Add(".in_caps", "Div", {scores, Number(".cap", cap)}, all_scores);
      scores = parts_.Add(".bounded", "Tanh", {scores}, all_scores);
      scores = parts_.Add(".capped", "Mul", {scores, Number(".cap", cap)}, all_scores);
    }
    if (node_.Input(3) != kNoValue)
      scores = parts_.Add(".masked", "Add", {scores, Mask()}, all_scores);
    if (LimitsPositions())
      scores = parts_.Add(".in_reach", "Add", {scores, PositionMask()}, all_scores);
    ValueId weights =
        parts_.Add(".softmax", "Softmax", {scores}, all_scores, {{"axis", int64_t{-1}}});
    if (MayHideAll()) {  // the softmax of nothing is no number
      const ValueId none = AddLike(graph_, weights, ".none", all_scores);
      graph_.values[static_cast<size_t>(none)].dtype = DType::kBool;
      parts_.Append(".none", "IsNaN", {weights}, {none});
      weights = parts_.Add(".weights", "Where", {none, Number(".nothing", 0), weights}, all_scores);
    }
    weights = Reshape(".shared", weights, {batch, key_heads, shared, keys});
    const ValueId v = Heads(".v", 2, key_heads, keys, width);
    ValueId sums = parts_.Add(".sums", "MatMul", {weights, v}, {batch, key_heads, shared, width});
    sums = Reshape(".heads", sums, {batch, heads, queries, width});
    if (merged) sums = Transposed(".merged", sums, {batch, queries, heads, width}, {0, 2, 1, 3});
    const Shape out = sizes_.Output();
    parts_.Finish("Reshape", {sums}, {{"shape", out}});
  }

 private:
  const Shape& ShapeOf(size_t input) const { return *At(graph_, node_.inputs[input]).shape; }

  /// An input as [batch, heads, rows, columns].
  ValueId Heads(const std::string& suffix, size_t input, int64_t heads, int64_t rows,
                int64_t columns) {
    const ValueId id = node_.inputs[input];
    if (!sizes_.merged) return id;
    const ValueId split = Reshape(suffix + "_heads", id, {sizes_.batch, rows, heads, columns});
    return Transposed(suffix, split, {sizes_.batch, heads, rows, columns}, {0, 2, 1, 3});
  }

  ValueId Reshape(const std::string& suffix, ValueId id, const Shape& shape) {
    if (*At(graph_, id).shape == shape) return id;
    return parts_.Add(suffix, "Reshape", {id}, shape, {{"shape", shape}});
  }

  ValueId Transposed(const std::string& suffix, ValueId id, const Shape& shape,
                     std::vector<int64_t> perm) {
    return parts_.Add(suffix, "Transpose", {id}, shape, {{"perm", std::move(perm)}});
  }

  ValueId Number(const std::string& suffix, float number) {
    return AddConstant(graph_, node_.name + suffix, {number}, {});
  }

  ValueId Scale() {
    const auto usual = static_cast<float>(1 / std::sqrt(static_cast<double>(sizes_.depth)));
    return Number(".scale", node_.Float("scale", usual));
  }

  /// What is added to the scores.
  ValueId Mask() {
    const ValueId mask = node_.inputs[3];
    if (At(graph_, mask).dtype == DType::kFloat32) return mask;
    const Shape shape = *At(graph_, mask).shape;
    return parts_.Add(".mask", "Where", {mask, Number(".zero", 0), Number(".never", kNever)},
                      shape);
  }

  int64_t Left() const { return node_.Int("left_window_size", -1); }
  /// How far a query sees the keys behind its own position; negative: all of them.
  int64_t Right() const {
    return node_.Int("is_causal", 0) != 0 ? 0 : node_.Int("right_window_size", -1);
  }
  bool LimitsPositions() const { return Left() >= 0 || Right() >= 0; }

  ValueId PositionMask() {
    std::vector<float> mask;
    for (int64_t query = 0; query < sizes_.queries; ++query) {
      for (int64_t key = 0; key < sizes_.keys; ++key) {
        const bool seen =
            (Left() < 0 || key >= query - Left()) && (Right() < 0 || key - query <= Right());
        mask.push_back(seen ? 0 : kNever);
      }
    }
    return AddConstant(graph_, node_.name + ".position_mask", mask, {sizes_.queries, sizes_.keys});
  }

  /// Whether there may be a query that sees no key.
  bool MayHideAll() const {
    if (Left() >= 0 && sizes_.queries > sizes_.keys) return true;
    if (node_.Input(3) == kNoValue) return false;
    const Tensor* mask = ConstantFloats(graph_, node_.inputs[3]);
    if (mask == nullptr) return true;
    const auto numbers = mask->as<float>();
    return std::ranges::find(numbers, kNever) != numbers.end();
  }

  Graph& graph_;
  const Node& node_;
  Expansion parts_;
  AttentionSizes sizes_;
};

}  // namespace

void LowerAttention(Graph& graph) {
  ExpandNodes(graph, "Attention", [&](const Node& node, std::vector<Node>& nodes) {
    AttentionLowering(graph, node, nodes).Run();
  });
}

}  // namespace deltacnn
