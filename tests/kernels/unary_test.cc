#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernel_test.h"

namespace deltacnn::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// A function, its parameters, its definition in double and the error that it may have: `ulps`
/// units in the last place of the true value, or `absolute`, whichever is more.
struct Case {
  const char* name;
  Unary function;
  float a;
  float b;
  double (*definition)(double x, double a, double b);
  double ulps;
  double absolute;
};

double SigmoidOf(double x) { return 1 / (1 + std::exp(-x)); }
double SoftplusOf(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

// Half a unit: the one rounding of a result that the definition gives in double. Below -87.3 those
// built on exp(-|x|) give 0 in place of numbers around 1e-36. GELU loses the low bits of 1 + erf.
const Case kCases[] = {
    {"Relu", Unary::kRelu, 0, 0, [](double x, double, double) { return x > 0 ? x : 0; }, 0, 0},
    {"Clip", Unary::kClip, -1.5f, 6,
     [](double x, double a, double b) { return std::min(std::max(x, a), b); }, 0, 0},
    {"LeakyRelu", Unary::kLeakyRelu, 0.1f, 0,
     [](double x, double a, double) { return x < 0 ? a * x : x; }, 0.5, 0},
    {"Elu", Unary::kElu, 1.25f, 0,
     [](double x, double a, double) { return x < 0 ? a * std::expm1(x) : x; }, 2.5, 0},
    {"Selu", Unary::kSelu, 1.67326f, 1.0507f,
     [](double x, double a, double b) { return b * (x > 0 ? x : a * std::expm1(x)); }, 3, 0},
    {"Sigmoid", Unary::kSigmoid, 0, 0, [](double x, double, double) { return SigmoidOf(x); }, 3,
     2e-38},
    {"Silu", Unary::kSilu, 0, 0, [](double x, double, double) { return x * SigmoidOf(x); }, 8,
     1e-35},
    {"HardSigmoid", Unary::kHardSigmoid, 0.2f, 0.5f,
     [](double x, double a, double b) { return std::max(0.0, std::min(1.0, a * x + b)); }, 1,
     0x1p-24},
    {"HardSwish", Unary::kHardSwish, 0, 0,
     [](double x, double, double) { return x * std::max(0.0, std::min(1.0, x / 6 + 0.5)); }, 2,
     0x1p-22},
    {"Mish", Unary::kMish, 0, 0,
     [](double x, double, double) { return x * std::tanh(SoftplusOf(x)); }, 4, 2e-36},
    {"Gelu", Unary::kGelu, 0, 0,
     [](double x, double, double) { return 0.5 * x * std::erfc(-x * M_SQRT1_2); }, 4, 0x1p-22},
    {"GeluTanh", Unary::kGeluTanh, 0, 0,
     [](double x, double, double) {
       return x * SigmoidOf(2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
     },
     4, 0x1p-22},
    {"Tanh", Unary::kTanh, 0, 0, [](double x, double, double) { return std::tanh(x); }, 3, 0},
    {"Erf", Unary::kErf, 0, 0, [](double x, double, double) { return std::erf(x); }, 2, 0},
    {"Softplus", Unary::kSoftplus, 0, 0, [](double x, double, double) { return SoftplusOf(x); }, 3,
     2e-38},
    {"Softsign", Unary::kSoftsign, 0, 0,
     [](double x, double, double) { return x / (1 + std::abs(x)); }, 1.5, 0},
    {"Exp", Unary::kExp, 0, 0, [](double x, double, double) { return std::exp(x); }, 2, 0},
    {"Log", Unary::kLog, 0, 0, [](double x, double, double) { return std::log(x); }, 2, 0},
    {"Sqrt", Unary::kSqrt, 0, 0, [](double x, double, double) { return std::sqrt(x); }, 0.5, 0},
    {"Reciprocal", Unary::kReciprocal, 0, 0, [](double x, double, double) { return 1 / x; }, 0.5,
     0},
    {"Neg", Unary::kNeg, 0, 0, [](double x, double, double) { return -x; }, 0, 0},
    {"Abs", Unary::kAbs, 0, 0, [](double x, double, double) { return std::abs(x); }, 0, 0},
    {"Floor", Unary::kFloor, 0, 0, [](double x, double, double) { return std::floor(x); }, 0, 0},
    {"Ceil", Unary::kCeil, 0, 0, [](double x, double, double) { return std::ceil(x); }, 0, 0},
    {"Round", Unary::kRound, 0, 0, [](double x, double, double) { return std::nearbyint(x); }, 0,
     0},
    {"Sign", Unary::kSign, 0, 0,
     [](double x, double, double) { return x > 0   ? 1.0
                                           : x < 0 ? -1.0
                                                   : x; }, 0, 0},
    {"Sin", Unary::kSin, 0, 0, [](double x, double, double) { return std::sin(x); }, 2, 0},
    {"Cos", Unary::kCos, 0, 0, [](double x, double, double) { return std::cos(x); }, 2, 0},
    {"Affine", Unary::kAffine, 1.75f, -0.3f,
     [](double x, double a, double b) {
       return static_cast<double>(static_cast<float>(a * x)) + b;
     },
     0.5, 0},
};

/// One unit in the last place of a float of this size.
double Ulp(double value) { return std::ldexp(1.0, std::max(std::ilogb(value), -126) - 23); }

class UnaryTest : public KernelTest {
 protected:
  /// The line from -20 to 20 densely, both signs of every magnitude, and random bits.
  std::vector<float> Arguments() {
    std::vector<float> x = {0.0f, -0.0f, 0.5f, 1.5f, 2.5f, 0.49999997f, 8388607.5f, 16777216.0f};
    for (int i = -20 * 1024; i <= 20 * 1024; ++i) x.push_back(static_cast<float>(i) / 1024);
    for (int i = -1200; i <= 1200; ++i) x.push_back(static_cast<float>(i) / 10);
    for (int i = -149 * 64; i < 128 * 64; ++i) {
      const float magnitude = static_cast<float>(std::exp2(i / 64.0));
      x.push_back(magnitude);
      x.push_back(-magnitude);
    }
    for (int i = 0; i < 100000; ++i) {
      const float value = FromBits(random_());
      if (std::isfinite(value)) x.push_back(value);
    }
    for (const float value : Floats(50000)) x.push_back(8 * value);
    return x;
  }

  float Apply(Unary function, float x, float a = 0, float b = 0) {
    table().unary(function, a, b, &x, 1);
    return x;
  }
};

TEST_P(UnaryTest, ErrorsStayWithinTheirBounds) {
  const std::vector<float> arguments = Arguments();
  for (const Case& test : kCases) {
    std::vector<float> results = arguments;
    table().unary(test.function, test.a, test.b, results.data(), results.size());
    double worst = 0;
    for (size_t i = 0; i < arguments.size(); ++i) {
      const double expected = test.definition(arguments[i], test.a, test.b);
      const float result = results[i];
      if (!std::isfinite(static_cast<float>(expected))) {
        ASSERT_EQ(std::isnan(result), std::isnan(expected))
            << test.name << "(" << arguments[i] << ")";
        ASSERT_TRUE(std::isnan(result) || result == static_cast<float>(expected))
            << test.name << "(" << arguments[i] << ") = " << result;
        continue;
      }
      const double error = std::abs(result - expected);
      const double ulp = Ulp(expected);
      ASSERT_LE(error, std::max(test.ulps * ulp, test.absolute))
          << test.name << "(" << arguments[i] << ") = " << result << ", not " << expected;
      if (error > test.absolute) worst = std::max(worst, error / ulp);
    }
    RecordProperty(std::string("max_ulps_") + test.name, std::to_string(worst));
  }
}

TEST_P(UnaryTest, LimitsAndPoles) {
  EXPECT_EQ(Apply(Unary::kExp, kInfinity), kInfinity);
  EXPECT_EQ(Apply(Unary::kExp, -kInfinity), 0.0f);
  EXPECT_EQ(Apply(Unary::kExp, 89.0f), kInfinity);
  EXPECT_EQ(Apply(Unary::kExp, 0.0f), 1.0f);
  EXPECT_EQ(Apply(Unary::kLog, 0.0f), -kInfinity);
  EXPECT_EQ(Apply(Unary::kLog, -0.0f), -kInfinity);
  EXPECT_TRUE(std::isnan(Apply(Unary::kLog, -1.0f)));
  EXPECT_TRUE(std::isnan(Apply(Unary::kLog, -kInfinity)));
  EXPECT_EQ(Apply(Unary::kLog, kInfinity), kInfinity);
  EXPECT_EQ(Apply(Unary::kLog, 1.0f), 0.0f);
  EXPECT_EQ(Apply(Unary::kSigmoid, kInfinity), 1.0f);
  EXPECT_EQ(Apply(Unary::kSigmoid, -kInfinity), 0.0f);
  EXPECT_EQ(Apply(Unary::kSigmoid, -100.0f), 0.0f);
  EXPECT_EQ(Apply(Unary::kSigmoid, 0.0f), 0.5f);
  EXPECT_EQ(Apply(Unary::kSilu, kInfinity), kInfinity);
  EXPECT_NEAR(Apply(Unary::kSilu, -1000.0f), 0.0f, 1e-34);
  EXPECT_EQ(Apply(Unary::kTanh, 50.0f), 1.0f);
  EXPECT_EQ(Apply(Unary::kTanh, -50.0f), -1.0f);
  EXPECT_EQ(Apply(Unary::kTanh, kInfinity), 1.0f);
  EXPECT_EQ(Apply(Unary::kTanh, -kInfinity), -1.0f);
  EXPECT_EQ(Apply(Unary::kErf, kInfinity), 1.0f);
  EXPECT_EQ(Apply(Unary::kErf, -kInfinity), -1.0f);
  EXPECT_EQ(Apply(Unary::kSoftplus, 100.0f), 100.0f);
  EXPECT_EQ(Apply(Unary::kSoftplus, kInfinity), kInfinity);
  EXPECT_EQ(Apply(Unary::kSoftplus, -kInfinity), 0.0f);
  EXPECT_EQ(Apply(Unary::kMish, kInfinity), kInfinity);
  EXPECT_EQ(Apply(Unary::kMish, 100.0f), 100.0f);
  EXPECT_EQ(Apply(Unary::kMish, -200.0f), 0.0f);
  EXPECT_EQ(Apply(Unary::kGelu, 20.0f), 20.0f);
  EXPECT_EQ(Apply(Unary::kGelu, -20.0f), 0.0f);
  EXPECT_EQ(Apply(Unary::kGeluTanh, 20.0f), 20.0f);
  EXPECT_EQ(Apply(Unary::kGeluTanh, -20.0f), 0.0f);
  EXPECT_EQ(Apply(Unary::kElu, -kInfinity, 1.0f), -1.0f);
  EXPECT_EQ(Apply(Unary::kElu, kInfinity, 1.0f), kInfinity);
  EXPECT_EQ(Apply(Unary::kHardSwish, kInfinity), kInfinity);
  EXPECT_EQ(Apply(Unary::kReciprocal, 0.0f), kInfinity);
  EXPECT_TRUE(std::isnan(Apply(Unary::kSqrt, -1.0f)));
  EXPECT_EQ(Apply(Unary::kRound, kInfinity), kInfinity);
  EXPECT_EQ(Apply(Unary::kFloor, -kInfinity), -kInfinity);
  EXPECT_EQ(Apply(Unary::kCeil, kInfinity), kInfinity);
  EXPECT_EQ(Apply(Unary::kSign, -kInfinity), -1.0f);
  EXPECT_EQ(Apply(Unary::kRelu, kInfinity), kInfinity);
  EXPECT_EQ(Apply(Unary::kRelu, -kInfinity), 0.0f);
  EXPECT_EQ(Apply(Unary::kClip, kInfinity, -1.0f, 6.0f), 6.0f);
  EXPECT_EQ(Apply(Unary::kClip, 0.0f, 2.0f, 1.0f), 1.0f) << "an empty range gives its upper end";
}

TEST_P(UnaryTest, NaNStaysNaN) {
  for (const Case& test : kCases) {
    for (const float nan : {kNaN, -kNaN, FromBits(0x7FC12345)}) {
      EXPECT_TRUE(std::isnan(Apply(test.function, nan, test.a, test.b))) << test.name;
    }
  }
}

TEST_P(UnaryTest, ResultsDoNotDependOnPositionOrCount) {
  std::vector<float> x = {kNaN, kInfinity, -kInfinity, 0.0f, -0.0f, 1e-40f, -1e-40f, 1e30f, -1e30f};
  for (const float value : Floats(70)) x.push_back(10 * value);
  for (const Case& test : kCases) {
    std::vector<float> alone = x;
    for (float& value : alone) value = Apply(test.function, value, test.a, test.b);
    for (size_t first = 0; first < 20; ++first) {
      for (size_t n = 0; first + n <= x.size(); ++n) {
        const std::vector<float> untouched = x;
        std::vector<float> part(x.begin() + static_cast<long>(first), x.end());
        table().unary(test.function, test.a, test.b, part.data(), n);
        ASSERT_EQ(FirstDifference(part.data(), &alone[first], n), n) << test.name;
        const size_t rest = part.size() - n;
        ASSERT_EQ(FirstDifference(part.data() + n, untouched.data() + first + n, rest), rest)
            << test.name << " wrote behind its " << n << " elements";
      }
    }
  }
}

DELTACNN_FOR_EVERY_TABLE(UnaryTest);

}  // namespace
}  // namespace deltacnn::kernels
