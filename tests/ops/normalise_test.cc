#include <cmath>

#include "normalise_reference.h"

namespace deltacnn::testing {
namespace {

// ---- LayerNormalization ----

TEST(LayerNorm, MatchesTheDefinitionOnEveryAxis) {
  std::mt19937 rng(4);
  const Shape shape = {2, 3, 5, 6};
  for (int64_t axis = -4; axis < 4; ++axis) {
    const auto first = static_cast<size_t>(axis < 0 ? axis + 4 : axis);
    const Shape inner(shape.begin() + static_cast<ptrdiff_t>(first), shape.end());
    Shape statistics = shape;
    std::fill(statistics.begin() + static_cast<ptrdiff_t>(first), statistics.end(), 1);
    OpCase test{.op = "LayerNormalization",
                .attributes = {{"axis", axis}, {"epsilon", 0.01f}},
                .inputs = {RandomTensor(rng, shape, -3, 5), RandomTensor(rng, inner),
                           RandomTensor(rng, inner)},
                .outputs = 3};
    const auto x = test.inputs[0]->as<float>();
    const int64_t count = ElementCount(inner);
    std::vector<double> want;
    std::vector<double> mean;
    for (int64_t i = 0; i < ElementCount(shape); i += count) {
      Normalise(x, i, count, 0.01, want);
      double sum = 0;
      for (int64_t k = 0; k < count; ++k) sum += x[i + k];
      mean.push_back(sum / static_cast<double>(count));
    }
    for (size_t i = 0; i < want.size(); ++i) {
      const size_t c = i % static_cast<size_t>(count);
      want[i] = want[i] * test.inputs[1]->as<float>()[c] + test.inputs[2]->as<float>()[c];
    }
    const auto got = RunDense(test);
    ASSERT_EQ(got.size(), 3u);
    ExpectNear(got[0], shape, want, 1e-6);
    ExpectNear(got[1], statistics, mean, 1e-6);
    EXPECT_EQ(got[2].shape, statistics);
    CheckIncremental(test, rng);
    test.inputs.pop_back();
    test.outputs = 1;
    test.constants = {1};
    CheckIncremental(test, rng);
  }
}

TEST(LayerNorm, RejectsWhatItCannotRun) {
  std::mt19937 rng(4);
  OpCase test{.op = "LayerNormalization",
              .inputs = {RandomTensor(rng, {2, 4}), RandomTensor(rng, {3})}};
  ExpectRejected(test, "[3]");
  test.attributes["axis"] = int64_t{2};
  ExpectRejected(test, "axis 2");
}

// ---- LRN ----

TEST(Lrn, MatchesTheDefinition) {
  std::mt19937 rng(5);
  for (const int64_t size : {1, 2, 3, 5, 100}) {
    const OpCase test{
        .op = "LRN",
        .attributes = {{"size", size}, {"alpha", 0.5f}, {"beta", 0.6f}, {"bias", 2.f}},
        .inputs = {RandomTensor(rng, {2, 9, 3, 4}, -2, 2)}};
    const auto x = test.inputs[0]->as<float>();
    std::vector<double> want;
    for (int64_t i = 0; i < 2 * 9 * 12; ++i) {
      const int64_t c = i / 12 % 9;
      double sum = 0;
      for (int64_t k = c - (size - 1) / 2; k <= c + size / 2; ++k)
        if (k >= 0 && k < 9) sum += double{x[i + (k - c) * 12]} * x[i + (k - c) * 12];
      want.push_back(x[i] / std::pow(2 + 0.5 / static_cast<double>(size) * sum, 0.6f));
    }
    ExpectNear(RunDense(test).at(0), {2, 9, 3, 4}, want);
    CheckIncremental(test, rng);
  }
}

TEST(Lrn, RejectsWhatItCannotRun) {
  std::mt19937 rng(5);
  OpCase test{.op = "LRN", .inputs = {RandomTensor(rng, {1, 2, 3, 3})}};
  ExpectRejected(test, "size");
}

}  // namespace
}  // namespace deltacnn::testing
