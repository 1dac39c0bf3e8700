// Policies inside the network: what they leave out, and that they do not forget it.
#include <atomic>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>

#include "core/threads.h"
#include "deltacnn/stream.h"
#include "random_network.h"

namespace deltacnn::testing {
namespace {

constexpr int kSize = 64;
constexpr Policy kPolicy{.reach = 2, .cutoff = 0.1f, .strong = 0.2f, .refresh = 8};

/// Two strides, a skip connection, 16 cells across; adds up what is bright, so that an object
/// shows.
GraphMaker Detector() {
  std::mt19937 rng(1);
  GraphMaker net;
  net.most_elements = 1 << 20;
  const auto layer = [&](ValueId x, int64_t outputs, int64_t stride) {
    const int64_t channels = net.shape(x)[1];
    const float scale = 2.0f / static_cast<float>(9 * channels);
    const Tensor weights = RandomTensor(rng, {outputs, channels, 3, 3}, -0.2f * scale, scale);
    return net.Add(
        "Relu", {net.Add("Conv", {x, net.Constant(weights)},
                         {{"pads", IntList{1, 1, 1, 1}}, {"strides", IntList{stride, stride}}})});
  };
  const ValueId stem = layer(net.Input("image", {1, 1, kSize, kSize}), 8, 1);
  const ValueId quarter = layer(layer(stem, 12, 2), 16, 2);
  const ValueId joined =
      net.Add("Concat", {layer(quarter, 16, 1), quarter}, {{"axis", int64_t{1}}});
  net.Output(net.Conv(rng, layer(joined, 16, 1), 4, 1));
  return net;
}

Stream NewStream(const std::shared_ptr<const Plan>& plan, const Policy& policy, int threads = 1) {
  auto stream = Stream::Create(plan, {.threads = threads, .policy = policy});
  EXPECT_TRUE(stream.ok());
  return std::move(stream).value();
}

std::shared_ptr<const Plan> PlanOf(const GraphMaker& maker) {
  auto plan = Plan::Compile(Model(maker.graph));
  EXPECT_TRUE(plan.ok());
  return *plan;
}

StepReport StepWith(Stream& stream, const Tensor& image) {
  EXPECT_TRUE(stream.SetInput(0, image).ok());
  const auto report = stream.Step();
  EXPECT_TRUE(report.ok());
  return *report;
}

/// A picture of faint texture.
Tensor Background() {
  std::mt19937 rng(2);
  return RandomTensor(rng, {1, 1, kSize, kSize}, -0.3f, 0.3f);
}

void DrawObject(Tensor& image, int top, int left, int size) {
  for (int y = std::max(top, 0); y < std::min(top + size, kSize); ++y)
    for (int x = std::max(left, 0); x < std::min(left + size, kSize); ++x)
      image.as<float>()[static_cast<size_t>(y * kSize + x)] = 3;
}

float Largest(std::span<const float> a, std::span<const float> b) {
  float most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

/// Runs `frames` pictures through a policy and densely: the most steps in a row for which an output
/// was off by more than a quarter of what the object makes of it.
int LongestMiss(int frames, int size, const std::function<std::optional<int>(int)>& left_at) {
  const auto plan = PlanOf(Detector());
  Stream policy = NewStream(plan, kPolicy);
  Stream dense = NewStream(plan, {});
  const Tensor empty = Background();
  StepWith(dense, empty);
  const std::vector<float> without(dense.Output(0).as<float>().begin(),
                                   dense.Output(0).as<float>().end());
  Tensor shown = empty;
  DrawObject(shown, 30, 30, size);
  StepWith(dense, shown);
  const float response = Largest(dense.Output(0).as<float>(), without);
  EXPECT_GT(response, 0);
  std::vector<int> missed(without.size(), 0);
  int longest = 0;
  for (int frame = 0; frame < frames; ++frame) {
    Tensor image = empty;
    if (const auto left = left_at(frame)) DrawObject(image, 30, *left, size);
    StepWith(policy, image);
    StepWith(dense, image);
    const auto got = policy.Output(0).as<float>();
    const auto want = dense.Output(0).as<float>();
    for (size_t i = 0; i < missed.size(); ++i) {
      missed[i] = std::abs(got[i] - want[i]) > 0.25f * response ? missed[i] + 1 : 0;
      longest = std::max(longest, missed[i]);
    }
  }
  return longest;
}

TEST(Policy, SmallObjectsThatAppearOrVanishAreNotMissed) {
  for (const int size : {4, 5, 8}) {
    EXPECT_LE(LongestMiss(60, size,
                          [](int frame) {
                            return frame > 4 && frame < 30 ? std::optional(27) : std::nullopt;
                          }),
              kPolicy.refresh)
        << size << " pixels";
  }
}

TEST(Policy, CreepingObjectsAreNotMissed) {
  for (const int size : {4, 8})
    EXPECT_LE(LongestMiss(200, size, [](int frame) { return 20 + frame / 20; }), kPolicy.refresh);
}

TEST(Policy, ObjectsThatStopAreNotMissed) {
  for (const int size : {4, 8})
    EXPECT_LE(LongestMiss(60, size, [](int frame) { return 10 + std::min(frame, 17); }),
              kPolicy.refresh);
}

TEST(Policy, WhatIsLeftOutIsCaughtUpWith) {
  const auto plan = PlanOf(Detector());
  for (const int refresh : {4, 13, 20, 32}) {  // one band, and several
    SCOPED_TRACE(refresh);
    Stream policy =
        NewStream(plan, {.reach = 1, .cutoff = 1e-6f, .strong = 0.5f, .refresh = refresh});
    Stream dense = NewStream(plan, {});
    StepWith(policy, Background());
    Tensor image = Background();
    std::mt19937 rng(3);
    for (int frame = 0; frame < 22; ++frame) {  // the band came by with the 20th
      DrawObject(image, static_cast<int>(rng() % kSize), static_cast<int>(rng() % kSize), 5);
      StepWith(policy, image);
    }
    StepWith(dense, image);
    EXPECT_GT(Largest(policy.Output(0).as<float>(), dense.Output(0).as<float>()), 1e-3f)
        << "the policy left nothing out: the test shows nothing";
    // One turn of the band, whatever the number of layers.
    for (int frame = 0; frame < refresh; ++frame) StepWith(policy, image);
    EXPECT_LT(Largest(policy.Output(0).as<float>(), dense.Output(0).as<float>()), 1e-4f);
    for (int frame = 0; frame < refresh; ++frame) EXPECT_EQ(StepWith(policy, image).macs_share, 0);
  }
}

TEST(Policy, ResetForgetsWhatIsOwed) {
  const auto plan = PlanOf(Detector());
  Stream policy = NewStream(plan, {.reach = 0, .cutoff = 0.1f, .strong = 1, .refresh = 4});
  Stream dense = NewStream(plan, {});
  Tensor image = Background();
  StepWith(policy, image);
  for (int frame = 0; frame < 10; ++frame) {
    DrawObject(image, 5 * frame, 4 * frame, 5);
    StepWith(policy, image);
  }
  StepWith(dense, image);
  ASSERT_NE(OutputsOf(policy), OutputsOf(dense)) << "nothing is owed: the test shows nothing";
  policy.Reset();
  EXPECT_TRUE(StepWith(policy, image).dense);
  EXPECT_EQ(OutputsOf(policy), OutputsOf(dense));
  for (int frame = 0; frame < 4; ++frame) EXPECT_EQ(StepWith(policy, image).macs_share, 0);
}

TEST(Policy, OnlyStrongChangesReachBeyondTheirOwnCells) {
  std::mt19937 rng(4);
  GraphMaker net;
  const ValueId image = net.Input("image", {1, 1, 16, 16});
  const ValueId a = net.Conv(rng, image, 8, 3, 1, 1);
  const ValueId b = net.Conv(rng, a, 8, 3, 1, 1);
  net.Output(net.Conv(rng, b, 4, 1));
  Stream stream =
      NewStream(PlanOf(net), {.reach = 8, .cutoff = 1e-4f, .strong = 0.5f, .refresh = 1000});
  Tensor picture = RandomTensor(rng, {1, 1, 16, 16});
  const auto computed = [&] {
    std::vector<int64_t> pixels;
    for (size_t l = 0; l < stream.work().size(); ++l)
      if (stream.plan().layers()[l].op.starts_with("Conv"))
        pixels.push_back(stream.work()[l].computed);
    return pixels;
  };
  // Steps at which the refreshing band is empty: 16 rows are spread over 1000.
  StepWith(stream, picture);
  picture.as<float>()[8 * 16 + 8] += 0.02f;
  StepWith(stream, picture);
  // The picture's own change counts as strong; what the first layer makes of it does not.
  EXPECT_EQ(computed(), (std::vector<int64_t>{9, 1, 1}));
  picture.as<float>()[8 * 16 + 8] += 50;
  StepWith(stream, picture);
  EXPECT_EQ(computed(), (std::vector<int64_t>{9, 25, 25}));
}

TEST(Policy, NotANumberSpreads) {
  const auto plan = PlanOf(Detector());
  Stream policy = NewStream(plan, kPolicy);
  Tensor image = Background();
  StepWith(policy, image);
  image.as<float>()[32 * kSize + 32] = std::numeric_limits<float>::infinity();
  for (int frame = 0; frame < kPolicy.refresh; ++frame) StepWith(policy, image);
  const auto output = policy.Output(0).as<float>();
  EXPECT_FALSE(std::ranges::all_of(output, [](float v) { return std::isfinite(v); }));
}

TEST(Policy, StreamsThatTakeTurnsShareAPool) {
  const auto plan = PlanOf(Detector());
  const std::shared_ptr<Executor> pool = MakeThreadPool(3);
  EXPECT_EQ(pool->threads(), 3);
  EXPECT_EQ(MakeThreadPool(0)->threads(), 1);
  auto first = Stream::Create(plan, {.executor = pool, .policy = kPolicy});
  auto second = Stream::Create(plan, {.executor = pool});
  ASSERT_TRUE(first.ok() && second.ok());
  Stream alone = NewStream(plan, kPolicy);
  Stream dense = NewStream(plan, {});
  for (int frame = 0; frame < 20; ++frame) {
    Tensor image = Background();
    DrawObject(image, 2 * frame, frame, 6);
    for (Stream* stream : {&*first, &*second, &alone, &dense}) StepWith(*stream, image);
    ASSERT_EQ(OutputsOf(*first), OutputsOf(alone)) << "frame " << frame;
    ASSERT_EQ(OutputsOf(*second), OutputsOf(dense)) << "frame " << frame;
  }
}

/// More tasks than threads, fewer, and none.
TEST(ThreadPool, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 5}) {
    const std::shared_ptr<Executor> pool = MakeThreadPool(threads);
    for (int round = 0; round < 200; ++round) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(round % 17));
      std::atomic<int> wrong_thread{0};
      RunTasks(*pool, runs.size(), [&](size_t task, int thread) {
        ++runs[task];
        if (thread < 0 || thread >= threads) ++wrong_thread;
      });
      for (const auto& count : runs) ASSERT_EQ(count, 1);
      ASSERT_EQ(wrong_thread, 0);
    }
  }
}

