#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "kernels/kernel_test.h"

namespace deltacnn::kernels {
namespace {

/// A GEMM over pixels scattered in `input`; every buffer ends exactly where the kernel must stop.
struct Problem {
  std::vector<float> input;
  std::vector<const float*> pixels;
  std::vector<ptrdiff_t> run_offset;
  size_t run_length = 0;
  std::vector<float> weights;
  std::vector<float> bias;

  size_t depth() const { return run_offset.size() * run_length; }
};

class GemmTest : public KernelTest {
 protected:
  Problem MakeProblem(size_t count, size_t runs, size_t run_length, bool integers) {
    const auto values = [&](size_t n) { return integers ? SmallIntegers(n) : Floats(n); };
    Problem problem;
    problem.run_length = run_length;
    problem.weights = values(runs * run_length * table().panel);
    problem.bias = values(table().panel);
    // Offsets reach to both sides of the pixel; the outermost stretches touch the buffer's ends.
    const size_t reach = Size(0, 40);
    problem.input = values(2 * reach + 3 * count + run_length);
    for (size_t r = 0; r < runs; ++r) {
      problem.run_offset.push_back(static_cast<ptrdiff_t>(Size(0, 2 * reach)) -
                                   static_cast<ptrdiff_t>(reach));
    }
    for (size_t i = 0; i < count; ++i) {
      problem.pixels.push_back(problem.input.data() + reach + Size(0, 3 * count));
    }
    return problem;
  }

  std::vector<float> Run(const Problem& problem, const std::vector<const float*>& pixels) {
    std::vector<float> out(pixels.size() * table().panel);
    RunTo(problem, pixels, out.data(), table().panel);
    return out;
  }

  void RunTo(const Problem& problem, const std::vector<const float*>& pixels, float* out,
             size_t out_pitch) {
    table().gemm({.pixels = pixels.data(),
                  .count = pixels.size(),
                  .run_offset = problem.run_offset.data(),
                  .runs = problem.run_offset.size(),
                  .run_length = problem.run_length,
                  .weights = problem.weights.data(),
                  .bias = problem.bias.data(),
                  .out = out,
                  .out_pitch = out_pitch});
  }

  /// In double, with the sum of the magnitudes of all terms as the scale of the rounding error.
  struct Reference {
    double value;
    double magnitude;
  };
  Reference Expected(const Problem& problem, size_t pixel, size_t channel) const {
    Reference sum{problem.bias[channel], std::abs(problem.bias[channel])};
    for (size_t r = 0; r < problem.run_offset.size(); ++r) {
      for (size_t k = 0; k < problem.run_length; ++k) {
        const double x = problem.pixels[pixel][problem.run_offset[r] + static_cast<ptrdiff_t>(k)];
        const double w = problem.weights[(r * problem.run_length + k) * table().panel + channel];
        sum.value += x * w;
        sum.magnitude += std::abs(x * w);
      }
    }
    return sum;
  }
};

TEST_P(GemmTest, SumsOfIntegersAreExactForEveryCount) {
  for (size_t count = 1; count <= 60; ++count) {
    const Problem problem = MakeProblem(count, Size(1, 9), Size(1, 67), /*integers=*/true);
    const std::vector<float> out = Run(problem, problem.pixels);
    for (size_t i = 0; i < count; ++i) {
      for (size_t j = 0; j < table().panel; ++j) {
        ASSERT_EQ(out[i * table().panel + j], Expected(problem, i, j).value)
            << "count " << count << ", pixel " << i << ", channel " << j;
      }
    }
  }
}

TEST_P(GemmTest, SumsOfFloatsAreClose) {
  for (int trial = 0; trial < 40; ++trial) {
    const Problem problem = MakeProblem(Size(1, 60), Size(1, 9), Size(1, 150), false);
    const double tolerance = 0x1p-24 * std::sqrt(static_cast<double>(problem.depth() + 1)) * 4;
    const std::vector<float> out = Run(problem, problem.pixels);
    for (size_t i = 0; i < problem.pixels.size(); ++i) {
      for (size_t j = 0; j < table().panel; ++j) {
        const Reference expected = Expected(problem, i, j);
        ASSERT_NEAR(out[i * table().panel + j], expected.value, tolerance * expected.magnitude);
      }
    }
  }
}

TEST_P(GemmTest, BitsOfAPixelDoNotDependOnTheOthers) {
  const size_t panel = table().panel;
  const Problem problem = MakeProblem(60, 3, 37, false);
  const std::vector<float> all = Run(problem, problem.pixels);
  for (size_t i = 0; i < problem.pixels.size(); ++i) {
    const std::vector<float> alone = Run(problem, {problem.pixels[i]});
    ASSERT_EQ(FirstDifference(alone.data(), &all[i * panel], panel), panel) << "pixel " << i;
  }
  std::vector<size_t> order(problem.pixels.size());
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t count = 1; count <= order.size(); ++count) {
    std::shuffle(order.begin(), order.end(), random_);
    std::vector<const float*> subset;
    for (size_t i = 0; i < count; ++i) subset.push_back(problem.pixels[order[i]]);
    const std::vector<float> out = Run(problem, subset);
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(FirstDifference(&out[i * panel], &all[order[i] * panel], panel), panel)
          << "pixel " << order[i] << " as number " << i << " of " << count;
    }
  }
}

