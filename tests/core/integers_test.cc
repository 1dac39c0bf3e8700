// Networks as dynamic quantisers write them: every frame has a scale of its own.
#include <cmath>
#include <random>

#include "graph_maker.h"
#include "onnx_writer.h"

namespace deltacnn::testing {
namespace {

constexpr int kSide = 7;
constexpr int kInputs = 2;
constexpr int kOutputs = 3;

struct Weights {
  std::vector<uint8_t> filters;      // [kOutputs, kInputs, 3, 3]
  std::vector<uint8_t> zero_points;  // of each output
};

Weights RandomWeights(std::mt19937& rng) {
  Weights weights{std::vector<uint8_t>(size_t{kOutputs} * kInputs * 9),
                  std::vector<uint8_t>(kOutputs)};
  for (uint8_t& w : weights.filters) w = static_cast<uint8_t>(rng());
  for (uint8_t& z : weights.zero_points) z = static_cast<uint8_t>(120 + rng() % 16);
  return weights;
}

/// DynamicQuantizeLinear, ConvInteger, Cast, Mul, each read as exporters do.
onnx::ModelBuilder Network(const Weights& weights) {
  const auto raw = [](const std::vector<uint8_t>& bytes) {
    return std::string(bytes.begin(), bytes.end());
  };
  onnx::ModelBuilder model;
  model.Input("x", {"1", std::to_string(kInputs), std::to_string(kSide), std::to_string(kSide)})
      .Initializer(
          onnx::RawTensor("w", onnx::kUint8, {kOutputs, kInputs, 3, 3}, raw(weights.filters)))
      .Initializer(onnx::RawTensor("wz", onnx::kUint8, {kOutputs}, raw(weights.zero_points)))
      .Node("DynamicQuantizeLinear", {"x"}, {"q", "scale", "zero"})
      .Node("ConvInteger", {"q", "w", "zero", "wz"}, {"sums"},
            {onnx::IntsAttribute("pads", {1, 1, 1, 1})})
      .Node("Cast", {"sums"}, {"floats"}, {OnnxAttribute("to", Attribute(int64_t{1}))})
      .Node("Mul", {"floats", "scale"}, {"y"})
      .Output("y")
      .Output("sums");
  return model;
}

/// The sums in integers, and the scale.
std::pair<std::vector<int32_t>, float> Expected(const Tensor& x, const Weights& weights) {
  const auto data = x.as<float>();
  const float low = std::min(*std::ranges::min_element(data), 0.0f);
  const float high = std::max(*std::ranges::max_element(data), 0.0f);
  const float scale = high == low ? 1 : (high - low) / 255;
  const float zero = std::nearbyint(std::clamp(-(low / scale), 0.0f, 255.0f));
  const auto integer = [&](int c, int row, int col) {
    if (row < 0 || row >= kSide || col < 0 || col >= kSide) return 0;
    const float v = data[static_cast<size_t>((c * kSide + row) * kSide + col)];
    const float q = std::clamp(std::nearbyint(v / scale) + zero, 0.0f, 255.0f);
    return static_cast<int>(q) - static_cast<int>(zero);
  };
  std::vector<int32_t> sums;
  for (int o = 0; o < kOutputs; ++o) {
    for (int at = 0; at < kSide * kSide; ++at) {
      int32_t sum = 0;
      for (int k = 0; k < kInputs * 9; ++k)
        sum += integer(k / 9, at / kSide + k % 9 / 3 - 1, at % kSide + k % 3 - 1) *
               (weights.filters[static_cast<size_t>(o * kInputs * 9 + k)] -
                weights.zero_points[static_cast<size_t>(o)]);
      sums.push_back(sum);
    }
  }
  return {sums, scale};
}

TEST(Integers, OfEveryFramesOwnScaleAreExact) {
  std::mt19937 rng(4);
  const Weights weights = RandomWeights(rng);
  const auto model = Model::Parse(Network(weights).Bytes());
  ASSERT_TRUE(model.ok()) << model.error().message;
  const auto plan = Plan::Compile(**model);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  auto stream = Stream::Create(*plan);
  ASSERT_TRUE(stream.ok());
  Tensor x(DType::kFloat32, {1, kInputs, kSide, kSide});  // zeros first: nothing to scale by
  for (int step = 0; step < 30; ++step) {
    if (step > 0) Perturb(x, rng);
    if (step % 7 == 3) x.as<float>()[rng() % 98] = step % 2 == 0 ? 9.0f : -20.0f;
    if (step % 7 == 5)
      for (float& v : x.as<float>()) v = std::fabs(v);
    ASSERT_TRUE(stream->SetInput(0, x).ok());
    ASSERT_TRUE(stream->Step().ok());
    const auto [sums, scale] = Expected(x, weights);
    const auto y = stream->Output(0).as<float>();
    const auto integers = stream->Output(1).as<int32_t>();
    for (size_t i = 0; i < sums.size(); ++i) {
      EXPECT_EQ(integers[i], sums[i]) << "step " << step << ", element " << i;
      EXPECT_EQ(y[i], static_cast<float>(sums[i]) * scale);
    }
  }
}

TEST(Integers, ZeroPointsInUnknownPlacesAreRefused) {
  onnx::ModelBuilder model;
  model.Input("x", {"1", "2", "4", "4"}, onnx::kUint8)
      .Input("w", {"2", "2", "1", "1"}, onnx::kUint8)
      .Input("wz", {"2", "1"}, onnx::kUint8)
      .Node("ConvInteger", {"x", "w", "", "wz"}, {"y"}, {}, "conv")
      .Output("y");
  const auto parsed = Model::Parse(model.Bytes());
  ASSERT_TRUE(parsed.ok());
  const auto plan = Plan::Compile(**parsed);
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message.find("'conv' (ConvInteger)"), std::string::npos);
}

}  // namespace
}  // namespace deltacnn::testing
