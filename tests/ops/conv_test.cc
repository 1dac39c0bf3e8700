#include "ops/harness.h"

namespace deltacnn::testing {
namespace {

using Longs = std::vector<int64_t>;

struct Axis1D {
  int64_t in, taps, stride, dilation, pad_begin, pad_end;
  int64_t Outputs() const {
    return (in + pad_begin + pad_end - (taps - 1) * dilation - 1) / stride + 1;
  }
  int64_t Input(int64_t out, int64_t tap) const {
    return out * stride - pad_begin + tap * dilation;
  }
};

/// Straight from the definition.
std::vector<double> NaiveConv(const Tensor& x, const Tensor& w, const Tensor& bias,
                              const Axis1D& rows, const Axis1D& cols, int64_t groups) {
  const auto in = x.as<float>();
  const auto weights = w.as<float>();
  const int64_t channels = w.shape[1];
  const int64_t outputs = w.shape[0];
  std::vector<double> out;
  for (int64_t n = 0; n < x.shape[0]; ++n) {
    for (int64_t o = 0; o < outputs; ++o) {
      const int64_t first = n * x.shape[1] + o / (outputs / groups) * channels;
      for (int64_t oy = 0; oy < rows.Outputs(); ++oy) {
        for (int64_t ox = 0; ox < cols.Outputs(); ++ox) {
          double sum = bias.as<float>()[static_cast<size_t>(o)];
          for (int64_t i = 0; i < rows.taps; ++i) {
            const int64_t y = rows.Input(oy, i);
            if (y < 0 || y >= rows.in) continue;
            for (int64_t j = 0; j < cols.taps; ++j) {
              const int64_t z = cols.Input(ox, j);
              if (z < 0 || z >= cols.in) continue;
              for (int64_t c = 0; c < channels; ++c) {
                sum += double{in[static_cast<size_t>(((first + c) * rows.in + y) * cols.in + z)]} *
                       weights[static_cast<size_t>(
                           ((o * channels + c) * rows.taps + i) * cols.taps + j)];
              }
            }
          }
          out.push_back(sum);
        }
      }
    }
  }
  return out;
}

void Check(std::mt19937& rng, const Shape& in, int64_t outputs, int64_t groups, const Axis1D& rows,
           const Axis1D& cols, const std::string& isa, int steps) {
  const Shape kernel = {outputs, in[1] / groups, rows.taps, cols.taps};
  const OpCase test{
      .op = "Conv",
      .attributes = {{"group", groups},
                     {"strides", Longs{rows.stride, cols.stride}},
                     {"dilations", Longs{rows.dilation, cols.dilation}},
                     {"pads", Longs{rows.pad_begin, cols.pad_begin, rows.pad_end, cols.pad_end}}},
      .inputs = {RandomTensor(rng, in), RandomTensor(rng, kernel, -0.3f, 0.3f),
                 RandomTensor(rng, {outputs})},
      .constants = {1, 2},
      .isa = isa,
      .gap = 0};  // the order of a sum may depend on whether pixels are adjacent
  SCOPED_TRACE(ToString(in) + " with " + ToString(kernel) + ", strides " +
               ToString(Shape{rows.stride, cols.stride}) + ", dilations " +
               ToString(Shape{rows.dilation, cols.dilation}) + ", " + isa);
  const auto got = RunDense(test);
  ASSERT_EQ(got.size(), 1u);
  ExpectNear(got[0], {in[0], outputs, rows.Outputs(), cols.Outputs()},
             NaiveConv(*test.inputs[0], *test.inputs[1], *test.inputs[2], rows, cols, groups),
             2e-5);
  CheckIncremental(test, rng, steps);
}

class RandomConvs : public ::testing::TestWithParam<int> {};

TEST_P(RandomConvs, MatchTheDefinition) {
  std::mt19937 rng(static_cast<unsigned>(GetParam()));
  const auto pick = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>(rng() % static_cast<uint64_t>(high - low + 1));
  };
  const auto isas = kernels::Available();
  for (int trial = 0; trial < 12; ++trial) {
    // Half of them 3x3 with stride 1 and many channels: by Winograd.
    const bool plain = pick(0, 1) != 0;
    Axis1D axes[2];
    for (Axis1D& a : axes) {
      a = plain ? Axis1D{pick(3, 20), 3, 1, 1, pick(0, 2), pick(0, 2)}
                : Axis1D{pick(5, 20), pick(1, 5), pick(1, 3), pick(1, 2), pick(0, 3), pick(0, 3)};
      if (a.in + a.pad_begin + a.pad_end <= (a.taps - 1) * a.dilation) a.in += 8;
    }
    const bool depthwise = !plain && pick(0, 2) == 0;
    const int64_t channels = plain ? pick(16, 40) : pick(1, 40);
    const int64_t groups = depthwise ? channels : !plain && channels % 2 == 0 ? pick(1, 2) : 1;
    const int64_t outputs = depthwise ? channels * pick(1, 2) : groups * pick(plain ? 16 : 1, 40);
    Check(rng, {pick(1, 2), channels, axes[0].in, axes[1].in}, outputs, groups, axes[0], axes[1],
          isas[rng() % isas.size()]->name, 4);
  }
}

INSTANTIATE_TEST_SUITE_P(, RandomConvs, ::testing::Range(0, 8));

TEST(Conv, LargeMapsOfManyChannelsHaveTheBitsOfDenseSteps) {
  std::mt19937 rng(1);
  for (const kernels::Table* table : kernels::Available()) {
    // Winograd by tiles of 4x4; the last ones are cut.
    Check(rng, {1, 32, 98, 97}, 33, 1, {98, 3, 1, 1, 1, 1}, {97, 3, 1, 1, 1, 1}, table->name, 5);
  }
}

TEST(Conv, TapsInThePaddingMakeNoDifference) {
  std::mt19937 rng(3);
  for (const kernels::Table* table : kernels::Available()) {
    // By tiles of 8x8, some of which need all taps and some few; the last ones are cut.
    for (const int64_t stride : {1, 2}) {
      Check(rng, {1, 66, 29, 70}, 37, 1, {29, 3, stride, 12, 12, 12}, {70, 3, stride, 24, 24, 24},
            table->name, 5);
    }
    Check(rng, {1, 64, 18, 9}, 5, 1, {18, 5, 1, 4, 8, 8}, {9, 2, 1, 6, 3, 3}, table->name, 4);
    // Some tiles lie in the padding as a whole.
    Check(rng, {1, 64, 9, 9}, 37, 1, {9, 3, 1, 2, 20, 20}, {9, 3, 1, 2, 20, 20}, table->name, 3);
    Check(rng, {1, 6400, 11, 9}, 6, 1, {11, 3, 1, 8, 8, 8}, {9, 3, 1, 6, 6, 6}, table->name, 2);
  }
}

TEST(Conv, SumsThatCachesDoNotHoldAreDivided) {
  std::mt19937 rng(2);
  for (const kernels::Table* table : kernels::Available()) {
    // Rows of taps in equal parts, in parts that cannot be equal, and taps one by one.
    for (const int64_t channels : {1400, 1399}) {
      for (const int64_t dilation : {1, 2}) {
        const Axis1D cols{5, 3, 1, dilation, dilation, dilation};
        Check(rng, {1, channels, 4, 5}, 5, 1, {4, 3, 1, 1, 1, 0}, cols, table->name, 2);
      }
    }
    Check(rng, {1, 6007, 3, 3}, 5, 1, {3, 2, 1, 1, 0, 0}, {3, 1, 1, 1, 0, 0}, table->name, 2);
  }
}

}  // namespace
}  // namespace deltacnn::testing