TEST_P(GemmTest, PartsOfAPanelHaveTheBitsOfTheWholeAndNothingElseIsWritten) {
  const size_t panel = table().panel;
  for (const size_t columns : {panel / 2, panel / 4}) {
    if (columns == 0) continue;
    for (const size_t count : {1, 2, 5, 13, 14, 15, 40}) {
      const Problem problem = MakeProblem(count, 3, 17, false);
      const std::vector<float> whole = Run(problem, problem.pixels);
      std::vector<float> out(count * columns);  // ends where the kernel must stop
      table().gemm({.pixels = problem.pixels.data(),
                    .count = count,
                    .run_offset = problem.run_offset.data(),
                    .runs = problem.run_offset.size(),
                    .run_length = problem.run_length,
                    .weights = problem.weights.data(),
                    .bias = problem.bias.data(),
                    .out = out.data(),
                    .out_pitch = columns,
                    .columns = columns});
      for (size_t i = 0; i < count; ++i) {
        EXPECT_EQ(std::memcmp(&out[i * columns], &whole[i * panel], columns * sizeof(float)), 0)
            << "pixel " << i << " of " << count;
      }
    }
  }
}

TEST_P(GemmTest, PixelsAtEqualDistancesHaveTheBitsOfPixelsAnywhere) {
  const size_t panel = table().panel;
  for (const auto& [runs, run_length] : {std::pair<size_t, size_t>{1, 40}, {3, 9}, {3, 150}}) {
    for (const size_t count : {1, 2, 5, 13, 14, 15, 40}) {
      Problem problem = MakeProblem(count, runs, run_length, false);
      const auto step = static_cast<ptrdiff_t>(Size(1, 3));
      // Room for the pixels between what the offsets reach to both sides.
      problem.input = Floats(2 * 40 + 3 * count + run_length);
      const float* first = problem.input.data() + 40;
      for (size_t i = 0; i < count; ++i)
        problem.pixels[i] = first + static_cast<ptrdiff_t>(i) * step;
      std::vector<uint32_t> pairs(problem.weights.size() / 2);
      for (uint32_t& pair : pairs) pair = (Bits(Floats(1)[0]) >> 16) * 0x10001u;
      // Clang 14 captures no structured bindings as they are.
      const auto run = [&, runs = runs, run_length = run_length](PanelWeights weights,
                                                                 ptrdiff_t pixel_step) {
        std::vector<float> out(count * panel);
        table().gemm({.pixels = problem.pixels.data(),
                      .count = count,
                      .pixel_step = pixel_step,
                      .run_offset = problem.run_offset.data(),
                      .runs = runs,
                      .run_length = run_length,
                      .weights = weights,
                      .bias = problem.bias.data(),
                      .out = out.data(),
                      .out_pitch = panel});
        return out;
      };
      for (const PanelWeights& weights :
           {PanelWeights(problem.weights.data()), PanelWeights(pairs.data())}) {
        if (weights.pairs != nullptr && panel < 2) continue;
        const std::vector<float> want = run(weights, 0);
        problem.pixels.resize(1);  // nothing but the first may be read
        const std::vector<float> got = run(weights, step);
        for (size_t i = 1; i < count; ++i)
          problem.pixels.push_back(first + static_cast<ptrdiff_t>(i) * step);
        EXPECT_EQ(FirstDifference(got.data(), want.data(), want.size()), want.size())
            << runs << " runs, " << count << " pixels";
      }
    }
  }
}

