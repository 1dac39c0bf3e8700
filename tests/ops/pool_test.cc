#include <cmath>
#include <limits>

#include "ops/harness.h"

namespace deltacnn::testing {
namespace {

using Longs = std::vector<int64_t>;

struct Axis1D {
  int64_t in, taps, stride, dilation, pad_begin, pad_end, out;
};

int64_t OutputsOf(const Axis1D& a, bool ceil_mode) {
  const double steps =
      static_cast<double>(a.in + a.pad_begin + a.pad_end - (a.taps - 1) * a.dilation - 1) /
      static_cast<double>(a.stride);
  int64_t out = static_cast<int64_t>(ceil_mode ? std::ceil(steps) : std::floor(steps)) + 1;
  if (ceil_mode && (out - 1) * a.stride >= a.in + a.pad_begin) --out;
  return out;
}

/// Straight from the definition, for [N,C,H,W].
std::vector<double> NaivePool(const Tensor& x, const Axis1D& rows, const Axis1D& cols, bool average,
                              bool count_padding, std::vector<int64_t>* positions = nullptr) {
  const auto in = x.as<float>();
  std::vector<double> out;
  for (int64_t plane = 0; plane < x.shape[0] * x.shape[1]; ++plane) {
    for (int64_t oy = 0; oy < rows.out; ++oy) {
      for (int64_t ox = 0; ox < cols.out; ++ox) {
        double sum = 0;
        double max = std::numeric_limits<float>::lowest();
        int64_t count = 0;
        int64_t padded = 0;
        int64_t position = 0;
        for (int64_t i = 0; i < rows.taps; ++i) {
          for (int64_t j = 0; j < cols.taps; ++j) {
            const int64_t y = oy * rows.stride - rows.pad_begin + i * rows.dilation;
            const int64_t z = ox * cols.stride - cols.pad_begin + j * cols.dilation;
            if (y < rows.in + rows.pad_end && z < cols.in + cols.pad_end) ++padded;
            if (y < 0 || z < 0 || y >= rows.in || z >= cols.in) continue;
            ++count;
            const int64_t at = (plane * rows.in + y) * cols.in + z;
            sum += in[at];
            if (in[at] > max) position = at;
            max = std::max<double>(max, in[at]);
          }
        }
        const int64_t divisor = count_padding ? padded : count;
        out.push_back(!average ? max : count == 0 ? 0 : sum / static_cast<double>(divisor));
        if (positions != nullptr) positions->push_back(position);
      }
    }
  }
  return out;
}

class RandomPools : public ::testing::TestWithParam<int> {};

TEST_P(RandomPools, MatchTheDefinition) {
  std::mt19937 rng(static_cast<unsigned>(GetParam()));
  const auto pick = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>(rng() % static_cast<uint64_t>(high - low + 1));
  };
  for (int trial = 0; trial < 15; ++trial) {
    const bool average = pick(0, 1) != 0;
    const bool ceil_mode = pick(0, 1) != 0;
    const bool count_padding = average && pick(0, 1) != 0;
    Axis1D axes[2];
    for (Axis1D& a : axes) {
      do {
        a = {pick(1, 20), pick(1, 5), pick(1, 4), pick(1, 3), 0, 0, 0};
        const int64_t reach = (a.taps - 1) * a.dilation;
        a.pad_begin = pick(0, reach);
        a.pad_end = pick(0, reach);
      } while (a.in + a.pad_begin + a.pad_end <= (a.taps - 1) * a.dilation);
      a.out = OutputsOf(a, ceil_mode);
    }
    const auto& [r, c] = axes;
    const auto isas = kernels::Available();
    OpCase test{.op = average ? "AveragePool" : "MaxPool",
                .attributes = {{"kernel_shape", Longs{r.taps, c.taps}},
                               {"strides", Longs{r.stride, c.stride}},
                               {"dilations", Longs{r.dilation, c.dilation}},
                               {"pads", Longs{r.pad_begin, c.pad_begin, r.pad_end, c.pad_end}},
                               {"ceil_mode", int64_t{ceil_mode}},
                               {"count_include_pad", int64_t{count_padding}}},
                .inputs = {RandomTensor(rng, {pick(1, 2), pick(1, 40), r.in, c.in})},
                .isa = isas[rng() % isas.size()]->name};
    const Shape& in = test.inputs[0]->shape;
    const Shape shape = {in[0], in[1], r.out, c.out};
    std::vector<int64_t> positions;
    const auto want = NaivePool(*test.inputs[0], r, c, average, count_padding, &positions);
    const auto got = RunDense(test);
    ASSERT_EQ(got.size(), 1u);
    ExpectNear(got[0], shape, want, average ? 1e-5 : 0);
    CheckIncremental(test, rng, 4);

    if (average) continue;
    test.outputs = 2;
    const auto both = RunDense(test);
    ASSERT_EQ(both.size(), 2u);
    ExpectNear(both[0], shape, want, 0);
    const auto indices = both[1].as<int64_t>();
    EXPECT_EQ(std::vector<int64_t>(indices.begin(), indices.end()), positions);
    CheckIncremental(test, rng, 2);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomPools, ::testing::Range(0, 6));

TEST(Pool, OneAxis) {
  std::mt19937 rng(3);
  OpCase test{.op = "MaxPool",
              .attributes = {{"kernel_shape", Longs{3}}, {"strides", Longs{2}}},
              .inputs = {Floats({2, 1, 5}, {1, 5, 2, 0, 3, -1, -2, -3, -4, -5})}};
  ExpectNear(RunDense(test)[0], {2, 1, 2}, {5, 3, -1, -3}, 0);
  test.inputs = {RandomTensor(rng, {3, 7, 90})};
  CheckIncremental(test, rng);
}

TEST(Pool, SamePaddingPutsTheOddPixelWhereAsked) {
  OpCase test{.op = "MaxPool",
              .attributes = {{"kernel_shape", Longs{2}}, {"auto_pad", std::string("SAME_UPPER")}},
              .inputs = {Floats({1, 1, 3}, {1, 3, 2})}};
  ExpectNear(RunDense(test)[0], {1, 1, 3}, {3, 3, 2}, 0);
  test.attributes["auto_pad"] = std::string("SAME_LOWER");
  ExpectNear(RunDense(test)[0], {1, 1, 3}, {1, 3, 3}, 0);
  test.attributes["auto_pad"] = std::string("VALID");
  ExpectNear(RunDense(test)[0], {1, 1, 2}, {3, 3}, 0);
}

TEST(Pool, PositionsInColumnMajorOrder) {
  const OpCase test{.op = "MaxPool",
                    .attributes = {{"kernel_shape", Longs{2, 2}}, {"storage_order", int64_t{1}}},
                    .inputs = {Floats({1, 1, 2, 3}, {1, 2, 9, 4, 5, 6})},
                    .outputs = 2};
  const auto got = RunDense(test);
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[1].as<int64_t>()[0], 3);  // row 1, column 1 of two rows
  EXPECT_EQ(got[1].as<int64_t>()[1], 4);  // row 0, column 2
}

TEST(Pool, BytesAreComparedAsTheyAre) {
  const OpCase test{.op = "MaxPool",
                    .attributes = {{"kernel_shape", Longs{2}}},
                    .inputs = {MakeTensor<uint8_t>(DType::kUint8, {1, 1, 4}, {1, 200, 127, 128})}};
  const auto got = RunDense(test);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].as<uint8_t>()[0], 200);
  EXPECT_EQ(got[0].as<uint8_t>()[2], 128);
}

