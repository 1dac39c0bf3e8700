// Sums of products become sums of operands and products of matrices between moves, which for pixels
// are views.
#include <map>
#include <memory>
#include <utility>

#include "core/evaluate.h"
#include "graph/expansion.h"
#include "graph/lower.h"
#include "ops/einsum.h"

namespace deltacnn {
namespace {

class EinsumLowering {
 public:
  EinsumLowering(Graph& graph, const Node& node, std::vector<Node>& nodes)
      : graph_(graph), node_(node), nodes_(nodes), parts_(graph, node, nodes) {}

  void Run() {
    std::vector<size_t> ranks;
    for (const ValueId id : node_.inputs) ranks.push_back(At(graph_, id).shape->size());
    const auto [terms, out] = *ReadEinsum(node_, ranks);
    for (size_t i = 0; i < terms.size(); ++i)
      for (size_t d = 0; d < ranks[i]; ++d)
        size_[terms[i][d]] = (*At(graph_, node_.inputs[i]).shape)[d];
    std::string a = terms[0];
    std::string b = terms.size() > 1 ? terms[1] : "";
    const ValueId left = Sum(".left_sum", node_.inputs[0], a, b + out);
    if (terms.size() == 1) {
      parts_.Finish("Identity", {Transpose(".ordered", left, a, out)});
      return;
    }
    const ValueId right = Sum(".right_sum", node_.inputs[1], b, a + out);
    Multiply(left, a, right, b, out);
  }

 private:
  /// The product of two operands; what is in one of them only is in the result.
  void Multiply(ValueId left, std::string a, ValueId right, std::string b, const std::string& out) {
    if (graph_.Constant(left) != nullptr) {  // the rows of the other one may be pixels
      std::swap(left, right);
      std::swap(a, b);
    }
    const auto in = [](char c, const std::string& term) { return term.find(c) != term.npos; };
    std::string batch, rows, summed, columns;
    for (const char c : a) (!in(c, b) ? rows : in(c, out) ? batch : summed) += c;
    for (const char c : b)
      if (!in(c, a)) columns += c;

    const int64_t depth = ElementCount(Sizes(summed));
    const int64_t width = ElementCount(Sizes(columns));
    // Without a batch the rows keep their axes.
    Shape product = Sizes(batch.empty() ? rows : batch);
    if (!batch.empty()) product.push_back(ElementCount(Sizes(rows)));
    product.push_back(depth);
    left = Reshape(".rows", Transpose(".left", left, a, batch + rows + summed), product);
    Shape matrix = Sizes(batch);
    matrix.insert(matrix.end(), {depth, width});
    right = Reshape(".columns", Transpose(".right", right, b, batch + summed + columns), matrix);
    product.back() = width;
    ValueId result = parts_.Add(".product", "MatMul", {left, right}, product);
    const std::string order = batch + rows + columns;
    result = Reshape(".split", result, Sizes(order));
    parts_.Finish("Identity", {Transpose(".ordered", result, order, out)});
  }

  Shape Sizes(const std::string& letters) const {
    Shape shape;
    for (const char c : letters) shape.push_back(size_.at(c));
    return shape;
  }

  /// Sums over the letters of `term` that are not in `others`.
  ValueId Sum(const std::string& suffix, ValueId id, std::string& term, const std::string& others) {
    std::vector<int64_t> axes;
    std::string kept;
    for (size_t d = 0; d < term.size(); ++d) {
      if (others.find(term[d]) == others.npos) {
        axes.push_back(static_cast<int64_t>(d));
      } else {
        kept += term[d];
      }
    }
    term = kept;
    if (axes.empty()) return id;
    return Part(suffix, "ReduceSum", id, Sizes(kept), {{"axes", axes}, {"keepdims", int64_t{0}}});
  }

  ValueId Transpose(const std::string& suffix, ValueId id, const std::string& from,
                    const std::string& to) {
    if (from == to) return id;
    std::vector<int64_t> perm;
    for (const char c : to) perm.push_back(static_cast<int64_t>(from.find(c)));
    return Part(suffix, "Transpose", id, Sizes(to), {{"perm", perm}});
  }

  ValueId Reshape(const std::string& suffix, ValueId id, const Shape& shape) {
    if (*At(graph_, id).shape == shape) return id;
    return Part(suffix, "Reshape", id, shape, {{"shape", shape}});
  }

  /// What becomes of a constant is one, too.
  ValueId Part(const std::string& suffix, const std::string& op, ValueId id, const Shape& shape,
               Attributes attributes) {
    const ValueId part = parts_.Add(suffix, op, {id}, shape, std::move(attributes));
    const TensorPtr constant = graph_.Constant(id);
    if (constant == nullptr) return part;
    constexpr uint64_t kMostBytes = uint64_t{1} << 31;
    auto folded = Evaluate(nodes_.back(), {&constant, 1}, graph_.opset, kMostBytes);
    if (folded.ok()) {
      graph_.values[static_cast<size_t>(part)].constant =
          std::make_shared<const Tensor>(std::move(folded.value()[0]));
    }
    return part;
  }

  Graph& graph_;
  const Node& node_;
  std::vector<Node>& nodes_;
  Expansion parts_;
  std::map<char, int64_t> size_;
};

}  // namespace

void LowerEinsums(Graph& graph) {
  ExpandNodes(graph, "Einsum", [&](const Node& node, std::vector<Node>& nodes) {
    EinsumLowering(graph, node, nodes).Run();
  });
  RemoveDeadNodes(graph);
}

}  // namespace deltacnn
