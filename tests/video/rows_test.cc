#include "video/rows.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

namespace deltacnn::rows {
namespace {

constexpr std::array<size_t, 12> kCounts = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 100};

std::vector<uint8_t> RandomBytes(std::mt19937& random, size_t count) {
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

std::vector<float> RandomLevels(std::mt19937& random, size_t count) {
  std::vector<float> levels(count);
  for (float& level : levels) level = static_cast<float>(random() % 25500) / 100;
  return levels;
}

// `size` of them; what lies behind is padding.
void ExpectBits(const std::vector<float>& actual, const std::vector<float>& expected, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(actual[i]), std::bit_cast<uint32_t>(expected[i]))
        << i << " of " << size << ": " << actual[i] << " instead of " << expected[i];
  }
}

float Clamp(float level) { return std::clamp(level, 0.0F, 255.0F); }

// Once with each instruction set of this processor; the expectations are the same.
class Rows : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { Use(GetParam()); }
  void TearDown() override { Use(0); }

  static void Use(int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);
    hwy::GetChosenTarget().DeInit();
  }

  std::mt19937 random_{1};
};

TEST_P(Rows, ConvertsSamples) {
  const YuvCoefficients k = {.luma_scale = 1.164F,
                             .luma_offset = 16,
                             .red_v = 1.596F,
                             .green_u = 0.392F,
                             .green_v = 0.813F,
                             .blue_u = 2.017F};
  for (const size_t count : kCounts) {
    const size_t padded = count + kPadding;
    const auto a = RandomBytes(random_, padded);
    const auto b = RandomBytes(random_, padded);
    const auto c = RandomBytes(random_, padded);
    std::array<std::vector<float>, 6> actual;
    std::array<std::vector<float>, 6> expected;
    for (auto& row : actual) row.resize(padded);
    YuvToRgb(k, a.data(), b.data(), c.data(), count, actual[0].data(), actual[1].data(),
             actual[2].data());
    LumaToGray(k, a.data(), count, actual[3].data());
    RgbToGray(a.data(), b.data(), c.data(), count, actual[4].data());
    ToFloat(a.data(), count, actual[5].data());
    for (size_t i = 0; i < count; ++i) {
      const float y = (static_cast<float>(a[i]) - k.luma_offset) * k.luma_scale;
      const float u = static_cast<float>(b[i]) - 128;
      const float v = static_cast<float>(c[i]) - 128;
      expected[0].push_back(Clamp(y + k.red_v * v));
      expected[1].push_back(Clamp(y - k.green_u * u - k.green_v * v));
      expected[2].push_back(Clamp(y + k.blue_u * u));
      expected[3].push_back(Clamp(y));
      expected[4].push_back(0.299F * static_cast<float>(a[i]) + 0.587F * static_cast<float>(b[i]) +
                            0.114F * static_cast<float>(c[i]));
      expected[5].push_back(a[i]);
    }
    for (size_t i = 0; i < actual.size(); ++i) ExpectBits(actual[i], expected[i], count);
  }
}

TEST_P(Rows, Interpolates) {
  for (const size_t count : kCounts) {
    const size_t padded = count + kPadding;
    const size_t width = count * 3 + 1;
    const auto top = RandomLevels(random_, width + kPadding);
    const auto bottom = RandomLevels(random_, width + kPadding);
    std::vector<float> blended(width + kPadding);
    Blend(top.data(), bottom.data(), 0.3F, width, blended.data());
    std::vector<float> expected;
    for (size_t i = 0; i < width; ++i) expected.push_back(top[i] + (bottom[i] - top[i]) * 0.3F);
    ExpectBits(blended, expected, width);

    std::vector<int32_t> columns(padded);
    std::vector<float> weights(padded);
    for (size_t i = 0; i < count; ++i) {
      columns[i] = static_cast<int32_t>(random_() % (width - 1));
      weights[i] = static_cast<float>(random_() % 100) / 100;
    }
    std::vector<float> result(padded);
    Interpolate(top.data(), columns.data(), weights.data(), 117, 57.5F, count, result.data());
    expected.clear();
    for (size_t i = 0; i < count; ++i) {
      const float first = top[columns[i]];
      const float second = top[columns[i] + 1];
      expected.push_back((first + (second - first) * weights[i] - 117) / 57.5F);
    }
    ExpectBits(result, expected, count);
  }
}

// Pictures that differ by noise around the limit, in rows of every length and layout.
TEST_P(Rows, FindsLargeDifferences) {
  for (int trial = 0; trial < 4000; ++trial) {
    const size_t step = 1 + random_() % 4;
    const size_t bytes = step * (1 + random_() % 90);
    const int rows = 1 + static_cast<int>(random_() % 4);
    const size_t stride = bytes + random_() % 9;
    const int noise = trial % 5 == 0 ? 255 : 1 + static_cast<int>(random_() % 20);
    const float limit = trial % 7 == 0 ? 0 : static_cast<float>(random_() % 200) / 10;
    // Nothing behind the last row, for sanitizers to see what is read there.
    const auto a = RandomBytes(random_, stride * (rows - 1) + bytes);
    auto b = a;
    for (uint8_t& sample : b) {
      if (trial % 3 == 0 && random_() % 16 != 0) continue;
      const int change = static_cast<int>(random_() % (2 * noise + 1)) - noise;
      sample = static_cast<uint8_t>(std::clamp(sample + change, 0, 255));
    }
    const size_t blocks = (bytes / step + 3) / 4;
    std::vector<int16_t> sums(bytes + 4 * kPadding);
    std::vector<uint8_t> large((blocks + 7) / 8 + 1, 0xFF);
    const bool any = FindLargeDifferences({.a = a.data(),
                                           .b = b.data(),
                                           .a_stride = static_cast<ptrdiff_t>(stride),
                                           .b_stride = static_cast<ptrdiff_t>(stride)},
                                          rows, bytes, step, limit, sums.data(), large.data());
    bool expect_any = false;
    for (size_t block = 0; block < blocks; ++block) {
      const size_t columns = std::min<size_t>(4, bytes / step - 4 * block);
      bool exceeds = false;
      for (size_t c = 0; c < step; ++c) {
        int sum = 0;
        for (int y = 0; y < rows; ++y) {
          for (size_t x = 0; x < columns; ++x) {
            const size_t at = y * stride + (4 * block + x) * step + c;
            sum += std::abs(a[at] - b[at]);
          }
        }
        const float most = limit * static_cast<float>(rows * static_cast<int>(columns));
        exceeds |= static_cast<float>(sum) > most;
      }
      ASSERT_EQ((large[block / 8] >> block % 8 & 1) != 0, exceeds)
          << "sub-block " << block << " of " << blocks << ", step " << step << ", limit " << limit;
      expect_any |= exceeds;
    }
    ASSERT_EQ(any, expect_any);
  }
}

std::string NameOf(const testing::TestParamInfo<int64_t>& target) {
  return hwy::TargetName(target.param);
}

// Those that rows.cc is compiled for and this processor has; what it lacks in between falls back.
INSTANTIATE_TEST_SUITE_P(InstructionSets, Rows,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()), NameOf);

}  // namespace
}  // namespace deltacnn::rows
