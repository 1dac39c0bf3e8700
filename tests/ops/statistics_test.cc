#include "core/node_model.h"
#include "core/run_once.h"
#include "graph/lower.h"
#include "normalise_reference.h"

namespace deltacnn::testing {
namespace {

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
  LowerNormalisations(graph.graph);
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

// ---- GroupNormalization ----

OpCase Groups(std::mt19937& rng, const Shape& shape, int64_t groups, int64_t opset) {
  const int64_t scales = opset < 21 ? groups : shape[1];
  return {.op = "GroupNormalization",
          .opset = opset,
          .attributes = {{"num_groups", groups}, {"epsilon", 1e-3f}},
          .inputs = {RandomTensor(rng, shape, 99, 101), RandomTensor(rng, {scales}),
                     RandomTensor(rng, {scales})},
          .constants = {1, 2}};
}

TEST(GroupNorm, MatchesTheDefinition) {
  std::mt19937 rng(3);
  for (const Shape& shape : {Shape{1, 6, 5, 7}, {2, 12, 4, 40}, {2, 6, 33}, {1, 6, 3, 4, 2}}) {
    for (const int64_t groups : {1, 2, 3, 6}) {
      for (const int64_t opset : {18, 21}) {
        SCOPED_TRACE(ToString(shape) + " groups " + std::to_string(groups));
        OpCase test = Groups(rng, shape, groups, opset);
        const int64_t count = ElementCount(shape) / (shape[0] * groups);
        std::vector<double> want;
        for (int64_t i = 0; i < shape[0] * groups; ++i)
          Normalise(test.inputs[0]->as<float>(), i * count, count, 1e-3, want);
        const int64_t pixels = ElementCount(shape) / (shape[0] * shape[1]);
        for (size_t i = 0; i < want.size(); ++i) {
          const int64_t c = static_cast<int64_t>(i) / pixels % shape[1];
          const auto k = static_cast<size_t>(opset < 21 ? c / (shape[1] / groups) : c);
          want[i] = want[i] * test.inputs[1]->as<float>()[k] + test.inputs[2]->as<float>()[k];
        }
        // The offset is a float near 100 times the factor.
        ExpectNear(RunModel(test, rng), shape, want, 2e-4);
        test.constants = {};
        RunModel(test, rng);
      }
    }
  }
}

TEST(GroupNorm, IsRecognisedBetweenReshapes) {
  std::mt19937 rng(3);
  const Shape shape = {1, 6, 5, 7};
  const Tensor image = RandomTensor(rng, shape);
  for (const int64_t groups : {2, 5}) {  // 5: not of channels
    GraphMaker net;
    const ValueId x = net.Input("image", shape);
    const ValueId ones = net.Constant(Floats({groups}, std::vector<float>(groups, 1)));
    const ValueId zeros = net.Constant(Floats({groups}, std::vector<float>(groups, 0)));
    const ValueId grouped = net.Add("Reshape", {x, net.Constant(Ints({1, groups, -1}))});
    const ValueId normal =
        net.Add("InstanceNormalization", {grouped, ones, zeros}, {{"epsilon", 1e-3f}});
    net.Output(net.Add("Reshape", {normal, net.Constant(Ints(shape))}));
    std::vector<double> want;
    for (int64_t g = 0; g < groups; ++g)
      Normalise(image.as<float>(), g * 210 / groups, 210 / groups, 1e-3, want);
    const Outcome got = RunOn(net, image);
    ExpectNear(Floats(shape, got.output), shape, want);
    EXPECT_EQ(got.Has("Relayout"), groups != 2);
  }
}

TEST(GroupNorm, RejectsWhatItCannotRun) {
  std::mt19937 rng(3);
  const Shape shape = {1, 6, 2, 2};
  ExpectRejected(Groups(rng, {1, 6}, 2, 21), "is not [N,C,...]");
  ExpectRejected(Groups(rng, {1, 0, 2, 2}, 2, 21), "is not [N,C,...]");
  for (const int64_t groups :
       {std::numeric_limits<int64_t>::min(), int64_t{-6}, int64_t{0}, int64_t{4}, int64_t{12}}) {
    OpCase test = Groups(rng, shape, 1, 21);
    test.attributes["num_groups"] = groups;
    ExpectRejected(test, "does not divide the 6 channels");
  }
  OpCase test = Groups(rng, shape, 2, 21);
  test.opset = 20;
  ExpectRejected(test, "must be [2]");
  test.inputs.pop_back();
  ExpectRejected(test, "missing");
}

}  // namespace
}  // namespace deltacnn::testing
