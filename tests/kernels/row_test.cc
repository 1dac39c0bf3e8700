// store_changed, store_pixels, store_stronger, transpose and accumulate.
#include <algorithm>
#include <cmath>

#include "kernels/kernel_test.h"

namespace deltacnn::kernels {
namespace {

class RowTest : public KernelTest {};

TEST_P(RowTest, StoreChangedSeesEverySingleElement) {
  for (size_t n = 0; n <= 70; ++n) {
    const std::vector<float> old = Floats(n);
    std::vector<float> dst = old;
    EXPECT_FALSE(table().store_changed(dst.data(), old.data(), n));
    EXPECT_EQ(FirstDifference(dst.data(), old.data(), n), n);
    for (size_t i = 0; i < n; ++i) {
      std::vector<float> src = old;
      src[i] = FromBits(Bits(src[i]) ^ 1);
      dst = old;
      EXPECT_TRUE(table().store_changed(dst.data(), src.data(), n)) << i << " of " << n;
      EXPECT_EQ(FirstDifference(dst.data(), src.data(), n), n) << i << " of " << n;
    }
  }
}

TEST_P(RowTest, StoreChangedCopiesAllAndWritesNothingBehind) {
  for (size_t n = 0; n <= 70; ++n) {
    const std::vector<float> src = Floats(n);
    std::vector<float> dst(n + 20, 7.0f);
    EXPECT_EQ(table().store_changed(dst.data(), src.data(), n), n > 0);
    EXPECT_EQ(FirstDifference(dst.data(), src.data(), n), n);
    for (size_t i = n; i < dst.size(); ++i) EXPECT_EQ(dst[i], 7.0f);
  }
}

TEST_P(RowTest, StoreChangedComparesBitsNotValues) {
  for (size_t n : {1, 5, 16, 40}) {
    std::vector<float> dst(n, 0.0f);
    const std::vector<float> negative_zero(n, -0.0f);
    EXPECT_TRUE(table().store_changed(dst.data(), negative_zero.data(), n));
    EXPECT_FALSE(table().store_changed(dst.data(), negative_zero.data(), n));
    const std::vector<float> nan(n, FromBits(0x7FC00000));
    const std::vector<float> other_nan(n, FromBits(0xFFC00001));
    EXPECT_TRUE(table().store_changed(dst.data(), nan.data(), n));
    EXPECT_FALSE(table().store_changed(dst.data(), nan.data(), n));
    EXPECT_TRUE(table().store_changed(dst.data(), other_nan.data(), n));
    EXPECT_EQ(FirstDifference(dst.data(), other_nan.data(), n), n);
  }
}

TEST_P(RowTest, StorePixelsFlagsWhatDiffersAndWritesOnlyPixels) {
  for (size_t n : {1, 2, 5, 8, 16, 19}) {
    for (const bool packed : {true, false}) {
      const size_t count = Size(1, 20);
      const size_t dst_pitch = packed ? n : n + Size(0, 3);
      const size_t src_pitch = packed ? n : n + Size(0, 3);
      const std::vector<float> src = Floats(count * src_pitch);
      const std::vector<float> before = Floats(count * dst_pitch);
      std::vector<float> want = before;
      for (size_t i = 0; i < count; ++i) std::copy_n(&src[i * src_pitch], n, &want[i * dst_pitch]);
      std::vector<float> start = before;
      std::vector<uint8_t> expected(count, 1);
      for (size_t i = 0; i < count; i += 3) {  // these hold the new values but for one or none
        std::copy_n(&src[i * src_pitch], n, &start[i * dst_pitch]);
        expected[i] = i % 2 == 0 ? 0 : 1;
        float& last = start[i * dst_pitch + n - 1];
        if (i % 2 != 0) last = FromBits(Bits(last) ^ 1);
      }
      for (const bool compares : {true, false}) {
        std::vector<float> dst = start;
        std::vector<uint8_t> changed(count, 0);
        table().store_pixels(dst.data(), static_cast<ptrdiff_t>(dst_pitch), src.data(),
                             static_cast<ptrdiff_t>(src_pitch), count, n,
                             compares ? changed.data() : nullptr);
        EXPECT_EQ(FirstDifference(dst.data(), want.data(), dst.size()), dst.size()) << n;
        EXPECT_EQ(changed, compares ? expected : std::vector<uint8_t>(count, 0)) << n;
      }
    }
  }
}

TEST_P(RowTest, TransposeMovesEveryElementAndNothingElse) {
  for (size_t rows = 0; rows <= 17; ++rows) {
    for (size_t columns = 0; columns <= 17; ++columns) {
      const size_t from_pitch = columns + Size(0, 3);
      const size_t to_pitch = rows + Size(0, 3);
      const std::vector<float> from = Floats(rows * from_pitch + 1);
      std::vector<float> to(columns * to_pitch + 1, 7.0f);
      table().transpose(from.data(), static_cast<ptrdiff_t>(from_pitch), rows, columns, to.data(),
                        static_cast<ptrdiff_t>(to_pitch));
      for (size_t i = 0; i < to.size(); ++i) {
        const size_t c = to_pitch == 0 ? columns : i / to_pitch;
        const size_t r = to_pitch == 0 ? rows : i % to_pitch;
        const bool inside = c < columns && r < rows;
        ASSERT_EQ(Bits(to[i]), Bits(inside ? from[r * from_pitch + c] : 7.0f))
            << rows << " x " << columns << ", element " << i;
      }
    }
  }
}

TEST_P(RowTest, StoreStrongerJudgesTheSumOfAllChannels) {
  for (size_t n = 1; n <= 70; ++n) {
    const size_t pitch = n + Size(0, 2);
    constexpr size_t kPixels = 4;
    const std::vector<float> start = SmallIntegers(kPixels * pitch);
    std::vector<float> weights(n);
    for (float& weight : weights) weight = static_cast<float>(Size(0, 3));
    std::vector<float> src = start;
    // No change, two that differ in their last element, and one that no number measures.
    const size_t last = n - 1;
    weights[last] = 1;
    src[pitch + last] += 2;
    src[2 * pitch + last] += 3;
    src[3 * pitch + last] = std::nanf("");
    const auto run = [&](float cutoff, float strong) {
      std::vector<float> dst = start;
      std::vector<uint8_t> flags(kPixels, 0);
      table().store_stronger(dst.data(), static_cast<ptrdiff_t>(pitch), src.data(),
                             static_cast<ptrdiff_t>(pitch), kPixels, n,
                             {weights.data(), cutoff, strong}, flags.data());
      for (size_t i = 0; i < kPixels; ++i) {
        const std::vector<float>& want = flags[i] != 0 ? src : start;
        EXPECT_EQ(FirstDifference(&dst[i * pitch], &want[i * pitch], n), n) << i << " of " << n;
      }
      return flags;
    };
    using Flags = std::vector<uint8_t>;
    EXPECT_EQ(run(4, 8), (Flags{0, 0, 3, 3})) << n;
    EXPECT_EQ(run(4, 9), (Flags{0, 0, 1, 3})) << n;
    EXPECT_EQ(run(3.5f, 4), (Flags{0, 1, 3, 3})) << n;
    EXPECT_EQ(run(9, 9), (Flags{0, 0, 0, 3})) << n;
  }
}

TEST_P(RowTest, StoreStrongerSumsWeightedSquares) {
  for (size_t n = 1; n <= 70; ++n) {
    const std::vector<float> src = Floats(n);
    const std::vector<float> weights = Floats(n);
    double strength = 0;
    std::vector<float> dst = Floats(n);
    std::vector<float> positive = weights;
    for (size_t i = 0; i < n; ++i) {
      positive[i] = std::abs(weights[i]);
      strength += positive[i] * std::pow(static_cast<double>(dst[i]) - src[i], 2);
    }
    const auto stored = [&](double cutoff) {
      std::vector<float> copy = dst;
      uint8_t flags = 0;
      table().store_stronger(copy.data(), 0, src.data(), 0, 1, n,
                             {positive.data(), static_cast<float>(cutoff), 1e9f}, &flags);
      return flags;
    };
    EXPECT_EQ(stored(strength * (1 - 1e-5)), 1) << n;
    EXPECT_EQ(stored(strength * (1 + 1e-5)), 0) << n;
  }
}

TEST_P(RowTest, AccumulateAddsTheScaledRow) {
  for (size_t n = 0; n <= 70; ++n) {
    const std::vector<float> start = Floats(n + 20);
    const std::vector<float> x = Floats(n);
    std::vector<float> acc = start;
    table().accumulate(acc.data(), x.data(), 0.3f, n);
    for (size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(acc[i], start[i] + static_cast<double>(x[i]) * 0.3f, 1.2e-7) << i << " of " << n;
      float alone = start[i];
      table().accumulate(&alone, &x[i], 0.3f, 1);
      EXPECT_EQ(Bits(alone), Bits(acc[i])) << i << " of " << n;
    }
    EXPECT_EQ(FirstDifference(&acc[n], &start[n], 20), 20u);
  }
}

DELTACNN_FOR_EVERY_TABLE(RowTest);

}  // namespace
}  // namespace deltacnn::kernels
