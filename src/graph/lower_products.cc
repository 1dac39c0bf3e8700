// Products with constant weights along the last axis become Linear, which is a convolution of
// single pixels and takes a chain as those do.
#include <algorithm>
#include <optional>
#include <vector>

#include "graph/lower.h"

namespace deltacnn {
namespace {

/// What a product multiplies its input with.
struct Weights {
  std::vector<float> matrix;  // [outputs, inputs]
  std::vector<float> bias;    // empty if there is none
  int64_t outputs = 0;
  int64_t inputs = 0;
};

/// `transposed`: b is [outputs, inputs] already.
Weights ReadMatrix(const Tensor& b, bool transposed, float scale) {
  const int64_t rows = b.shape[b.shape.size() - 2];
  const int64_t cols = b.shape.back();
  Weights weights;
  weights.outputs = transposed ? rows : cols;
  weights.inputs = transposed ? cols : rows;
  const auto elements = b.as<float>();
  weights.matrix.reserve(elements.size());
  for (int64_t o = 0; o < weights.outputs; ++o) {
    for (int64_t i = 0; i < weights.inputs; ++i) {
      const int64_t at = transposed ? o * cols + i : i * cols + o;
      weights.matrix.push_back(scale * elements[static_cast<size_t>(at)]);
    }
  }
  return weights;
}

std::optional<Weights> ReadMatMul(const Graph& graph, const Node& node) {
  const Tensor* b = ConstantFloats(graph, node.Input(1));
  if (b == nullptr || b->shape.size() < 2) return std::nullopt;
  // One matrix, not a stack of several, and no axes that the input lacks.
  const bool single =
      std::all_of(b->shape.begin(), b->shape.end() - 2, [](int64_t dim) { return dim == 1; });
  if (!single || b->shape.size() > At(graph, node.inputs[0]).shape->size()) return std::nullopt;
  return ReadMatrix(*b, false, 1);
}

std::optional<Weights> ReadGemm(const Graph& graph, const Node& node) {
  const Tensor* b = ConstantFloats(graph, node.Input(1));
  if (b == nullptr || node.Int("transA", 0) != 0) return std::nullopt;
  Weights weights = ReadMatrix(*b, node.Int("transB", 0) != 0, node.Float("alpha", 1));
  if (node.Input(2) == kNoValue) return weights;
  const Tensor* c = ConstantFloats(graph, node.inputs[2]);
  // One number, or one an output: [1, outputs] or [outputs].
  const int64_t count = c != nullptr ? c->elements() : 0;
  const bool each = count > 1 && count == weights.outputs && c->shape.back() == count;
  if (count != 1 && !each) return std::nullopt;
  const float beta = node.Float("beta", 1);
  const auto elements = c->as<float>();
  weights.bias.assign(elements.begin(), elements.end());
  weights.bias.resize(static_cast<size_t>(weights.outputs), elements[0]);
  for (float& bias : weights.bias) bias *= beta;
  return weights;
}

}  // namespace

void LowerProducts(Graph& graph) {
  for (Node& node : graph.nodes) {
    const bool gemm = node.op == "Gemm";
    if (!gemm && node.op != "MatMul") continue;
    const Shape& in = *At(graph, node.inputs[0]).shape;
    if (in.size() < 2 || ElementCount(in) == 0) continue;
    const auto weights = gemm ? ReadGemm(graph, node) : ReadMatMul(graph, node);
    if (!weights) continue;
    const std::string name = At(graph, node.inputs[1]).name;
    node.op = "Linear";
    node.attributes.clear();
    node.inputs.resize(1);
    node.inputs.push_back(
        AddConstant(graph, name + ".rows", weights->matrix, {weights->outputs, weights->inputs}));
    if (!weights->bias.empty())
      node.inputs.push_back(AddConstant(graph, name + ".bias", weights->bias, {weights->outputs}));
  }
}

}  // namespace deltacnn
