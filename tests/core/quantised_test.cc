// Networks prepared for integer arithmetic, run in floats.
#include <cmath>
#include <limits>
#include <random>

#include "run_once.h"

namespace deltacnn::testing {
namespace {

struct Numbers {
  float scale;
  int zero_point;
};

ValueId Rounded(GraphMaker& net, ValueId x, const Numbers& quantise, const Numbers& dequantise) {
  const auto numbers = [&](const Numbers& n) {
    return std::vector<ValueId>{
        net.Constant(Floats({}, {n.scale})),
        net.Constant(MakeTensor<int8_t>(DType::kInt8, {}, {static_cast<int8_t>(n.zero_point)}))};
  };
  const auto to = numbers(quantise);
  const auto from = numbers(dequantise);
  const ValueId q = net.AddUnchecked("QuantizeLinear", {x, to[0], to[1]})[0];
  return net.AddUnchecked("DequantizeLinear", {q, from[0], from[1]})[0];
}

float RoundedNumber(float x, const Numbers& n) {
  const float integer = std::nearbyint(x / n.scale) + static_cast<float>(n.zero_point);
  return (std::clamp(integer, -128.0f, 127.0f) - static_cast<float>(n.zero_point)) * n.scale;
}

Tensor Image() {
  std::mt19937 rng(8);
  Tensor image = RandomTensor(rng, {1, 3, 9, 10});
  for (float& x : image.as<float>()) x *= 3;
  return image;
}

TEST(Quantised, FloatsAreRoundedWhereTheyAre) {
  const Numbers numbers{0.0237f, -17};
  GraphMaker net;
  const ValueId x = net.Input("image", {1, 3, 9, 10});
  net.Output(Rounded(net, x, numbers, numbers));
  const Outcome got = RunOn(net, Image());
  EXPECT_FALSE(got.Has("QuantizeLinear") || got.Has("DequantizeLinear"));
  const auto image = Image();
  for (size_t i = 0; i < got.output.size(); ++i)
    EXPECT_FLOAT_EQ(got.output[i], RoundedNumber(image.as<float>()[i], numbers));
}

TEST(Quantised, IntegersReadAsOtherNumbersStayIntegers) {
  const Numbers numbers{0.0237f, -17};
  for (const Numbers& others : {Numbers{0.05f, -17}, Numbers{0.0237f, 4}}) {
    GraphMaker net;
    const ValueId x = net.Input("image", {1, 3, 9, 10});
    net.Output(Rounded(net, x, numbers, others));
    const Outcome got = RunOn(net, Image());
    EXPECT_TRUE(got.Has("QuantizeLinear") && got.Has("DequantizeLinear"));
    const auto image = Image();
    for (size_t i = 0; i < got.output.size(); ++i) {
      const float integer = RoundedNumber(image.as<float>()[i], numbers) / numbers.scale;
      const auto shift = static_cast<float>(numbers.zero_point - others.zero_point);
      EXPECT_NEAR(got.output[i], (integer + shift) * others.scale, 1e-4);
    }
  }
}

TEST(Quantised, WeightsAreDequantisedOnceAndRoundingIsPartOfTheConvolution) {
  GraphMaker net;
  const ValueId x = net.Input("image", {1, 3, 9, 10});
  std::vector<int8_t> integers;
  for (int i = 0; i < 6; ++i) integers.push_back(static_cast<int8_t>(40 * i - 100));
  const ValueId scales = net.Constant(Floats({2}, {0.01f, 0.02f}));
  const ValueId weights = net.Add(
      "DequantizeLinear", {net.Constant(MakeTensor(DType::kInt8, {2, 3, 1, 1}, integers)), scales},
      {{"axis", int64_t{0}}});
  const ValueId conv = net.AddUnchecked("Conv", {x, weights})[0];
  const Numbers numbers{0.05f, 3};
  net.Output(Rounded(net, conv, numbers, numbers));
  const Outcome got = RunOn(net, Image());
  EXPECT_EQ(got.ops.front().rfind("Conv+Round", 0), 0u) << got.ops.front();
  const Tensor image = Image();
  size_t flips = 0;  // a last bit may decide between two steps
  for (size_t i = 0; i < got.output.size(); ++i) {
    const size_t o = i / 90;
    double sum = 0;
    for (size_t c = 0; c < 3; ++c)
      sum += 0.01 * static_cast<double>(o + 1) * integers[o * 3 + c] *
             image.as<float>()[c * 90 + i % 90];
    const float want = RoundedNumber(static_cast<float>(sum), numbers);
    EXPECT_LE(std::abs(got.output[i] - want), 1.01f * numbers.scale);
    flips += std::abs(got.output[i] - want) > 0.5f * numbers.scale ? 1 : 0;
  }
  EXPECT_LE(flips, 2u);
}

/// Scale and zero point as inputs of a node.
std::vector<ValueId> Numbered(GraphMaker& net, ValueId q, const Numbers& n) {
  return {q, net.Constant(Floats({}, {n.scale})),
          net.Constant(MakeTensor<int8_t>(DType::kInt8, {}, {static_cast<int8_t>(n.zero_point)}))};
}

ValueId AddNode(GraphMaker& net, const std::string& op,
                const std::vector<std::vector<ValueId>>& inputs, Attributes attributes = {}) {
  std::vector<ValueId> all;
  for (const auto& part : inputs) all.insert(all.end(), part.begin(), part.end());
  const ValueId out = net.AddUnchecked(op, all, std::move(attributes))[0];
  const bool standard = op == "QLinearConv" || op == "MaxPool" || op.ends_with("zeLinear");
  if (!standard) net.graph.nodes.back().domain = "com.microsoft";
  return out;
}

/// The two inputs that say how an output is rounded.
std::vector<ValueId> RoundedTo(GraphMaker& net, const Numbers& n) {
  const auto numbered = Numbered(net, kNoValue, n);
  return {numbered[1], numbered[2]};
}

int Integer(double x, const Numbers& n) {
  return std::clamp(static_cast<int>(std::nearbyint(x / n.scale)) + n.zero_point, -128, 127);
}

// With scales that are powers of two, floats have all the bits that integers have.
TEST(Quantised, AConvolutionOfIntegersAndTheirMaximaAreExact) {
  constexpr int kSide = 6;
  const Numbers in{1.0f / 16, -3};
  const Numbers out{0.25f, 5};
  const std::vector<float> scales = {1.0f / 32, 1.0f / 64, 1.0f / 16, 1.0f / 32};
  std::mt19937 rng(3);
  std::vector<int8_t> weights(4 * 2 * 9);
  for (int8_t& w : weights) w = static_cast<int8_t>(static_cast<int>(rng() % 255) - 127);
  const std::vector<int32_t> bias = {100, -2000, 31, 5000};
  const Tensor image = RandomTensor(rng, {1, 2, kSide, kSide}, -8, 8);

  GraphMaker net;
  const ValueId x = net.Input("image", {1, 2, kSide, kSide});
  const ValueId q = AddNode(net, "QuantizeLinear", {{x}, RoundedTo(net, in)});
  const std::vector<ValueId> filters = {
      net.Constant(MakeTensor(DType::kInt8, {4, 2, 3, 3}, weights)),
      net.Constant(Floats({4}, scales)),
      net.Constant(MakeTensor<int8_t>(DType::kInt8, {4}, {0, 0, 0, 0}))};
  const ValueId conv = AddNode(net, "QLinearConv",
                               {Numbered(net, q, in),
                                filters,
                                RoundedTo(net, out),
                                {net.Constant(MakeTensor(DType::kInt32, {4}, bias))}},
                               {{"pads", IntList{1, 1, 1, 1}}});
  const ValueId pool = AddNode(net, "MaxPool", {{conv}},
                               {{"kernel_shape", IntList{2, 2}}, {"strides", IntList{2, 2}}});
  net.Output(AddNode(net, "DequantizeLinear", {Numbered(net, pool, out)}));
  const Outcome got = RunOn(net, image);
  EXPECT_FALSE(got.Has("QuantizeLinear") || got.Has("DequantizeLinear"));

  const auto pixel = [&](int c, int y, int col) {
    if (y < 0 || y >= kSide || col < 0 || col >= kSide) return 0;
    const auto at = static_cast<size_t>((c * kSide + y) * kSide + col);
    return Integer(double{image.as<float>()[at]}, in) - in.zero_point;
  };
  const auto convolved = [&](size_t o, int y, int col) {
    int sum = bias[o];
    for (int c = 0; c < 2; ++c)
      for (int t = 0; t < 9; ++t)
        sum += pixel(c, y + t / 3 - 1, col + t % 3 - 1) *
               weights[(o * 2 + static_cast<size_t>(c)) * 9 + static_cast<size_t>(t)];
    return Integer(double{in.scale} * double{scales[o]} * sum, out);
  };
  for (size_t i = 0; i < got.output.size(); ++i) {
    const auto y = static_cast<int>(i % 9 / 3) * 2;
    const auto col = static_cast<int>(i % 3) * 2;
    int most = -128;
    for (int d = 0; d < 4; ++d) most = std::max(most, convolved(i / 9, y + d / 2, col + d % 2));
    EXPECT_EQ(got.output[i], static_cast<float>(most - out.zero_point) * out.scale) << i;
  }
}

TEST(Quantised, OperatorsOfOnnxRuntimeAreThoseOfFloatsRounded) {
  const Numbers in{1.0f / 16, -3};
  const Numbers out{1.0f / 64, 9};
  const Tensor image = Image();
  const auto rounded = [&](size_t i) { return RoundedNumber(image.as<float>()[i], in); };
  struct Row {
    std::string op;
    bool two;
    float (*function)(float);
  };
  const std::vector<Row> rows = {
      {"QLinearAdd", true, [](float x) { return 2 * x; }},
      {"QLinearMul", true, [](float x) { return x * x; }},
      {"QLinearLeakyRelu", false, [](float x) { return x < 0 ? 0.125f * x : x; }},
      {"QLinearSigmoid", false, [](float x) { return 1 / (1 + std::exp(-x)); }},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.op);
    GraphMaker net;
    const ValueId x = net.Input("image", {1, 3, 9, 10});
    const ValueId q = AddNode(net, "QuantizeLinear", {{x}, RoundedTo(net, in)});
    const auto numbered = Numbered(net, q, in);
    const ValueId y = AddNode(
        net, row.op, {numbered, row.two ? numbered : std::vector<ValueId>{}, RoundedTo(net, out)},
        row.op == "QLinearLeakyRelu" ? Attributes{{"alpha", 0.125f}} : Attributes{});
    net.Output(AddNode(net, "DequantizeLinear", {Numbered(net, y, out)}));
    const Outcome got = RunOn(net, image);
    for (size_t i = 0; i < got.output.size(); ++i)
      EXPECT_NEAR(got.output[i], RoundedNumber(row.function(rounded(i)), out), 1e-6) << i;
  }
}

TEST(Quantised, AConcatenationHasScalesOfItsOwn) {
  const Numbers in{1.0f / 16, -3};
  const Numbers other{1.0f / 8, 0};
  const Numbers out{1.0f / 4, 1};
  GraphMaker net;
  const ValueId x = net.Input("image", {1, 3, 9, 10});
  const ValueId a = AddNode(net, "QuantizeLinear", {{x}, RoundedTo(net, in)});
  const ValueId b = AddNode(net, "QuantizeLinear", {{x}, RoundedTo(net, other)});
  const ValueId y = AddNode(net, "QLinearConcat",
                            {RoundedTo(net, out), Numbered(net, a, in), Numbered(net, b, other)},
                            {{"axis", int64_t{1}}});
  net.Output(AddNode(net, "DequantizeLinear", {Numbered(net, y, out)}));
  const Tensor image = Image();
  const Outcome got = RunOn(net, image);
  ASSERT_EQ(got.output.size(), 540u);
  for (size_t i = 0; i < got.output.size(); ++i) {
    const float part = RoundedNumber(image.as<float>()[i % 270], i < 270 ? in : other);
    EXPECT_EQ(got.output[i], RoundedNumber(part, out)) << i;
  }
}

// The largest integer is then the smallest float.
TEST(Quantised, MaximaUnderAScaleBelowZeroAreThoseOfIntegers) {
  const Numbers in{-1.0f / 16, -3};
  GraphMaker net;
  const ValueId x = net.Input("image", {1, 3, 9, 10});
  const ValueId q = AddNode(net, "QuantizeLinear", {{x}, RoundedTo(net, in)});
  const ValueId pool = AddNode(net, "MaxPool", {{q}}, {{"kernel_shape", IntList{2, 2}}});
  net.Output(AddNode(net, "DequantizeLinear", {Numbered(net, pool, in)}));
  const Tensor image = Image();
  const Outcome got = RunOn(net, image);
  ASSERT_EQ(got.output.size(), 3u * 8 * 9);
  for (size_t i = 0; i < got.output.size(); ++i) {
    const size_t first = i / 72 * 90 + i % 72 / 9 * 10 + i % 9;
    float least = std::numeric_limits<float>::infinity();
    for (const size_t at : {first, first + 1, first + 10, first + 11})
      least = std::min(least, RoundedNumber(image.as<float>()[at], in));
    EXPECT_EQ(got.output[i], least) << i;
  }
}

TEST(Quantised, WhatFloatsHaveNoOperatorForIsNamed) {
  const Numbers in{1.0f / 16, -3};
  GraphMaker net;
  const ValueId x = net.Input("image", {1, 3, 9, 10});
  const ValueId q = AddNode(net, "QuantizeLinear", {{x}, RoundedTo(net, in)});
  const ValueId y =
      AddNode(net, "QLinearGlobalAveragePool", {Numbered(net, q, in), RoundedTo(net, in)},
              {{"channels_last", int64_t{1}}});
  net.Output(AddNode(net, "DequantizeLinear", {Numbered(net, y, in)}));
  const auto plan = Plan::Compile(Model(net.graph));
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message.find("QLinearGlobalAveragePool"), std::string::npos);
  EXPECT_NE(plan.error().message.find("these inputs and attributes"), std::string::npos);
}

}  // namespace
}  // namespace deltacnn::testing
