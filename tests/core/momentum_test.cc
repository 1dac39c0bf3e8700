// Steps that keep nothing: when they happen, and the memory they work in.
#include "core/momentum.h"

#include <gtest/gtest.h>

#include <random>

#include "core/arena.h"

namespace deltacnn {
namespace {

using Mode = Momentum::Mode;

/// One step: its mode, after which it turned out to cost so much of a dense one.
Mode Step(Momentum& momentum, double input_changed, double cost, bool all = false) {
  const Mode mode = momentum.Next(all, input_changed);
  if (mode != Mode::kPassThrough) momentum.Record(input_changed, mode == Mode::kDense ? 1 : cost);
  return mode;
}

TEST(Momentum, FixedCamerasStayIncremental) {
  Momentum momentum;
  EXPECT_EQ(Step(momentum, 1, 1, /*all=*/true), Mode::kDense);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Step(momentum, 0.05, 0.4), Mode::kIncremental);
  EXPECT_EQ(Step(momentum, 1, 1), Mode::kIncremental);  // a flash
  EXPECT_EQ(Step(momentum, 0.05, 0.4), Mode::kIncremental);
}

TEST(Momentum, MovingCamerasKeepNothingUntilTheyRest) {
  Momentum momentum;
  EXPECT_EQ(Step(momentum, 1, 1, /*all=*/true), Mode::kDense);
  EXPECT_EQ(Step(momentum, 0.8, 1.1), Mode::kIncremental);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Step(momentum, 0.7, 1.1), Mode::kPassThrough);
  EXPECT_EQ(Step(momentum, 1, 1, /*all=*/true), Mode::kPassThrough);  // a cut
  EXPECT_EQ(Step(momentum, 0.1, 0.3), Mode::kDense);                  // keeps its state again
  EXPECT_EQ(Step(momentum, 0.1, 0.3), Mode::kIncremental);
}

TEST(Momentum, ABusyStepForetellsWhatLessChangeWouldCost) {
  for (const double changed : {0.3, 0.5}) {
    Momentum momentum;
    Step(momentum, 1, 1, /*all=*/true);
    Step(momentum, 0.6, 1.2);  // twice its share of the input
    EXPECT_EQ(Step(momentum, 0.6, 1.2), Mode::kPassThrough);
    EXPECT_EQ(Step(momentum, changed, 2 * changed),
              changed < 0.4 ? Mode::kDense : Mode::kPassThrough);
  }
}

TEST(Momentum, WithoutStateAStepIsNeverIncremental) {
  Momentum momentum;
  std::mt19937 rng(1);
  bool state = false;
  for (int i = 0; i < 1000; ++i) {
    const bool all = rng() % 10 == 0;
    const double changed = all ? 1 : static_cast<double>(rng() % 100) / 100;
    const Mode mode =
        Step(momentum, changed, static_cast<double>(rng() % 100) / 100, all || i == 0);
    if (!state || all) {
      ASSERT_NE(mode, Mode::kIncremental) << i;
    }
    state = mode != Mode::kPassThrough;
  }
}

TEST(Arena, BuffersThatLiveTogetherDoNotOverlap) {
  std::mt19937 rng(2);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<Lifetime> lifetimes(rng() % 40);
    uint64_t total = 0;
    for (Lifetime& life : lifetimes) {
      life.bytes = 64 * (rng() % 20);
      life.first = static_cast<int>(rng() % 30);
      life.last = life.first + static_cast<int>(rng() % 10);
      total += life.bytes;
    }
    const std::vector<uint64_t> offset = PackLifetimes(lifetimes);
    for (size_t a = 0; a < lifetimes.size(); ++a) {
      ASSERT_LE(offset[a] + lifetimes[a].bytes, total);
      for (size_t b = 0; b < a; ++b) {
        const bool together =
            lifetimes[a].first <= lifetimes[b].last && lifetimes[b].first <= lifetimes[a].last;
        const bool apart = offset[a] + lifetimes[a].bytes <= offset[b] ||
                           offset[b] + lifetimes[b].bytes <= offset[a];
        ASSERT_TRUE(!together || apart) << a << " and " << b;
      }
    }
  }
}

TEST(Arena, AChainNeedsItsTwoLargestNeighboursOnly) {
  const std::vector<Lifetime> chain = {{100, 0, 1}, {100, 1, 2}, {100, 2, 3}, {100, 3, 4}};
  const std::vector<uint64_t> offset = PackLifetimes(chain);
  for (size_t i = 0; i < chain.size(); ++i) EXPECT_LE(offset[i], 100u);
}

}  // namespace
}  // namespace deltacnn
