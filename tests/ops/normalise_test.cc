#include <cmath>

#include "graph/lower.h"
#include "ops/harness.h"

namespace deltacnn::testing {
namespace {

/// (x - mean) / sqrt(variance + epsilon) over `count` elements from `start` on.
void Normalise(std::span<const float> x, int64_t start, int64_t count, double epsilon,
               std::vector<double>& out) {
  double mean = 0;
  for (int64_t i = start; i < start + count; ++i) mean += x[i] / static_cast<double>(count);
  double variance = 0;
  for (int64_t i = start; i < start + count; ++i)
    variance += (x[i] - mean) * (x[i] - mean) / static_cast<double>(count);
  for (int64_t i = start; i < start + count; ++i)
    out.push_back((x[i] - mean) / std::sqrt(variance + epsilon));
}

// ---- InstanceNormalization ----

/// The two steps that make factor and offset of every channel.
OpCase Moments(const Tensor& x) { return {.op = "RowMoments", .inputs = {x}}; }
OpCase Affine(const OpCase& moments, const Tensor& scale, const Tensor& bias) {
  return {.op = "MomentsToAffine",
          .attributes = {{"row_pixels", moments.inputs[0]->shape.back()}, {"epsilon", 1e-3f}},
          .inputs = {RunDense(moments).at(0), scale, bias},
          .outputs = 2};
}

class InstanceNorm : public ::testing::TestWithParam<Shape> {};

TEST_P(InstanceNorm, FactorAndOffsetNormaliseEveryPicture) {
  std::mt19937 rng(3);
  const Shape& shape = GetParam();
  // A mean far from zero: plain sums of squares would lose the variance.
  const Tensor x = RandomTensor(rng, shape, 99, 101);
  const Tensor scale = RandomTensor(rng, {shape[1]});
  const Tensor bias = RandomTensor(rng, {shape[1]});
  const OpCase moments = Moments(x);
  const OpCase affine = Affine(moments, scale, bias);
  const auto got = RunDense(affine);
  ASSERT_EQ(got.size(), 2u);
  Shape factor_shape(shape.size(), 1);
  factor_shape[0] = shape[0];
  factor_shape[1] = shape[1];
  ASSERT_EQ(got[0].shape, factor_shape);
  ASSERT_EQ(got[1].shape, factor_shape);

  const int64_t planes = shape[0] * shape[1];
  const int64_t pixels = ElementCount(shape) / planes;
  const auto values = x.as<float>();
  std::vector<double> want;
  for (int64_t p = 0; p < planes; ++p) Normalise(values, p * pixels, pixels, 1e-3, want);
  for (int64_t i = 0; i < planes * pixels; ++i) {
    const int64_t plane = i / pixels;
    const double y = double{got[0].as<float>()[plane]} * values[i] + got[1].as<float>()[plane];
    const int64_t c = plane % shape[1];
    // The offset is a float near 100 times the factor.
    ASSERT_NEAR(y, want[i] * scale.as<float>()[c] + bias.as<float>()[c], 2e-4);
  }
  CheckIncremental(moments, rng);
  CheckIncremental(affine, rng);
}

INSTANTIATE_TEST_SUITE_P(Shapes, InstanceNorm,
                         ::testing::Values(Shape{1, 3, 5, 7}, Shape{2, 16, 12, 40}, Shape{2, 5, 33},
                                           Shape{1, 2, 3, 4, 5}, Shape{2, 1, 1, 1}));

TEST(InstanceNorm, IsLoweredToStatisticsAndArithmetic) {
  std::mt19937 rng(3);
  OpGraph graph({.op = "InstanceNormalization",
                 .attributes = {{"epsilon", 0.5f}},
                 .inputs = {RandomTensor(rng, {2, 3, 4, 5}), RandomTensor(rng, {3}),
                            RandomTensor(rng, {3})}});
  InferContext infer(graph.graph.nodes[0], graph.graph);
  ASSERT_TRUE(FindOp("InstanceNormalization")->infer(infer).ok());
  const ValueId output = graph.graph.outputs[0];
  LowerInstanceNormalization(graph.graph);
  std::vector<std::string> ops;
  for (const Node& node : graph.graph.nodes) {
    ops.push_back(node.op);
    // What the pass says about the values is what shape inference finds.
    Graph inferred = graph.graph;
    if (const OpDef* op = FindOp(node.op);
        op != nullptr && node.op.find("Moments") != node.op.npos) {
      InferContext context(node, inferred);
      ASSERT_TRUE(op->infer(context).ok());
      for (const ValueId id : node.outputs) {
        const auto i = static_cast<size_t>(id);
        EXPECT_EQ(inferred.values[i].shape, graph.graph.values[i].shape);
      }
    }
  }
  EXPECT_EQ(ops, (std::vector<std::string>{"RowMoments", "MomentsToAffine", "Mul", "Add"}));
  EXPECT_EQ(graph.graph.nodes[1].Float("epsilon", 0), 0.5f);
  EXPECT_EQ(graph.graph.nodes[1].Int("row_pixels", 0), 5);
  EXPECT_EQ(graph.graph.nodes[3].outputs[0], output);
}

TEST(InstanceNorm, RejectsWhatItCannotRun) {
  std::mt19937 rng(3);
  OpCase test{
      .op = "InstanceNormalization",
      .inputs = {RandomTensor(rng, {1, 3, 4}), RandomTensor(rng, {3}), RandomTensor(rng, {2})}};
  ExpectRejected(test, "must be [3]");
  test.inputs[2] = std::nullopt;
  ExpectRejected(test, "missing");
  test.inputs = {RandomTensor(rng, {1, 3}), RandomTensor(rng, {3}), RandomTensor(rng, {3})};
  ExpectRejected(test, "[1,3]");
}

// ---- LayerNormalization ----

TEST(LayerNorm, MatchesTheDefinitionOnEveryAxis) {
  std::mt19937 rng(4);
  const Shape shape = {2, 3, 5, 6};
  for (int64_t axis = -4; axis < 4; ++axis) {
    const auto first = static_cast<size_t>(axis < 0 ? axis + 4 : axis);
    const Shape inner(shape.begin() + static_cast<ptrdiff_t>(first), shape.end());
    Shape statistics = shape;
    std::fill(statistics.begin() + static_cast<ptrdiff_t>(first), statistics.end(), 1);
    OpCase test{.op = "LayerNormalization",
                .attributes = {{"axis", axis}, {"epsilon", 0.01f}},
                .inputs = {RandomTensor(rng, shape, -3, 5), RandomTensor(rng, inner),
                           RandomTensor(rng, inner)},
                .outputs = 3};
    const auto x = test.inputs[0]->as<float>();
    const int64_t count = ElementCount(inner);
    std::vector<double> want;
    std::vector<double> mean;
    for (int64_t i = 0; i < ElementCount(shape); i += count) {
      Normalise(x, i, count, 0.01, want);
      double sum = 0;
      for (int64_t k = 0; k < count; ++k) sum += x[i + k];
      mean.push_back(sum / static_cast<double>(count));
    }
    for (size_t i = 0; i < want.size(); ++i) {
      const size_t c = i % static_cast<size_t>(count);
      want[i] = want[i] * test.inputs[1]->as<float>()[c] + test.inputs[2]->as<float>()[c];
    }
    const auto got = RunDense(test);
    ASSERT_EQ(got.size(), 3u);
    ExpectNear(got[0], shape, want, 1e-6);
    ExpectNear(got[1], statistics, mean, 1e-6);
    EXPECT_EQ(got[2].shape, statistics);
    CheckIncremental(test, rng);
    test.inputs.pop_back();
    test.outputs = 1;
    test.constants = {1};
    CheckIncremental(test, rng);
  }
}

TEST(LayerNorm, RejectsWhatItCannotRun) {
  std::mt19937 rng(4);
  OpCase test{.op = "LayerNormalization",
              .inputs = {RandomTensor(rng, {2, 4}), RandomTensor(rng, {3})}};
  ExpectRejected(test, "[3]");
  test.attributes["axis"] = int64_t{2};
  ExpectRejected(test, "axis 2");
}

// ---- LRN ----

TEST(Lrn, MatchesTheDefinition) {
  std::mt19937 rng(5);
  for (const int64_t size : {1, 2, 3, 5, 100}) {
    const OpCase test{
        .op = "LRN",
        .attributes = {{"size", size}, {"alpha", 0.5f}, {"beta", 0.6f}, {"bias", 2.f}},
        .inputs = {RandomTensor(rng, {2, 9, 3, 4}, -2, 2)}};
    const auto x = test.inputs[0]->as<float>();
    std::vector<double> want;
    for (int64_t i = 0; i < 2 * 9 * 12; ++i) {
      const int64_t c = i / 12 % 9;
      double sum = 0;
      for (int64_t k = c - (size - 1) / 2; k <= c + size / 2; ++k)
        if (k >= 0 && k < 9) sum += double{x[i + (k - c) * 12]} * x[i + (k - c) * 12];
      want.push_back(x[i] / std::pow(2 + 0.5 / static_cast<double>(size) * sum, 0.6f));
    }
    ExpectNear(RunDense(test).at(0), {2, 9, 3, 4}, want);
    CheckIncremental(test, rng);
  }
}

TEST(Lrn, RejectsWhatItCannotRun) {
  std::mt19937 rng(5);
  OpCase test{.op = "LRN", .inputs = {RandomTensor(rng, {1, 2, 3, 3})}};
  ExpectRejected(test, "size");
}

}  // namespace
}  // namespace deltacnn::testing
