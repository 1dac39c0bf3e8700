#include <cmath>

#include "ops/harness.h"

namespace deltacnn::testing {
namespace {

using Longs = std::vector<int64_t>;

struct Method {
  std::string mode;
  std::string coordinates;
  std::string nearest = "round_prefer_floor";
  float cubic_a = -0.75f;
  bool exclude_outside = false;
};

float Position(const std::string& coordinates, float o, float scale, float in, float out) {
  if (coordinates == "asymmetric") return o / scale;
  if (coordinates == "align_corners") {
    return out > 1 ? o * (in - 1) / (out - 1) : 0;
  }
  if (coordinates == "pytorch_half_pixel" && out <= 1) return 0;
  if (coordinates == "tf_half_pixel_for_nn") return (o + 0.5f) / scale;
  const float x = (o + 0.5f) / scale - 0.5f;
  if (coordinates == "half_pixel_symmetric") return x + in / 2 * (1 - out / (scale * in));
  return x;
}

/// Resizes one line by the definition.
std::vector<double> ResizeLine(const std::vector<double>& line, int64_t outputs, float scale,
                               const Method& m) {
  const auto n = static_cast<int64_t>(line.size());
  const auto at = [&](int64_t i) {
    return line[static_cast<size_t>(std::clamp<int64_t>(i, 0, n - 1))];
  };
  std::vector<double> out;
  for (int64_t o = 0; o < outputs; ++o) {
    const double x = Position(m.coordinates, static_cast<float>(o), scale, static_cast<float>(n),
                              static_cast<float>(outputs));
    const double floor = std::floor(x);
    const auto i = static_cast<int64_t>(floor);
    if (m.mode == "nearest") {
      double rounded = 0;
      if (m.nearest == "floor") rounded = floor;
      if (m.nearest == "ceil") rounded = std::ceil(x);
      if (m.nearest == "round_prefer_floor") rounded = x - floor <= 0.5 ? floor : floor + 1;
      if (m.nearest == "round_prefer_ceil") rounded = x - floor < 0.5 ? floor : floor + 1;
      out.push_back(at(static_cast<int64_t>(rounded)));
    } else if (m.mode == "linear") {
      const double clamped = std::clamp<double>(x, 0, static_cast<double>(n - 1));
      const auto j = static_cast<int64_t>(clamped);
      const double fraction = clamped - static_cast<double>(j);
      out.push_back(at(j) * (1 - fraction) + at(j + 1) * fraction);
    } else {
      const double s = x - floor;
      const double a = m.cubic_a;
      double weight[4] = {((a * (s + 1) - 5 * a) * (s + 1) + 8 * a) * (s + 1) - 4 * a,
                          ((a + 2) * s - (a + 3)) * s * s + 1,
                          ((a + 2) * (1 - s) - (a + 3)) * (1 - s) * (1 - s) + 1,
                          ((a * (2 - s) - 5 * a) * (2 - s) + 8 * a) * (2 - s) - 4 * a};
      double total = 0;
      double sum = 0;
      for (int64_t k = 0; k < 4; ++k) {
        const int64_t p = i - 1 + k;
        if (m.exclude_outside && (p < 0 || p >= n)) weight[k] = 0;
        total += weight[k];
        sum += weight[k] * at(p);
      }
      out.push_back(m.exclude_outside ? sum / total : sum);
    }
  }
  return out;
}

/// Resizes every axis, one after the other.
std::vector<double> NaiveResize(const Tensor& x, const Shape& outputs,
                                const std::vector<float>& scales, const Method& m) {
  const auto in = x.as<float>();
  std::vector<double> values(in.begin(), in.end());
  Shape shape = x.shape;
  for (size_t a = 0; a < shape.size(); ++a) {
    if (scales[a] == 1.0f && outputs[a] == shape[a]) continue;
    const int64_t inner = ElementCount(std::span(shape).subspan(a + 1));
    const int64_t outer = ElementCount(std::span(shape).first(a));
    std::vector<double> next(static_cast<size_t>(outer * outputs[a] * inner));
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < inner; ++i) {
        std::vector<double> line;
        for (int64_t k = 0; k < shape[a]; ++k)
          line.push_back(values[(o * shape[a] + k) * inner + i]);
        line = ResizeLine(line, outputs[a], scales[a], m);
        for (int64_t k = 0; k < outputs[a]; ++k)
          next[(o * outputs[a] + k) * inner + i] = line[static_cast<size_t>(k)];
      }
    }
    values = std::move(next);
    shape[a] = outputs[a];
  }
  return values;
}

