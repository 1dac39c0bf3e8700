// pool and interpolate.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernel_test.h"

namespace deltacnn::kernels {
namespace {

class WindowTest : public KernelTest {};

TEST_P(WindowTest, PoolsEveryWindow) {
  for (size_t channels : {1, 3, 8, 15, 16, 32, 33, 70}) {
    for (int trial = 0; trial < 8; ++trial) {
      const size_t rows = Size(1, 4), columns = Size(1, 4), count = Size(0, 5);
      const size_t dilation = Size(1, 2), stride = Size(1, 3);
      const size_t width = stride * count + dilation * columns;
      const std::vector<float> input = SmallIntegers(rows * width * channels);
      for (const bool average : {false, true}) {
        std::vector<float> out(count * channels + 1, 7.0f);
        table().pool({.average = average,
                      .from = input.data(),
                      .rows = rows,
                      .columns = columns,
                      .row_pitch = static_cast<ptrdiff_t>(width * channels),
                      .col_pitch = static_cast<ptrdiff_t>(dilation * channels),
                      .step = static_cast<ptrdiff_t>(stride * channels),
                      .count = count,
                      .channels = channels,
                      .divisor = 4.0f,
                      .out = out.data()});
        for (size_t i = 0; i < count * channels; ++i) {
          float want = average ? 0.0f : std::numeric_limits<float>::lowest();
          for (size_t r = 0; r < rows; ++r) {
            for (size_t c = 0; c < columns; ++c) {
              const size_t pixel = r * width + i / channels * stride + c * dilation;
              const float x = input[pixel * channels + i % channels];
              want = average ? want + x : std::max(want, x);
            }
          }
          ASSERT_EQ(out[i], average ? want / 4 : want) << i << " of " << channels;
        }
        EXPECT_EQ(out.back(), 7.0f);
      }
    }
  }
}

TEST_P(WindowTest, AMaximumPassesNaNOn) {
  for (size_t at = 0; at < 9; ++at) {
    std::vector<float> input = Floats(9);
    input[at] = std::numeric_limits<float>::quiet_NaN();
    float out = 0;
    table().pool({.average = false,
                  .from = input.data(),
                  .rows = 3,
                  .columns = 3,
                  .row_pitch = 3,
                  .col_pitch = 1,
                  .step = 1,
                  .count = 1,
                  .channels = 1,
                  .divisor = 1,
                  .out = &out});
    EXPECT_TRUE(std::isnan(out)) << at;
  }
}

TEST_P(WindowTest, InterpolatesEveryPixel) {
  constexpr int kBase = 3;
  constexpr int kInputs = 11;
  for (size_t channels = 1; channels <= 40; ++channels) {
    for (size_t taps : {1, 2, 4}) {
      const size_t count = Size(0, 9);
      const std::vector<float> from = Floats(kInputs * channels);
      const std::vector<float> weights = Floats(count * taps);
      std::vector<int> index(count * taps);
      for (int& i : index) i = kBase + static_cast<int>(Size(0, kInputs - 1));
      std::vector<float> out(count * channels + 1, 7.0f);
      table().interpolate(from.data(), kBase, index.data(), weights.data(), taps, count, channels,
                          out.data());
      for (size_t i = 0; i < count * channels; ++i) {
        double want = 0;
        for (size_t t = 0; t < taps; ++t) {
          const size_t tap = i / channels * taps + t;
          want += double{weights[tap]} *
                  from[static_cast<size_t>(index[tap] - kBase) * channels + i % channels];
        }
        ASSERT_NEAR(out[i], want, 1e-6);
      }
      EXPECT_EQ(out.back(), 7.0f);
    }
  }
}

DELTACNN_FOR_EVERY_TABLE(WindowTest);

}  // namespace
}  // namespace deltacnn::kernels
