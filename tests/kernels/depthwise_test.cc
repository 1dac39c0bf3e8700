#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/kernel_test.h"

namespace deltacnn::kernels {
namespace {

struct Problem {
  std::vector<float> input;
  std::vector<const float*> pixels;
  std::vector<ptrdiff_t> tap_offset;
  size_t channels = 0;
  size_t weight_pitch = 0;
  std::vector<float> weights;
  std::vector<float> bias;
};

class DepthwiseTest : public KernelTest {
 protected:
  /// Pixels alternate between neighbours (`channels` apart) and random places. All buffers end
  /// exactly where the kernel must stop.
  Problem MakeProblem(size_t count, size_t taps, size_t channels, bool integers) {
    const auto values = [&](size_t n) { return integers ? SmallIntegers(n) : Floats(n); };
    Problem problem;
    problem.channels = channels;
    problem.weight_pitch = channels + Size(0, 5);
    problem.weights = values((taps - 1) * problem.weight_pitch + channels);
    problem.bias = values(channels);
    const size_t reach = Size(0, 50);
    problem.input = values(2 * reach + (count + 1) * channels);
    for (size_t t = 0; t < taps; ++t) {
      problem.tap_offset.push_back(static_cast<ptrdiff_t>(Size(0, 2 * reach)) -
                                   static_cast<ptrdiff_t>(reach));
    }
    for (size_t i = 0; i < count; ++i) {
      const size_t place = i % 8 < 5 ? i * channels : Size(0, count * channels);
      problem.pixels.push_back(problem.input.data() + reach + place);
    }
    return problem;
  }

  std::vector<float> Run(const Problem& problem, const std::vector<const float*>& pixels) {
    std::vector<float> out(pixels.size() * problem.channels);
    RunTo(problem, pixels, out.data(), problem.channels);
    return out;
  }

  /// Neighbours, `step` apart, as runs.
  static std::vector<PixelRun> RunsOf(const std::vector<const float*>& pixels, ptrdiff_t step) {
    std::vector<PixelRun> runs;
    for (size_t i = 0; i < pixels.size(); ++i) {
      if (i > 0 && pixels[i] - pixels[i - 1] == step) {
        ++runs.back().count;
      } else {
        runs.push_back({pixels[i], 1});
      }
    }
    return runs;
  }

  /// Stores rows of `width` floats, `pitch` apart, from `out` on, which must live as long.
  static Epilogue Rows(float* const& out, size_t pitch, size_t width) {
    return {.targets = &out, .target_step = static_cast<ptrdiff_t>(pitch), .width = width};
  }

  void RunTo(const Problem& problem, const std::vector<const float*>& pixels, float* out,
             size_t out_pitch) {
    const auto step = static_cast<ptrdiff_t>(problem.channels);
    const std::vector<PixelRun> runs = RunsOf(pixels, step);
    const Epilogue epilogue = Rows(out, out_pitch, problem.channels);
    table().depthwise({.runs = runs.data(),
                       .run_count = runs.size(),
                       .step = step,
                       .tap_offset = problem.tap_offset.data(),
                       .taps = problem.tap_offset.size(),
                       .channels = problem.channels,
                       .weights = problem.weights.data(),
                       .weight_pitch = problem.weight_pitch,
                       .bias = problem.bias.data(),
                       .epilogue = &epilogue});
  }

