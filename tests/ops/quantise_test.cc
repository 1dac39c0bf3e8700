#include <cmath>

#include "harness.h"

namespace deltacnn::testing {
namespace {

/// Scales, and zero points of a byte type, for one element or each index of an axis.
struct Numbers {
  Tensor scale;
  Tensor zero_point;
  int64_t axis;

  size_t At(const Shape& shape, size_t element) const {
    if (scale.elements() == 1) return 0;
    const auto a = static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(shape.size()) : axis);
    int64_t inner = 1;
    for (size_t d = a + 1; d < shape.size(); ++d) inner *= shape[d];
    return static_cast<size_t>(static_cast<int64_t>(element) / inner % shape[a]);
  }
};

Numbers RandomNumbers(std::mt19937& rng, DType type, Shape shape, int64_t axis) {
  Numbers numbers{Tensor(DType::kFloat32, shape), Tensor(type, shape), axis};
  for (float& s : numbers.scale.as<float>()) s = static_cast<float>(1 + rng() % 50) / 300;
  for (uint8_t& z : numbers.zero_point.as<uint8_t>()) z = static_cast<uint8_t>(rng());
  return numbers;
}

int Integer(const Tensor& tensor, size_t i) {
  return tensor.dtype == DType::kInt8 ? tensor.as<int8_t>()[i] : tensor.as<uint8_t>()[i];
}

OpCase Case(const char* op, const Tensor& x, const Numbers& numbers) {
  return {.op = op,
          .attributes = {{"axis", numbers.axis}},
          .inputs = {x, numbers.scale, numbers.zero_point},
          .constants = {1, 2}};
}

/// Shape of an input, of its scales, and their axis.
const std::vector<std::tuple<Shape, Shape, int64_t>> kShapes = {
    {{1, 3, 6, 7}, {}, 1},   {{2, 5, 4, 3}, {1}, 7},
    {{2, 5, 4, 3}, {5}, 1},  {{2, 5, 4, 3}, {2}, 0},
    {{2, 5, 4, 3}, {3}, -1}, {{2, 5, 4, 3}, {4}, -2},
    {{7, 4}, {4}, 1},        {{9}, {9}, 0}};

TEST(Quantise, RoundsToTheNearestInteger) {
  std::mt19937 rng(3);
  for (const auto& [shape, numbers_shape, axis] : kShapes) {
    for (const DType type : {DType::kInt8, DType::kUint8}) {
      const Numbers numbers = RandomNumbers(rng, type, numbers_shape, axis);
      Tensor x = RandomTensor(rng, shape);
      for (float& value : x.as<float>()) value *= 20;
      const OpCase test = Case("QuantizeLinear", x, numbers);
      const auto got = RunDense(test);
      ASSERT_EQ(got.size(), 1u);
      ASSERT_EQ(got[0].dtype, type);
      ASSERT_EQ(got[0].shape, shape);
      const int low = type == DType::kInt8 ? -128 : 0;
      for (size_t i = 0; i < x.as<float>().size(); ++i) {
        const size_t n = numbers.At(shape, i);
        const double rounded = std::nearbyint(x.as<float>()[i] / numbers.scale.as<float>()[n]);
        EXPECT_EQ(Integer(got[0], i),
                  std::clamp(rounded + Integer(numbers.zero_point, n), 1.0 * low, low + 255.0));
      }
      CheckIncremental(test, rng);
    }
  }
}

TEST(Quantise, DequantisesEveryType) {
  std::mt19937 rng(4);
  for (const auto& [shape, numbers_shape, axis] : kShapes) {
    for (const DType type : {DType::kInt8, DType::kUint8, DType::kInt32}) {
      Numbers numbers =
          RandomNumbers(rng, type == DType::kInt32 ? DType::kInt8 : type, numbers_shape, axis);
      Tensor x(type, shape);
      for (std::byte& byte : x.bytes) byte = static_cast<std::byte>(rng() % 256);
      OpCase test = Case("DequantizeLinear", x, numbers);
      if (type == DType::kInt32) test.inputs.pop_back();
      if (type == DType::kInt32) test.constants = {1};
      const auto got = RunDense(test);
      ASSERT_EQ(got.size(), 1u);
      std::vector<double> want;
      for (size_t i = 0; i < static_cast<size_t>(x.elements()); ++i) {
        const size_t n = numbers.At(shape, i);
        const int zero = type == DType::kInt32 ? 0 : Integer(numbers.zero_point, n);
        const int integer = type == DType::kInt32 ? x.as<int32_t>()[i] : Integer(x, i);
        want.push_back((double{1} * integer - zero) * numbers.scale.as<float>()[n]);
      }
      ExpectNear(got[0], shape, want, 1e-6);
      CheckIncremental(test, rng);
    }
  }
}

TEST(Quantise, SaturatesAndTakesWhatIsNoNumberAsZero) {
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor x = Floats({6}, {NAN, inf, -inf, 1e30f, 2.5f, 3.5f});
  const Numbers numbers{Floats({}, {1}), MakeTensor<int8_t>(DType::kInt8, {}, {3}), 0};
  const auto got = RunDense(Case("QuantizeLinear", x, numbers));
  const auto values = got[0].as<int8_t>();
  EXPECT_EQ(std::vector<int>(values.begin(), values.end()),
            (std::vector<int>{3, 127, -128, 127, 5, 7}));
}

TEST(Quantise, RefusesWhatItCannotRead) {
  const Tensor x(DType::kFloat32, {1, 3, 2, 2});
  const Tensor byte(DType::kUint8, {});
  const Numbers fine{Floats({3}, {1, 2, 3}), Tensor(DType::kUint8, {3}), 1};
  OpCase test = Case("QuantizeLinear", x, fine);
  EXPECT_TRUE(OpRunner::Create(test).ok());
  test.constants = {};
  ExpectRejected(test, "not a constant");
  test = Case("QuantizeLinear", x, fine);
  test.attributes["block_size"] = int64_t{2};
  ExpectRejected(test, "blocks");
  ExpectRejected(Case("QuantizeLinear", x, {fine.scale, fine.zero_point, 2}), "do not fit");
  ExpectRejected(Case("QuantizeLinear", x, {fine.scale, fine.zero_point, 9}), "axis 9");
  ExpectRejected(Case("QuantizeLinear", x, {fine.scale, byte, 1}), "zero point");
  ExpectRejected(Case("QuantizeLinear", x, {Floats({}, {1}), Tensor(DType::kInt32, {}), 1}),
                 "int8 and uint8");
  ExpectRejected(Case("DequantizeLinear", Tensor(DType::kInt64, {2}), {Floats({}, {1}), byte, 0}),
                 "int64");
  ExpectRejected(Case("DequantizeLinear", Tensor(DType::kInt8, {2}), {Floats({}, {1}), byte, 0}),
                 "zero point");
}

}  // namespace
}  // namespace deltacnn::testing
