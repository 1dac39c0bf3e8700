#include <cmath>
#include <functional>
#include <limits>

#include "ops/harness.h"

namespace deltacnn::testing {
namespace {

using Longs = std::vector<int64_t>;

/// Reduces the axes of `reduced`, a bit each.
std::vector<double> NaiveReduce(const Tensor& x, uint64_t reduced, const std::string& op) {
  const size_t rank = x.shape.size();
  std::vector<std::vector<double>> groups;
  const auto values = x.as<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    auto rest = static_cast<int64_t>(i);
    size_t group = 0;
    size_t scale = 1;
    for (size_t a = rank; a-- > 0;) {
      if (!HasAxis(reduced, a)) {
        group += static_cast<size_t>(rest % x.shape[a]) * scale;
        scale *= static_cast<size_t>(x.shape[a]);
      }
      rest /= x.shape[a];
    }
    groups.resize(std::max(groups.size(), group + 1));
    groups[group].push_back(values[i]);
  }
  std::vector<double> out;
  for (const std::vector<double>& group : groups) {
    double sum = 0, absolute = 0, squares = 0, product = 1, max = group[0], min = group[0];
    for (const double v : group) {
      sum += v;
      absolute += std::abs(v);
      squares += v * v;
      product *= v;
      max = std::max(max, v);
      min = std::min(min, v);
    }
    out.push_back(op == "ReduceSum"         ? sum
                  : op == "ReduceMean"      ? sum / static_cast<double>(group.size())
                  : op == "ReduceL1"        ? absolute
                  : op == "ReduceL2"        ? std::sqrt(squares)
                  : op == "ReduceSumSquare" ? squares
                  : op == "ReduceProd"      ? product
                  : op == "ReduceMax"       ? max
                                            : min);
  }
  return out;
}

class RandomReductions : public ::testing::TestWithParam<const char*> {};

TEST_P(RandomReductions, MatchTheDefinition) {
  std::mt19937 rng(11);
  for (int trial = 0; trial < 25; ++trial) {
    const size_t rank = 1 + rng() % 4;
    Shape shape;
    for (size_t a = 0; a < rank; ++a) shape.push_back(1 + static_cast<int64_t>(rng() % 9));
    const uint64_t reduced = 1 + rng() % AllAxes(rank);
    const bool keepdims = rng() % 2 != 0;
    Longs axes;
    Shape want_shape;
    for (size_t a = 0; a < rank; ++a) {
      if (HasAxis(reduced, a)) {
        axes.push_back(static_cast<int64_t>(a) - (rng() % 2 != 0 ? static_cast<int64_t>(rank) : 0));
        if (keepdims) want_shape.push_back(1);
      } else {
        want_shape.push_back(shape[a]);
      }
    }
    OpCase test{.op = GetParam(),
                .attributes = {{"keepdims", int64_t{keepdims}}},
                .inputs = {RandomTensor(rng, shape)}};
    if (rng() % 2 != 0) {
      test.attributes["axes"] = axes;
      test.opset = 11;
    } else {
      test.inputs.push_back(Ints(axes));
      test.constants = {1};
    }
    const auto got = RunDense(test);
    ASSERT_EQ(got.size(), 1u);
    ExpectNear(got[0], want_shape, NaiveReduce(*test.inputs[0], reduced, test.op), 1e-6);
    CheckIncremental(test, rng, 3);
  }
}

INSTANTIATE_TEST_SUITE_P(Operators, RandomReductions,
                         ::testing::Values("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean",
                                           "ReduceMin", "ReduceProd", "ReduceSum",
                                           "ReduceSumSquare"));

TEST(Reduce, NoAxesMeansAllUnlessTheNodeSaysNone) {
  OpCase test{.op = "ReduceSumSquare", .inputs = {Floats({3}, {1, 2, 3})}};
  ExpectNear(RunDense(test)[0], {1}, {14}, 0);
  test.attributes["keepdims"] = int64_t{0};
  ExpectNear(RunDense(test)[0], {}, {14}, 0);
  test.attributes["noop_with_empty_axes"] = int64_t{1};
  ExpectNear(RunDense(test)[0], {3}, {1, 4, 9}, 0);
}

TEST(Reduce, EmptySetsGiveTheNeutralElement) {
  const double inf = std::numeric_limits<double>::infinity();
  OpCase test{.attributes = {{"axes", Longs{1}}, {"keepdims", int64_t{0}}},
              .inputs = {Tensor(DType::kFloat32, {2, 0})}};
  for (const auto& [op, value] : std::map<std::string, double>{{"ReduceSum", 0},
                                                               {"ReduceProd", 1},
                                                               {"ReduceMax", -inf},
                                                               {"ReduceMin", inf},
                                                               {"ReduceMean", std::nan("")}}) {
    test.op = op;
    ExpectNear(RunDense(test)[0], {2}, {value, value}, 0);
  }
}

TEST(Reduce, Integers) {
  const int64_t big = int64_t{1} << 60;
  OpCase test{.attributes = {{"axes", Longs{-1}}, {"keepdims", int64_t{0}}},
              .inputs = {MakeTensor<int64_t>(DType::kInt64, {2, 3}, {big, 1, -3, -4, 5, -6})}};
  const auto run = [&](const std::string& op) {
    test.op = op;
    const auto got = RunDense(test);
    const auto values = got.at(0).as<int64_t>();
    return Longs(values.begin(), values.end());
  };
  EXPECT_EQ(run("ReduceSum"), (Longs{big - 2, -5}));
  EXPECT_EQ(run("ReduceMax"), (Longs{big, 5}));
  EXPECT_EQ(run("ReduceMin"), (Longs{-3, -6}));
  EXPECT_EQ(run("ReduceProd"), (Longs{-3 * big, 120}));
  EXPECT_EQ(run("ReduceMean"), (Longs{(big - 2) / 3, -1}));
  EXPECT_EQ(run("ReduceL1"), (Longs{big + 4, 15}));
  test.op = "ReduceL2";
  ExpectRejected(test, "int64");
  std::mt19937 rng(1);
  test.op = "ReduceSum";
  CheckIncremental(test, rng);
}

TEST(Reduce, Booleans) {
  OpCase test{.op = "ReduceMin",
              .attributes = {{"axes", Longs{1}}, {"keepdims", int64_t{0}}},
              .inputs = {MakeTensor<uint8_t>(DType::kBool, {2, 2}, {1, 1, 1, 0})}};
  EXPECT_EQ(RunDense(test).at(0).as<uint8_t>()[0], 1);
  EXPECT_EQ(RunDense(test).at(0).as<uint8_t>()[1], 0);
  test.inputs = {Tensor(DType::kBool, {2, 0})};
  EXPECT_EQ(RunDense(test).at(0).as<uint8_t>()[0], 1);
}

TEST(Reduce, RejectsWhatItCannotRun) {
  OpCase test{
      .op = "ReduceSum", .attributes = {{"axes", Longs{2}}}, .inputs = {Floats({1, 2}, {1, 2})}};
  ExpectRejected(test, "axis 2");
  test.attributes.clear();
  test.inputs = {MakeTensor<uint8_t>(DType::kUint8, {1}, {1})};
  ExpectRejected(test, "uint8");
  test.inputs = {Floats({1}, {1}), Ints({0})};  // not a constant
  ExpectRejected(test, "not a constant");
}

// ---- Runs of pixels ----

class Pictures : public ::testing::TestWithParam<Shape> {};

TEST_P(Pictures, RowsThenTotalsAreTheReduction) {
  std::mt19937 rng(7);
  const Tensor x = RandomTensor(rng, GetParam(), 0.5f, 2);
  const size_t rank = x.shape.size();
  const uint64_t spatial = AllAxes(rank) & ~uint64_t{3};
  const int64_t pixels = ElementCount(x.shape) / x.shape[0] / x.shape[1];
  for (const std::string op : {"sum", "max"}) {
    const OpCase rows{.op = "RowReduce", .attributes = {{"op", op}}, .inputs = {x}};
    CheckIncremental(rows, rng);
    OpCase total{.op = "ReduceRows",
                 .attributes = {{"op", op}, {"count", op == "sum" ? pixels : 1}},
                 .inputs = {RunDense(rows).at(0)}};
    CheckIncremental(total, rng);
    Shape shape = {x.shape[0], x.shape[1]};
    const auto want = NaiveReduce(x, spatial, op == "sum" ? "ReduceMean" : "ReduceMax");
    if (rank >= 4) {
      total.attributes["keepdims"] = int64_t{0};
      ExpectNear(RunDense(total).at(0), shape, want, 1e-6);
      total.attributes["keepdims"] = int64_t{1};
      CheckIncremental(total, rng);
    }
    shape.resize(rank, 1);
    ExpectNear(RunDense(total).at(0), shape, want, 1e-6);

    const OpCase direct{.op = op == "sum" ? "GlobalAveragePool" : "GlobalMaxPool", .inputs = {x}};
    ExpectNear(RunDense(direct).at(0), shape, want, 1e-6);
    CheckIncremental(direct, rng);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Pictures,
                         ::testing::Values(Shape{1, 5, 7, 9}, Shape{2, 16, 13, 21},
                                           Shape{3, 1, 1, 70}, Shape{2, 3, 80, 1}, Shape{2, 4, 33},
                                           Shape{1, 3, 4, 5, 6}));

TEST(Runs, AChangeRecomputesItsRowOnly) {
  std::mt19937 rng(5);
  OpCase test{.op = "RowReduce",
              .attributes = {{"op", std::string("sum")}},
              .inputs = {RandomTensor(rng, {2, 8, 40, 70})}};
  auto runner = OpRunner::Create(test);
  ASSERT_TRUE(runner.ok());
  (*runner)->Run(test.inputs, true, rng);
  test.inputs[0]->as<float>()[((8 + 3) * 40 + 20) * 70 + 69] += 1;
  (*runner)->Run(test.inputs, false, rng);
  EXPECT_EQ((*runner)->computed(), 1);
}

TEST(Runs, LongSumsStayAccurate) {
  OpCase test{.op = "GlobalAveragePool", .inputs = {Tensor(DType::kFloat32, {1, 1, 400, 400})}};
  std::ranges::fill(test.inputs[0]->as<float>(), 0.1f);
  ExpectNear(RunDense(test).at(0), {1, 1, 1, 1}, {0.1f}, 2e-6);
}

TEST(Runs, RejectWhatTheyCannotRun) {
  std::mt19937 rng(5);
  OpCase test{.op = "ReduceRows",
              .attributes = {{"op", std::string("sum")}},
              .inputs = {RandomTensor(rng, {1, 2, 3, 4})}};
  ExpectRejected(test, "unreduced");
  test.attributes["op"] = std::string("mean");
  ExpectRejected(test, "mean");
  test.op = "GlobalMaxPool";
  test.inputs = {RandomTensor(rng, {1, 2})};
  ExpectRejected(test, "[1,2]");
  test.inputs = {Tensor(DType::kFloat32, {1, 2, 0, 3})};
  ExpectRejected(test, "[1,2,0,3]");
}

}  // namespace
}  // namespace deltacnn::testing