TEST(Policy, ThreadsDoNotChangeABit) {
  const auto plan = PlanOf(Detector());
  Stream one = NewStream(plan, kPolicy, 1);
  Stream three = NewStream(plan, kPolicy, 3);
  for (int frame = 0; frame < 30; ++frame) {
    Tensor image = Background();
    DrawObject(image, 2 * frame, frame, 6);
    StepWith(one, image);
    StepWith(three, image);
    ASSERT_EQ(OutputsOf(one), OutputsOf(three)) << "frame " << frame;
  }
}

/// Every operator and layout; the picture changes in a block a frame, then stands still.
TEST(Policy, HoldsOnRandomNetworks) {
  int limited = 0;
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    const RandomNetwork network(seed);
    const Graph& graph = network.graph();
    if (graph.inputs.size() != 1) continue;
    auto plan = Plan::Compile(Model(graph));
    ASSERT_TRUE(plan.ok());
    const Policy policy{.reach = 1, .cutoff = 0.05f, .strong = 0.3f, .background = 4, .refresh = 3};
    Stream one = NewStream(*plan, policy, 1);
    Stream two = NewStream(*plan, policy, 2);
    Stream exact = NewStream(*plan, {.reach = -1, .cutoff = 0, .strong = 0.3f});
    Stream dense = NewStream(*plan, {});
    std::mt19937 rng(seed);
    Tensor image = RandomTensor(rng, *graph.values[static_cast<size_t>(graph.inputs[0])].shape);
    for (int frame = 0; frame < 20; ++frame) {
      if (frame < 10) {
        const auto values = image.as<float>();
        const size_t from = rng() % values.size();
        for (size_t i = from; i < std::min(from + 5, values.size()); ++i) values[i] = -values[i];
      }
      dense.Reset();
      const auto place = [&] { return static_cast<float>(rng() % 20); };
      const Region focus[] = {{place(), place(), place(), place()}, {place(), 0, 3, place()}};
      for (Stream* stream : {&one, &two, &exact}) stream->SetFocus(focus);
      for (Stream* stream : {&one, &two, &exact, &dense}) StepWith(*stream, image);
      ASSERT_EQ(OutputsOf(one), OutputsOf(two)) << "seed " << seed << ", frame " << frame;
      ASSERT_EQ(OutputsOf(exact), OutputsOf(dense)) << "seed " << seed << ", frame " << frame;
      int64_t work = 0;
      for (const LayerWork& layer : one.work()) work += layer.computed;
      if (frame >= 10 + policy.refresh) {
        ASSERT_EQ(work, 0) << "seed " << seed << ": something waited longer than a turn";
      }
      limited += OutputsOf(one) != OutputsOf(dense);
    }
  }
  EXPECT_GT(limited, 0);
}

