#include <cmath>
#include <limits>

#include "ops/harness.h"

namespace deltacnn::testing {
namespace {

/// Normalises over axis `axis`, or over all axes from it on.
std::vector<double> NaiveSoftmax(const Tensor& x, size_t axis, bool flatten, bool logarithm) {
  const auto in = x.as<float>();
  int64_t inner = 1;
  int64_t count = 1;
  for (size_t a = axis; a < x.shape.size(); ++a)
    (a == axis || flatten ? count : inner) *= x.shape[a];
  std::vector<double> out(in.size());
  for (size_t i = 0; i < in.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    const int64_t start = at - at / inner % count * inner;
    double max = in[static_cast<size_t>(start)];
    for (int64_t k = 0; k < count; ++k) max = std::max<double>(max, in[start + k * inner]);
    double sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += std::exp(in[start + k * inner] - max);
    out[i] = logarithm ? in[i] - max - std::log(sum) : std::exp(in[i] - max) / sum;
  }
  return out;
}

TEST(Softmax, MatchesTheDefinitionOnEveryAxisAndOpset) {
  std::mt19937 rng(2);
  for (const Shape& shape :
       {Shape{1, 10}, Shape{2, 3, 4, 5}, Shape{7}, Shape{1, 16, 4, 30}, Shape{2, 1, 300}}) {
    const auto rank = static_cast<int64_t>(shape.size());
    for (int64_t axis = -rank; axis < rank; ++axis) {
      for (const bool logarithm : {false, true}) {
        for (const int64_t opset : {11, 13}) {
          const OpCase test{.op = logarithm ? "LogSoftmax" : "Softmax",
                            .opset = opset,
                            .attributes = {{"axis", axis}},
                            .inputs = {RandomTensor(rng, shape, -20, 20)}};
          const auto got = RunDense(test);
          ASSERT_EQ(got.size(), 1u);
          const auto at = static_cast<size_t>(axis < 0 ? axis + rank : axis);
          ExpectNear(got[0], shape, NaiveSoftmax(*test.inputs[0], at, opset < 13, logarithm), 2e-6);
          CheckIncremental(test, rng, 2);
        }
      }
    }
  }
}

TEST(Softmax, DefaultAxis) {
  std::mt19937 rng(2);
  OpCase test{.op = "Softmax", .opset = 11, .inputs = {RandomTensor(rng, {2, 3, 4})}};
  ExpectNear(RunDense(test).at(0), {2, 3, 4}, NaiveSoftmax(*test.inputs[0], 1, true, false));
  test.opset = 13;
  ExpectNear(RunDense(test).at(0), {2, 3, 4}, NaiveSoftmax(*test.inputs[0], 2, false, false));
}

TEST(Softmax, ExtremeValues) {
  const float inf = std::numeric_limits<float>::infinity();
  const double nan = std::nan("");
  OpCase test{.op = "Softmax",
              .inputs = {Floats({4, 2}, {1e4f, 1e4f, 0, -inf, inf, 0, -inf, -inf})}};
  ExpectNear(RunDense(test).at(0), {4, 2}, {0.5, 0.5, 1, 0, nan, nan, nan, nan});
  test.inputs = {Tensor(DType::kFloat32, {2, 0})};
  EXPECT_EQ(RunDense(test).at(0).shape, (Shape{2, 0}));
}

TEST(Softmax, RejectsWhatItCannotRun) {
  OpCase test{.op = "Softmax", .attributes = {{"axis", int64_t{2}}}, .inputs = {Floats({1}, {1})}};
  ExpectRejected(test, "axis 2");
  test.inputs = {Ints({1})};
  ExpectRejected(test, "int64");
}

}  // namespace
}  // namespace deltacnn::testing
