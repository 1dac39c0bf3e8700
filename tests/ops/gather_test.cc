#include "harness.h"

namespace deltacnn::testing {
namespace {

Tensor Counting(DType dtype, Shape shape) {
  Tensor tensor(dtype, std::move(shape));
  const size_t size = SizeOf(dtype);
  for (size_t i = 0; i < tensor.bytes.size() / size; ++i)
    std::memcpy(tensor.bytes.data() + i * size, &i, size);  // distinct bits in any type
  return tensor;
}

Tensor Indices(std::mt19937& rng, Shape shape, int64_t dim, DType dtype) {
  Tensor tensor(dtype, std::move(shape));
  for (size_t i = 0; i < static_cast<size_t>(tensor.elements()); ++i) {
    const int64_t index = static_cast<int64_t>(rng() % static_cast<uint32_t>(2 * dim)) - dim;
    if (dtype == DType::kInt64) {
      tensor.as<int64_t>()[i] = index;
    } else {
      tensor.as<int32_t>()[i] = static_cast<int32_t>(index);
    }
  }
  return tensor;
}

int64_t IndexAt(const Tensor& indices, size_t i) {
  return indices.dtype == DType::kInt64 ? indices.as<int64_t>()[i] : indices.as<int32_t>()[i];
}

Tensor GatherReference(const Tensor& data, const Tensor& indices, size_t axis) {
  const auto& shape = data.shape;
  const auto split = shape.begin() + static_cast<int64_t>(axis);
  Shape out_shape(shape.begin(), split);
  out_shape.insert(out_shape.end(), indices.shape.begin(), indices.shape.end());
  out_shape.insert(out_shape.end(), split + 1, shape.end());
  Tensor out(data.dtype, out_shape);
  const int64_t outer = ElementCount(Shape(shape.begin(), split));
  const auto inner =
      static_cast<size_t>(ElementCount(Shape(split + 1, shape.end()))) * SizeOf(data.dtype);
  size_t to = 0;
  for (int64_t o = 0; o < outer; ++o) {
    for (size_t i = 0; i < static_cast<size_t>(indices.elements()); ++i, to += inner) {
      int64_t index = IndexAt(indices, i);
      if (index < 0) index += shape[axis];
      std::copy_n(data.bytes.data() + static_cast<size_t>(o * shape[axis] + index) * inner, inner,
                  out.bytes.data() + to);
    }
  }
  return out;
}

TEST(Gather, SelectsAlongEveryAxisOfEveryLayout) {
  std::mt19937 rng(5);
  const Shape shape = {2, 7, 5, 9};
  const Shape index_shapes[] = {{}, {1}, {4}, {2, 3}};
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    for (const Shape& index_shape : index_shapes) {
      for (const AxisSet axes : {AxisSet{0b1101}, AxisSet{0b1100}, AxisSet{0b0010}, AxisSet{0}}) {
        for (const bool constant : {true, false}) {
          for (const DType type : {DType::kInt64, DType::kInt32}) {
            SCOPED_TRACE(::testing::Message()
                         << "axis " << axis << " indices " << ToString(index_shape)
                         << " pixel axes " << axes << (constant ? " constant" : ""));
            const Tensor indices = Indices(rng, index_shape, shape[axis], type);
            const int64_t attribute = static_cast<int64_t>(axis) - (rng() % 2 == 0 ? 0 : 4);
            OpCase test{.op = "Gather",
                        .attributes = {{"axis", attribute}},
                        .inputs = {Counting(DType::kInt64, shape), indices},
                        .input_axes = {axes}};
            if (constant) test.constants = {1};
            ExpectSameBits(RunDense(test), {GatherReference(*test.inputs[0], indices, axis)});
            CheckIncremental(test, rng, 3);
          }
        }
      }
    }
  }
}

TEST(Gather, CopiesAnyElementType) {
  std::mt19937 rng(6);
  for (const DType type : {DType::kFloat32, DType::kBool, DType::kUint8, DType::kFloat16}) {
    const Tensor indices = Ints({2, -1, 0, 0});
    const OpCase test{.op = "Gather",
                      .attributes = {{"axis", int64_t{1}}},
                      .inputs = {Counting(type, {3, 4, 2}), indices},
                      .constants = {1}};
    ExpectSameBits(RunDense(test), {GatherReference(*test.inputs[0], indices, 1)});
  }
}

TEST(Gather, ChangedPixelComputesOnlyItsReaders) {
  std::mt19937 rng(5);
  OpCase test{.op = "Gather",
              .attributes = {{"axis", int64_t{3}}},
              .inputs = {RandomTensor(rng, {1, 3, 4, 6}), Ints({1, 5, 1})},
              .constants = {1}};
  auto runner = OpRunner::Create(test);
  ASSERT_TRUE(runner.ok()) << runner.error().message;
  (*runner)->Run(test.inputs, true, rng);
  test.inputs[0]->as<float>()[2 * 6 + 1] += 1;  // channel 0, row 2, column 1
  (*runner)->Run(test.inputs, false, rng);
  EXPECT_EQ((*runner)->computed(), 2);
}

TEST(Gather, ComputedPositionsOutOfRangeAreMovedInside) {
  const OpCase test{.op = "Gather", .inputs = {Ints({10, 11, 12}), Ints({5, -9, 1, INT64_MIN})}};
  ExpectSameBits(RunDense(test), {Ints({12, 10, 11, 10})});
}

TEST(Gather, RejectsBadInputs) {
  std::mt19937 rng(5);
  const Tensor data = RandomTensor(rng, {2, 3});
  const auto gather = [&](Tensor indices, int64_t axis) {
    return OpCase{.op = "Gather",
                  .attributes = {{"axis", axis}},
                  .inputs = {data, std::move(indices)},
                  .constants = {1}};
  };
  ExpectRejected(gather(Ints({2}), 0), "index 2 is out of range");
  ExpectRejected(gather(Ints({-4}), 1), "index -4 is out of range");
  ExpectRejected(gather(Ints({0}), 2), "axis 2");
  ExpectRejected(gather(RandomTensor(rng, {1}), 0), "float32");
}

TEST(GatherElements, FollowsTheDefinition) {
  std::mt19937 rng(5);
  const Shape shape = {3, 4, 5};
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    for (const bool constant : {true, false}) {
      Shape index_shape = {2, 3, 4};
      index_shape[axis] = 7;
      const Tensor indices = Indices(rng, index_shape, shape[axis], DType::kInt64);
      OpCase test{.op = "GatherElements",
                  .attributes = {{"axis", static_cast<int64_t>(axis)}},
                  .inputs = {RandomTensor(rng, shape), indices}};
      if (constant) test.constants = {1};
      Tensor want(DType::kFloat32, index_shape);
      for (size_t i = 0; i < want.as<float>().size(); ++i) {
        std::vector<int64_t> at(3);
        auto rest = static_cast<int64_t>(i);
        for (size_t d = 3; d-- > 0; rest /= index_shape[d]) at[d] = rest % index_shape[d];
        at[axis] = IndexAt(indices, i);
        if (at[axis] < 0) at[axis] += shape[axis];
        want.as<float>()[i] =
            test.inputs[0]
                ->as<float>()[static_cast<size_t>((at[0] * shape[1] + at[1]) * shape[2] + at[2])];
      }
      ExpectSameBits(RunDense(test), {want});
      CheckIncremental(test, rng, 3);
    }
  }
}

TEST(GatherElements, RejectsBadInputs) {
  std::mt19937 rng(5);
  const auto gather = [&](Shape shape) {
    return OpCase{.op = "GatherElements",
                  .inputs = {RandomTensor(rng, {2, 3}), Tensor(DType::kInt64, std::move(shape))}};
  };
  ExpectRejected(gather({2}), "same rank");
  ExpectRejected(gather({1, 4}), "larger");
}

}  // namespace
}  // namespace deltacnn::testing