TEST(Policy, TheBackgroundIsJudgedGenerouslyForOneTurn) {
  const auto plan = PlanOf(Detector());
  const Policy everywhere{.reach = 16, .cutoff = 0.05f, .strong = 0.05f, .refresh = 4};
  Policy background = everywhere;
  background.background = 1000;
  Tensor image = Background();
  Tensor changed = image;
  DrawObject(changed, 40, 40, 6);
  Stream strict = NewStream(plan, everywhere);
  StepWith(strict, image);
  StepWith(strict, changed);
  const auto want = OutputsOf(strict);
  // A focus that does not matter, and one that is not there.
  for (const std::vector<Region>& named :
       {std::vector<Region>{}, {{0, 0, 2, 2}}, {{40, 44, 44, 40}}, {{NAN, 30, 50, 50}}}) {
    Stream stream = NewStream(plan, background);
    StepWith(stream, image);
    const auto before = OutputsOf(stream);
    stream.SetFocus(named);
    StepWith(stream, changed);
    EXPECT_EQ(OutputsOf(stream), before) << "no change is large enough";
    for (int frame = 1; frame < everywhere.refresh; ++frame) StepWith(stream, changed);
    EXPECT_EQ(OutputsOf(stream), want) << "the turn catches up with it";
    EXPECT_EQ(StepWith(stream, changed).macs_share, 0);
  }
  // One that holds the change, and none, which holds everything.
  const Region whole[] = {{-INFINITY, -INFINITY, INFINITY, INFINITY}};
  const Region object[] = {{38, 38, 48, 48}};
  for (const std::span<const Region> named :
       {std::span<const Region>{whole}, std::span<const Region>{object}}) {
    Stream stream = NewStream(plan, background);
    StepWith(stream, image);
    stream.SetFocus(named);
    StepWith(stream, changed);
    EXPECT_EQ(OutputsOf(stream), want);
  }
  Stream unnamed = NewStream(plan, background);
  StepWith(unnamed, image);
  unnamed.SetFocus({});
  unnamed.Reset();
  StepWith(unnamed, image);
  StepWith(unnamed, changed);
  EXPECT_EQ(OutputsOf(unnamed), want);
}

