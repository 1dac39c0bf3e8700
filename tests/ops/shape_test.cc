#include "infer_only.h"

namespace deltacnn::testing {
namespace {

Tensor Scalar(int64_t value) { return MakeTensor<int64_t>(DType::kInt64, {}, {value}); }
Tensor Scalar(float value) { return MakeTensor<float>(DType::kFloat32, {}, {value}); }

TEST(Shape, ListsTheDimensions) {
  OpCase test{.op = "Shape", .inputs = {Tensor(DType::kFloat32, {2, 3, 0, 5})}};
  ExpectConstant(test, Ints({2, 3, 0, 5}));
  struct Row {
    int64_t start, end;
    std::vector<int64_t> want;
  };
  const Row rows[] = {{1, 3, {3, 0}}, {-2, 4, {0, 5}}, {-9, 99, {2, 3, 0, 5}},
                      {3, 1, {}},     {0, -3, {2}},    {INT64_MIN, INT64_MAX, {2, 3, 0, 5}}};
  for (const Row& row : rows) {
    test.attributes = {{"start", row.start}, {"end", row.end}};
    ExpectConstant(test, Ints(row.want));
  }
  test.opset = 13;  // the attributes came with 15
  ExpectConstant(test, Ints({2, 3, 0, 5}));
}

TEST(Size, CountsTheElements) {
  ExpectConstant({.op = "Size", .inputs = {Tensor(DType::kBool, {2, 3, 5})}}, Scalar(int64_t{30}));
  ExpectConstant({.op = "Size", .inputs = {Scalar(1.0f)}}, Scalar(int64_t{1}));
}

TEST(ConstantOfShape, FillsAnyType) {
  OpCase test{.op = "ConstantOfShape", .inputs = {Ints({2, 3})}, .constants = {0}};
  ExpectConstant(test, Tensor(DType::kFloat32, {2, 3}));
  test.attributes["value"] = std::make_shared<const Tensor>(Ints({7}));
  ExpectConstant(test, MakeTensor<int64_t>(DType::kInt64, {2, 3}, {7, 7, 7, 7, 7, 7}));
  test.inputs[0] = Ints({});
  ExpectConstant(test, Scalar(int64_t{7}));
  test.inputs[0] = Ints({0, 4});
  ExpectConstant(test, Tensor(DType::kInt64, {0, 4}));
  test.constants = {};
  ExpectDataDependent(test);
}

TEST(ConstantOfShape, RefusesHostileShapes) {
  OpCase test{.op = "ConstantOfShape", .inputs = {Ints({1 << 20, 1 << 20})}, .constants = {0}};
  EXPECT_EQ(InferOnly(test).status.error().code, ErrorCode::kLimit);
  test.inputs[0] = Ints({INT64_MAX, INT64_MAX});
  EXPECT_EQ(InferOnly(test).status.error().code, ErrorCode::kLimit);
  test.inputs[0] = Ints({2, -1});
  EXPECT_EQ(InferOnly(test).status.error().code, ErrorCode::kInvalidModel);
  test.inputs[0] = Ints({2});
  test.attributes["value"] = std::make_shared<const Tensor>(Ints({7, 8}));
  EXPECT_EQ(InferOnly(test).status.error().code, ErrorCode::kInvalidModel);
}

template <class T>
OpCase Range(T start, T limit, T delta) {
  return {.op = "Range",
          .inputs = {Scalar(start), Scalar(limit), Scalar(delta)},
          .constants = {0, 1, 2}};
}

TEST(Range, CountsUpAndDown) {
  ExpectConstant(Range<int64_t>(1, 8, 3), Ints({1, 4, 7}));
  ExpectConstant(Range<int64_t>(1, 7, 3), Ints({1, 4}));
  ExpectConstant(Range<int64_t>(3, -3, -2), Ints({3, 1, -1}));
  ExpectConstant(Range<int64_t>(3, 3, 1), Ints({}));
  ExpectConstant(Range<int64_t>(3, 4, -1), Ints({}));
  ExpectConstant(Range<float>(1, 2, 0.4f), Floats({3}, {1, 1 + 0.4f, 1 + 2 * 0.4f}));
  ExpectConstant(Range<int64_t>(INT64_MIN, INT64_MAX, int64_t{1} << 62),
                 Ints({INT64_MIN, INT64_MIN / 2, 0, INT64_MAX / 2 + 1}));
  OpCase runtime = Range<int64_t>(0, 3, 1);
  runtime.constants = {0, 2};
  ExpectDataDependent(runtime);
}

TEST(Range, RefusesHostileBounds) {
  const auto code = [](const OpCase& test) { return InferOnly(test).status.error().code; };
  EXPECT_EQ(code(Range<int64_t>(0, 1, 0)), ErrorCode::kInvalidModel);
  EXPECT_EQ(code(Range<int64_t>(INT64_MIN, INT64_MAX, 1)), ErrorCode::kLimit);
  EXPECT_EQ(code(Range<float>(0, INFINITY, 1)), ErrorCode::kLimit);
  EXPECT_EQ(code(Range<float>(0, NAN, 1)), ErrorCode::kLimit);
  EXPECT_EQ(code(Range<float>(0, 1, 1e-30f)), ErrorCode::kLimit);
}

}  // namespace
}  // namespace deltacnn::testing
