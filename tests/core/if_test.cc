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

TEST(If, OfTheDataNeedsBranchesOfOneShape) {
  ModelBuilder model;
  model.Input("x", {"1", "2", "4", "4"})
      .Input("c", {}, onnx::kBool)
      .Node("If", {"c"}, {"y"},
            {Branch("then_branch", {{"Neg", "x", "t"}}),
             Branch("else_branch", {{"GlobalMaxPool", "x", "e"}})},
            "choice")
      .Output("y");
  const auto plan = Compile(model);
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message.find("'choice'"), std::string::npos) << plan.error().message;
  EXPECT_NE(plan.error().message.find("different shapes"), std::string::npos);
  // A condition that is given for all frames is decided when planning.
  PlanOptions options;
  options.input_values["c"] = {0};
  const auto given = Compile(model, options);
  ASSERT_TRUE(given.ok()) << given.error().message;
  EXPECT_EQ((*given)->outputs()[0].shape, Shape({1, 2, 1, 1}));
  options.input_values["c"] = {2};
  EXPECT_FALSE(Compile(model, options).ok());
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