/// What Stream::focus() says is what the step does.
TEST(Policy, TheFocusNamesWhereAStepIsStrict) {
  const auto plan = PlanOf(Detector());
  Policy policy{.reach = 2, .cutoff = 0.05f, .strong = 0.1f, .background = 4, .refresh = 32};
  const auto is_everything = [](Stream& stream) {
    return stream.focus().size() == 1 && stream.focus()[0].x1 == -INFINITY &&
           stream.focus()[0].y2 == INFINITY;
  };
  Stream stream = NewStream(plan, policy);
  EXPECT_TRUE(is_everything(stream)) << "nothing is named yet";
  StepWith(stream, Background());
  std::vector<float> bands;
  for (int frame = 1; frame < policy.refresh; ++frame) {
    const Region object[] = {{20, 24, 30, 40}, {9, 9, 9, 9}};
    stream.SetFocus(object);
    ASSERT_GE(stream.focus().size(), 1U);
    EXPECT_LT(stream.focus()[0].x1, 20);
    EXPECT_GT(stream.focus()[0].y2, 40);
    for (const Region& band : stream.focus().subspan(1)) {
      EXPECT_EQ(band.x1, -INFINITY);
      EXPECT_EQ(band.x2, INFINITY);
      bands.push_back(band.y1);
      bands.push_back(band.y2);
    }
    // Dense steps take their turns too: what holds a picture back must not wait for others.
    if (frame < 16) stream.Reset();
    if (frame < 16) stream.SetFocus(object);
    StepWith(stream, Background());
  }
  std::ranges::sort(bands);
  EXPECT_EQ(bands, (std::vector<float>{0, 16, 16, 32, 32, 48, 48, 64})) << "one turn";
  stream.Reset();
  EXPECT_TRUE(is_everything(stream));
  // Without larger limits elsewhere, or without a turn that would catch up, there is no focus.
  for (const Policy& none : {Policy{.reach = 2, .cutoff = 0.05f, .background = 1},
                             Policy{.reach = -1, .cutoff = 0.05f, .background = 4}, Policy{}}) {
    Stream strict = NewStream(plan, none);
    StepWith(strict, Background());
    strict.SetFocus({});
    EXPECT_TRUE(is_everything(strict));
  }
}