TEST_P(GemmTest, PairsOfBfloat16HaveTheBitsOfTheFloatsTheyStandFor) {
  const size_t panel = table().panel;
  for (const size_t columns : {panel, panel / 2, panel / 4}) {
    if (columns == 0) continue;
    for (const size_t count : {1, 2, 5, 6, 14, 31}) {
      Problem problem = MakeProblem(count, 3, 150, false);
      for (float& weight : problem.weights) weight = FromBits(Bits(weight) & 0xFFFF0000u);
      std::vector<uint32_t> pairs;
      for (size_t k = 0; k < problem.depth(); ++k) {
        for (size_t i = 0; i < panel / 2; ++i) {
          const float* row = &problem.weights[k * panel];
          pairs.push_back(Bits(row[i]) >> 16 | Bits(row[panel / 2 + i]));
        }
      }
      const auto run = [&](PanelWeights weights) {
        std::vector<float> out(count * columns);
        table().gemm({.pixels = problem.pixels.data(),
                      .count = count,
                      .run_offset = problem.run_offset.data(),
                      .runs = problem.run_offset.size(),
                      .run_length = problem.run_length,
                      .weights = weights,
                      .bias = problem.bias.data(),
                      .out = out.data(),
                      .out_pitch = columns,
                      .columns = columns});
        return out;
      };
      const std::vector<float> want = run(problem.weights.data());
      EXPECT_EQ(FirstDifference(run(pairs.data()).data(), want.data(), want.size()), want.size())
          << columns << " columns, " << count << " pixels";
    }
  }
}

TEST_P(GemmTest, SumsGoOnFromThoseOfTheRunsBefore) {
  const size_t panel = table().panel;
  const std::vector<float> no_bias(panel, 0.0f);
  for (const size_t columns : {panel, panel / 2, panel / 4}) {
    if (columns == 0) continue;
    for (const size_t count : {1, 5, 14, 31}) {
      const Problem problem = MakeProblem(count, 5, Size(1, 200), true);
      std::vector<float> sums(count * panel);
      std::vector<float> finished(count * panel);
      std::vector<float*> targets;
      for (size_t i = 0; i < count; ++i) targets.push_back(&finished[i * panel]);
      Epilogue epilogue;
      epilogue.rectifier = Epilogue::Rectifier::kLeaky;
      epilogue.slope = 0.5f;
      epilogue.targets = targets.data();
      epilogue.width = columns;
      const auto run = [&](size_t begin, size_t end, const float* before, bool last) {
        table().gemm({.pixels = problem.pixels.data(),
                      .count = count,
                      .run_offset = problem.run_offset.data() + begin,
                      .runs = end - begin,
                      .run_length = problem.run_length,
                      .weights = &problem.weights[begin * problem.run_length * panel],
                      .bias = last ? problem.bias.data() : no_bias.data(),
                      .sums = before,
                      .out = sums.data(),
                      .out_pitch = panel,
                      .columns = columns,
                      .epilogue = last ? &epilogue : nullptr});
      };
      run(0, 2, nullptr, false);
      run(2, 4, sums.data(), false);
      run(4, 5, sums.data(), true);
      for (size_t i = 0; i < count; ++i) {
        for (size_t j = 0; j < columns; ++j) {
          const double want = Expected(problem, i, j).value;
          ASSERT_EQ(finished[i * panel + j], want < 0 ? want / 2 : want)
              << count << " pixels, pixel " << i << ", channel " << j;
        }
      }
    }
  }
}

TEST_P(GemmTest, WritesOnlyThePanelOfEachRow) {
  const size_t panel = table().panel;
  const size_t pitch = panel + 3;
  for (size_t count : {1, 6, 7, 10, 11, 14, 15, 50}) {
    const Problem problem = MakeProblem(count, 2, 5, true);
    const std::vector<float> expected = Run(problem, problem.pixels);
    std::vector<float> out((count - 1) * pitch + panel + 3, -12345.0f);
    RunTo(problem, problem.pixels, out.data(), pitch);
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t row = i / pitch;
      const size_t column = i % pitch;
      const bool written = row < count && column < panel;
      ASSERT_EQ(out[i], written ? expected[row * panel + column] : -12345.0f) << i;
    }
  }
}

TEST_P(GemmTest, EmptySumIsTheBiasAndNoPixelWritesNothing) {
  const size_t panel = table().panel;
  Problem problem = MakeProblem(5, 2, 3, false);
  problem.run_offset.clear();
  const std::vector<float> out = Run(problem, problem.pixels);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(FirstDifference(&out[i * panel], problem.bias.data(), panel), panel);
  }
  EXPECT_TRUE(Run(problem, {}).empty());
}

DELTACNN_FOR_EVERY_TABLE(GemmTest);

}  // namespace
}  // namespace deltacnn::kernels