OpCase MakeCase(const Tensor& x, const Method& m) {
  return {.op = "Resize",
          .attributes = {{"mode", m.mode},
                         {"coordinate_transformation_mode", m.coordinates},
                         {"nearest_mode", m.nearest},
                         {"cubic_coeff_a", m.cubic_a},
                         {"exclude_outside", int64_t{m.exclude_outside}}},
          .inputs = {x, std::nullopt}};
}

void Check(const Tensor& x, const Shape& outputs, const std::vector<float>& scales,
           const Method& method, bool by_sizes, std::mt19937& rng) {
  OpCase test = MakeCase(x, method);
  if (by_sizes) {
    test.inputs.push_back(std::nullopt);
    test.inputs.push_back(Ints(outputs));
    test.constants = {3};
  } else {
    test.inputs.push_back(Floats({static_cast<int64_t>(scales.size())}, scales));
    test.constants = {2};
  }
  const auto isas = kernels::Available();
  test.isa = isas[rng() % isas.size()]->name;
  const auto got = RunDense(test);
  ASSERT_EQ(got.size(), 1u);
  ExpectNear(got[0], outputs, NaiveResize(x, outputs, scales, method), 1e-5);
  CheckIncremental(test, rng, 3);
}

class RandomResizes : public ::testing::TestWithParam<Method> {};

