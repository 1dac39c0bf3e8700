// Convolutions behind 2x2 patches made channels: folded where that is the same, else left alone.
#include <algorithm>
#include <limits>
#include <random>
#include <string>

#include "run_once.h"

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
  const Outcome got = net(false);
  const Outcome want = net(true);
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
  Check({1, 3, 12, 10}, false, [](GraphMaker& net, ValueId x) {  // one place twice
    const ValueId first = Sample(net, x, 0, 0);
    return net.Add("Concat", {first, Sample(net, x, 1, 0), first, Sample(net, x, 1, 1)},
                   {{"axis", int64_t{1}}});
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

TEST(Patches, OfStridesThatCannotDoubleStay) {
  GraphMaker maker;
  const ValueId patches =
      maker.Add("SpaceToDepth", {maker.Input("image", {1, 1, 4, 4})}, {{"blocksize", int64_t{2}}});
  std::mt19937 rng(5);
  maker.Output(maker.Conv(rng, patches, 2, 1, int64_t{1} << 24));
  const Outcome run = RunOn(maker, RandomTensor(rng, {1, 1, 4, 4}));
  EXPECT_EQ(run.output.size(), 2u);
  EXPECT_EQ(std::ranges::count(run.ops, "SpaceToDepth"), 1);
}

}  // namespace
}  // namespace deltacnn::testing
