// Repeated pixels spelled without a Resize, neutral arithmetic, reductions of flattened pictures.
#include <random>
#include <string>

#include "run_once.h"

namespace deltacnn::testing {
namespace {

constexpr int64_t kChannels = 3, kRows = 4, kCols = 5;

Tensor Image() {
  std::mt19937 rng(8);
  return RandomTensor(rng, {1, kChannels, kRows, kCols});
}

ValueId Input(GraphMaker& net) { return net.Input("image", {1, kChannels, kRows, kCols}); }

ValueId Ints(GraphMaker& net, const std::vector<int64_t>& values) {
  Tensor tensor(DType::kInt64, {static_cast<int64_t>(values.size())});
  std::ranges::copy(values, tensor.as<int64_t>().begin());
  return net.Constant(std::move(tensor));
}

ValueId Reshape(GraphMaker& net, ValueId x, const std::vector<int64_t>& shape) {
  return net.Add("Reshape", {x, Ints(net, shape)});
}

ValueId Float(GraphMaker& net, float value) {
  Tensor tensor(DType::kFloat32, {});
  tensor.as<float>()[0] = value;
  return net.Constant(std::move(tensor));
}

/// x beside a copy of it that a sum with `shift` has made.
ValueId Doubled(GraphMaker& net, ValueId x, float shift) {
  const ValueId copy = net.Add("Add", {x, Float(net, shift)});
  return net.Add("Concat", {x, copy}, {{"axis", int64_t{1}}});
}

/// Every pixel `times_y` x `times_x` times.
std::vector<float> Enlarged(const Tensor& image, int64_t times_y, int64_t times_x) {
  std::vector<float> result;
  for (int64_t c = 0; c < kChannels; ++c)
    for (int64_t y = 0; y < kRows * times_y; ++y)
      for (int64_t x = 0; x < kCols * times_x; ++x)
        result.push_back(
            image
                .as<float>()[static_cast<size_t>((c * kRows + y / times_y) * kCols + x / times_x)]);
  return result;
}

TEST(Repeats, ConcatenationsOfAValueWithItselfAreAnUpsample) {
  for (const float shift : {0.0f, 1.0f}) {
    GraphMaker net;
    const ValueId columns =
        Doubled(net, Reshape(net, Input(net), {kChannels * kRows * kCols, 1}), shift);
    const ValueId rows = Doubled(net, Reshape(net, columns, {kChannels * kRows, 2 * kCols}), shift);
    net.Output(Reshape(net, rows, {1, kChannels, 2 * kRows, 2 * kCols}));
    const Outcome got = RunOn(net, Image());
    EXPECT_EQ(got.Has("Upsample"), shift == 0) << shift;
    EXPECT_EQ(got.Has("Concat"), shift != 0) << shift;
    if (shift == 0) {
      EXPECT_EQ(got.output, Enlarged(Image(), 2, 2));
    }
  }
}

TEST(Repeats, ExpandBetweenReshapesIsAnUpsample) {
  GraphMaker net;
  const ValueId split = Reshape(net, Input(net), {1, kChannels, kRows, 1, kCols, 1});
  const ValueId grown = net.Add("Expand", {split, Ints(net, {1, 1, 1, 3, 1, 2})});
  net.Output(Reshape(net, grown, {1, kChannels, 3 * kRows, 2 * kCols}));
  const Outcome got = RunOn(net, Image());
  EXPECT_TRUE(got.Has("Upsample"));
  EXPECT_EQ(got.output, Enlarged(Image(), 3, 2));
}

TEST(Repeats, OtherRepetitionsStayWhatTheyAre) {
  GraphMaker net;  // the whole picture twice beside itself: no enlargement
  net.Output(net.Add("Tile", {Input(net), Ints(net, {1, 1, 1, 2})}));
  const Outcome got = RunOn(net, Image());
  EXPECT_FALSE(got.Has("Upsample"));
  const Tensor image = Image();
  for (size_t i = 0; i < got.output.size(); ++i) {
    const size_t row = i / (2 * kCols);
    ASSERT_EQ(got.output[i], image.as<float>()[row * kCols + i % kCols]) << i;
  }
}

ValueId Channels(GraphMaker& net, ValueId x, int64_t begin, int64_t end) {
  return net.Add("Slice", {x, Ints(net, {begin}), Ints(net, {end}), Ints(net, {1})});
}

TEST(Repeats, SlicesThatAreLaidSideBySideAgainAreJoined) {
  // Some channels of the image, in the order of a concatenation, and whether slices remain.
  struct Row {
    std::vector<std::array<int64_t, 2>> slices;
    bool whole;
  };
  const Row rows[] = {{{{0, 1}, {1, 3}}, true},  {{{0, 1}, {1, 2}, {2, 3}}, true},
                      {{{1, 2}, {2, 3}}, false}, {{{1, 3}, {0, 1}}, false},
                      {{{0, 2}, {1, 3}}, false}, {{{0, 1}, {1, 2}, {0, 1}}, false},
                      {{{0, 3}, {0, 3}}, false}};
  const Tensor image = Image();
  for (const Row& row : rows) {
    GraphMaker net;
    const ValueId x = net.Add("Relu", {Input(net)});
    std::vector<ValueId> parts;
    std::vector<float> want;
    for (const auto& [begin, end] : row.slices) {
      parts.push_back(Channels(net, x, begin, end));
      for (int64_t i = begin * kRows * kCols; i < end * kRows * kCols; ++i)
        want.push_back(std::max(image.as<float>()[static_cast<size_t>(i)], 0.0f));
    }
    parts.push_back(net.Add("Sigmoid", {parts[0]}));
    net.Output(net.Add("Concat", parts, {{"axis", int64_t{1}}}));
    const Outcome got = RunOn(net, image);
    ASSERT_GT(got.output.size(), want.size());
    EXPECT_TRUE(std::equal(want.begin(), want.end(), got.output.begin()));

    GraphMaker only;  // without further readers
    const ValueId y = only.Add("Relu", {Input(only)});
    parts.clear();
    for (const auto& [begin, end] : row.slices) parts.push_back(Channels(only, y, begin, end));
    only.Output(only.Add("Concat", parts, {{"axis", int64_t{1}}}));
    const Outcome alone = RunOn(only, image);
    EXPECT_EQ(alone.output, want);
    EXPECT_EQ(!alone.Has("Slice") && !alone.Has("Relayout"), row.whole);
  }
}

TEST(Repeats, NeutralArithmeticDisappears) {
  GraphMaker net;
  const ValueId x = Input(net);
  const ValueId same = net.Add("Mul", {net.Add("Sub", {x, Float(net, 0)}), Float(net, 1)});
  net.Output(net.Add("Relu", {net.Add("Add", {same, net.Add("Div", {same, Float(net, 2)})})}));
  const Outcome got = RunOn(net, Image());
  EXPECT_TRUE(got.Has("Pointwise+Add+Relu") || got.Has("Pointwise+Div+Add+Relu"));
  const Tensor image = Image();
  for (size_t i = 0; i < got.output.size(); ++i)
    ASSERT_FLOAT_EQ(got.output[i], std::max(0.0f, image.as<float>()[i] * 1.5f)) << i;

  GraphMaker output;  // but not if it makes an output
  output.Output(output.Add("Add", {Input(output), Float(output, 0)}));
  const Outcome kept = RunOn(output, image);
  for (size_t i = 0; i < kept.output.size(); ++i)
    ASSERT_EQ(kept.output[i], image.as<float>()[i]) << i;
}

TEST(Repeats, AReductionOfAFlattenedPictureReducesItsRows) {
  const Tensor image = Image();
  for (const Shape& flat : {Shape{1, kChannels, 1, kRows * kCols}, Shape{1, kChannels, -1}}) {
    for (const int64_t keepdims : {0, 1}) {
      GraphMaker net;
      const ValueId flattened = Reshape(net, Input(net), flat);
      const auto axis = static_cast<int64_t>(flat.size()) - 1;
      net.Output(net.Add("ReduceMean", {flattened, Ints(net, {axis})}, {{"keepdims", keepdims}}));
      const Outcome got = RunOn(net, image);
      // Without its axis of one element, [1,C,1] is no longer a reduction of the whole picture.
      const bool whole = keepdims == 1 || flat.size() == 3;
      EXPECT_EQ(got.Has("RowReduce"), whole) << ToString(flat) << " " << keepdims;
      ASSERT_EQ(got.output.size(), static_cast<size_t>(kChannels));
      for (size_t c = 0; c < kChannels; ++c) {
        double sum = 0;
        for (size_t i = 0; i < kRows * kCols; ++i) sum += image.as<float>()[c * kRows * kCols + i];
        ASSERT_NEAR(got.output[c], sum / (kRows * kCols), 1e-6) << ToString(flat) << " " << c;
      }
    }
  }
}

}  // namespace
}  // namespace deltacnn::testing
