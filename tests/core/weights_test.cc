// PlanOptions::weights: rounded weights, half the memory, and increments that are exact all the
// same.
#include <cmath>
#include <random>

#include "core/weight_memory.h"
#include "graph_maker.h"

namespace deltacnn::testing {
namespace {

constexpr int64_t kSide = 12;

/// Layers of every kind that keeps packed weights, and some that do not.
Graph Network() {
  std::mt19937 rng(7);
  GraphMaker net;
  const Shape shape = {1, 8, kSide, kSide};
  const ValueId wide = net.Conv(rng, net.Input("image", shape), 40, 1, 1, 0);
  const ValueId plain = net.Conv(rng, net.Add("Relu", {wide}), 24, 3, 2, 1);
  const ValueId up =
      net.Add("ConvTranspose", {plain, net.Constant(RandomTensor(rng, {24, 9, 2, 2}))},
              {{"strides", std::vector<int64_t>{2, 2}}});
  net.Output(net.Conv(rng, up, 21, 1, 1, 0));
  return net.graph;
}

std::shared_ptr<const Plan> Compile(WeightFormat weights) {
  PlanOptions options;
  options.weights = weights;
  auto plan = Plan::Compile(Model(Network()), options);
  EXPECT_TRUE(plan.ok());
  return *plan;
}

std::vector<float> OutputOf(const Stream& stream) {
  const auto out = stream.Output(0).as<float>();
  return {out.begin(), out.end()};
}

TEST(Weights, Bfloat16TakesHalfTheMemoryAndChangesLittle) {
  const auto full = Compile(WeightFormat::kFloat32);
  const auto rounded = Compile(WeightFormat::kBfloat16);
  EXPECT_LT(static_cast<double>(rounded->weight_bytes()),
            0.6 * static_cast<double>(full->weight_bytes()));
  std::mt19937 rng(8);
  const Tensor image = RandomTensor(rng, {1, 8, kSide, kSide});
  std::vector<float> out[2];
  for (size_t i = 0; i < 2; ++i) {
    auto stream = Stream::Create(i == 0 ? full : rounded);
    ASSERT_TRUE(stream.ok() && stream->SetInput(0, image).ok() && stream->Step().ok());
    out[i] = OutputOf(*stream);
  }
  double energy = 0;
  double error = 0;
  for (size_t i = 0; i < out[0].size(); ++i) {
    energy += std::pow(double{out[0][i]}, 2);
    error += std::pow(double{out[0][i]} - out[1][i], 2);
  }
  EXPECT_GT(error, 0);  // they are rounded, to 2^-9 of each
  EXPECT_LT(std::sqrt(error / energy), 0.01);
}

TEST(Weights, IncrementsOfARoundedPlanHaveTheBitsOfItsDenseSteps) {
  const auto plan = Compile(WeightFormat::kBfloat16);
  auto incremental = Stream::Create(plan);
  auto dense = Stream::Create(plan);
  ASSERT_TRUE(incremental.ok() && dense.ok());
  std::mt19937 rng(9);
  Tensor image = RandomTensor(rng, {1, 8, kSide, kSide});
  for (int step = 0; step < 10; ++step) {
    for (int changes = step; changes > 0; --changes) {
      const auto pixels = image.as<float>();
      pixels[rng() % pixels.size()] += 1;
    }
    dense->Reset();
    for (Stream* stream : {&*incremental, &*dense})
      ASSERT_TRUE(stream->SetInput(0, image).ok() && stream->Step().ok());
    ASSERT_EQ(OutputOf(*incremental), OutputOf(*dense)) << step;
  }
}

TEST(WeightMemory, GivesZerosThatStayWhereTheyAre) {
  WeightMemory memory(0);  // blocks are as large as what does not fit the last one
  std::vector<std::span<float>> taken;
  for (const size_t count : {1, 3, 1000, 16, 0, 5'000'000, 7, 2000}) {
    taken.push_back(memory.Take<float>(count));
    ASSERT_EQ(taken.back().size(), count);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(taken.back().data()) % 64, 0u);
    EXPECT_TRUE(std::ranges::all_of(taken.back(), [](float f) { return f == 0; }));
    std::ranges::fill(taken.back(), static_cast<float>(taken.size()));
  }
  for (size_t i = 0; i < taken.size(); ++i) {
    const auto mine = static_cast<float>(i + 1);
    EXPECT_TRUE(std::ranges::all_of(taken[i], [&](float f) { return f == mine; })) << i;
  }
}

}  // namespace
}  // namespace deltacnn::testing