TEST_P(RandomResizes, MatchTheDefinition) {
  std::mt19937 rng(17);
  // Resized axes: pictures, rows or columns of pictures, channels last, lines, others.
  const std::vector<std::pair<Shape, Longs>> cases = {{{1, 3, 6, 7}, {2, 3}},
                                                      {{2, 5, 9, 4}, {2, 3}},
                                                      {{2, 5, 9, 4}, {2}},
                                                      {{1, 4, 5, 30}, {3}},
                                                      {{1, 6, 7, 3}, {1, 2}},
                                                      {{2, 3, 11}, {2}},
                                                      {{2, 3, 4}, {1, 2}},
                                                      {{4, 5}, {0, 1}},
                                                      {{2, 3, 4, 5}, {1, 3}},
                                                      {{2, 3, 4, 5}, {0}},
                                                      {{9}, {0}},
                                                      {{1, 2, 2, 5, 6}, {3, 4}},
                                                      {{1, 2, 40, 90}, {2, 3}}};
  std::uniform_real_distribution<float> random_scale(0.3f, 3.5f);
  for (const auto& [shape, axes] : cases) {
    const Tensor x = RandomTensor(rng, shape);
    for (int trial = 0; trial < 3; ++trial) {
      Shape outputs = shape;
      std::vector<float> scales(shape.size(), 1.0f);
      const bool by_sizes = trial == 1;
      for (const int64_t axis : axes) {
        const auto a = static_cast<size_t>(axis);
        const float in = static_cast<float>(shape[a]);
        scales[a] = trial == 2 ? 2.0f : std::max(random_scale(rng), 1.01f / in);
        outputs[a] = static_cast<int64_t>(std::floor(scales[a] * in));
        if (by_sizes) scales[a] = static_cast<float>(outputs[a]) / in;
      }
      Check(x, outputs, scales, GetParam(), by_sizes, rng);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Methods, RandomResizes,
    ::testing::Values(Method{"nearest", "asymmetric", "floor"},
                      Method{"nearest", "half_pixel", "round_prefer_floor"},
                      Method{"nearest", "half_pixel", "round_prefer_ceil"},
                      Method{"nearest", "align_corners", "ceil"},
                      Method{"nearest", "pytorch_half_pixel", "floor"},
                      Method{"nearest", "tf_half_pixel_for_nn", "floor"},
                      Method{"linear", "half_pixel"}, Method{"linear", "align_corners"},
                      Method{"linear", "asymmetric"}, Method{"linear", "pytorch_half_pixel"},
                      Method{"linear", "half_pixel_symmetric"}, Method{"cubic", "half_pixel"},
                      Method{"cubic", "align_corners"},
                      Method{"cubic", "half_pixel", "floor", -0.5f, true},
                      Method{"cubic", "asymmetric"}));

TEST(Resize, OlderVersions) {
  std::mt19937 rng(1);
  const Tensor x = RandomTensor(rng, {1, 2, 3, 4});
  const Method nearest{"nearest", "asymmetric", "floor"};
  OpCase test{
      .op = "Upsample",
      .opset = 7,
      .attributes = {{"mode", std::string("nearest")}, {"scales", std::vector<float>{1, 1, 2, 3}}},
      .inputs = {x}};
  const Shape doubled = {1, 2, 6, 12};
  ExpectNear(RunDense(test).at(0), doubled, NaiveResize(x, doubled, {1, 1, 2, 3}, nearest), 0);
  test.opset = 9;
  test.attributes.erase("scales");
  test.inputs.push_back(Floats({4}, {1, 1, 2, 3}));
  test.constants = {1};
  ExpectNear(RunDense(test).at(0), doubled, NaiveResize(x, doubled, {1, 1, 2, 3}, nearest), 0);
  test.op = "Resize";
  test.opset = 10;
  test.attributes["mode"] = std::string("linear");
  ExpectNear(RunDense(test).at(0), doubled,
             NaiveResize(x, doubled, {1, 1, 2, 3}, {"linear", "asymmetric"}));
  CheckIncremental(test, rng);
}

TEST(Resize, AxesAndAspectRatio) {
  std::mt19937 rng(1);
  const Tensor x = RandomTensor(rng, {1, 2, 4, 6});
  const Method method{"linear", "half_pixel"};
  OpCase test = MakeCase(x, method);
  test.attributes["axes"] = Longs{3, -2};
  test.inputs.push_back(std::nullopt);
  test.inputs.push_back(Ints({9, 8}));  // width, height
  test.constants = {3};
  ExpectNear(RunDense(test).at(0), {1, 2, 8, 9},
             NaiveResize(x, {1, 2, 8, 9}, {1, 1, 2, 1.5f}, method));
  test.attributes["keep_aspect_ratio_policy"] = std::string("not_larger");
  ExpectNear(RunDense(test).at(0), {1, 2, 6, 9},
             NaiveResize(x, {1, 2, 6, 9}, {1, 1, 1.5f, 1.5f}, method));
  test.attributes["keep_aspect_ratio_policy"] = std::string("not_smaller");
  ExpectNear(RunDense(test).at(0), {1, 2, 8, 12},
             NaiveResize(x, {1, 2, 8, 12}, {1, 1, 2, 2}, method));
}

TEST(Resize, AntialiasWeighsEveryInputAlike) {
  // Three inputs an output: the weights are those of a triangle that is three inputs wide a side.
  OpCase test = MakeCase(Floats({1, 1, 9}, {0, 0, 0, 0, 9, 0, 0, 0, 0}), {"linear", "half_pixel"});
  test.attributes["antialias"] = int64_t{1};
  test.inputs.push_back(std::nullopt);
  test.inputs.push_back(Ints({1, 1, 3}));
  test.constants = {3};
  ExpectNear(RunDense(test).at(0), {1, 1, 3}, {0, 3, 0}, 1e-6);
}

TEST(Resize, MovesAnyElementType) {
  std::mt19937 rng(1);
  OpCase test = MakeCase(MakeTensor<int64_t>(DType::kInt64, {1, 1, 1, 3}, {5, -6, 7}),
                         {"nearest", "asymmetric", "floor"});
  test.inputs.push_back(Floats({4}, {1, 1, 2, 2}));
  test.constants = {2};
  const auto got = RunDense(test);
  ASSERT_EQ(got.size(), 1u);
  const auto values = got[0].as<int64_t>();
  EXPECT_EQ(Longs(values.begin(), values.end()), (Longs{5, 5, -6, -6, 7, 7, 5, 5, -6, -6, 7, 7}));
  CheckIncremental(test, rng);
  test.attributes["mode"] = std::string("linear");
  ExpectRejected(test, "int64");
}

TEST(Resize, RejectsWhatItCannotRun) {
  std::mt19937 rng(1);
  OpCase test = MakeCase(RandomTensor(rng, {1, 2, 3, 3}), {"linear", "half_pixel"});
  ExpectRejected(test, "scales or sizes");
  const auto with_scales = [&](const std::vector<float>& scales) {
    test.inputs.resize(2);
    test.inputs.push_back(Floats({static_cast<int64_t>(scales.size())}, scales));
    test.constants = {2};
  };
  with_scales({2, 2, 2, 2});
  ExpectRejected(test, "more than two");
  with_scales({1, 1, 2});
  ExpectRejected(test, "3 scales or sizes for 4 axes");
  for (const float bad : {0.0f, -1.0f, 0.1f, 1e30f, std::nanf(""), INFINITY}) {
    with_scales({1, 1, 2, bad});
    ExpectRejected(test, "cannot be scaled");
  }
  with_scales({1, 1, 2, 2});
  test.constants = {};
  ExpectRejected(test, "not a constant");
  test.constants = {2};
  test.attributes["mode"] = std::string("lanczos");
  ExpectRejected(test, "lanczos");
  test.attributes["mode"] = std::string("linear");
  test.attributes["coordinate_transformation_mode"] = std::string("tf_crop_and_resize");
  ExpectRejected(test, "tf_crop_and_resize");
  test.attributes["coordinate_transformation_mode"] = std::string("half_pixel");
  test.attributes["axes"] = Longs{0, 1, 2, 4};
  ExpectRejected(test, "out of range");
}

}  // namespace
}  // namespace deltacnn::testing
