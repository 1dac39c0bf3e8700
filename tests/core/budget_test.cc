// The budget mode: what it lets in first, and that nothing waits forever.
#include "core/budget.h"

#include <map>

#include "graph_maker.h"

namespace deltacnn::testing {
namespace {

constexpr Grid kGrid{100, 130};  // 4 x 5 tiles, the last ones cut

struct Mask {
  explicit Mask(const Grid& grid) : words(grid.words(), 0), view{words.data(), grid} {}
  std::vector<uint64_t> words;
  MaskView view;
};

TEST(Budget, TheLargestChangesGoFirst) {
  Budget budget(kGrid, 1);
  budget.TookDense(20.0 / 2);  // of 20 tiles, two fit
  Mask mask(kGrid);
  mask.view.SetRange(5, 0, 3);
  mask.view.SetRange(40, 64, 90);
  mask.view.SetRange(99, 128, 130);
  mask.view.SetRange(50, 10, 30);
  budget.Release(mask.view);
  EXPECT_EQ(mask.view.Count(), 26 + 20);
  EXPECT_EQ(budget.pending(), 3 + 2);
  budget.Took(1);
  mask.view.Clear();
  budget.Release(mask.view);
  EXPECT_EQ(mask.view.Count(), 5);
  EXPECT_EQ(budget.pending(), 0);
}

TEST(Budget, AdaptsToWhatStepsTake) {
  Budget budget(kGrid, 10);
  budget.TookDense(100);
  const auto released = [&] {
    Mask mask(kGrid);
    for (int r = 0; r < kGrid.rows; ++r) mask.view.SetRange(r, 0, kGrid.cols);
    budget.Release(mask.view);
    int tiles = 0;
    for (int r = 0; r < kGrid.rows; r += Budget::kTile)
      for (int c = 0; c < kGrid.cols; c += Budget::kTile)
        tiles += mask.view.Test(kGrid.Bit(r, c)) ? 1 : 0;
    return tiles;
  };
  EXPECT_EQ(released(), 2);
  for (int step = 0; step < 20; ++step) {  // a millisecond a tile and one besides
    budget.Took(1.0 + released());
  }
  EXPECT_NEAR(released(), 9, 1);
  for (int step = 0; step < 20; ++step) budget.Took(1000);
  EXPECT_EQ(released(), 1) << "never none";
}

TEST(Budget, NoMarkIsLostAndNoneStarves) {
  Budget budget(kGrid, 1);
  std::mt19937 rng(1);
  Mask mask(kGrid);
  std::map<int64_t, int> since;  // by pixel that waits
  for (int step = 0; step < 600; ++step) {
    mask.view.Clear();
    if (step < 500) {
      // One half always changes, much; pixels elsewhere now and then.
      for (int r = 0; r < 64; ++r) mask.view.SetRange(r, 0, kGrid.cols);
      if (step % 10 == 0)
        mask.view.Set(kGrid.Bit(70 + static_cast<int>(rng() % 30), static_cast<int>(rng() % 130)));
    }
    for (int r = 0; r < kGrid.rows; ++r)
      for (int c = 0; c < kGrid.cols; ++c)
        if (mask.view.Test(kGrid.Bit(r, c))) since.try_emplace(kGrid.Bit(r, c), step);
    budget.Release(mask.view);
    budget.Took(step % 3 == 0 ? 2 : 0.5);
    for (auto it = since.begin(); it != since.end();) {
      if (mask.view.Test(it->first)) {
        it = since.erase(it);
      } else {
        ASSERT_LE(step - it->second, Budget::kPatience + 20) << "pixel " << it->first;
        ++it;
      }
    }
    ASSERT_EQ(budget.pending(), static_cast<int64_t>(since.size()));
  }
  EXPECT_TRUE(since.empty());
}

TEST(Budget, AStreamCatchesUpToTheBitsOfADenseStep) {
  std::mt19937 rng(2);
  GraphMaker net;
  net.most_elements = 1 << 20;
  const ValueId image = net.Input("image", {1, 3, 100, 130});
  const ValueId stem = net.Add("Relu", {net.Conv(rng, image, 8, 3, 2, 1)});
  net.Output(net.Conv(rng, net.Add("Relu", {net.Conv(rng, stem, 8, 3, 1, 1)}), 4, 1));
  auto plan = Plan::Compile(Model(net.graph));
  ASSERT_TRUE(plan.ok());
  auto hurried = Stream::Create(*plan, {.budget_ms = 1e-9});  // one tile a step
  auto dense = Stream::Create(*plan);
  ASSERT_TRUE(hurried.ok() && dense.ok());
  Tensor picture = RandomTensor(rng, {1, 3, 100, 130});
  ASSERT_TRUE(hurried->SetInput(0, picture).ok() && hurried->Step().ok());
  picture = RandomTensor(rng, {1, 3, 100, 130});
  ASSERT_TRUE(hurried->SetInput(0, picture).ok() && dense->SetInput(0, picture).ok());
  ASSERT_TRUE(dense->Step().ok());
  double before = 1;
  for (int tile = 0; tile < 20; ++tile) {
    // The last tiles are so narrow that what lies beside them has already read them.
    EXPECT_TRUE(tile > 11 || OutputsOf(*hurried) != OutputsOf(*dense)) << "after " << tile;
    const auto report = hurried->Step();
    ASSERT_TRUE(report.ok());
    EXPECT_LT(report->pending, before);
    before = report->pending;
  }
  EXPECT_EQ(before, 0);
  EXPECT_EQ(OutputsOf(*hurried), OutputsOf(*dense));
}

TEST(Budget, RefusesANegativeTime) {
  GraphMaker net;
  net.Output(net.Add("Relu", {net.Input("image", {1, 3, 8, 8})}));
  auto plan = Plan::Compile(Model(net.graph));
  ASSERT_TRUE(plan.ok());
  EXPECT_FALSE(Stream::Create(*plan, {.budget_ms = -1}).ok());
}

}  // namespace
}  // namespace deltacnn::testing
