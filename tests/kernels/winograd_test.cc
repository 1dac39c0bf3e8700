#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/kernel_test.h"

namespace deltacnn::kernels {
namespace {

using Matrix = std::vector<std::vector<double>>;

/// B^T and A^T of F(m, 3) by their definition: products of (x - point), and powers of the points.
struct Transforms {
  Matrix b, a;
};

Transforms TransformsOf(size_t m) {
  if (m == 2) {
    return {{{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}},
            {{1, 1, 1, 0}, {0, 1, -1, -1}}};
  }
  const double points[] = {0, std::sqrt(0.5), -std::sqrt(0.5), std::sqrt(2.0), -std::sqrt(2.0)};
  Transforms transforms;
  // Row i < 5: coefficients of the product of x - p over all points but i; row 5: over all.
  for (size_t skipped = 0; skipped < 6; ++skipped) {
    std::vector<double> row(6);
    row[0] = 1;
    for (size_t i = 0; i < 5; ++i) {
      if (i == skipped) continue;
      for (size_t k = 5; k > 0; --k) row[k] = row[k - 1] - points[i] * row[k];
      row[0] *= -points[i];
    }
    transforms.b.push_back(row);
  }
  for (size_t y = 0; y < 4; ++y) {
    std::vector<double> row;
    for (const double point : points) row.push_back(std::pow(point, static_cast<double>(y)));
    row.push_back(y == 3 ? 1 : 0);
    transforms.a.push_back(row);
  }
  return transforms;
}

/// t x t^T
Matrix Both(const Matrix& t, const Matrix& x) {
  Matrix result(t.size(), std::vector<double>(t.size()));
  for (size_t i = 0; i < t.size(); ++i)
    for (size_t j = 0; j < t.size(); ++j)
      for (size_t k = 0; k < x.size(); ++k)
        for (size_t l = 0; l < x.size(); ++l) result[i][j] += t[i][k] * x[k][l] * t[j][l];
  return result;
}

class WinogradTest : public KernelTest {};

TEST_P(WinogradTest, TransformsInputs) {
  for (const size_t m : {2, 4}) {
    const size_t in = m + 2;
    const Matrix b = TransformsOf(m).b;
    for (size_t channels = 1; channels <= 40; ++channels) {
      const size_t tiles = Size(1, 5);
      const size_t pixel = channels + Size(0, 3);
      const size_t row = (m * tiles + 2) * pixel;
      const std::vector<float> picture = Floats((in - 1) * row + row - (pixel - channels));
      std::vector<const float*> windows;
      for (size_t t = 0; t < tiles; ++t) windows.push_back(picture.data() + m * t * pixel);
      const size_t pitch = tiles * channels + Size(0, 3);
      std::vector<float> out(in * in * pitch);
      table().winograd_input({.m = m,
                              .windows = windows.data(),
                              .count = tiles,
                              .row_stride = static_cast<ptrdiff_t>(row),
                              .col_stride = static_cast<ptrdiff_t>(pixel),
                              .channels = channels,
                              .out = out.data(),
                              .out_pitch = pitch});
      for (size_t t = 0; t < tiles; ++t) {
        for (size_t c = 0; c < channels; ++c) {
          Matrix d(in, std::vector<double>(in));
          for (size_t y = 0; y < in; ++y)
            for (size_t x = 0; x < in; ++x) d[y][x] = windows[t][y * row + x * pixel + c];
          const Matrix want = Both(b, d);
          for (size_t i = 0; i < in; ++i) {
            for (size_t j = 0; j < in; ++j) {
              ASSERT_NEAR(out[(in * i + j) * pitch + t * channels + c], want[i][j], 1e-5)
                  << "m " << m << ", " << channels << " channels, row " << i << ", column " << j;
            }
          }
        }
      }
    }
  }
}

TEST_P(WinogradTest, TransformsTheWantedOutputsAndNoOther) {
  const size_t panel = table().panel;
  for (const size_t m : {2, 4}) {
    const size_t in = m + 2;
    const Matrix a = TransformsOf(m).a;
    for (int round = 0; round < 40; ++round) {
      const size_t tiles = Size(1, 20);
      const size_t pitch = tiles * panel;
      const std::vector<float> products = Floats(in * in * pitch);
      const std::vector<float> bias = Floats(panel);
      std::vector<uint16_t> wanted;
      size_t pixels = 0;
      for (size_t t = 0; t < tiles; ++t) {
        wanted.push_back(static_cast<uint16_t>(Size(1, (size_t{1} << m * m) - 1)));
        pixels += static_cast<size_t>(std::popcount(wanted.back()));
      }
      const size_t width = Size(1, panel);
      std::vector<float> out(pixels * width);
      std::vector<float*> targets;
      for (size_t i = 0; i < pixels; ++i) targets.push_back(out.data() + i * width);
      const Epilogue epilogue{

          .rectifier = Epilogue::Rectifier::kClip,
          .low = -0.5f,
          .high = 1.5f,
          .targets = targets.data(),
          .width = width};
      table().winograd_output({.m = m,
                               .products = products.data(),
                               .pitch = pitch,
                               .count = tiles,
                               .wanted = wanted.data(),
                               .bias = bias.data(),
                               .first = 0,
                               .epilogue = &epilogue});
      const float* result = out.data();
      for (size_t t = 0; t < tiles; ++t) {
        std::vector<Matrix> want;
        for (size_t c = 0; c < width; ++c) {
          Matrix p(in, std::vector<double>(in));
          for (size_t i = 0; i < in; ++i)
            for (size_t j = 0; j < in; ++j)
              p[i][j] = products[(in * i + j) * pitch + t * panel + c];
          want.push_back(Both(a, p));
        }
        for (size_t bit = 0; bit < m * m; ++bit) {
          if ((wanted[t] >> bit & 1) == 0) continue;
          for (size_t c = 0; c < width; ++c, ++result) {
            const double clamped = std::clamp(want[c][bit / m][bit % m] + bias[c], -0.5, 1.5);
            ASSERT_NEAR(*result, clamped, 3e-5) << "m " << m << ", output " << bit;
          }
        }
      }
    }
  }
}

TEST_P(WinogradTest, AnOutputHasTheSameBitsWhateverElseIsWanted) {
  const size_t panel = table().panel;
  for (const size_t m : {2, 4}) {
    const size_t in = m + 2;
    const std::vector<float> products = Floats(in * in * panel);
    const std::vector<float> bias = Floats(panel);
    const auto run = [&](unsigned bits) {
      const uint16_t wanted = static_cast<uint16_t>(bits);
      std::vector<float> out(m * m * panel);
      std::vector<float*> targets;
      for (size_t i = 0; i < m * m; ++i) targets.push_back(out.data() + i * panel);
      const Epilogue epilogue{.targets = targets.data(), .width = panel};
      table().winograd_output({.m = m,
                               .products = products.data(),
                               .pitch = panel,
                               .count = 1,
                               .wanted = &wanted,
                               .bias = bias.data(),
                               .first = 0,
                               .epilogue = &epilogue});
      return out;
    };
    const std::vector<float> all = run((1u << m * m) - 1);
    for (size_t bit = 0; bit < m * m; ++bit) {
      const std::vector<float> one = run(1u << bit);
      EXPECT_EQ(FirstDifference(one.data(), all.data() + bit * panel, panel), panel);
    }
  }
}

DELTACNN_FOR_EVERY_TABLE(WinogradTest);

}  // namespace
}  // namespace deltacnn::kernels
