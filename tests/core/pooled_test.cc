// A convolution and the maximum pool behind it: one step with the bits of two.
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
  int64_t outputs = 0;  // 0: a depthwise convolution
  int64_t kernel = 3;
  int64_t stride = 1;
  const char* between = "";
  IntList window = {2, 2};
  IntList steps = {2, 2};
  IntList pads = {0, 0, 0, 0};
  int64_t ceil_mode = 0;
  const char* pool = "MaxPool";
  bool fuses = true;
};

GraphMaker Build(const Case& c, bool keep_between) {
  std::mt19937 rng(4);
  GraphMaker net;
  net.most_elements = 1 << 20;
  const ValueId image = net.Input("image", c.shape);
  const int64_t channels = c.shape[1];
  ValueId x = net.Conv(rng, image, c.outputs > 0 ? c.outputs : channels, c.kernel, c.stride,
                       c.kernel / 2, c.outputs > 0 ? 1 : channels);
  if (std::string(c.between) == "Swish") {
    x = net.Add("Mul", {x, net.Add("Sigmoid", {x})});
  } else if (*c.between != 0) {
    x = net.Add(c.between, {x});
  }
  net.Output(net.Add(c.pool, {x},
                     {{"kernel_shape", c.window},
                      {"strides", c.steps},
                      {"pads", c.pads},
                      {"ceil_mode", c.ceil_mode}}));
  if (keep_between) net.Output(x);
  return net;
}

const Case kCases[] = {
    {.name = "depthwise", .shape = {1, 8, 12, 14}, .between = "Relu"},
    {.name = "several tiles", .shape = {1, 20, 71, 90}, .between = "Swish"},
    {.name = "first layer", .shape = {1, 3, 75, 70}, .outputs = 16, .stride = 2, .between = "Relu"},
    {.name = "two panels", .shape = {1, 5, 40, 50}, .outputs = 64, .kernel = 5},
    {.name = "cut off", .shape = {1, 6, 13, 15}, .between = "LeakyRelu"},
    {.name = "ceil mode", .shape = {1, 6, 13, 15}, .ceil_mode = 1},
    {.name = "padded", .shape = {1, 6, 12, 35}, .pads = {1, 1, 1, 1}},
    {.name = "3x3", .shape = {1, 9, 60, 61}, .window = {3, 3}, .steps = {3, 3}},
    {.name = "3x2",
     .shape = {1, 9, 50, 41},
     .window = {3, 2},
     .steps = {3, 2},
     .pads = {2, 0, 2, 1}},
    {.name = "overlapping", .shape = {1, 8, 12, 14}, .window = {3, 3}, .fuses = false},
    {.name = "large", .shape = {1, 8, 12, 16}, .window = {4, 4}, .steps = {4, 4}, .fuses = false},
    {.name = "gaps", .shape = {1, 8, 12, 16}, .steps = {3, 3}, .fuses = false},
    {.name = "batch", .shape = {2, 8, 12, 14}, .fuses = false},
    {.name = "mean", .shape = {1, 8, 12, 14}, .pool = "AveragePool", .fuses = false},
    {.name = "wide", .shape = {1, 3, 12, 14}, .outputs = 65, .fuses = false},
    {.name = "Winograd", .shape = {1, 32, 40, 40}, .outputs = 32, .fuses = false},
};

TEST(Pooled, OneStepHasTheBitsOfTwo) {
  for (const Case& c : kCases) {
    std::mt19937 rng(3);
    const Tensor image = RandomTensor(rng, c.shape);
    const Outcome got = RunOn(Build(c, false), image);
    const Outcome want = RunOn(Build(c, true), image);
    ASSERT_EQ(got.output.size(), want.output.size()) << c.name;
    EXPECT_EQ(std::memcmp(got.output.data(), want.output.data(), 4 * got.output.size()), 0)
        << c.name;
    EXPECT_EQ(got.Has("PooledConv"), c.fuses) << c.name;
    EXPECT_FALSE(want.Has("PooledConv")) << c.name;
  }
}

TEST(Pooled, ChangedPixelsHaveTheBitsOfDenseSteps) {
  for (const Case& c : kCases) {
    std::mt19937 rng(5);
    auto plan = Plan::Compile(Model(Build(c, false).graph));
    ASSERT_TRUE(plan.ok());
    for (const int threads : {1, 2}) {
      StreamOptions options;
      options.threads = threads;
      auto stream = Stream::Create(*plan, options);
      ASSERT_TRUE(stream.ok());
      Tensor image = RandomTensor(rng, c.shape);
      for (int step = 0; step < 12; ++step) {
        ASSERT_TRUE(stream->SetInput(0, image).ok());
        ASSERT_TRUE(stream->Step().ok());
        auto dense = Stream::Create(*plan);
        ASSERT_TRUE(dense.ok());
        ASSERT_TRUE(dense->SetInput(0, image).ok());
        ASSERT_TRUE(dense->Step().ok());
        ASSERT_EQ(OutputsOf(*stream), OutputsOf(*dense)) << c.name << ", step " << step;
        for (size_t changes = rng() % 6; changes > 0; --changes)
          image.as<float>()[rng() % static_cast<size_t>(image.elements())] += 0.5f;
      }
    }
  }
}

}  // namespace
}  // namespace deltacnn::testing
