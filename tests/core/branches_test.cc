// What weights take in: products, scales and shifts of channels, parallel branches.
#include <algorithm>
#include <random>
#include <string>

#include "run_once.h"

namespace deltacnn::testing {
namespace {

constexpr int64_t kChannels = 6, kRows = 9, kCols = 10;

Tensor Image() {
  std::mt19937 rng(3);
  return RandomTensor(rng, {1, kChannels, kRows, kCols});
}

/// Runs a network on the picture, and the same with what `build` names made an output too, so that
/// nothing can be folded. Expects equal answers; returns the first outcome.
template <class Build>
Outcome FoldedLikeApart(Build&& build) {
  const auto run = [&](bool apart) {
    GraphMaker net;
    std::vector<ValueId> inner;
    net.Output(build(net, net.Input("image", {1, kChannels, kRows, kCols}), inner));
    if (apart) std::ranges::for_each(inner, [&](ValueId id) { net.Output(id); });
    return RunOn(net, Image());
  };
  const Outcome folded = run(false);
  const Outcome apart = run(true);
  EXPECT_EQ(folded.output.size(), apart.output.size());
  for (size_t i = 0; i < std::min(folded.output.size(), apart.output.size()); ++i)
    EXPECT_NEAR(folded.output[i], apart.output[i], 2e-5) << i;
  EXPECT_GT(apart.ops.size(), folded.ops.size());
  return folded;
}

ValueId PerChannel(GraphMaker& net, std::mt19937& rng, Shape shape) {
  return net.Constant(RandomTensor(rng, std::move(shape)));
}

ValueId Normalised(GraphMaker& net, std::mt19937& rng, ValueId x) {
  const auto vector = [&](float low, float high) {
    return net.Constant(RandomTensor(rng, {net.shape(x)[1]}, low, high));
  };
  return net.Add("BatchNormalization",
                 {x, vector(0.5f, 2), vector(-1, 1), vector(-1, 1), vector(0.5f, 2)});
}

TEST(Branches, ScalesAndShiftsFoldIntoAConvolution) {
  const Outcome got = FoldedLikeApart([](GraphMaker& net, ValueId x, auto& inner) {
    std::mt19937 rng(1);
    inner.push_back(net.Conv(rng, x, 5, 3, 1, 1));
    inner.push_back(net.Add("Mul", {PerChannel(net, rng, {5, 1, 1}), inner.back()}));
    inner.push_back(net.Add("Add", {inner.back(), PerChannel(net, rng, {1, 5, 1, 1})}));
    inner.push_back(Normalised(net, rng, inner.back()));
    return net.Add("Relu", {net.Add("Mul", {inner.back(), PerChannel(net, rng, {})})});
  });
  EXPECT_EQ(got.ops, (std::vector<std::string>{"Conv+Relu", "Output"}));
}

TEST(Branches, WhatIsNotOneNumberAChannelStaysBehindTheConvolution) {
  for (const Shape& shape : {Shape{kRows, kCols}, Shape{5, 1, kCols}, Shape{kCols}}) {
    GraphMaker net;
    std::mt19937 rng(1);
    const ValueId conv =
        net.Conv(rng, net.Input("image", {1, kChannels, kRows, kCols}), 5, 3, 1, 1);
    net.Output(net.Add("Mul", {conv, PerChannel(net, rng, shape)}));
    EXPECT_TRUE(RunOn(net, Image()).Has("Conv+Mul")) << ToString(shape);
  }
}

TEST(Branches, AProductTakesItsBiasAndAFunction) {
  const Outcome got = FoldedLikeApart([](GraphMaker& net, ValueId x, auto& inner) {
    std::mt19937 rng(1);
    const ValueId nhwc = net.Add("Transpose", {x}, {{"perm", IntList{0, 2, 3, 1}}});
    const ValueId weights = net.Constant(RandomTensor(rng, {kChannels, 7}));
    inner.push_back(net.Add("MatMul", {nhwc, weights}));
    inner.push_back(net.Add("Add", {PerChannel(net, rng, {7}), inner.back()}));
    return net.Add("Relu", {inner.back()});
  });
  EXPECT_EQ(got.ops, std::vector<std::string>{"Linear+Relu"});
}

TEST(Branches, ParallelConvolutionsAreOne) {
  struct Case {
    int64_t kernel, stride, groups;
  };
  for (const Case& test : {Case{3, 1, 1}, Case{3, 2, 1}, Case{5, 1, 2}, Case{7, 1, kChannels}}) {
    const auto kernel = test.kernel, stride = test.stride, groups = test.groups;
    SCOPED_TRACE(std::to_string(kernel) + "x" + std::to_string(kernel));
    const Outcome got = FoldedLikeApart([&](GraphMaker& net, ValueId x, auto& inner) {
      std::mt19937 rng(1);
      ValueId sum = kNoValue;
      const auto add = [&](ValueId branch) {
        inner.push_back(branch);
        sum = sum == kNoValue ? branch : net.Add("Add", {sum, branch});
      };
      add(net.Conv(rng, x, kChannels, 1, stride, 0, groups));
      add(Normalised(net, rng, net.Conv(rng, x, kChannels, kernel, stride, kernel / 2, groups)));
      add(net.Conv(rng, x, kChannels, 3, stride, 1, groups));
      if (stride == 1) add(Normalised(net, rng, x));
      return net.Add("Relu", {sum});
    });
    EXPECT_EQ(got.ops, (std::vector<std::string>{"Conv+Relu", "Output"}));
  }
}

TEST(Branches, OthersStayApart) {
  struct Case {
    std::string name;
    ValueId (*build)(GraphMaker& net, std::mt19937& rng, ValueId x);
  };
  const Case cases[] = {
      {"taps lie between those of the other",
       [](GraphMaker& net, std::mt19937& rng, ValueId x) {
         const ValueId weights = net.Constant(RandomTensor(rng, {6, kChannels, 3, 3}));
         const ValueId wide = net.Add(
             "Conv", {x, weights}, {{"dilations", IntList{2, 2}}, {"pads", IntList{2, 2, 2, 2}}});
         return net.Add("Add", {wide, net.Conv(rng, x, 6, 3, 1, 1)});
       }},
      {"groups differ",
       [](GraphMaker& net, std::mt19937& rng, ValueId x) {
         return net.Add("Add", {net.Conv(rng, x, 6, 3, 1, 1), net.Conv(rng, x, 6, 3, 1, 1, 2)});
       }},
      {"inputs differ",
       [](GraphMaker& net, std::mt19937& rng, ValueId x) {
         const ValueId y = net.Add("Relu", {x});
         return net.Add("Add", {net.Conv(rng, x, 6, 3, 1, 1), net.Conv(rng, y, 6, 3, 1, 1)});
       }},
      {"one is read twice",
       [](GraphMaker& net, std::mt19937& rng, ValueId x) {
         const ValueId y = net.Conv(rng, x, 6, 3, 1, 1);
         return net.Add("Concat", {y, net.Add("Add", {y, net.Conv(rng, x, 6, 3, 1, 1)})},
                        {{"axis", int64_t{1}}});
       }},
  };
  for (const Case& test : cases) {
    GraphMaker net;
    std::mt19937 rng(1);
    net.Output(test.build(net, rng, net.Input("image", {1, kChannels, kRows, kCols})));
    const Outcome got = RunOn(net, Image());
    EXPECT_EQ(std::ranges::count_if(got.ops,
                                    [](const std::string& op) { return op.starts_with("Conv"); }),
              2)
        << test.name;
  }
}

/// A narrow convolution and a depthwise one behind it.
ValueId Head(GraphMaker& net, std::mt19937& rng, ValueId x, int64_t outputs, int64_t stride = 1) {
  return net.Conv(rng, net.Conv(rng, x, outputs, 1), outputs, 3, stride, 1, outputs);
}

TEST(Branches, NarrowHeadsAreOnePair) {
  const auto run = [](bool merged) {
    std::vector<float> all;
    for (const size_t shown : {0, 1, 2}) {
      GraphMaker net;
      std::mt19937 rng(1);
      const ValueId x = net.Add("Relu", {net.Input("image", {1, kChannels, kRows, kCols})});
      std::vector<ValueId> heads;
      for (const int64_t outputs : {1, 10, 4}) heads.push_back(Head(net, rng, x, outputs));
      // Each for itself, or all of one network.
      net.Output(net.Add("Sigmoid", {heads[shown]}));
      if (merged) std::ranges::for_each(heads, [&](ValueId head) { net.Output(head); });
      const Outcome got = RunOn(net, Image());
      EXPECT_EQ(std::ranges::count(got.ops, "Conv"), merged ? 2 : 1);
      all.insert(all.end(), got.output.begin(), got.output.end());
    }
    return all;
  };
  const std::vector<float> together = run(true), apart = run(false);
  ASSERT_EQ(together.size(), apart.size());
  for (size_t i = 0; i < together.size(); ++i) ASSERT_NEAR(together[i], apart[i], 1e-5) << i;
}

TEST(Branches, NarrowHeadsWithoutDepthwiseConvolutionsAreOne) {
  const auto run = [](bool apart) {
    GraphMaker net;
    std::mt19937 rng(1);
    const ValueId x = net.Input("image", {1, kChannels, kRows, kCols});
    std::vector<ValueId> heads;
    for (const int64_t outputs : {8, 4, 20}) {
      const ValueId conv = net.Conv(rng, x, outputs, 3, 1, 1);
      const ValueId turned = net.Add("Transpose", {conv}, {{"perm", IntList{0, 2, 3, 1}}});
      Tensor shape(DType::kInt64, {3});
      std::ranges::copy(Shape{1, -1, 4}, shape.as<int64_t>().begin());
      heads.push_back(net.Add("Reshape", {turned, net.Constant(std::move(shape))}));
      if (apart) net.Output(conv);
    }
    const ValueId all = net.Add("Concat", heads, {{"axis", int64_t{1}}});
    std::ranges::reverse(net.graph.outputs);
    net.graph.outputs.insert(net.graph.outputs.begin(), all);
    return RunOn(net, Image());
  };
  const Outcome one = run(false);
  const Outcome apart = run(true);
  EXPECT_EQ(std::ranges::count(one.ops, "Conv"), 1);
  EXPECT_EQ(std::ranges::count(apart.ops, "Conv"), 3);
  ASSERT_EQ(one.output.size(), apart.output.size());
  for (size_t i = 0; i < one.output.size(); ++i) ASSERT_NEAR(one.output[i], apart.output[i], 1e-5);
}

TEST(Branches, OtherHeadsStayApart) {
  const auto convolutions = [](auto&& build) {
    GraphMaker net;
    std::mt19937 rng(1);
    build(net, rng, net.Input("image", {1, kChannels, kRows, kCols}));
    const Outcome got = RunOn(net, Image());
    return std::ranges::count_if(got.ops, [](const auto& op) { return op.starts_with("Conv"); });
  };
  EXPECT_EQ(convolutions([](GraphMaker& net, std::mt19937& rng, ValueId x) {  // other strides
              net.Output(Head(net, rng, x, 3));
              net.Output(Head(net, rng, x, 3, 2));
            }),
            4);
  EXPECT_EQ(convolutions([](GraphMaker& net, std::mt19937& rng, ValueId x) {  // one is not narrow
              net.Output(Head(net, rng, x, 3));
              net.Output(Head(net, rng, x, 40));
            }),
            4);
  EXPECT_EQ(convolutions([](GraphMaker& net, std::mt19937& rng, ValueId x) {  // no fewer vectors
              net.Output(Head(net, rng, x, 7));
              net.Output(Head(net, rng, x, 12));
            }),
            4);
  EXPECT_EQ(convolutions([](GraphMaker& net, std::mt19937& rng, ValueId x) {  // read in between
              const ValueId conv = net.Conv(rng, x, 3, 1);
              net.Output(conv);
              net.Output(net.Conv(rng, conv, 3, 3, 1, 1, 3));
              net.Output(Head(net, rng, x, 3));
            }),
            4);
}

TEST(Branches, WeightsAreStandardisedWhenPlanning) {
  GraphMaker net;
  std::mt19937 rng(1);
  const ValueId image = net.Input("image", {1, kChannels, kRows, kCols});
  const Tensor weights = RandomTensor(rng, {1, 4, kChannels * 9});
  const auto vector = [&](float value) {
    Tensor tensor(DType::kFloat32, {4});
    std::ranges::fill(tensor.as<float>(), value);
    return net.Constant(std::move(tensor));
  };
  Tensor filters(DType::kInt64, {4});
  std::ranges::copy(Shape{4, kChannels, 3, 3}, filters.as<int64_t>().begin());
  const ValueId standard = net.AddUnchecked(
      "BatchNormalization", {net.Constant(weights), vector(2), vector(0.5f), vector(0), vector(1)},
      {{"training_mode", int64_t{1}}, {"epsilon", 0.0f}})[0];
  const ValueId reshaped =
      net.AddUnchecked("Reshape", {standard, net.Constant(std::move(filters))})[0];
  net.Output(net.AddUnchecked("Conv", {image, reshaped})[0]);
  const Outcome got = RunOn(net, Image());
  EXPECT_EQ(got.ops, (std::vector<std::string>{"Conv", "Output"}));

  const Tensor picture = Image();
  const auto x = picture.as<float>();
  const auto w = weights.as<float>();
  constexpr size_t kTaps = kChannels * 9;
  for (size_t o = 0; o < 4; ++o) {
    double mean = 0, square = 0;
    for (size_t k = 0; k < kTaps; ++k) mean += w[o * kTaps + k] / double{kTaps};
    for (size_t k = 0; k < kTaps; ++k) square += std::pow(w[o * kTaps + k] - mean, 2) / kTaps;
    double sum = 0;  // of the first output pixel
    for (size_t k = 0; k < kTaps; ++k) {
      const size_t c = k / 9, row = k / 3 % 3, col = k % 3;
      sum += (2 * (w[o * kTaps + k] - mean) / std::sqrt(square) + 0.5) *
             x[(c * kRows + row) * kCols + col];
    }
    EXPECT_NEAR(got.output[o * (kRows - 2) * (kCols - 2)], sum, 1e-4);
  }
}

}  // namespace
}  // namespace deltacnn::testing
