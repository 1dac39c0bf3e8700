#include <cmath>

#include "harness.h"

namespace deltacnn::testing {
namespace {

struct Method {
  std::string mode;
  std::string padding;
  bool align_corners;
};

/// One channel of one picture.
struct Plane {
  const float* x;
  int64_t rows, cols;
};

/// Walks there and back between the borders, one step at a time.
double Mirror(double i, int64_t size, bool align_corners) {
  const double low = align_corners ? 0 : -0.5;
  const double high = static_cast<double>(size - 1) - low;
  if (high <= low) return 0;
  while (i < low || i > high) i = i < low ? 2 * low - i : 2 * high - i;
  return i;
}

double PixelAt(const Plane& plane, double row, double col, const Method& m) {
  const auto resolve = [&](double i, int64_t size) {
    if (m.padding == "reflection") i = Mirror(i, size, m.align_corners);
    if (m.padding != "zeros") i = std::clamp<double>(i, 0, static_cast<double>(size - 1));
    return i >= 0 && i < static_cast<double>(size) ? static_cast<int64_t>(i) : -1;
  };
  const int64_t r = resolve(row, plane.rows);
  const int64_t c = resolve(col, plane.cols);
  return r < 0 || c < 0 ? 0 : plane.x[r * plane.cols + c];
}

/// How much a pixel counts at a distance.
double Weight(const Method& m, double distance) {
  const double d = std::abs(distance);
  if (m.mode == "linear" || m.mode == "bilinear") return std::max(1 - d, 0.0);
  if (d <= 1) return 1.25 * d * d * d - 2.25 * d * d + 1;
  return d < 2 ? -0.75 * (d * d * d - 5 * d * d + 8 * d - 4) : 0;
}

double Sample(const Plane& plane, double x, double y, const Method& m) {
  const auto place = [&](double at, int64_t size) {
    const auto n = static_cast<double>(size);
    return m.align_corners ? (at + 1) / 2 * (n - 1) : ((at + 1) * n - 1) / 2;
  };
  const double row = place(y, plane.rows);
  const double col = place(x, plane.cols);
  if (m.mode == "nearest") return PixelAt(plane, std::nearbyint(row), std::nearbyint(col), m);
  double sum = 0;
  for (double r = std::floor(row) - 1; r <= std::floor(row) + 2; ++r)
    for (double c = std::floor(col) - 1; c <= std::floor(col) + 2; ++c)
      sum += Weight(m, row - r) * Weight(m, col - c) * PixelAt(plane, r, c, m);
  return sum;
}

std::vector<double> Reference(const Tensor& x, const Tensor& grid, const Method& m) {
  std::vector<double> result;
  const int64_t places = grid.shape[1] * grid.shape[2];
  for (int64_t n = 0; n < x.shape[0]; ++n) {
    for (int64_t c = 0; c < x.shape[1]; ++c) {
      const Plane plane{x.as<float>().data() + (n * x.shape[1] + c) * x.shape[2] * x.shape[3],
                        x.shape[2], x.shape[3]};
      for (int64_t p = 0; p < places; ++p) {
        const float* at = grid.as<float>().data() + 2 * (n * places + p);
        result.push_back(Sample(plane, at[0], at[1], m));
      }
    }
  }
  return result;
}

OpCase Case(Tensor x, Tensor grid, const Method& m) {
  return {.op = "GridSample",
          .attributes = {{"mode", m.mode},
                         {"padding_mode", m.padding},
                         {"align_corners", int64_t{m.align_corners}}},
          .inputs = {std::move(x), std::move(grid)}};
}

/// Positions from -1.6 to 1.6, none so close to a half that rounding decides.
Tensor Grid(std::mt19937& rng, Shape shape) {
  Tensor grid(DType::kFloat32, std::move(shape));
  std::uniform_int_distribution<int> place(-1600, 1600);
  for (float& at : grid.as<float>()) at = static_cast<float>(place(rng)) / 1000 + 0.00037f;
  return grid;
}

class RandomGrids : public ::testing::TestWithParam<Method> {};

TEST_P(RandomGrids, MatchTheDefinition) {
  std::mt19937 rng(23);
  const std::vector<std::pair<Shape, Shape>> cases = {{{1, 3, 6, 7}, {1, 4, 5, 2}},
                                                      {{2, 33, 5, 4}, {2, 3, 6, 2}},
                                                      {{3, 1, 1, 9}, {3, 1, 70, 2}},
                                                      {{1, 8, 1, 1}, {1, 2, 2, 2}},
                                                      {{1, 5, 20, 130}, {1, 9, 11, 2}}};
  for (const auto& [shape, grid_shape] : cases) {
    for (const bool constant : {false, true}) {
      const Tensor x = RandomTensor(rng, shape);
      const Tensor grid = Grid(rng, grid_shape);
      OpCase test = Case(x, grid, GetParam());
      if (constant) test.constants = {1};
      const auto isas = kernels::Available();
      test.isa = isas[rng() % isas.size()]->name;
      const auto got = RunDense(test);
      ASSERT_EQ(got.size(), 1u);
      ExpectNear(got[0], {shape[0], shape[1], grid_shape[1], grid_shape[2]},
                 Reference(x, grid, GetParam()), 2e-5);
      CheckIncremental(test, rng, 8);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Methods, RandomGrids,
    ::testing::Values(Method{"nearest", "zeros", false}, Method{"nearest", "border", true},
                      Method{"nearest", "reflection", false}, Method{"bilinear", "zeros", false},
                      Method{"linear", "zeros", true}, Method{"linear", "border", false},
                      Method{"linear", "reflection", false}, Method{"linear", "reflection", true},
                      Method{"bicubic", "zeros", false}, Method{"cubic", "border", true},
                      Method{"cubic", "reflection", false}));

TEST(GridSample, FollowsOnlyWhatConstantPositionsRead) {
  std::mt19937 rng(5);
  Tensor x = RandomTensor(rng, {1, 2, 8, 8});
  // The first position reads the top left corner, the second one the bottom right one.
  OpCase test =
      Case(x, Floats({1, 1, 2, 2}, {-0.9f, -0.9f, 0.9f, 0.9f}), {"linear", "zeros", false});
  test.constants = {1};
  auto runner = OpRunner::Create(test);
  ASSERT_TRUE(runner.ok());
  (*runner)->Run(test.inputs, true, rng);
  test.inputs[0]->as<float>()[63] += 1;
  (*runner)->Run(test.inputs, false, rng);
  EXPECT_EQ((*runner)->computed(), 1);
  test.inputs[0]->as<float>()[3 * 8 + 3] += 1;
  (*runner)->Run(test.inputs, false, rng);
  EXPECT_EQ((*runner)->computed(), 0);
}

TEST(GridSample, PositionsFarAwayAndNoNumbersAreOutside) {
  const Tensor x = Floats({1, 1, 1, 2}, {3, 5});
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor grid =
      Floats({1, 1, 6, 2}, {NAN, 0, inf, 0, -inf, 0, 1e30f, 0, -1e30f, 0, 0.5f, NAN});
  const auto run = [&](const Method& method) {
    const auto got = RunDense(Case(x, grid, method));
    const auto values = got[0].as<float>();
    return std::vector<float>(values.begin(), values.end());
  };
  EXPECT_EQ(run({"linear", "zeros", false}), std::vector<float>(6, 0.0f));
  EXPECT_EQ(run({"cubic", "border", false}), (std::vector<float>{3, 5, 3, 5, 3, 5}));
  for (const float value : run({"nearest", "reflection", true}))
    EXPECT_TRUE(value == 3 || value == 5);
}

TEST(GridSample, RefusesWhatDoesNotFit) {
  const Tensor x(DType::kFloat32, {1, 2, 3, 4});
  const Method linear = {"linear", "zeros", false};
  ExpectRejected(Case(x, Tensor(DType::kFloat32, {1, 2, 2, 3}), linear), "does not fit");
  ExpectRejected(Case(x, Tensor(DType::kFloat32, {2, 2, 2, 2}), linear), "does not fit");
  ExpectRejected(Case(x, Tensor(DType::kFloat32, {1, 2, 2}), linear), "does not fit");
  ExpectRejected(
      Case(Tensor(DType::kFloat32, {1, 2, 0, 4}), Tensor(DType::kFloat32, {1, 2, 2, 2}), linear),
      "cannot sample");
  ExpectRejected(Case(Tensor(DType::kFloat32, {1, 2, 3, 4, 5}),
                      Tensor(DType::kFloat32, {1, 2, 2, 2, 3}), linear),
                 "volumes");
  ExpectRejected(Case(x, Tensor(DType::kFloat64, {1, 2, 2, 2}), linear), "not float32");
  const Tensor grid(DType::kFloat32, {1, 2, 2, 2});
  ExpectRejected(Case(x, grid, {"spline", "zeros", false}), "unknown");
  ExpectRejected(Case(x, grid, {"linear", "wrap", false}), "unknown");
}

}  // namespace
}  // namespace deltacnn::testing
