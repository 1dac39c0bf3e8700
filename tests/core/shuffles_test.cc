// Units that split, compute and shuffle channels: no shuffle is left, and the answers stay.
#include <algorithm>
#include <array>
#include <random>
#include <string>

#include "run_once.h"

namespace deltacnn::testing {
namespace {

/// How exporters write a shuffle of two groups and the split behind it.
enum class Style : uint8_t {
  kShuffleThenSplit,  // torchvision: the first half of all channels is passed on
  kSplitByParity,     // YOLO-Fastest, FastestDet: every second one
};

Tensor Ints(std::initializer_list<int64_t> values) {
  Tensor tensor(DType::kInt64, {static_cast<int64_t>(values.size())});
  std::ranges::copy(values, tensor.as<int64_t>().begin());
  return tensor;
}

ValueId Shuffle(GraphMaker& net, ValueId x) {
  const Shape shape = net.shape(x);
  const ValueId groups =
      net.Add("Reshape", {x, net.Constant(Ints({1, 2, shape[1] / 2, shape[2], shape[3]}))});
  const ValueId dealt = net.Add("Transpose", {groups}, {{"perm", IntList{0, 2, 1, 3, 4}}});
  return net.Add("Reshape", {dealt, net.Constant(Ints({1, -1, shape[2], shape[3]}))});
}

/// The part that is passed on and the part that is computed from.
std::array<ValueId, 2> Split(GraphMaker& net, ValueId x, Style style) {
  const Shape shape = net.shape(x);
  const int64_t half = shape[1] / 2;
  if (style == Style::kShuffleThenSplit) {
    const ValueId shuffled = Shuffle(net, x);
    const auto slice = [&](int64_t from) {
      return net.Add("Slice", {shuffled, net.Constant(Ints({from})),
                               net.Constant(Ints({from + half})), net.Constant(Ints({1}))});
    };
    return {slice(0), slice(half)};
  }
  const ValueId pairs = net.Add("Reshape", {x, net.Constant(Ints({half, 2, shape[2] * shape[3]}))});
  const ValueId dealt = net.Add("Transpose", {pairs}, {{"perm", IntList{1, 0, 2}}});
  const ValueId parts =
      net.Add("Reshape", {dealt, net.Constant(Ints({2, 1, half, shape[2], shape[3]}))});
  const auto part = [&](int64_t index) {
    Tensor at(DType::kInt64, {});
    at.as<int64_t>()[0] = index;
    return net.Add("Gather", {parts, net.Constant(std::move(at))}, {{"axis", int64_t{0}}});
  };
  return {part(0), part(1)};
}

ValueId Depthwise(GraphMaker& net, std::mt19937& rng, ValueId x, int64_t stride) {
  return net.Conv(rng, x, net.shape(x)[1], 3, stride, 1, net.shape(x)[1]);
}

/// What a unit computes.
ValueId Branch(GraphMaker& net, std::mt19937& rng, ValueId x, int64_t outputs, int64_t stride) {
  const ValueId wide = net.Add("Relu", {net.Conv(rng, x, outputs, 1)});
  return net.Add("Relu", {net.Conv(rng, Depthwise(net, rng, wide, stride), outputs, 1)});
}

struct Network {
  Style style = Style::kShuffleThenSplit;
  int units = 3;
  int64_t half = 8;
  bool branch_first = false;  // in the concatenations
  bool last_shuffled = true;  // before the layers that read all channels
  int keeps = -1;             // a unit whose concatenation is an output too
};

/// The start of a stage, its units and what reads it: a depthwise convolution, a 3x3 one and a
/// pool.
GraphMaker Build(const Network& n) {
  std::mt19937 rng(7);
  GraphMaker net;
  net.most_elements = 1 << 20;
  const ValueId image = net.Input("image", {1, 3, 18, 14});
  const ValueId stem = net.Conv(rng, image, 10, 3, 1, 1);
  const auto join = [&](ValueId passed, ValueId computed) {
    std::vector<ValueId> parts = {passed, computed};
    if (n.branch_first) std::ranges::reverse(parts);
    return net.Add("Concat", parts, {{"axis", int64_t{1}}});
  };
  ValueId x = join(net.Conv(rng, Depthwise(net, rng, stem, 2), n.half, 1),
                   Branch(net, rng, stem, n.half, 2));
  std::vector<ValueId> kept;
  for (int unit = 0; unit < n.units; ++unit) {
    if (unit == n.keeps) kept.push_back(x);
    const auto [passed, computed] = Split(net, x, n.style);
    x = join(passed, Branch(net, rng, computed, n.half, 1));
  }
  if (n.last_shuffled) x = Shuffle(net, x);
  const ValueId a = net.Conv(rng, Depthwise(net, rng, x, 2), 6, 1);
  const ValueId b = net.Conv(rng, x, 5, 3, 1, 1);
  const ValueId c =
      net.Add("MaxPool", {x}, {{"kernel_shape", IntList{2, 2}}, {"strides", IntList{2, 2}}});
  for (const ValueId out : {a, b, c}) net.Output(out);
  for (const ValueId out : kept) net.Output(out);
  return net;
}

struct AllOutputs {
  std::vector<std::vector<float>> outputs;
  std::vector<std::string> ops;
  int64_t Count(const std::string& op) const { return std::ranges::count(ops, op); }
};

AllOutputs RunAll(const GraphMaker& net, const Tensor& image, const Tensor* next = nullptr) {
  auto plan = Plan::Compile(Model(net.graph));
  EXPECT_TRUE(plan.ok());
  auto stream = Stream::Create(*plan);
  for (const Tensor* picture : {&image, next}) {
    if (picture == nullptr) continue;
    EXPECT_TRUE(stream->SetInput(0, *picture).ok());
    EXPECT_TRUE(stream->Step().ok());
  }
  AllOutputs run;
  for (size_t i = 0; i < net.graph.outputs.size(); ++i) {
    const auto values = stream->Output(i).as<float>();
    run.outputs.emplace_back(values.begin(), values.end());
  }
  for (const auto& layer : (*plan)->layers()) run.ops.push_back(layer.op);
  return run;
}

/// The same network with every concatenation an output, which leaves all moves where they are.
GraphMaker Plain(GraphMaker net) {
  for (const Node& node : net.graph.nodes)
    if (node.op == "Concat") net.graph.outputs.push_back(node.outputs[0]);
  return net;
}

TEST(Shuffles, AreNotMoved) {
  for (const Style style : {Style::kShuffleThenSplit, Style::kSplitByParity}) {
    for (const int64_t half : {2, 8, 29}) {
      if (style == Style::kSplitByParity && half % 2 == 1) continue;
      for (const int units : {0, 1, 2, 5}) {
        for (const bool first : {false, true}) {
          for (const bool shuffled : {false, true}) {
            const Network n{style, units, half, first, shuffled};
            SCOPED_TRACE(::testing::Message() << "style " << int(style) << ", " << units
                                              << " units of " << half << ", " << first << shuffled);
            const GraphMaker net = Build(n);
            std::mt19937 rng(9);
            const Tensor image = RandomTensor(rng, {1, 3, 18, 14});
            const AllOutputs got = RunAll(net, image);
            const AllOutputs want = RunAll(Plain(net), image);
            EXPECT_EQ(got.Count("Transpose"), 0);
            EXPECT_EQ(want.Count("Transpose") > 0, units > 0 || shuffled);
            for (size_t o = 0; o < got.outputs.size(); ++o) {
              ASSERT_EQ(got.outputs[o].size(), want.outputs[o].size());
              for (size_t i = 0; i < got.outputs[o].size(); ++i)
                ASSERT_NEAR(got.outputs[o][i], want.outputs[o][i], 1e-4) << o << " at " << i;
            }
            // Incremental steps have the bits of dense ones.
            Tensor next = image;
            for (size_t i = 100; i < 130; ++i) next.as<float>()[i] += 1;
            EXPECT_EQ(RunAll(net, image, &next).outputs, RunAll(net, next).outputs);
          }
        }
      }
    }
  }
}

TEST(Shuffles, StayWhereTheirInputIsReadOtherwise) {
  const Network n{.units = 3, .keeps = 1};
  const GraphMaker net = Build(n);
  std::mt19937 rng(9);
  const Tensor image = RandomTensor(rng, {1, 3, 18, 14});
  const AllOutputs got = RunAll(net, image);
  const AllOutputs want = RunAll(Plain(net), image);
  EXPECT_EQ(got.Count("Transpose"), 1) << "that of the unit behind the output";
  for (size_t o = 0; o < got.outputs.size(); ++o) {
    for (size_t i = 0; i < got.outputs[o].size(); ++i)
      ASSERT_NEAR(got.outputs[o][i], want.outputs[o][i], 1e-4) << o << " at " << i;
  }
}

/// Moves behind a concatenation that are no choice of channels.
TEST(Shuffles, OtherMovesStay) {
  const auto check = [](const char* name, auto&& moves) {
    std::mt19937 rng(3);
    GraphMaker net;
    const ValueId image = net.Input("image", {1, 4, 6, 6});
    const ValueId whole = net.Add(
        "Concat", {net.Conv(rng, image, 4, 1), net.Conv(rng, image, 4, 1)}, {{"axis", int64_t{1}}});
    moves(net, rng, whole);
    const Tensor picture = RandomTensor(rng, {1, 4, 6, 6});
    const AllOutputs got = RunAll(net, picture);
    const AllOutputs want = RunAll(Plain(net), picture);
    for (size_t o = 0; o < got.outputs.size(); ++o) {
      for (size_t i = 0; i < got.outputs[o].size(); ++i)
        ASSERT_NEAR(got.outputs[o][i], want.outputs[o][i], 1e-4) << name << " " << o << " at " << i;
    }
    EXPECT_EQ(got.Count("CollectChannels"), 0) << name;
  };
  check("rows and columns swapped", [](GraphMaker& net, std::mt19937& rng, ValueId x) {
    net.Output(net.Conv(rng, net.Add("Transpose", {x}, {{"perm", IntList{0, 1, 3, 2}}}), 3, 1));
  });
  check("channels and rows swapped", [](GraphMaker& net, std::mt19937& rng, ValueId x) {
    const ValueId turned = net.Add("Transpose", {x}, {{"perm", IntList{0, 2, 1, 3}}});
    net.Output(net.Conv(rng, turned, 3, 1));
  });
  check("half of the channels, shuffled", [](GraphMaker& net, std::mt19937& rng, ValueId x) {
    const ValueId half = net.Add("Slice", {Shuffle(net, x), net.Constant(Ints({0})),
                                           net.Constant(Ints({4})), net.Constant(Ints({1}))});
    net.Output(net.Conv(rng, half, 3, 1));
  });
  check("some pixels", [](GraphMaker& net, std::mt19937& rng, ValueId x) {
    const ValueId rows = net.Add("Slice", {Shuffle(net, x), net.Constant(Ints({1})),
                                           net.Constant(Ints({6})), net.Constant(Ints({2}))});
    net.Output(net.Conv(rng, rows, 3, 1));
  });
  check("halves that are adjacent", [](GraphMaker& net, std::mt19937& rng, ValueId x) {
    for (const int64_t from : {0, 4}) {
      const ValueId half = net.Add(
          "Slice",
          {x, net.Constant(Ints({from})), net.Constant(Ints({from + 4})), net.Constant(Ints({1}))});
      net.Output(net.Conv(rng, half, 3, 1));
    }
  });
}

}  // namespace
}  // namespace deltacnn::testing