TEST(Pool, AChangeReachesItsWindowsOnly) {
  std::mt19937 rng(5);
  OpCase test{.op = "MaxPool",
              .attributes = {{"kernel_shape", Longs{5, 5}}, {"pads", Longs{2, 2, 2, 2}}},
              .inputs = {RandomTensor(rng, {1, 8, 40, 40})}};
  auto runner = OpRunner::Create(test);
  ASSERT_TRUE(runner.ok());
  (*runner)->Run(test.inputs, true, rng);
  test.inputs[0]->as<float>()[20 * 40 + 20] += 1;
  (*runner)->Run(test.inputs, false, rng);
  EXPECT_EQ((*runner)->computed(), 25);
}

TEST(Pool, NanAndInfinity) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const OpCase test{.op = "MaxPool",
                    .attributes = {{"kernel_shape", Longs{2}}},
                    .inputs = {Floats({1, 1, 5}, {1, nan, 2, -inf, -inf})}};
  ExpectNear(RunDense(test)[0], {1, 1, 4}, {nan, nan, 2, -inf});
}

TEST(Pool, RejectsWhatItCannotRun) {
  std::mt19937 rng(1);
  OpCase test{.op = "MaxPool",
              .attributes = {{"kernel_shape", Longs{2, 2}}},
              .inputs = {RandomTensor(rng, {1, 1, 4, 4})}};
  const OpCase good = test;
  test.attributes.clear();
  ExpectRejected(test, "kernel_shape");
  test = good;
  test.attributes["kernel_shape"] = Longs{2, 2, 2};
  ExpectRejected(test, "kernel_shape");
  test.attributes["kernel_shape"] = Longs{0, 2};
  ExpectRejected(test, "kernel");
  test.attributes["kernel_shape"] = Longs{int64_t{1} << 62, 2};
  ExpectRejected(test, "kernel");
  test.attributes["kernel_shape"] = Longs{5, 5};
  ExpectRejected(test, "does not fit");
  test = good;
  test.attributes["strides"] = Longs{0, 1};
  ExpectRejected(test, "strides");
  test = good;
  test.attributes["pads"] = Longs{-1, 0, 0, 0};
  ExpectRejected(test, "pads");
  test.attributes["pads"] = Longs{2, 0, 0, 0};
  ExpectRejected(test, "not smaller");
  test = good;
  test.attributes["dilations"] = Longs{1 << 20, 1 << 20};
  ExpectRejected(test, "does not fit");
  test = good;
  test.attributes["auto_pad"] = std::string("SAME");
  ExpectRejected(test, "auto_pad");
  test = good;
  test.inputs = {RandomTensor(rng, {1, 1, 2, 2, 2})};
  ExpectRejected(test, "rank 5");
  test.inputs = {MakeTensor<int64_t>(DType::kInt64, {1, 1, 2, 2}, {1, 2, 3, 4})};
  ExpectRejected(test, "int64");
  test.inputs = {std::nullopt};
  ExpectRejected(test, "missing");
}

}  // namespace
}  // namespace deltacnn::testing
