#include <cmath>
#include <iterator>
#include <limits>

#include "kernels/kernel_test.h"

namespace deltacnn::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Case {
  const char* name;
  Binary function;
  float (*definition)(float x, float y);
};

const Case kCases[] = {
    {"Add", Binary::kAdd, [](float x, float y) { return x + y; }},
    {"Sub", Binary::kSub, [](float x, float y) { return x - y; }},
    {"Rsub", Binary::kRsub, [](float x, float y) { return y - x; }},
    {"Mul", Binary::kMul, [](float x, float y) { return x * y; }},
    {"Div", Binary::kDiv, [](float x, float y) { return x / y; }},
    {"Rdiv", Binary::kRdiv, [](float x, float y) { return y / x; }},
    {"Min", Binary::kMin,
     [](float x, float y) {
       return std::isnan(x) ? x : std::isnan(y) ? y : x < y ? x : y;
     }},
    {"Max", Binary::kMax,
     [](float x, float y) {
       return std::isnan(x) ? x : std::isnan(y) ? y : x > y ? x : y;
     }},
    {"Pow", Binary::kPow, [](float x, float y) { return std::pow(x, y); }},
    {"Rpow", Binary::kRpow, [](float x, float y) { return std::pow(y, x); }},
    {"Prelu", Binary::kPrelu, [](float x, float y) { return x < 0 ? y * x : x; }},
};

bool Same(float a, float b) { return (std::isnan(a) && std::isnan(b)) || Bits(a) == Bits(b); }

class BinaryTest : public KernelTest {
 protected:
  std::vector<float> Mixed(size_t n) {
    const float special[] = {0.0f, -0.0f,     1.0f,       -1.0f, 2.0f,
                             3.0f, kInfinity, -kInfinity, kNaN,  1e-40f};
    std::vector<float> values = Floats(n);
    for (float& value : values) {
      value = Size(0, 2) == 0 ? special[Size(0, std::size(special) - 1)] : 10 * value;
    }
    return values;
  }

  float Apply(Binary function, float x, float y) {
    table().binary(function, &x, &y, 1);
    return x;
  }
};

TEST_P(BinaryTest, ElementsMatchTheDefinition) {
  for (const Case& test : kCases) {
    for (size_t n = 0; n <= 70; ++n) {
      const std::vector<float> x = Mixed(n);
      const std::vector<float> y = Mixed(n);
      std::vector<float> out = x;
      table().binary(test.function, out.data(), y.data(), n);
      for (size_t i = 0; i < n; ++i) {
        ASSERT_TRUE(Same(out[i], test.definition(x[i], y[i])))
            << test.name << "(" << x[i] << ", " << y[i] << ") = " << out[i];
      }
    }
  }
}

TEST_P(BinaryTest, ScalarMatchesElements) {
  for (const Case& test : kCases) {
    for (size_t n = 0; n <= 70; ++n) {
      const std::vector<float> x = Mixed(n);
      const float y = Mixed(1)[0];
      std::vector<float> expected = x;
      table().binary(test.function, expected.data(), std::vector<float>(n, y).data(), n);
      std::vector<float> out = x;
      table().binary_scalar(test.function, out.data(), y, n);
      ASSERT_EQ(FirstDifference(out.data(), expected.data(), n), n) << test.name;
    }
  }
}

TEST_P(BinaryTest, PowerOfSpecialArguments) {
  EXPECT_EQ(Apply(Binary::kPow, -2.0f, 3.0f), -8.0f);
  EXPECT_EQ(Apply(Binary::kPow, -2.0f, 2.0f), 4.0f);
  EXPECT_TRUE(std::isnan(Apply(Binary::kPow, -2.0f, 0.5f)));
  EXPECT_EQ(Apply(Binary::kPow, kNaN, 0.0f), 1.0f);
  EXPECT_EQ(Apply(Binary::kPow, 0.0f, 0.0f), 1.0f);
  EXPECT_EQ(Apply(Binary::kPow, 0.0f, 2.0f), 0.0f);
  EXPECT_EQ(Apply(Binary::kPow, 0.0f, -1.0f), kInfinity);
  EXPECT_EQ(Apply(Binary::kPow, 10.0f, 39.0f), kInfinity);
  EXPECT_EQ(Apply(Binary::kRpow, 3.0f, 2.0f), 8.0f);
}

TEST_P(BinaryTest, ResultsDoNotDependOnPositionOrCount) {
  const std::vector<float> x = Mixed(70);
  const std::vector<float> y = Mixed(70);
  for (const Case& test : kCases) {
    std::vector<float> alone = x;
    for (size_t i = 0; i < x.size(); ++i) alone[i] = Apply(test.function, x[i], y[i]);
    for (size_t first = 0; first < 20; ++first) {
      const size_t n = x.size() - first;
      std::vector<float> part(x.begin() + static_cast<long>(first), x.end());
      table().binary(test.function, part.data(), y.data() + first, n);
      ASSERT_EQ(FirstDifference(part.data(), &alone[first], n), n) << test.name;
    }
  }
}

DELTACNN_FOR_EVERY_TABLE(BinaryTest);

}  // namespace
}  // namespace deltacnn::kernels