  double Expected(const Problem& problem, size_t pixel, size_t channel) const {
    double sum = problem.bias[channel];
    for (size_t t = 0; t < problem.tap_offset.size(); ++t) {
      const ptrdiff_t place = problem.tap_offset[t] + static_cast<ptrdiff_t>(channel);
      sum += static_cast<double>(problem.pixels[pixel][place]) *
             problem.weights[t * problem.weight_pitch + channel];
    }
    return sum;
  }
};

TEST_P(DepthwiseTest, SumsOfIntegersAreExactForEveryChannelCount) {
  for (size_t channels = 1; channels <= 70; ++channels) {
    const size_t taps = channels % 3 == 0 ? 9 : Size(1, 49);
    const Problem problem = MakeProblem(Size(1, 20), taps, channels, /*integers=*/true);
    const std::vector<float> out = Run(problem, problem.pixels);
    for (size_t i = 0; i < problem.pixels.size(); ++i) {
      for (size_t c = 0; c < channels; ++c) {
        ASSERT_EQ(out[i * channels + c], Expected(problem, i, c))
            << channels << " channels, pixel " << i << ", channel " << c;
      }
    }
  }
}

TEST_P(DepthwiseTest, SumsOfFloatsAreClose) {
  for (int trial = 0; trial < 20; ++trial) {
    const Problem problem = MakeProblem(Size(1, 20), Size(1, 25), Size(1, 70), false);
    const std::vector<float> out = Run(problem, problem.pixels);
    for (size_t i = 0; i < problem.pixels.size(); ++i) {
      for (size_t c = 0; c < problem.channels; ++c) {
        ASSERT_NEAR(out[i * problem.channels + c], Expected(problem, i, c), 4e-6);
      }
    }
  }
}

TEST_P(DepthwiseTest, BitsOfAPixelDoNotDependOnTheOthers) {
  for (size_t channels : {1, 8, 24, 37, 64, 70}) {
    const Problem problem = MakeProblem(23, 9, channels, false);
    const std::vector<float> all = Run(problem, problem.pixels);
    std::vector<size_t> order(problem.pixels.size());
    std::iota(order.begin(), order.end(), size_t{0});
    for (size_t count = 1; count <= order.size(); ++count) {
      std::shuffle(order.begin(), order.end(), random_);
      std::vector<const float*> subset;
      for (size_t i = 0; i < count; ++i) subset.push_back(problem.pixels[order[i]]);
      const std::vector<float> out = Run(problem, subset);
      for (size_t i = 0; i < count; ++i) {
        ASSERT_EQ(FirstDifference(&out[i * channels], &all[order[i] * channels], channels),
                  channels)
            << "pixel " << order[i] << " as number " << i << " of " << count;
      }
    }
  }
}

TEST_P(DepthwiseTest, BitsOfAChannelDoNotDependOnItsPlaceInTheVector) {
  Problem problem = MakeProblem(9, 9, 67, false);
  const std::vector<float> all = Run(problem, problem.pixels);
  for (size_t skipped = 1; skipped < 67; skipped += 5) {
    Problem part = problem;
    part.channels = 67 - skipped;
    part.weights.erase(part.weights.begin(), part.weights.begin() + static_cast<long>(skipped));
    part.bias.erase(part.bias.begin(), part.bias.begin() + static_cast<long>(skipped));
    std::vector<const float*> pixels = problem.pixels;
    for (const float*& pixel : pixels) pixel += skipped;
    const std::vector<float> out = Run(part, pixels);
    for (size_t i = 0; i < pixels.size(); ++i) {
      ASSERT_EQ(FirstDifference(&out[i * part.channels], &all[i * 67 + skipped], part.channels),
                part.channels)
          << "without the first " << skipped;
    }
  }
}

TEST_P(DepthwiseTest, WritesOnlyTheChannelsOfEachRow) {
  for (size_t channels : {1, 15, 16, 33}) {
    const size_t pitch = channels + 2;
    const Problem problem = MakeProblem(6, 4, channels, true);
    const std::vector<float> expected = Run(problem, problem.pixels);
    std::vector<float> out(6 * pitch, -12345.0f);
    RunTo(problem, problem.pixels, out.data(), pitch);
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t column = i % pitch;
      const float want = column < channels ? expected[i / pitch * channels + column] : -12345.0f;
      ASSERT_EQ(out[i], want) << i;
    }
  }
}

TEST_P(DepthwiseTest, AdjacentPixelsShareInputsAndKeepTheirBits) {
  for (const size_t columns : {1, 2, 3, 5, 7}) {
    for (const size_t stride : {1, 2, 3}) {
      for (const size_t channels : {1, 8, 24, 37, 64, 70}) {
        const size_t rows = Size(1, 3);
        const auto pitch = static_cast<ptrdiff_t>(channels);
        const size_t count = 23;
        const size_t row_pixels = stride * count + columns;
        Problem problem = MakeProblem(count, rows * columns, channels, false);
        problem.input = Floats(row_pixels * channels * rows);
        for (size_t t = 0; t < rows * columns; ++t) {
          problem.tap_offset[t] =
              static_cast<ptrdiff_t>(t / columns * row_pixels + t % columns) * pitch;
        }
        for (size_t i = 0; i < count; ++i) {
          const size_t place = i == 9 || i == 14 ? Size(0, count - 1) : i;  // breaks two runs
          problem.pixels[i] = problem.input.data() + stride * place * channels;
        }
        const std::vector<float> expected = Run(problem, problem.pixels);
        const ptrdiff_t step = static_cast<ptrdiff_t>(stride) * pitch;
        const std::vector<PixelRun> runs = RunsOf(problem.pixels, step);
        std::vector<float> out(count * channels);
        float* const first = out.data();
        const Epilogue epilogue = Rows(first, channels, channels);
        table().depthwise({.runs = runs.data(),
                           .run_count = runs.size(),
                           .step = step,
                           .tap_offset = problem.tap_offset.data(),
                           .taps = rows * columns,
                           .pixel_pitch = pitch,
                           .columns = columns,
                           .channels = channels,
                           .weights = problem.weights.data(),
                           .weight_pitch = problem.weight_pitch,
                           .bias = problem.bias.data(),
                           .epilogue = &epilogue});
        EXPECT_EQ(FirstDifference(out.data(), expected.data(), out.size()), out.size())
            << columns << " columns, stride " << stride << ", " << channels << " channels";
      }
    }
  }
}

TEST_P(DepthwiseTest, AdjacentPixelsWithSeveralOutputsOfAChannelKeepTheirBits) {
  for (const size_t multiplier : {2, 3, 4}) {
    for (const size_t inputs : {1, 5, 12}) {
      const size_t channels = multiplier * inputs;
      const size_t row_pixels = 13;
      const Problem weights = MakeProblem(1, 9, channels, false);
      const std::vector<float> input = Floats(3 * row_pixels * inputs);
      std::vector<ptrdiff_t> taps;
      for (size_t t = 0; t < 9; ++t)
        taps.push_back(static_cast<ptrdiff_t>((t / 3 * row_pixels + t % 3) * inputs));
      const PixelRun pixels = {input.data(), 11};
      const auto run = [&](size_t pitch) {
        std::vector<float> out(pixels.count * channels);
        float* const first = out.data();
        const Epilogue epilogue = Rows(first, channels, channels);
        table().depthwise({.runs = &pixels,
                           .run_count = 1,
                           .step = static_cast<ptrdiff_t>(inputs),
                           .tap_offset = taps.data(),
                           .taps = 9,
                           .pixel_pitch = static_cast<ptrdiff_t>(pitch),
                           .columns = 3,
                           .channels = channels,
                           .multiplier = multiplier,
                           .weights = weights.weights.data(),
                           .weight_pitch = weights.weight_pitch,
                           .bias = weights.bias.data(),
                           .epilogue = &epilogue});
        return out;
      };
      const std::vector<float> scattered = run(0);
      EXPECT_EQ(FirstDifference(run(inputs).data(), scattered.data(), scattered.size()),
                scattered.size())
          << multiplier << " outputs of each of " << inputs;
    }
  }
}

TEST_P(DepthwiseTest, SeveralOutputsOfAChannelHaveTheBitsOfRepeatedInputs) {
  for (const size_t multiplier : {2, 3, 4, 7, 20}) {
    for (const size_t inputs : {1, 5, 12}) {
      const size_t channels = multiplier * inputs;
      const Problem repeated = MakeProblem(6, 9, channels, false);
      // The same, but `inputs` channels a pixel, of which those of `repeated` are copies.
      Problem problem = repeated;
      problem.input.clear();
      problem.pixels.clear();
      problem.tap_offset.clear();
      for (size_t t = 0; t < 9; ++t)
        problem.tap_offset.push_back(static_cast<ptrdiff_t>(t * inputs));
      problem.input = Floats(6 * 9 * inputs);
      for (size_t i = 0; i < 6; ++i)
        problem.pixels.push_back(problem.input.data() + i * 9 * inputs);
      std::vector<float> copies(6 * 9 * channels);
      for (size_t i = 0; i < copies.size(); ++i) copies[i] = problem.input[i / multiplier];
      Problem expected = repeated;
      expected.pixels.clear();
      for (size_t t = 0; t < 9; ++t) expected.tap_offset[t] = static_cast<ptrdiff_t>(t * channels);
      for (size_t i = 0; i < 6; ++i) expected.pixels.push_back(&copies[i * 9 * channels]);
      const std::vector<float> want = Run(expected, expected.pixels);
      // In two calls, the second of which starts within the outputs of a channel.
      std::vector<float> out(6 * channels);
      const size_t first_part = channels / 2;
      for (const auto& [first, count] :
           {std::pair(size_t{0}, first_part), std::pair(first_part, channels - first_part)}) {
        if (count == 0) continue;
        const PixelRun pixels = {problem.input.data(), 6};
        float* const part = out.data() + first;
        const Epilogue epilogue = Rows(part, channels, count);
        table().depthwise({.runs = &pixels,
                           .run_count = 1,
                           .step = static_cast<ptrdiff_t>(9 * inputs),
                           .tap_offset = problem.tap_offset.data(),
                           .taps = 9,
                           .channels = count,
                           .multiplier = multiplier,
                           .first_channel = first,
                           .weights = problem.weights.data() + first,
                           .weight_pitch = problem.weight_pitch,
                           .bias = problem.bias.data() + first,
                           .epilogue = &epilogue});
      }
      EXPECT_EQ(FirstDifference(out.data(), want.data(), out.size()), out.size())
          << multiplier << " outputs of each of " << inputs;
    }
  }
}

DELTACNN_FOR_EVERY_TABLE(DepthwiseTest);

}  // namespace
}  // namespace deltacnn::kernels
