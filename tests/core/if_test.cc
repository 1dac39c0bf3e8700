// If: what is not taken does not matter; what the data decide is chosen anew in every step.
#include <cmath>
#include <random>

#include "graph_maker.h"
#include "onnx/model_builder.h"

namespace deltacnn::testing {
namespace {

using onnx::ModelBuilder;

/// A branch of nodes that say "op input output"; the last one gives its output.
std::string Branch(const std::string& name, const std::vector<std::vector<std::string>>& nodes) {
  ModelBuilder graph;
  for (const auto& node : nodes)
    graph.Node(node[0], {node.begin() + 1, node.end() - 1}, {node.back()});
  graph.Output(nodes.back().back());
  return graph.Branch(name);
}

Result<std::shared_ptr<const Plan>> Compile(ModelBuilder& model, const PlanOptions& options = {}) {
  const auto parsed = Model::Parse(model.Bytes());
  if (!parsed.ok()) return parsed.error();
  return Plan::Compile(**parsed, options);
}

std::vector<float> Answer(const std::shared_ptr<const Plan>& plan,
                          const std::vector<Tensor>& inputs) {
  auto stream = Stream::Create(plan);
  EXPECT_TRUE(stream.ok());
  for (size_t i = 0; i < inputs.size(); ++i) EXPECT_TRUE(stream->SetInput(i, inputs[i]).ok());
  EXPECT_TRUE(stream->Step().ok());
  const auto out = stream->Output(0).as<float>();
  return {out.begin(), out.end()};
}

/// What older exporters of PyTorch make of squeeze(1).
ModelBuilder SqueezeIfSingle() {
  const auto number = [](const std::string& name, const std::vector<int64_t>& dims, int64_t value) {
    return onnx::RawTensor(name, onnx::kInt64, dims, onnx::RawBytes<int64_t>({value}));
  };
  ModelBuilder model;
  model.Input("x", {"1", "c", "4", "5"})
      .Initializer(number("one", {}, 1))
      .Initializer(number("axis", {1}, 1))
      .Node("Shape", {"x"}, {"shape"})
      .Node("Gather", {"shape", "one"}, {"channels"})
      .Node("Equal", {"channels", "one"}, {"single"})
      .Node("If", {"single"}, {"s"},
            {Branch("then_branch", {{"Squeeze", "x", "axis", "t"}}),
             Branch("else_branch", {{"Neg", "x", "e"}})})
      .Node("Relu", {"s"}, {"y"})
      .Output("y");
  return model;
}

TEST(If, OfTheShapeIsDecidedWhenPlanning) {
  std::mt19937 rng(1);
  for (const int64_t channels : {1, 3}) {
    ModelBuilder model = SqueezeIfSingle();
    PlanOptions options;
    options.input_shapes["x"] = {1, channels, 4, 5};
    const auto plan = Compile(model, options);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    const Shape squeezed = {1, 4, 5}, whole = {1, channels, 4, 5};
    EXPECT_EQ((*plan)->outputs()[0].shape, channels == 1 ? squeezed : whole);
    const Tensor x = RandomTensor(rng, whole);
    const std::vector<float> y = Answer(*plan, {x});
    for (size_t i = 0; i < y.size(); ++i) {
      const float given = channels == 1 ? x.as<float>()[i] : -x.as<float>()[i];
      EXPECT_EQ(y[i], std::max(given, 0.0f));
    }
  }
}

TEST(If, ABranchNotTakenMayHoldAnything) {
  for (const char taken : {'\0', '\1'}) {
    ModelBuilder model;
    model.Input("x", {"1", "2", "4", "4"})
        .Initializer(onnx::RawTensor("c", onnx::kBool, {}, std::string(1, taken)))
        .Node("If", {"c"}, {"y"},
              {Branch("then_branch", {{"Neg", "x", "t"}}),
               Branch("else_branch", {{"NoSuchOperator", "x", "n"}, {"Reshape", "n", "x", "e"}})})
        .Output("y");
    const auto plan = Compile(model);
    ASSERT_EQ(plan.ok(), taken == 1);
    if (!plan.ok()) {
      EXPECT_NE(plan.error().message.find("NoSuchOperator"), std::string::npos);
    }
  }
}

TEST(If, OfTheDataChoosesInEveryStep) {
  ModelBuilder inner;
  inner
      .Node("If", {"d"}, {"b"},
            {Branch("then_branch", {{"Sigmoid", "x", "t"}}),
             Branch("else_branch", {{"Relu", "x", "e"}})})
      .Output("b");
  ModelBuilder model;
  model.Input("x", {"1", "3", "6", "7"})
      .Input("c", {}, onnx::kBool)
      .Input("d", {"1"}, onnx::kBool)
      .Node("If", {"c"}, {"f"},
            {inner.Branch("then_branch"),
             Branch("else_branch", {{"Neg", "x", "n"}, {"Exp", "n", "e"}})})
      .Node("AveragePool", {"f"}, {"y"}, {onnx::IntsAttribute("kernel_shape", {3, 3})})
      .Output("y");
  const auto plan = Compile(model);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  auto stream = Stream::Create(*plan);
  ASSERT_TRUE(stream.ok());
  std::mt19937 rng(3);
  Tensor x = RandomTensor(rng, {1, 3, 6, 7});
  for (int step = 0; step < 24; ++step) {
    Perturb(x, rng);
    const bool c = rng() % 2 == 0, d = rng() % 2 == 0;
    const std::vector<Tensor> inputs = {x, MakeTensor<bool>(DType::kBool, {}, {c}),
                                        MakeTensor<bool>(DType::kBool, {1}, {d})};
    for (size_t i = 0; i < inputs.size(); ++i) ASSERT_TRUE(stream->SetInput(i, inputs[i]).ok());
    ASSERT_TRUE(stream->Step().ok());
    const auto got = stream->Output(0).as<float>();
    EXPECT_EQ(std::vector<float>(got.begin(), got.end()), Answer(*plan, inputs));
    float sum = 0;  // of the first window
    for (size_t r = 0; r < 3; ++r) {
      for (size_t k = 0; k < 3; ++k) {
        const float v = x.as<float>()[r * 7 + k];
        sum += !c ? std::exp(-v) : d ? 1 / (1 + std::exp(-v)) : std::max(v, 0.0f);
      }
    }
    EXPECT_NEAR(got[0], sum / 9, 1e-5);
  }
}

TEST(If, OfTheDataMayChooseAShape) {
  ModelBuilder model;
  model.Input("x", {"1", "2", "4", "4"})
      .Input("c", {}, onnx::kBool)
      .Node("If", {"c"}, {"z"},
            {Branch("then_branch", {{"Neg", "x", "t"}}),
             Branch("else_branch", {{"GlobalMaxPool", "x", "e"}})})
      .Node("Relu", {"z"}, {"y"})
      .Output("y");
  const auto plan = Compile(model);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  auto stream = Stream::Create(*plan);
  ASSERT_TRUE(stream.ok());
  std::mt19937 rng(3);
  for (int step = 0; step < 8; ++step) {
    const Tensor x = RandomTensor(rng, {1, 2, 4, 4});
    const bool c = rng() % 2 == 0;
    ASSERT_TRUE(stream->SetInput(0, x).ok());
    ASSERT_TRUE(stream->SetInput(1, MakeTensor<bool>(DType::kBool, {}, {c})).ok());
    ASSERT_TRUE(stream->Step().ok());
    const auto y = stream->Output(0).as<float>();
    ASSERT_EQ(y.size(), c ? 32u : 2u);
    EXPECT_EQ(std::vector<float>(y.begin(), y.end()),
              Answer(*plan, {x, MakeTensor<bool>(DType::kBool, {}, {c})}));
    const auto data = x.as<float>();
    const float most = *std::ranges::max_element(data.first(16));
    EXPECT_EQ(y[0], std::max(c ? -data[0] : most, 0.0f));
  }
  // A condition that is given for all frames is decided when planning.
  PlanOptions options;
  options.input_values["c"] = {0};
  const auto given = Compile(model, options);
  ASSERT_TRUE(given.ok()) << given.error().message;
  EXPECT_EQ((*given)->outputs()[0].shape, Shape({1, 2, 1, 1}));
  options.input_values["c"] = {2};
  EXPECT_FALSE(Compile(model, options).ok());
}

/// As detectors end. Where nothing is found, nothing can be reshaped to rows of two.
TEST(If, OfWhatIsFoundRunsTheBranchThatCan) {
  const auto numbers = [](const std::string& name, std::initializer_list<int64_t> values) {
    return onnx::RawTensor(name, onnx::kInt64, {static_cast<int64_t>(values.size())},
                           onnx::RawBytes<int64_t>(values));
  };
  ModelBuilder found;
  found
      .Node("If", {"many"}, {"r"},
            {Branch("then_branch", {{"Reshape", "values", "pairs", "p"}, {"Neg", "p", "t"}}),
             Branch("else_branch", {{"Exp", "values", "e"}})})
      .Output("r");
  ModelBuilder model;
  model.Input("x", {"8"})
      .Initializer(numbers("zero", {0}))
      .Initializer(numbers("three", {3}))
      .Initializer(numbers("row", {-1}))
      .Initializer(numbers("pairs", {-1, 2}))
      .Node("NonZero", {"x"}, {"positions"})
      .Node("Reshape", {"positions", "row"}, {"places"})
      .Node("Gather", {"x", "places"}, {"values"})
      .Node("Shape", {"values"}, {"count"})
      .Node("Equal", {"count", "zero"}, {"empty"})
      .Node("Greater", {"count", "three"}, {"many"})
      .Node("If", {"empty"}, {"y"},
            {Branch("then_branch", {{"Neg", "x", "all"}}), found.Branch("else_branch")})
      .Output("y");
  const auto plan = Compile(model);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  auto stream = Stream::Create(*plan);
  ASSERT_TRUE(stream.ok());
  // Some counts twice: what has not changed is not computed again. An odd one above three has no
  // pairs: that step fails, and the next one knows what it missed.
  for (const int count : {0, 4, 4, 1, 3, 3, 5, 5, 8, 0, 7, 7, 6, 6, 2, 0}) {
    SCOPED_TRACE(count);
    Tensor x(DType::kFloat32, {8});
    for (int i = 0; i < count; ++i) x.as<float>()[static_cast<size_t>(7 - i)] = 1.0f + i;
    ASSERT_TRUE(stream->SetInput(0, x).ok());
    const auto report = stream->Step();
    ASSERT_EQ(report.ok(), count <= 3 || count % 2 == 0);
    if (!report.ok()) {
      EXPECT_NE(report.error().message.find("Reshape"), std::string::npos);
      EXPECT_EQ(stream->Output(0).elements(), 0);
      continue;
    }
    const TensorView y = stream->Output(0);
    const Shape shape(y.shape.begin(), y.shape.end());
    EXPECT_EQ(shape, count == 0 ? Shape({8}) : count <= 3 ? Shape({count}) : Shape({count / 2, 2}));
    const auto got = y.as<float>();
    EXPECT_EQ(std::vector<float>(got.begin(), got.end()), Answer(*plan, {x}));
    const auto first = static_cast<float>(count);
    EXPECT_NEAR(got[0], count == 0 ? 0 : count <= 3 ? std::exp(first) : -first, 1e-5);
  }
}

TEST(If, QuantisedNumbersOfABranchStayInIt) {
  ModelBuilder model;
  model.Input("x", {"1", "2", "4", "4"})
      .Input("c", {}, onnx::kBool)
      .Initializer(onnx::RawTensor("scale", onnx::kFloat, {}, onnx::RawBytes<float>({0.25f})))
      .Initializer(onnx::RawTensor("zero", onnx::kInt8, {}, "\3"))
      .Node("If", {"c"}, {"y"},
            {Branch("then_branch", {{"QuantizeLinear", "x", "scale", "zero", "q"},
                                    {"Identity", "q", "m"},
                                    {"DequantizeLinear", "m", "scale", "zero", "t"}}),
             Branch("else_branch", {{"Abs", "x", "e"}})})
      .Output("y");
  std::mt19937 rng(5);
  const Tensor x = RandomTensor(rng, {1, 2, 4, 4});
  for (const bool c : {false, true}) {
    const auto chosen = Compile(model);
    PlanOptions options;
    options.input_values["c"] = {c ? 1.0 : 0.0};
    const auto decided = Compile(model, options);
    ASSERT_TRUE(chosen.ok() && decided.ok());
    const std::vector<float> y = Answer(*decided, {x});
    EXPECT_EQ(y, Answer(*chosen, {x, MakeTensor<bool>(DType::kBool, {}, {c})}));
    for (size_t i = 0; i < y.size(); ++i) {
      const float v = x.as<float>()[i];
      EXPECT_EQ(y[i], c ? std::nearbyint(v / 0.25f) * 0.25f : std::abs(v));
    }
  }
}

}  // namespace
}  // namespace deltacnn::testing
