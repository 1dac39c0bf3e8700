// A depthwise or narrow convolution and the 1x1 convolution behind it: one step with the bits of
// two.
#include <algorithm>
#include <cstring>
#include <random>
#include <string>

#include "run_once.h"

namespace deltacnn::testing {
namespace {

struct Case {
  const char* name;
  Shape shape;
  int64_t outputs_a_channel = 1;  // of the depthwise convolution
  int64_t outputs = 12;
  int64_t kernel = 3;
  int64_t stride = 1;
  const char* between = "";  // an activation; "Gelu" has no kernel of its own in the epilogue
  bool fuses = true;
  bool bias = true;
  int64_t pointwise_kernel = 1;
  int64_t narrow = 0;  // outputs of a first convolution that is not depthwise
};

ValueId Build(GraphMaker& net, const Case& c, bool keep_between) {
  std::mt19937 rng(4);
  net.most_elements = 1 << 20;
  const ValueId image = net.Input("image", c.shape);
  const int64_t channels = c.shape[1];
  const int64_t between = c.narrow > 0 ? c.narrow : channels * c.outputs_a_channel;
  const int64_t groups = c.narrow > 0 ? 1 : channels;
  const int64_t pad = c.kernel / 2;
  const Shape filters = {between, channels / groups, c.kernel, c.kernel};
  std::vector<ValueId> inputs = {image, net.Constant(RandomTensor(rng, filters))};
  if (c.bias) inputs.push_back(net.Constant(RandomTensor(rng, {between})));
  ValueId x = net.Add("Conv", inputs,
                      {{"group", groups},
                       {"pads", IntList{pad, pad, pad, pad}},
                       {"strides", IntList{c.stride, c.stride}}});
  if (std::string(c.between) == "Swish") {
    x = net.Add("Mul", {x, net.Add("Sigmoid", {x})});
  } else if (*c.between != 0) {
    x = net.Add(c.between, {x});
  }
  const ValueId y = net.Conv(rng, x, c.outputs, c.pointwise_kernel);
  net.Output(net.Add("Relu", {y}));
  if (keep_between) net.Output(x);
  return x;
}

TEST(Separable, OneStepHasTheBitsOfTwo) {
  const Case cases[] = {
      {.name = "plain", .shape = {1, 8, 11, 13}},
      {.name = "relu", .shape = {1, 8, 11, 13}, .between = "Relu"},
      {.name = "leaky", .shape = {1, 19, 7, 9}, .between = "LeakyRelu"},
      {.name = "silu", .shape = {1, 16, 11, 13}, .between = "Swish"},
      {.name = "stride 2", .shape = {1, 24, 12, 17}, .stride = 2, .between = "HardSwish"},
      {.name = "5x5, batch", .shape = {2, 6, 9, 40}, .outputs = 40, .kernel = 5},
      {.name = "wide", .shape = {1, 300, 5, 5}, .outputs = 70, .between = "Relu"},
      {.name = "two outputs a channel", .shape = {1, 6, 9, 9}, .outputs_a_channel = 2},
      {.name = "no bias", .shape = {1, 8, 9, 9}, .bias = false},
      {.name = "first layer",
       .shape = {1, 3, 18, 22},
       .stride = 2,
       .between = "Relu",
       .narrow = 16},
      {.name = "1x1 twice", .shape = {1, 40, 9, 9}, .kernel = 1, .between = "Swish", .narrow = 30},
      {.name = "1x1, few to many", .shape = {2, 7, 9, 9}, .outputs = 70, .kernel = 1, .narrow = 5},
      {.name = "wide first", .shape = {1, 3, 18, 22}, .stride = 2, .fuses = false, .narrow = 33},
      {.name = "dots first", .shape = {1, 80, 9, 9}, .fuses = false, .narrow = 4},
      {.name = "Winograd first", .shape = {1, 32, 40, 40}, .fuses = false, .narrow = 32},
      {.name = "few outputs", .shape = {1, 80, 9, 9}, .outputs = 3, .fuses = false},
      {.name = "not 1x1", .shape = {1, 8, 9, 9}, .fuses = false, .pointwise_kernel = 2},
  };
  for (const Case& c : cases) {
    std::mt19937 rng(3);
    const Tensor image = RandomTensor(rng, c.shape);
    GraphMaker fused;
    Build(fused, c, false);
    GraphMaker apart;
    Build(apart, c, true);
    const Outcome got = RunOn(fused, image);
    const Outcome want = RunOn(apart, image);
    ASSERT_EQ(got.output.size(), want.output.size()) << c.name;
    EXPECT_EQ(std::memcmp(got.output.data(), want.output.data(), 4 * got.output.size()), 0)
        << c.name;
    EXPECT_EQ(std::ranges::count(got.ops, "SeparableConv+Relu"), c.fuses ? 1 : 0) << c.name;
    EXPECT_EQ(std::ranges::count(want.ops, "SeparableConv+Relu"), 0) << c.name;
  }
}

}  // namespace
}  // namespace deltacnn::testing