/// Whatever judges its changes, behind the picture itself.
TEST(Policy, EveryJudgeKnowsTheBackground) {
  using Layer = std::function<ValueId(GraphMaker&, std::mt19937&, ValueId)>;
  const Attributes window = {{"kernel_shape", IntList{3, 3}}, {"pads", IntList{1, 1, 1, 1}}};
  const std::pair<const char*, Layer> layers[] = {
      {"MaxPool", [&](auto& net, auto&, ValueId x) { return net.Add("MaxPool", {x}, window); }},
      {"AveragePool",
       [&](auto& net, auto&, ValueId x) { return net.Add("AveragePool", {x}, window); }},
      {"pointwise", [](auto& net, auto&, ValueId x) { return net.Add("Sigmoid", {x}); }},
      {"Conv", [](auto& net, auto& rng, ValueId x) { return net.Conv(rng, x, 40, 3, 1, 1); }},
      {"depthwise",
       [](auto& net, auto& rng, ValueId x) { return net.Conv(rng, x, 16, 3, 1, 1, 16); }},
      {"separable",
       [](auto& net, auto& rng, ValueId x) {
         return net.Conv(rng, net.Conv(rng, x, 16, 3, 1, 1, 16), 24, 1);
       }},
      {"Winograd", [](auto& net, auto& rng, ValueId x) { return net.Conv(rng, x, 64, 3, 1, 1); }},
  };
  for (const auto& [name, layer] : layers) {
    std::mt19937 rng(5);
    GraphMaker net;
    net.most_elements = 1 << 20;
    const int64_t channels = std::string_view(name) == "Winograd" ? 64 : 16;
    const ValueId image = net.Input("image", {1, channels, 24, 24});
    net.Output(net.Conv(rng, layer(net, rng, image), 4, 1));
    Stream stream = NewStream(
        PlanOf(net),
        {.reach = 8, .cutoff = 0.01f, .strong = 0.01f, .background = 1000, .refresh = 100});
    Tensor picture = RandomTensor(rng, {1, channels, 24, 24});
    StepWith(stream, picture);
    auto before = OutputsOf(stream);
    const Region corner[] = {{0, 0, 1, 1}};
    stream.SetFocus(corner);
    for (int64_t c = 0; c < channels; ++c)
      picture.as<float>()[static_cast<size_t>(c * 24 * 24 + 20 * 24 + 21)] += 1;
    StepWith(stream, picture);
    EXPECT_EQ(OutputsOf(stream), before) << name << ": in the background";
    for (int64_t c = 0; c < channels; ++c)
      picture.as<float>()[static_cast<size_t>(c * 24 * 24 + 2 * 24 + 3)] += 1;
    StepWith(stream, picture);
    EXPECT_NE(OutputsOf(stream), before) << name << ": in the focus";
  }
}

TEST(Policy, StrongAloneGivesUpNothing) {
  const auto plan = PlanOf(Detector());
  Stream strong = NewStream(plan, {.reach = -1, .cutoff = 0, .strong = 1});
  Stream dense = NewStream(plan, {});
  for (int frame = 0; frame < 10; ++frame) {
    Tensor image = Background();
    DrawObject(image, 3 * frame, frame, 6);
    StepWith(strong, image);
    dense.Reset();
    StepWith(dense, image);
    ASSERT_EQ(OutputsOf(strong), OutputsOf(dense));
  }
}

TEST(Policy, RefusesNumbersOutOfRange) {
  const auto plan = PlanOf(Detector());
  for (const Policy& policy :
       {Policy{.cutoff = -1}, Policy{.cutoff = 2}, Policy{.strong = -0.1f}, Policy{.strong = 1.1f},
        Policy{.strong = std::numeric_limits<float>::quiet_NaN()}, Policy{.refresh = 0},
        Policy{.background = 0.5f},
        Policy{.background = std::numeric_limits<float>::quiet_NaN()}}) {
    EXPECT_FALSE(Stream::Create(plan, {.policy = policy}).ok());
  }
}

}  // namespace
}  // namespace deltacnn::testing
