#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernel_test.h"

namespace deltacnn::kernels {
namespace {

/// A convolution of few outputs over pixels scattered in `input`, which ends where the last run
/// does.
class DotTest : public KernelTest {
 protected:
  void Make(size_t count, size_t runs, size_t run_length, size_t columns, bool integers) {
    const auto values = [&](size_t n) { return integers ? SmallIntegers(n) : Floats(n); };
    run_length_ = run_length;
    columns_ = columns;
    pitch_ = (run_length + table().dot_lanes - 1) / table().dot_lanes * table().dot_lanes;
    weights_.assign(runs * columns * pitch_, 0.0f);
    for (size_t row = 0; row < runs * columns; ++row)
      std::ranges::copy(values(run_length),
                        weights_.begin() + static_cast<ptrdiff_t>(row * pitch_));
    bias_ = values(columns);
    const size_t reach = 2 * count + 7 * runs;
    input_ = values(reach + run_length);
    offsets_.clear();
    for (size_t r = 0; r < runs; ++r) offsets_.push_back(static_cast<ptrdiff_t>(7 * (runs - r)));
    pixels_.clear();
    for (size_t i = 0; i < count; ++i) pixels_.push_back(input_.data() + Size(0, 2 * count));
  }

  std::vector<float> Run(const std::vector<const float*>& pixels, Epilogue epilogue = {},
                         uint8_t* changed = nullptr, float before = 7.0f) {
    std::vector<float> out(pixels.size() * columns_, before);
    std::vector<float*> targets;
    for (size_t i = 0; i < pixels.size(); ++i) targets.push_back(&out[i * columns_]);
    epilogue.targets = targets.data();
    epilogue.width = columns_;
    epilogue.changed = changed;
    table().dot({.pixels = pixels.data(),
                 .count = pixels.size(),
                 .run_offset = offsets_.data(),
                 .runs = offsets_.size(),
                 .run_length = run_length_,
                 .weights = weights_.data(),
                 .run_pitch = pitch_,
                 .bias = bias_.data(),
                 .columns = columns_,
                 .epilogue = &epilogue});
    return out;
  }

  double Expected(size_t pixel, size_t column) const {
    double sum = bias_[column];
    for (size_t r = 0; r < offsets_.size(); ++r) {
      for (size_t k = 0; k < run_length_; ++k) {
        sum += double{pixels_[pixel][offsets_[r] + static_cast<ptrdiff_t>(k)]} *
               weights_[(r * columns_ + column) * pitch_ + k];
      }
    }
    return sum;
  }

  size_t run_length_ = 0, columns_ = 0, pitch_ = 0;
  std::vector<float> input_, weights_, bias_;
  std::vector<ptrdiff_t> offsets_;
  std::vector<const float*> pixels_;
};

TEST_P(DotTest, SumsOfIntegersAreExactForEverySize) {
  for (size_t columns = 1; columns <= kDotColumns; ++columns) {
    for (size_t run_length = 1; run_length <= 40; ++run_length) {
      Make(Size(1, 9), Size(1, 4), run_length, columns, /*integers=*/true);
      const std::vector<float> out = Run(pixels_);
      for (size_t i = 0; i < pixels_.size(); ++i)
        for (size_t j = 0; j < columns; ++j)
          ASSERT_EQ(out[i * columns + j], Expected(i, j)) << run_length << " x " << columns;
    }
  }
}

TEST_P(DotTest, BitsOfAPixelDoNotDependOnTheOthers) {
  Make(20, 9, 37, 3, /*integers=*/false);
  const std::vector<float> all = Run(pixels_);
  for (size_t i = 0; i < pixels_.size(); ++i) {
    EXPECT_NEAR(all[3 * i], Expected(i, 0), 1e-4);
    EXPECT_EQ(FirstDifference(Run({pixels_[i]}).data(), &all[3 * i], 3), 3u) << i;
  }
}

TEST_P(DotTest, EpilogueAddsClampsAndFlagsWhatChanged) {
  Make(8, 2, 33, 2, /*integers=*/true);
  const std::vector<float> plain = Run(pixels_);
  const std::vector<float> addend = SmallIntegers(plain.size());
  std::vector<const float*> addends;
  for (size_t i = 0; i < pixels_.size(); ++i) addends.push_back(&addend[2 * i]);
  for (const bool add_first : {true, false}) {
    Epilogue epilogue{.rectifier = Epilogue::Rectifier::kClip,
                      .low = 0,
                      .high = std::numeric_limits<float>::infinity()};
    epilogue.addend = addends.data();
    epilogue.add_first = add_first;
    const std::vector<float> out = Run(pixels_, epilogue);
    for (size_t i = 0; i < out.size(); ++i) {
      EXPECT_EQ(out[i], add_first ? std::max(plain[i] + addend[i], 0.0f)
                                  : std::max(plain[i], 0.0f) + addend[i]);
    }
  }
  std::vector<uint8_t> changed(pixels_.size(), 0);
  Run(pixels_, {}, changed.data(), std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(changed, std::vector<uint8_t>(pixels_.size(), 1));
  weights_.assign(weights_.size(), 0.0f);
  bias_.assign(bias_.size(), 7.0f);
  changed.assign(changed.size(), 0);
  Run(pixels_, {}, changed.data(), 7.0f);
  EXPECT_EQ(changed, std::vector<uint8_t>(pixels_.size(), 0));
}

DELTACNN_FOR_EVERY_TABLE(DotTest);

}  // namespace
}  // namespace deltacnn::kernels
