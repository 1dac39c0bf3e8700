// Passes around moves: gathers as slices, functions before reshapes, heads seen anchor by anchor.
#include <algorithm>
#include <random>
#include <string>

#include "run_once.h"

namespace deltacnn::testing {
namespace {

ValueId Ints(GraphMaker& net, const std::vector<int64_t>& values) {
  Tensor tensor(DType::kInt64, {static_cast<int64_t>(values.size())});
  std::ranges::copy(values, tensor.as<int64_t>().begin());
  return net.Constant(std::move(tensor));
}

ValueId Index(GraphMaker& net, int64_t value) {
  Tensor tensor(DType::kInt64, {});
  tensor.as<int64_t>()[0] = value;
  return net.Constant(std::move(tensor));
}

constexpr int64_t kRows = 5, kCols = 6, kAnchors = 3, kValues = 4;

/// A head as YOLO exports it: [1, anchors * values, y, x] to [1, anchors, y, x, values].
ValueId Head(GraphMaker& net, ValueId image) {
  std::mt19937 weights(4);
  const ValueId map = net.Conv(weights, image, static_cast<int>(kAnchors * kValues), 3, 1, 1);
  const ValueId split = net.Add("Reshape", {map, Ints(net, {1, kAnchors, kValues, kRows, kCols})});
  return net.Add("Transpose", {split}, {{"perm", std::vector<int64_t>{0, 1, 3, 4, 2}}});
}

Tensor Image() {
  std::mt19937 rng(3);
  return RandomTensor(rng, {1, 2, kRows, kCols});
}

TEST(Moves, AFunctionBehindReshapesRunsInTheConvolution) {
  const auto run = [](bool apart) {
    GraphMaker net;
    const ValueId head = Head(net, net.Input("image", {1, 2, kRows, kCols}));
    net.Output(net.Add("Sigmoid", {head}));
    if (apart) net.Output(head);  // read twice: it stays where it is
    return RunOn(net, Image());
  };
  const Outcome fused = run(false);
  const Outcome apart = run(true);
  EXPECT_TRUE(fused.Has("Conv+Sigmoid"));
  EXPECT_FALSE(apart.Has("Conv+Sigmoid"));
  ASSERT_EQ(fused.output.size(), apart.output.size());
  for (size_t i = 0; i < fused.output.size(); ++i)
    ASSERT_NEAR(fused.output[i], apart.output[i], 1e-6) << i;
}

TEST(Moves, FunctionsInARowFollowOneAnother) {
  const auto run = [](bool apart) {
    GraphMaker net;
    const ValueId head = Head(net, net.Input("image", {1, 2, kRows, kCols}));
    net.Output(net.Add("Tanh", {net.Add("Abs", {net.Add("Sigmoid", {head})})}));
    if (apart) net.Output(head);
    return RunOn(net, Image());
  };
  const Outcome fused = run(false);
  const Outcome apart = run(true);
  EXPECT_TRUE(fused.Has("Conv+Sigmoid+Abs+Tanh"));
  ASSERT_EQ(fused.output.size(), apart.output.size());
  for (size_t i = 0; i < fused.output.size(); ++i)
    ASSERT_NEAR(fused.output[i], apart.output[i], 1e-6) << i;
}

TEST(Moves, ASlicedHeadNeedsNoRelayout) {
  GraphMaker net;
  const ValueId head = Head(net, net.Input("image", {1, 2, kRows, kCols}));
  const ValueId part = net.Add("Slice", {head, Ints(net, {1}), Ints(net, {3}), Ints(net, {4})});
  const ValueId twice = net.Add("Add", {part, part});
  net.Output(net.Add("Reshape", {twice, Ints(net, {1, kAnchors * kRows * kCols, 2})}));
  const Outcome got = RunOn(net, Image());
  EXPECT_FALSE(got.Has("Relayout"));

  GraphMaker whole;
  whole.Output(Head(whole, whole.Input("image", {1, 2, kRows, kCols})));
  const Outcome want = RunOn(whole, Image());
  for (size_t i = 0; i < got.output.size(); ++i)
    ASSERT_EQ(got.output[i], 2 * want.output[i / 2 * kValues + 1 + i % 2]) << i;
}

TEST(Moves, AnImageWithItsChannelsLastIsReadWhereItLies) {
  std::mt19937 rng(9);
  GraphMaker net;
  const ValueId image = net.Input("image", {1, 12, 14, 3});
  const ValueId turned = net.Add("Transpose", {image}, {{"perm", IntList{0, 3, 1, 2}}});
  net.Output(net.Conv(rng, turned, 8, 3, 2, 1));
  const Tensor pixels = RandomTensor(rng, {1, 12, 14, 3});
  const Outcome got = RunOn(net, pixels);
  EXPECT_FALSE(got.Has("Transpose") || got.Has("Relayout"));

  GraphMaker first;  // channels first
  std::mt19937 weights(9);
  const ValueId x = first.Input("image", {1, 3, 12, 14});
  first.Output(first.Conv(weights, x, 8, 3, 2, 1));
  Tensor planes(DType::kFloat32, {1, 3, 12, 14});
  for (size_t i = 0; i < 12 * 14; ++i)
    for (size_t c = 0; c < 3; ++c)
      planes.as<float>()[c * 12 * 14 + i] = pixels.as<float>()[i * 3 + c];
  EXPECT_EQ(got.output, RunOn(first, planes).output);
}

TEST(Moves, AReversedSliceStartsWithinItsAxis) {
  const auto slice = [](int64_t start, int64_t end) {
    GraphMaker net;
    const ValueId x = net.Input("x", {3});
    net.Output(net.Add("Slice",
                       {x, Ints(net, {start}), Ints(net, {end}), Ints(net, {0}), Ints(net, {-1})}));
    return RunOn(net, Floats({3}, {1, 2, 3})).output;
  };
  using Elements = std::vector<float>;
  EXPECT_EQ(slice(INT64_MAX, INT64_MIN), Elements({3, 2, 1}));
  EXPECT_EQ(slice(1, -4), Elements({2, 1}));
  EXPECT_EQ(slice(-5, INT64_MIN), Elements({1}));
}

TEST(Moves, AGatherOfAdjacentPositionsIsASlice) {
  const Tensor image = Image();
  const auto x = image.as<float>();
  constexpr size_t kPlane = kRows * kCols;
  const auto gather = [&](auto&& index, int64_t axis) {
    GraphMaker net;
    const ValueId in = net.Input("image", {1, 2, kRows, kCols});
    net.Output(net.Add("Gather", {in, index(net)}, {{"axis", axis}}));
    return RunOn(net, image);
  };
  const Outcome one = gather([](GraphMaker& net) { return Index(net, -1); }, 1);
  EXPECT_FALSE(one.Has("Gather"));
  ASSERT_EQ(one.output.size(), kPlane);
  for (size_t i = 0; i < kPlane; ++i) ASSERT_EQ(one.output[i], x[kPlane + i]);

  const Outcome rows = gather([](GraphMaker& net) { return Ints(net, {-3, 3, 4}); }, -2);
  EXPECT_FALSE(rows.Has("Gather"));
  ASSERT_EQ(rows.output.size(), size_t{2} * 3 * kCols);
  for (size_t i = 0; i < rows.output.size(); ++i) {
    const size_t plane = i / (3 * kCols);
    ASSERT_EQ(rows.output[i], x[plane * kPlane + 2 * kCols + i % (3 * kCols)]) << i;
  }

  const Outcome turned = gather([](GraphMaker& net) { return Ints(net, {1, 0}); }, 1);
  EXPECT_TRUE(turned.Has("Gather"));
  for (size_t i = 0; i < 2 * kPlane; ++i)
    ASSERT_EQ(turned.output[i], x[(i + kPlane) % (2 * kPlane)]);
}

/// Pixels whose channels lie far apart: what changed is found in the time that the elements take
/// (here a moment; it was minutes).
TEST(Moves, ManyChannelsOfFewPixels) {
  constexpr int64_t kDepth = int64_t{1} << 16, kBlock = 4;
  GraphMaker net;
  net.most_elements = int64_t{1} << 30;
  const ValueId image = net.Input("image", {1, kDepth * kBlock * kBlock, 1, 1});
  net.Output(net.Add("DepthToSpace", {image}, {{"blocksize", kBlock}}));
  auto plan = Plan::Compile(Model(net.graph));
  ASSERT_TRUE(plan.ok());
  auto stream = Stream::Create(*plan);
  ASSERT_TRUE(stream.ok());
  std::mt19937 rng(3);
  Tensor values = RandomTensor(rng, {1, kDepth * kBlock * kBlock, 1, 1});
  for (int step = 0; step < 3; ++step) {
    for (size_t i = 0; i < values.as<float>().size(); i += 2 + 7 * static_cast<size_t>(step))
      values.as<float>()[i] += 1;
    ASSERT_TRUE(stream->SetInput(0, values).ok());
    ASSERT_TRUE(stream->Step().ok());
    const auto got = stream->Output(0).as<float>();
    bool same = true;
    for (int64_t c = 0; c < kDepth; ++c) {
      for (int64_t p = 0; p < kBlock * kBlock; ++p) {
        same = same && got[static_cast<size_t>(c * kBlock * kBlock + p)] ==
                           values.as<float>()[static_cast<size_t>(p * kDepth + c)];
      }
    }
    ASSERT_TRUE(same) << "step " << step;
  }
}

TEST(Moves, GroupsOfChannelsAreReducedWhereTheyLie) {
  constexpr int64_t kGroups = 3, kEach = 18;
  const Shape split = {1, kGroups, kEach, kRows, kCols};
  for (const std::string op : {"ReduceSum", "ReduceMean", "ReduceMax"}) {
    for (const bool keepdims : {false, true}) {
      const auto run = [&](bool whole) {
        GraphMaker net;
        std::mt19937 weights(4);
        const ValueId image = net.Input("image", {1, 2, kRows, kCols});
        const ValueId wide = net.Conv(weights, image, kGroups * kEach, 3, 1, 1);
        const ValueId groups = net.Add("Reshape", {wide, Ints(net, split)});
        net.Output(whole
                       ? groups
                       : net.Add(op, {groups, Ints(net, {1})}, {{"keepdims", int64_t{keepdims}}}));
        return RunOn(net, Image());
      };
      const Outcome got = run(false);
      EXPECT_FALSE(got.Has("Relayout"));
      const Outcome all = run(true);
      constexpr size_t kInner = kEach * kRows * kCols;
      ASSERT_EQ(got.output.size(), kInner);
      for (size_t i = 0; i < kInner; ++i) {
        const float a = all.output[i], b = all.output[i + kInner], c = all.output[i + 2 * kInner];
        const float want = op == "ReduceMax" ? std::max({a, b, c}) : a + b + c;
        ASSERT_NEAR(got.output[i], op == "ReduceMean" ? want / 3 : want, 1e-5) << op << " " << i;
      }
    }
  }
}

TEST(Moves, APartThatAConvolutionReadsKeepsItsZeros) {
  // It lies beside others' channels, and those together below other rows: not where zeros are.
  const auto run = [](bool nested) {
    GraphMaker net;
    std::mt19937 weights(4);
    const ValueId image = net.Input("image", {1, 2, kRows, kCols});
    const ValueId above = net.Conv(weights, image, 4, 1);
    const ValueId part = net.Add("Relu", {image});
    net.Output(net.Conv(weights, part, 3, 3, 1, 1));
    if (!nested) return RunOn(net, Image());
    const ValueId wide = net.Add("Concat", {net.Add("Abs", {image}), part}, {{"axis", int64_t{1}}});
    net.Output(net.Add("Concat", {above, wide}, {{"axis", int64_t{2}}}));
    return RunOn(net, Image());
  };
  EXPECT_EQ(run(true).output, run(false).output);
}

TEST(Moves, PicturesAreCutIntoWindowsByOneMove) {
  constexpr int64_t kChannels = 5, kWindow = 2, kAcross = 3, kDown = 4;
  std::mt19937 rng(3);
  const Tensor picture = RandomTensor(rng, {1, kChannels, kDown * kWindow, kAcross * kWindow});
  const auto run = [&](bool apart, bool back) {
    GraphMaker net;
    ValueId x = net.Input("image", picture.shape);
    const auto move = [&](const std::string& op, const IntList& to) {
      x = op == "Transpose" ? net.Add(op, {x}, {{"perm", to}}) : net.Add(op, {x, Ints(net, to)});
      if (apart) net.Output(x);
    };
    move("Reshape", {kChannels * kDown, kWindow, kAcross, kWindow});
    move("Transpose", {0, 2, 1, 3});
    move("Reshape", {1, kChannels, kDown * kAcross, kWindow * kWindow});
    move("Transpose", {0, 3, 2, 1});
    if (back) {
      move("Transpose", {0, 3, 2, 1});
      move("Reshape", {kChannels * kDown, kAcross, kWindow, kWindow});
      move("Transpose", {0, 2, 1, 3});
      move("Reshape", picture.shape);
    }
    std::ranges::reverse(net.graph.outputs);
    if (!apart) net.Output(x);
    return RunOn(net, picture);
  };
  const Outcome cut = run(false, false);
  EXPECT_EQ(std::ranges::count(cut.ops, "Transpose"), 1);
  EXPECT_LE(std::ranges::count(cut.ops, "Reshape"), 2);
  EXPECT_EQ(cut.output, run(true, false).output);
  const Outcome back = run(false, true);
  const auto pixels = picture.as<float>();
  EXPECT_EQ(back.output, std::vector<float>(pixels.begin(), pixels.end()));
}

}  // namespace
}  // namespace deltacnn::testing
