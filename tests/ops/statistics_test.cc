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

// ---- LpNormalization ----

TEST(LpNorm, MatchesTheDefinition) {
  std::mt19937 rng(5);
  const Shape shape = {2, 5, 4, 3};
  for (int64_t axis = -4; axis < 4; ++axis) {
    for (const int64_t p : {1, 2}) {
      SCOPED_TRACE("axis " + std::to_string(axis) + " p " + std::to_string(p));
      OpCase test{.op = "LpNormalization",
                  .attributes = {{"axis", axis}, {"p", p}},
                  .inputs = {RandomTensor(rng, shape)}};
      const std::span<float> x = test.inputs[0]->as<float>();
      const auto a = static_cast<size_t>(axis < 0 ? axis + 4 : axis);
      const auto length = static_cast<size_t>(shape[a]);
      const auto stride = static_cast<size_t>(ElementCount(std::span(shape).subspan(a + 1)));
      for (size_t i = 0; i < length; ++i) x[i * stride] = 0;            // a norm of zero,
      for (size_t i = 0; i < length; ++i) x[i * stride + 1] *= 1e-30f;  // one of tiny elements
      std::vector<double> want;
      for (size_t i = 0; i < x.size(); ++i) {
        const size_t first = i - i / stride % length * stride;
        double norm = 0;
        for (size_t k = 0; k < length; ++k)
          norm += std::pow(std::abs(double{x[first + k * stride]}), static_cast<double>(p));
        norm = p == 1 ? norm : std::sqrt(norm);
        want.push_back(norm == 0 ? 0 : x[i] / norm);
      }
      ExpectNear(RunModel(test, rng), shape, want, 1e-6);
    }
  }
}

TEST(LpNorm, RejectsWhatItCannotRun) {
  OpCase test{.op = "LpNormalization", .inputs = {Floats({2}, {1, 2})}};
  test.attributes = {{"axis", int64_t{1}}};
  ExpectRejected(test, "axis 1");
  test.attributes = {{"p", int64_t{3}}};
  ExpectRejected(test, "p is 3");
  test.attributes.clear();
  test.inputs[0] = Floats({}, {1});
  ExpectRejected(test, "axis -1");
  test.inputs[0] = Ints({1, 2});
  ExpectRejected(test, "int64");
}

// ---- MeanVarianceNormalization ----

TEST(MeanVarianceNorm, MatchesTheDefinition) {
  std::mt19937 rng(6);
  for (const Shape& shape : {Shape{1, 3, 6, 7}, {2, 3, 4, 5}, {3, 1, 2, 2}}) {
    for (const IntList& axes : {IntList{}, {0, 2, 3}, {2, 3}, {1}, {-1, 0}, {0, 1, 2, 3}, {0}}) {
      SCOPED_TRACE(ToString(shape) + " over " + ToString(axes));
      OpCase test{.op = "MeanVarianceNormalization",
                  .attributes = {{"axes", axes}},
                  .inputs = {RandomTensor(rng, shape, 9, 11)}};
      if (axes.empty()) test.attributes.clear();
      std::vector<int64_t> weights(4, 0);  // of the axes that tell the statistics apart
      int64_t sets = 1;
      for (size_t a = 0; a < 4; ++a) {
        const auto listed = [&](int64_t axis) {
          return axis == static_cast<int64_t>(a % 4) || axis + 4 == static_cast<int64_t>(a);
        };
        const IntList& over = axes.empty() ? IntList{0, 2, 3} : axes;
        if (std::ranges::any_of(over, listed)) continue;
        weights[a] = sets;
        sets *= shape[a];
      }
      const auto x = test.inputs[0]->as<float>();
      std::vector<std::vector<float>> members(static_cast<size_t>(sets));
      std::vector<std::pair<size_t, size_t>> place;  // set and position of every element
      for (size_t i = 0; i < x.size(); ++i) {
        int64_t set = 0;
        auto rest = static_cast<int64_t>(i);
        for (size_t a = 4; a-- > 0; rest /= shape[a]) set += rest % shape[a] * weights[a];
        std::vector<float>& members_of_set = members[static_cast<size_t>(set)];
        place.emplace_back(set, members_of_set.size());
        members_of_set.push_back(x[i]);
      }
      std::vector<std::vector<double>> normal(members.size());
      for (size_t s = 0; s < members.size(); ++s)
        Normalise(members[s], 0, static_cast<int64_t>(members[s].size()), 1e-18, normal[s]);
      std::vector<double> want;
      for (const auto& [set, position] : place) want.push_back(normal[set][position]);
      ExpectNear(RunModel(test, rng), shape, want, 5e-5);
    }
  }
}

TEST(MeanVarianceNorm, RejectsWhatItCannotRun) {
  OpCase test{.op = "MeanVarianceNormalization", .inputs = {Floats({1, 2, 2}, {1, 2, 3, 4})}};
  ExpectRejected(test, "axis 3");
  test.attributes["axes"] = IntList{-4};
  ExpectRejected(test, "axis -4");
  test.attributes["axes"] = IntList{0};
  test.inputs[0] = Floats({1, 0}, {});
  ExpectRejected(test, "nothing to normalise");
}

}  // namespace
}  // namespace deltacnn::testing
