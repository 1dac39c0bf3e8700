// Convolutions behind 2x2 patches made channels: folded where that is the same, else left alone.
#include <random>

#include "graph_maker.h"

namespace deltacnn::testing {
namespace {

/// One chained slice an axis, as exporters write x[..., row::2, col::2].
ValueId Sample(GraphMaker& net, ValueId x, int64_t row, int64_t col, int64_t step = 2) {
  constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();
  const auto ints = [&](int64_t value) {
    Tensor tensor(DType::kInt64, {1});
    tensor.as<int64_t>()[0] = value;
    return net.Constant(std::move(tensor));
  };
  const ValueId rows = net.Add("Slice", {x, ints(row), ints(kEnd), ints(2), ints(step)});
  return net.Add("Slice", {rows, ints(col), ints(kEnd), ints(-1), ints(step)});
}

struct Run {
  std::vector<float> output;
  std::vector<std::string> ops;
};

Run RunOn(const GraphMaker& net, const Tensor& image) {
  auto plan = Plan::Compile(Model(net.graph));
  EXPECT_TRUE(plan.ok());
  auto stream = Stream::Create(*plan);
  EXPECT_TRUE(stream.ok());
  EXPECT_TRUE(stream->SetInput(0, image).ok());
  EXPECT_TRUE(stream->Step().ok());
  const auto out = stream->Output(0).as<float>();
  Run run{{out.begin(), out.end()}, {}};
  for (const auto& layer : (*plan)->layers()) run.ops.push_back(layer.op);
  return run;
}

/// Runs a network as it is, and with the patches an output too, which keeps them. `folds`: whether
/// the first is one convolution.
template <class Build>
void Check(const Shape& shape, bool folds, Build&& build) {
  std::mt19937 rng(3);
  const Tensor image = RandomTensor(rng, shape);
  const auto net = [&](bool keep) {
    std::mt19937 weights(4);
    GraphMaker maker;
    const ValueId patches = build(maker, maker.Input("image", shape));
    maker.Output(maker.Conv(weights, patches, 5, 3, 1, 1));
    if (keep) maker.Output(patches);
    return RunOn(maker, image);
  };
  const Run got = net(false);
  const Run want = net(true);
  ASSERT_EQ(got.output.size(), want.output.size());
  for (size_t i = 0; i < got.output.size(); ++i)
    ASSERT_NEAR(got.output[i], want.output[i], 1e-5) << i;
  const auto convs = std::ranges::count(got.ops, "Conv");
  EXPECT_EQ(convs, 1);
  EXPECT_EQ(std::ranges::count(got.ops, "Slice") + std::ranges::count(got.ops, "Concat") +
                    std::ranges::count(got.ops, "SpaceToDepth") ==
                0,
            folds);
}

TEST(Patches, BecomePartOfTheConvolution) {
  Check({1, 3, 12, 10}, true, [](GraphMaker& net, ValueId x) {
    return net.Add(
        "Concat",
        {Sample(net, x, 0, 0), Sample(net, x, 1, 0), Sample(net, x, 0, 1), Sample(net, x, 1, 1)},
        {{"axis", int64_t{1}}});
  });
  Check({2, 3, 12, 10}, true, [](GraphMaker& net, ValueId x) {
    return net.Add("SpaceToDepth", {x}, {{"blocksize", int64_t{2}}});
  });
}

TEST(Patches, OfOtherShapesStay) {
  Check({1, 3, 11, 10}, false, [](GraphMaker& net, ValueId x) {  // the last row is cut
    const ValueId first = Sample(net, x, 1, 0);
    return net.Add("Concat", {first, first, first, Sample(net, x, 1, 1)}, {{"axis", int64_t{1}}});
  });
  Check({1, 3, 12, 12}, false, [](GraphMaker& net, ValueId x) {
    return net.Add("Concat",
                   {Sample(net, x, 0, 0, 3), Sample(net, x, 1, 0, 3), Sample(net, x, 0, 1, 3),
                    Sample(net, x, 1, 1, 3)},
                   {{"axis", int64_t{1}}});
  });
  Check({1, 2, 12, 12}, false, [](GraphMaker& net, ValueId x) {  // places start behind the patch
    return net.Add(
        "Concat",
        {Sample(net, x, 2, 0), Sample(net, x, 3, 0), Sample(net, x, 2, 1), Sample(net, x, 3, 1)},
        {{"axis", int64_t{1}}});
  });
}

}  // namespace
}  // namespace deltacnn::testing
