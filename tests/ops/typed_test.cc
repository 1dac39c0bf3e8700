#include <functional>

#include "harness.h"
#include "ops/broadcast.h"

namespace deltacnn::testing {
namespace {

/// Integers from low to high of any element type.
Tensor RandomNumbers(std::mt19937& rng, DType dtype, Shape shape, int low = -4, int high = 4) {
  Tensor tensor(dtype, std::move(shape));
  for (size_t i = 0; i < static_cast<size_t>(tensor.elements()); ++i) {
    const int value = low + static_cast<int>(rng() % static_cast<unsigned>(high - low + 1));
    switch (dtype) {
      case DType::kFloat32:
        tensor.as<float>()[i] = static_cast<float>(value);
        break;
      case DType::kFloat64:
        tensor.as<double>()[i] = value;
        break;
      case DType::kInt32:
        tensor.as<int32_t>()[i] = value;
        break;
      case DType::kInt64:
        tensor.as<int64_t>()[i] = value;
        break;
      case DType::kBool:
        tensor.as<uint8_t>()[i] = value > 0;
        break;
      default:
        tensor.as<uint8_t>()[i] = static_cast<uint8_t>(value);
    }
  }
  return tensor;
}

double NumberAt(const Tensor& tensor, size_t i) {
  switch (tensor.dtype) {
    case DType::kFloat32:
      return tensor.as<float>()[i];
    case DType::kFloat64:
      return tensor.as<double>()[i];
    case DType::kInt32:
      return tensor.as<int32_t>()[i];
    case DType::kInt64:
      return static_cast<double>(tensor.as<int64_t>()[i]);
    case DType::kInt8:
      return tensor.as<int8_t>()[i];
    default:
      return tensor.as<uint8_t>()[i];
  }
}

/// The element of `tensor` under element `index` of a broadcast result.
double BroadcastAt(const Tensor& tensor, const Shape& result, size_t index) {
  size_t at = 0;
  size_t scale = 1;
  for (size_t d = 0; d < result.size(); ++d) {  // from the innermost axis
    const auto size = static_cast<size_t>(result[result.size() - 1 - d]);
    const size_t coordinate = index % size;
    index /= size;
    if (d >= tensor.shape.size()) continue;
    const auto dim = static_cast<size_t>(tensor.shape[tensor.shape.size() - 1 - d]);
    if (dim != 1) at += coordinate * scale;
    scale *= dim;
  }
  return NumberAt(tensor, at);
}

using Reference = std::function<double(const std::vector<double>&)>;

void ExpectElementwise(const OpCase& test, const Shape& shape, DType dtype, const Reference& f) {
  const auto got = RunDense(test);
  ASSERT_EQ(got.size(), 1u);
  ASSERT_EQ(got[0].dtype, dtype);
  ASSERT_EQ(got[0].shape, shape);
  for (size_t i = 0; i < static_cast<size_t>(got[0].elements()); ++i) {
    std::vector<double> operands;
    for (const auto& input : test.inputs) operands.push_back(BroadcastAt(*input, shape, i));
    ASSERT_EQ(NumberAt(got[0], i), f(operands)) << "element " << i;
  }
}

TEST(Broadcast, EveryShapeUnderEveryLayout) {
  struct Row {
    Shape a, b, result;
  };
  const Shape full = {2, 3, 2, 66};
  const Row rows[] = {
      {full, full, full},
      {full, {}, full},
      {full, {66}, full},
      {full, {2, 1}, full},
      {full, {3, 1, 1}, full},
      {full, {1, 1, 2, 66}, full},
      {full, {2, 1, 2, 1}, full},
      {full, {1, 3, 1, 66}, full},
      {full, {2, 3, 1, 1}, full},
      {{2, 1, 2, 1}, {3, 1, 66}, full},
      {{1, 1, 2, 66}, {2, 3, 1, 1}, full},
      {{2, 1, 5, 1}, {2, 3, 5, 1}, {2, 3, 5, 1}},
      {{1, 3, 300, 2}, {1, 1, 300, 1}, {1, 3, 300, 2}},
      {{1}, {1, 1}, {1, 1}},
  };
  std::mt19937 rng(1);
  for (const Row& row : rows) {
    for (const AxisSet axes : {0b1101, 0b0011, 0b1100, 0b1111, 0b0100, 0b0000}) {
      for (const std::vector<size_t>& constants : {std::vector<size_t>{}, {1}}) {
        for (const bool swap : {false, true}) {
          SCOPED_TRACE(::testing::Message() << ToString(row.a) << " and " << ToString(row.b)
                                            << " pixel axes " << axes << " swap " << swap);
          OpCase test{.op = "TypedArithmetic",
                      .attributes = {{"function", std::string("Sub")}},
                      .inputs = {RandomNumbers(rng, DType::kInt64, row.a),
                                 RandomNumbers(rng, DType::kInt64, row.b)},
                      .constants = constants};
          if (swap) std::swap(test.inputs[0], test.inputs[1]);
          for (const auto& input : test.inputs)
            test.input_axes.push_back(axes >> (4 - input->shape.size()));
          ExpectElementwise(test, row.result, DType::kInt64,
                            [](const auto& x) { return x[0] - x[1]; });
          CheckIncremental(test, rng, 3);
        }
      }
    }
  }
}

TEST(Broadcast, ThreeOperands) {
  std::mt19937 rng(1);
  for (const DType dtype : {DType::kFloat32, DType::kInt64, DType::kBool}) {
    const OpCase test{
        .op = "Where",
        .inputs = {RandomNumbers(rng, DType::kBool, {1, 5, 66}),
                   RandomNumbers(rng, dtype, {2, 7, 5, 1}), RandomNumbers(rng, dtype, {7, 1, 66})}};
    ExpectElementwise(test, {2, 7, 5, 66}, dtype,
                      [](const auto& x) { return x[0] != 0 ? x[1] : x[2]; });
    CheckIncremental(test, rng);
  }
}

TEST(Broadcast, ChangeReachesOnlyItsReaders) {
  std::mt19937 rng(1);
  OpCase test{.op = "Less",
              .inputs = {RandomTensor(rng, {1, 8, 6, 70}), RandomTensor(rng, {1, 1, 6, 70})}};
  auto runner = OpRunner::Create(test);
  ASSERT_TRUE(runner.ok()) << runner.error().message;
  (*runner)->Run(test.inputs, true, rng);
  test.inputs[1]->as<float>()[3 * 70 + 65] += 1;
  (*runner)->Run(test.inputs, false, rng);
  EXPECT_EQ((*runner)->pixels(), 6 * 70);
  EXPECT_EQ((*runner)->computed(), 1);
}

TEST(Broadcast, ShapesThatDoNotFit) {
  EXPECT_EQ(BroadcastShapes({2, 1}, {3}), (Shape{2, 3}));
  EXPECT_EQ(BroadcastShapes({0, 1}, {1, 5}), (Shape{0, 5}));
  EXPECT_EQ(BroadcastShapes({2}, {3}), std::nullopt);
  EXPECT_TRUE(BroadcastsTo({1, 3}, {2, 3}));
  EXPECT_FALSE(BroadcastsTo({2, 3}, {1, 3}));
  std::mt19937 rng(1);
  ExpectRejected({.op = "Less", .inputs = {RandomTensor(rng, {2, 4}), RandomTensor(rng, {2, 3})}},
                 "do not broadcast");
}

constexpr DType kNumbers[] = {DType::kFloat32, DType::kFloat64, DType::kInt8,
                              DType::kUint8,   DType::kInt32,   DType::kInt64};

TEST(Typed, ComparesNumbers) {
  const std::pair<std::string, bool (*)(double, double)> rows[] = {
      {"Equal", [](double a, double b) { return a == b; }},
      {"Greater", [](double a, double b) { return a > b; }},
      {"GreaterOrEqual", [](double a, double b) { return a >= b; }},
      {"Less", [](double a, double b) { return a < b; }},
      {"LessOrEqual", [](double a, double b) { return a <= b; }}};
  std::mt19937 rng(1);
  for (const auto& [op, f] : rows) {
    for (const DType dtype : kNumbers) {
      const OpCase test{
          .op = op,
          .inputs = {RandomNumbers(rng, dtype, {20, 30}), RandomNumbers(rng, dtype, {30})}};
      ExpectElementwise(test, {20, 30}, DType::kBool,
                        [f = f](const auto& x) { return f(x[0], x[1]) ? 1 : 0; });
    }
  }
  const OpCase nan{.op = "Equal", .inputs = {Floats({1}, {NAN}), Floats({1}, {NAN})}};
  ExpectElementwise(nan, {1}, DType::kBool, [](const auto&) { return 0; });
}

TEST(Typed, CombinesBooleans) {
  const std::pair<std::string, bool (*)(bool, bool)> rows[] = {
      {"And", [](bool a, bool b) { return a && b; }},
      {"Or", [](bool a, bool b) { return a || b; }},
      {"Xor", [](bool a, bool b) { return a != b; }},
      {"Equal", [](bool a, bool b) { return a == b; }}};
  std::mt19937 rng(1);
  for (const auto& [op, f] : rows) {
    const OpCase test{.op = op,
                      .inputs = {RandomNumbers(rng, DType::kBool, {9, 4, 7}),
                                 RandomNumbers(rng, DType::kBool, {9, 1, 7})}};
    ExpectElementwise(test, {9, 4, 7}, DType::kBool,
                      [f = f](const auto& x) { return f(x[0] != 0, x[1] != 0) ? 1 : 0; });
    CheckIncremental(test, rng, 3);
  }
  const OpCase inverse{.op = "Not", .inputs = {RandomNumbers(rng, DType::kBool, {2, 3})}};
  ExpectElementwise(inverse, {2, 3}, DType::kBool, [](const auto& x) { return 1 - x[0]; });
}

double Wrap(double value, DType dtype) {
  const auto whole = static_cast<int64_t>(value);
  if (dtype == DType::kInt8) return static_cast<int8_t>(whole);
  if (dtype == DType::kUint8) return static_cast<uint8_t>(whole);
  return value;
}

TEST(Typed, CalculatesWithEveryType) {
  struct Row {
    std::string function;
    size_t operands;
    Reference f;
  };
  const Row rows[] = {
      {"Abs", 1, [](const auto& x) { return std::abs(x[0]); }},
      {"Neg", 1, [](const auto& x) { return -x[0]; }},
      {"Sign", 1, [](const auto& x) { return (x[0] > 0) - (x[0] < 0); }},
      {"Relu", 1, [](const auto& x) { return std::max(x[0], 0.0); }},
      {"Add", 2, [](const auto& x) { return x[0] + x[1]; }},
      {"Sub", 2, [](const auto& x) { return x[0] - x[1]; }},
      {"Mul", 2, [](const auto& x) { return x[0] * x[1]; }},
      {"Pow", 2, [](const auto& x) { return std::pow(x[0], x[1]); }},
      {"Max", 3,
       [](const auto& x) {
         return std::max({x[0], x[1], x[2]});
       }},
      {"Min", 4,
       [](const auto& x) {
         return std::min({x[0], x[1], x[2], x[3]});
       }},
      {"Sum", 5, [](const auto& x) { return x[0] + x[1] + x[2] + x[3] + x[4]; }},
      {"Max", 1, [](const auto& x) { return x[0]; }},
      {"Clip", 3, [](const auto& x) { return std::min(std::max(x[0], x[1]), x[2]); }},
      {"Clip", 1, [](const auto& x) { return x[0]; }},
  };
  std::mt19937 rng(1);
  for (const Row& row : rows) {
    for (const DType dtype : kNumbers) {
      SCOPED_TRACE(row.function + " of " + NameOf(dtype));
      // Powers need exponents that keep integers whole.
      const int low = row.function == "Pow" || dtype == DType::kUint8 ? 0 : -4;
      OpCase test{.op = "TypedArithmetic", .attributes = {{"function", row.function}}};
      for (size_t i = 0; i < row.operands; ++i) {
        const Shape shape = i == 0 ? Shape{3, 300} : Shape{i % 2 == 0 ? 3 : 1, 1};
        test.inputs.push_back(RandomNumbers(rng, dtype, shape, low));
      }
      ExpectElementwise(test, {3, 300}, dtype,
                        [&](const auto& x) { return Wrap(row.f(x), dtype); });
      CheckIncremental(test, rng, 2);
    }
  }
}

TEST(Typed, ClipTakesEitherBound) {
  OpCase test{.op = "TypedArithmetic",
              .attributes = {{"function", std::string("Clip")}},
              .inputs = {Ints({-5, 0, 5}), std::nullopt, Ints({2})}};
  ExpectSameBits(RunDense(test), {Ints({-5, 0, 2})});
  test.inputs = {Ints({-5, 0, 5}), Ints({-2})};
  ExpectSameBits(RunDense(test), {Ints({-2, 0, 5})});
}

template <class T>
void ExpectBinary(const std::string& op, std::map<std::string, Attribute> attributes, DType dtype,
                  const std::vector<T>& a, const std::vector<T>& b, const std::vector<T>& want) {
  const Shape shape = {static_cast<int64_t>(a.size())};
  if (op != "Mod") attributes["function"] = op;
  const OpCase test{.op = op == "Mod" ? op : "TypedArithmetic",
                    .attributes = attributes,
                    .inputs = {MakeTensor(dtype, shape, a), MakeTensor(dtype, shape, b)}};
  ExpectSameBits(RunDense(test), {MakeTensor(dtype, shape, want)});
}

TEST(Typed, IntegerDivisionTruncates) {
  ExpectBinary<int64_t>("Div", {}, DType::kInt64, {7, -7, 7, 5, INT64_MIN}, {2, 2, -2, 0, -1},
                        {3, -3, -3, 0, INT64_MIN});
  ExpectBinary<int32_t>("Div", {}, DType::kInt32, {INT32_MIN, 9}, {-1, 0}, {INT32_MIN, 0});
  ExpectBinary<uint8_t>("Div", {}, DType::kUint8, {200, 255}, {3, 255}, {66, 1});
  ExpectBinary<int64_t>("Add", {}, DType::kInt64, {INT64_MAX}, {1}, {INT64_MIN});
  ExpectBinary<int64_t>("Pow", {}, DType::kInt64, {2, -3, 10}, {62, 3, 18},
                        {int64_t{1} << 62, -27, 1000000000000000000});
}

TEST(Typed, ModFollowsEitherSign) {
  const std::vector<int32_t> a = {7, -7, 7, -7, 6, 5, INT32_MIN};
  const std::vector<int32_t> b = {3, 3, -3, -3, 3, 0, -1};
  ExpectBinary<int32_t>("Mod", {}, DType::kInt32, a, b, {1, 2, -2, -1, 0, 0, 0});
  ExpectBinary<int32_t>("Mod", {{"fmod", int64_t{1}}}, DType::kInt32, a, b,
                        {1, -1, 1, -1, 0, 5, 0});
  ExpectBinary<uint8_t>("Mod", {}, DType::kUint8, {200}, {7}, {4});
  ExpectBinary<float>("Mod", {{"fmod", int64_t{1}}}, DType::kFloat32, {5.5f, -5.5f}, {2, 2},
                      {1.5f, -1.5f});
  ExpectBinary<float>("Mod", {}, DType::kFloat32, {5.5f, -5.5f, 5.5f, 4}, {2, 2, -INFINITY, -2},
                      {1.5f, 0.5f, -INFINITY, -0.0f});
}

template <class To>
void ExpectCast(const Tensor& from, int64_t to, DType dtype, const std::vector<To>& want) {
  const OpCase test{.op = "Cast", .attributes = {{"to", to}}, .inputs = {from}};
  ExpectSameBits(RunDense(test), {MakeTensor(dtype, from.shape, want)});
}

// TensorProto.DataType
constexpr int64_t kToFloat = 1, kToUint8 = 2, kToInt8 = 3, kToInt32 = 6, kToInt64 = 7, kToBool = 9,
                  kToHalf = 10, kToDouble = 11;

TEST(Typed, CastConverts) {
  const Tensor x = Floats({6}, {-1.9f, 0, 0.5f, 3.7f, 300, NAN});
  ExpectCast<int32_t>(x, kToInt32, DType::kInt32, {-1, 0, 0, 3, 300, INT32_MIN});
  ExpectCast<int64_t>(x, kToInt64, DType::kInt64, {-1, 0, 0, 3, 300, INT64_MIN});
  ExpectCast<uint8_t>(x, kToUint8, DType::kUint8, {255, 0, 0, 3, 44, 0});
  ExpectCast<int8_t>(x, kToInt8, DType::kInt8, {-1, 0, 0, 3, 44, 0});
  ExpectCast<uint8_t>(x, kToBool, DType::kBool, {1, 0, 1, 1, 1, 1});
  ExpectCast<int32_t>(Floats({4}, {2147483648.0f, -2147483648.0f, INFINITY, -1e20f}), kToInt32,
                      DType::kInt32, {INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN});
  ExpectCast<uint8_t>(Ints({-1, 256, 5}), kToUint8, DType::kUint8, {255, 0, 5});
  ExpectCast<float>(Ints({-1, 1 << 30, 0}), kToFloat, DType::kFloat32, {-1, 1073741824, 0});
  ExpectCast<double>(Ints({-1, 7}), kToDouble, DType::kFloat64, {-1, 7});
  ExpectCast<float>(MakeTensor<uint8_t>(DType::kBool, {3}, {0, 1, 1}), kToFloat, DType::kFloat32,
                    {0, 1, 1});
}

TEST(Typed, CastKnowsHalfPrecision) {
  const std::vector<float> numbers = {0,        -0.0f,    1,        -2.5f,     65504,
                                      INFINITY, 0x1p-14f, 0x1p-24f, -0x1p-15f, 1.0009765625f};
  const std::vector<uint16_t> halves = {0,      0x8000, 0x3c00, 0xc100, 0x7bff,
                                        0x7c00, 0x0400, 0x0001, 0x8200, 0x3c01};
  const Shape shape = {static_cast<int64_t>(numbers.size())};
  ExpectCast(Floats(shape, numbers), kToHalf, DType::kFloat16, halves);
  ExpectCast(MakeTensor(DType::kFloat16, shape, halves), kToFloat, DType::kFloat32, numbers);
  // Rounded to even, overflow, underflow.
  ExpectCast<uint16_t>(Floats({5}, {1 + 0x1p-11f, 1 + 0x3p-11f, 65520, 0x1p-25f, 0x1.8p-25f}),
                       kToHalf, DType::kFloat16, {0x3c00, 0x3c02, 0x7c00, 0x0000, 0x0001});
}

TEST(Typed, CastLikeTakesOnlyTheType) {
  std::mt19937 rng(1);
  const OpCase test{.op = "CastLike",
                    .inputs = {Floats({2, 1}, {1.5f, -2}), Tensor(DType::kInt32, {7, 3})}};
  ExpectSameBits(RunDense(test), {MakeTensor<int32_t>(DType::kInt32, {2, 1}, {1, -2})});
  CheckIncremental(test, rng, 3);
}

TEST(Typed, ClassifiesFloats) {
  const Tensor x = Floats({4}, {1, INFINITY, -INFINITY, NAN});
  const auto expect = [&](const std::string& op, int64_t negative, int64_t positive,
                          const std::vector<uint8_t>& want) {
    const OpCase test{.op = op,
                      .attributes = {{"detect_negative", negative}, {"detect_positive", positive}},
                      .inputs = {x}};
    ExpectSameBits(RunDense(test), {MakeTensor(DType::kBool, {4}, want)});
  };
  expect("IsNaN", 1, 1, {0, 0, 0, 1});
  expect("IsInf", 1, 1, {0, 1, 1, 0});
  expect("IsInf", 0, 1, {0, 1, 0, 0});
  expect("IsInf", 1, 0, {0, 0, 1, 0});
  expect("IsInf", 0, 0, {0, 0, 0, 0});
}

TEST(Typed, ThresholdedRelu) {
  OpCase test{.op = "ThresholdedRelu", .inputs = {Floats({4}, {-1, 1, 1.5f, 2.5f})}};
  ExpectSameBits(RunDense(test), {Floats({4}, {0, 0, 1.5f, 2.5f})});
  test.attributes["alpha"] = 2.0f;
  ExpectSameBits(RunDense(test), {Floats({4}, {0, 0, 0, 2.5f})});
}

TEST(Typed, RejectsOtherTypes) {
  std::mt19937 rng(1);
  const Tensor x = RandomTensor(rng, {2});
  ExpectRejected({.op = "And", .inputs = {x, x}}, "And of float32, float32");
  ExpectRejected({.op = "Less", .inputs = {x, Ints({1, 2})}}, "Less of float32, int64");
  ExpectRejected({.op = "Where", .inputs = {x, x, x}}, "not supported");
  ExpectRejected({.op = "Where", .inputs = {x}}, "input 1 is missing");
  ExpectRejected({.op = "Cast", .attributes = {{"to", kToHalf + 90}}, .inputs = {x}}, "conversion");
  ExpectRejected({.op = "IsNaN", .inputs = {Ints({1})}}, "not supported");
  ExpectRejected({.op = "Not", .inputs = {x, x, x, x, x}}, "not supported");
}

}  // namespace
}  // namespace deltacnn::testing
