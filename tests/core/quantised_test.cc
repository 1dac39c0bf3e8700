// Networks prepared for integer arithmetic, run in floats.
#include <cmath>
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

}  // namespace
}  // namespace deltacnn::testing
