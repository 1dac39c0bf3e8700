// float64 within models of float32: operators that are there for float32 alone compute in it.
#include <cmath>
#include <random>

#include "graph_maker.h"
#include "run_once.h"

namespace deltacnn::testing {
namespace {

constexpr int64_t kFloat = 1, kDouble = 11;  // TensorProto.DataType

Tensor Doubles(Shape shape, const std::vector<double>& values) {
  return MakeTensor(DType::kFloat64, std::move(shape), values);
}

ValueId Cast(GraphMaker& net, ValueId x, int64_t type) {
  return net.AddUnchecked("Cast", {x}, {{"to", type}})[0];
}

ValueId Op(GraphMaker& net, const std::string& op, const std::vector<ValueId>& inputs) {
  return net.AddUnchecked(op, inputs)[0];
}

TEST(Doubles, ConstantsBecomeConstants) {
  GraphMaker net;
  const ValueId x = net.Input("x", {3});
  const ValueId places = Op(net, "Range",
                            {net.Constant(Doubles({}, {0})), net.Constant(Doubles({}, {3})),
                             net.Constant(Doubles({}, {1}))});
  const ValueId centres = Op(net, "Add", {places, net.Constant(Doubles({}, {0.5}))});
  net.Output(Op(net, "Mul", {x, Cast(net, centres, kFloat)}));
  const Outcome run = RunOn(net, Floats({3}, {1, 2, 4}));
  EXPECT_EQ(run.output, std::vector<float>({0.5f, 3, 10}));
  EXPECT_EQ(run.ops.size(), 1U);
}

/// A tail in float64, and what lies on its way.
GraphMaker Tail(std::mt19937& rng) {
  GraphMaker net;
  const ValueId x = Cast(net, net.Input("x", {1, 2, 3, 4}), kDouble);
  std::vector<double> matrix(8);
  for (double& m : matrix) m = std::uniform_real_distribution<double>(-1, 1)(rng);
  const ValueId shifted = Op(net, "Add", {x, net.Constant(Doubles({}, {0.5}))});
  const ValueId product = Op(net, "MatMul", {shifted, net.Constant(Doubles({4, 2}, matrix))});
  net.Output(Op(net, "Exp", {product}));
  net.Output(Op(net, "Greater", {product, net.Constant(Doubles({}, {0}))}));
  net.Output(net.AddUnchecked("TopK", {product, net.Constant(Ints({1}))}, {}, 2)[1]);
  return net;
}

TEST(Doubles, TypesStayAsTheyAre) {
  std::mt19937 rng(5);
  const GraphMaker net = Tail(rng);
  auto plan = Plan::Compile(Model(net.graph));
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ((*plan)->outputs()[0].dtype, DType::kFloat64);
  EXPECT_EQ((*plan)->outputs()[1].dtype, DType::kBool);
  EXPECT_EQ((*plan)->outputs()[2].dtype, DType::kInt64);
  auto stream = Stream::Create(*plan);
  ASSERT_TRUE(stream.ok());
  Tensor x = RandomTensor(rng, {1, 2, 3, 4});
  for (int step = 0; step < 4; ++step) {
    ASSERT_TRUE(stream->SetInput(0, x).ok());
    ASSERT_TRUE(stream->Step().ok());
    const auto w = net.graph.Constant(net.graph.nodes[2].inputs[1])->as<double>();
    const auto got = stream->Output(0).as<double>();
    for (size_t row = 0; row < 6; ++row) {
      for (size_t col = 0; col < 2; ++col) {
        double want = 0;
        for (size_t k = 0; k < 4; ++k) want += (x.as<float>()[row * 4 + k] + 0.5) * w[k * 2 + col];
        EXPECT_NEAR(got[row * 2 + col], std::exp(want), 1e-5);
        EXPECT_EQ(stream->Output(1).as<bool>()[row * 2 + col], want > 0);
      }
    }
    auto fresh = Stream::Create(*plan);
    ASSERT_TRUE(fresh.ok());
    ASSERT_TRUE(fresh->SetInput(0, x).ok());
    ASSERT_TRUE(fresh->Step().ok());
    EXPECT_EQ(OutputsOf(*stream), OutputsOf(*fresh));
    x.as<float>()[static_cast<size_t>(5 * step)] += 1;
  }
}

TEST(Doubles, OfAFurtherInputChangeNoType) {
  GraphMaker net;
  const ValueId x = net.Input("x", {3});
  net.Output(Op(net, "Pow", {x, net.Constant(Doubles({}, {2}))}));
  EXPECT_EQ(RunOn(net, Floats({3}, {1, 2, 3})).output, std::vector<float>({1, 4, 9}));
}

TEST(Doubles, WhatFloatsHaveNotIsRefused) {
  GraphMaker net;
  const ValueId x = net.Input("x", {1, 1, 3, 3, 3}, DType::kFloat64);
  const ValueId weights = net.Constant(Tensor(DType::kFloat64, {1, 1, 1, 1, 1}));
  net.Output(Op(net, "Conv", {x, weights}));
  const auto found = Plan::Check(Model(net.graph));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].node, "Conv_0");
  EXPECT_NE(found[0].reason.find("3-D"), std::string::npos);
}

}  // namespace
}  // namespace deltacnn::testing
