// Reshapes and transposes in a row, as of pictures cut into windows and put together again
// (MobileViT, Swin), move every element once: a reshape that splits axes, one transpose, and a
// reshape that joins axes.
#include <algorithm>
#include <iterator>
#include <list>
#include <map>
#include <utility>

#include "graph/expansion.h"
#include "graph/lower.h"

namespace deltacnn {
namespace {

/// A factor of an axis of the first value.
struct Factor {
  size_t axis;
  int64_t size;
};
using Factors = std::list<Factor>;
using FactorRef = Factors::iterator;

/// Follows the factors of a value's axes through moves.
class Rearrangement {
 public:
  explicit Rearrangement(const Shape& shape) {
    for (size_t a = 0; a < shape.size(); ++a) {
      dims_.emplace_back();
      if (shape[a] != 1) dims_.back().push_back(factors_.insert(factors_.end(), {a, shape[a]}));
    }
  }

  void Transpose(const std::vector<int64_t>& perm) {
    std::vector<std::vector<FactorRef>> moved;
    for (size_t d = 0; d < dims_.size(); ++d) {
      const int64_t axis = perm.empty() ? static_cast<int64_t>(dims_.size() - 1 - d) : perm[d];
      moved.push_back(std::move(dims_[FromFront(axis, dims_.size())]));
    }
    dims_ = std::move(moved);
  }

  /// False if a dimension of `shape` is no product of factors.
  bool Reshape(const Shape& shape) {
    std::list<FactorRef> left;
    for (const auto& dim : dims_) left.insert(left.end(), dim.begin(), dim.end());
    dims_.assign(shape.size(), {});
    for (size_t d = 0; d < shape.size(); ++d) {
      int64_t rest = shape[d];
      while (rest != 1) {
        if (left.empty()) return false;
        const FactorRef factor = left.front();
        if (rest % factor->size == 0) {
          rest /= factor->size;
          dims_[d].push_back(factor);
          left.pop_front();
        } else if (factor->size % rest == 0) {
          const FactorRef outer = factors_.insert(factor, {factor->axis, rest});
          factor->size /= rest;
          dims_[d].push_back(outer);
          rest = 1;
        } else {
          return false;
        }
      }
    }
    return left.empty();
  }

  /// The first value with an axis for every factor, and how they follow one another in the end.
  /// Factors of one axis that stay side by side are one.
  void Finish(Shape& split, std::vector<int64_t>& perm) {
    std::vector<FactorRef> order;
    for (const auto& dim : dims_) order.insert(order.end(), dim.begin(), dim.end());
    for (size_t i = order.size(); i-- > 1;) {
      const FactorRef outer = order[i - 1];
      const FactorRef inner = order[i];
      if (std::next(outer) != inner || outer->axis != inner->axis) continue;
      inner->size *= outer->size;
      factors_.erase(outer);
      order.erase(order.begin() + static_cast<ptrdiff_t>(i) - 1);
    }
    for (const Factor& factor : factors_) split.push_back(factor.size);
    for (const FactorRef factor : order) perm.push_back(std::distance(factors_.begin(), factor));
  }

 private:
  Factors factors_;                           // in the first value's order, without ones
  std::vector<std::vector<FactorRef>> dims_;  // of the current value
};

/// The moves that end with node `last`, each the only reader of the one before; in order.
std::vector<int> MovesUpTo(const Graph& graph, int last, const std::vector<int>& producer,
                           const std::vector<int>& uses) {
  std::vector<int> moves = {last};
  while (true) {
    const ValueId in = graph.nodes[static_cast<size_t>(moves.back())].inputs[0];
    const int before = producer[static_cast<size_t>(in)];
    if (before < 0 || uses[static_cast<size_t>(in)] != 1 ||
        !Rearranges(graph.nodes[static_cast<size_t>(before)]))
      break;
    moves.push_back(before);
  }
  std::ranges::reverse(moves);
  return moves;
}

}  // namespace

void ComposeMoves(Graph& graph) {
  const std::vector<int> producer = Producers(graph);
  const std::vector<int> uses = CountUses(graph);
  std::vector<bool> composed(graph.nodes.size(), false);
  std::map<size_t, std::vector<Node>> in_place_of;  // by the last of the moves
  for (size_t n = graph.nodes.size(); n-- > 0;) {
    if (composed[n] || !Rearranges(graph.nodes[n])) continue;
    const std::vector<int> moves = MovesUpTo(graph, static_cast<int>(n), producer, uses);
    const auto node = [&](int move) -> const Node& {
      return graph.nodes[static_cast<size_t>(move)];
    };
    // One transpose alone moves everything once already.
    if (std::ranges::count_if(moves, [&](int move) { return node(move).op == "Transpose"; }) < 2)
      continue;
    const ValueId source = node(moves.front()).inputs[0];
    if (graph.Constant(source) != nullptr || ElementCount(*At(graph, source).shape) == 0) continue;
    Rearrangement rearrangement(*At(graph, source).shape);
    const bool follows = std::ranges::all_of(moves, [&](int move) {
      if (node(move).op == "Transpose") {
        rearrangement.Transpose(node(move).Ints("perm"));
        return true;
      }
      return rearrangement.Reshape(*At(graph, node(move).outputs[0]).shape);
    });
    if (!follows) continue;
    Shape split, turned;
    std::vector<int64_t> perm;
    rearrangement.Finish(split, perm);
    for (const int64_t axis : perm) turned.push_back(split[static_cast<size_t>(axis)]);
    const Node last = graph.nodes[n];
    Expansion parts(graph, last, in_place_of[n]);
    const ValueId apart = parts.Add(".split", "Reshape", {source}, split);
    const ValueId moved = parts.Add(".moved", "Transpose", {apart}, turned, {{"perm", perm}});
    parts.Finish("Reshape", {moved});
    for (const int move : moves) composed[static_cast<size_t>(move)] = true;
  }
  std::vector<Node> nodes;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (!composed[n]) nodes.push_back(std::move(graph.nodes[n]));
    if (const auto found = in_place_of.find(n); found != in_place_of.end())
      std::ranges::move(found->second, std::back_inserter(nodes));
  }
  graph.nodes = std::move(nodes);
}

}  // namespace deltacnn
