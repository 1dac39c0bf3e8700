#include <limits>

#include "core/node_model.h"

namespace deltacnn::testing {
namespace {

struct Target {  // positions start, start + step, ... of an axis
  size_t axis;
  int64_t start, count, step = 1;
};

/// Indices of all elements of the first `depth` axes that lie in the slice, in order.
Tensor SliceIndices(const Shape& data, const Target& target, size_t depth) {
  Shape shape(data.begin(), data.begin() + static_cast<ptrdiff_t>(depth));
  shape[target.axis] = target.count;
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < ElementCount(shape); ++i) {
    int64_t rest = i;
    std::vector<int64_t> tuple(depth);
    for (size_t a = depth; a-- > 0; rest /= shape[a]) {
      tuple[a] = rest % shape[a];
      if (a == target.axis) tuple[a] = target.start + tuple[a] * target.step;
      if (i % 3 == 1) tuple[a] -= data[a];  // the same, from the end
    }
    indices.insert(indices.end(), tuple.begin(), tuple.end());
  }
  shape.push_back(static_cast<int64_t>(depth));
  return MakeTensor(DType::kInt64, shape, indices);
}

OpCase Scatter(Tensor data, Tensor indices, Tensor updates) {
  return {.op = "ScatterND",
          .inputs = {std::move(data), std::move(indices), std::move(updates)},
          .constants = {1}};
}

/// Elements first, first + 1, ... of any type.
Tensor Counting(DType dtype, Shape shape, int first) {
  Tensor tensor(dtype, std::move(shape));
  const size_t size = SizeOf(dtype);
  for (size_t i = 0; i < tensor.bytes.size() / size; ++i)
    tensor.bytes[i * size] = static_cast<std::byte>(first + static_cast<int>(i));
  return tensor;
}

/// The definition, one tuple after the other.
Tensor Reference(const OpCase& test) {
  Tensor out = *test.inputs[0];
  const Tensor& indices = *test.inputs[1];
  const Tensor& updates = *test.inputs[2];
  const auto depth = static_cast<size_t>(indices.shape.back());
  const size_t tuples = indices.as<int64_t>().size() / depth;
  const size_t bytes = updates.bytes.size() / std::max<size_t>(tuples, 1);
  for (size_t t = 0; t < tuples; ++t) {
    int64_t place = 0;
    for (size_t a = 0; a < depth; ++a) {
      const int64_t index = indices.as<int64_t>()[t * depth + a];
      place = place * out.shape[a] + (index < 0 ? index + out.shape[a] : index);
    }
    std::copy_n(updates.bytes.begin() + static_cast<ptrdiff_t>(t * bytes), bytes,
                out.bytes.begin() + place * static_cast<ptrdiff_t>(bytes));
  }
  return out;
}

TEST(ScatterND, AssignsToASlice) {
  std::mt19937 rng(3);
  struct Row {
    Shape data;
    Target target;
    size_t depth;
  };
  const Row rows[] = {
      {{1, 6, 5, 4}, {1, 0, 2}, 2},    {{1, 6, 5, 4}, {1, 4, 2}, 2},
      {{1, 6, 5, 4}, {1, 2, 3}, 4},    {{2, 6, 5, 4}, {1, 1, 1}, 3},
      {{6, 1, 5, 4}, {0, 0, 2}, 1},    {{1, 6, 5, 4}, {1, 0, 6}, 2},
      {{1, 3, 7, 5, 8}, {4, 0, 2}, 5}, {{1, 3, 7, 5, 8}, {4, 2, 2}, 5},
      {{1, 6, 5, 4}, {2, 1, 3}, 3},    {{1, 6, 5, 4}, {3, 3, 1}, 4},
      {{1, 6, 5, 4}, {1, 1, 3, 2}, 2}, {{1, 6, 5, 4}, {3, 0, 2, 2}, 4},
      {{3, 9}, {1, 2, 3, 3}, 2},       {{9}, {0, 4, 1}, 1},
      {{1, 1, 1, 1}, {2, 0, 1}, 3},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(ToString(row.data) + " axis " + std::to_string(row.target.axis) + " from " +
                 std::to_string(row.target.start));
    for (const DType dtype : {DType::kFloat32, DType::kInt64, DType::kUint8}) {
      Tensor indices = SliceIndices(row.data, row.target, row.depth);
      Shape updates(indices.shape.begin(), indices.shape.end() - 1);
      updates.insert(updates.end(), row.data.begin() + static_cast<ptrdiff_t>(row.depth),
                     row.data.end());
      OpCase test =
          Scatter(Counting(dtype, row.data, 0), std::move(indices), Counting(dtype, updates, 128));
      ExpectSameBits({RunModel(test, rng)}, {Reference(test)});
      test.constants = {0, 1, 2};
      ExpectSameBits({RunModel(test, rng)}, {Reference(test)});
    }
  }
}

TEST(ScatterND, AssignsToASliceOfSeveralAxes) {
  std::mt19937 rng(3);
  struct Row {
    Shape data;
    std::vector<Target> targets;  // axes 0, 1, ...: whole ones have all of their positions
  };
  const Row rows[] = {
      {{4, 5, 6}, {{0, 1, 2}, {1, 2, 3}}},
      {{4, 5, 6}, {{0, 3, 1}, {1, 0, 5}, {2, 4, 2}}},
      {{4, 5, 6}, {{0, 0, 4}, {1, 0, 2}, {2, 5, 1}}},
      {{4, 5, 6}, {{0, 1, 1}, {1, 4, 1}}},
      {{4, 5, 6}, {{0, 2, 2}, {1, 1, 1}, {2, 0, 3, 2}}},
      {{1, 6, 8}, {{0, 0, 1}, {1, 1, 3, 2}, {2, 3, 2, 4}}},
      {{1, 6, 8, 2}, {{0, 0, 1}, {1, 0, 3, 2}, {2, 1, 4, 2}}},
  };
  for (const Row& row : rows) {
    Shape shape;
    for (const Target& target : row.targets) shape.push_back(target.count);
    SCOPED_TRACE(ToString(row.data) + " assigned " + ToString(shape));
    const auto depth = static_cast<int64_t>(shape.size());
    std::vector<int64_t> indices;
    for (int64_t i = 0; i < ElementCount(shape); ++i) {
      const size_t begin = indices.size();
      indices.resize(begin + shape.size());
      int64_t rest = i;
      for (size_t a = shape.size(); a-- > 0; rest /= shape[a])
        indices[begin + a] = row.targets[a].start + rest % shape[a] * row.targets[a].step;
    }
    Shape updates = shape;
    updates.insert(updates.end(), row.data.begin() + depth, row.data.end());
    shape.push_back(depth);
    OpCase test = Scatter(RandomTensor(rng, row.data), MakeTensor(DType::kInt64, shape, indices),
                          RandomTensor(rng, updates));
    ExpectSameBits({RunModel(test, rng)}, {Reference(test)});
    test.constants = {0, 1, 2};
    ExpectSameBits({RunModel(test, rng)}, {Reference(test)});
  }
}

TEST(ScatterND, UpdatesMayBeOfAnyShapeThatHoldsTheSlice) {
  std::mt19937 rng(3);
  const Tensor data = RandomTensor(rng, {1, 4, 3});
  for (const Shape& shape : {Shape{2, 1}, {1, 2, 1}, {2}, {1, 1, 2}}) {
    Shape updates = shape;
    updates.push_back(3);
    Shape indices = shape;
    indices.push_back(2);
    const OpCase test = Scatter(data, MakeTensor<int64_t>(DType::kInt64, indices, {0, 1, 0, 2}),
                                RandomTensor(rng, updates));
    ExpectSameBits({RunModel(test, rng)}, {Reference(test)});
  }
}

TEST(ScatterND, NothingToAssignIsTheDataItself) {
  std::mt19937 rng(3);
  const OpCase test = Scatter(RandomTensor(rng, {4, 3}), Tensor(DType::kInt64, {0, 1}),
                              Tensor(DType::kFloat32, {0, 3}));
  ExpectSameBits({RunModel(test, rng)}, {*test.inputs[0]});
}

TEST(ScatterND, RejectsWhatIsNoSlice) {
  std::mt19937 rng(3);
  const auto scatter = [&](const std::vector<int64_t>& indices, int64_t depth) {
    const int64_t tuples = static_cast<int64_t>(indices.size()) / depth;
    Shape updates = {tuples};
    if (depth == 1) updates.push_back(6);
    return Scatter(RandomTensor(rng, {5, 6}), MakeTensor(DType::kInt64, {tuples, depth}, indices),
                   RandomTensor(rng, updates));
  };
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  for (const std::vector<int64_t>& rows : {std::vector<int64_t>{1, 0},  // another order
                                           {1, 1},                      // twice
                                           {0, 4},
                                           {0, 1, 3},
                                           {0, 2, 1, 3},
                                           {0, 2, 4},  // steps that do not divide the axis
                                           {0, 0, 1, 2, 3, 4},
                                           {5},
                                           {-6},
                                           {kHuge},
                                           {-kHuge},
                                           {0, kHuge},
                                           {-kHuge, kHuge}})
    ExpectRejected(scatter(rows, 1), "no slice");
  ExpectRejected(scatter({0, 0, 0, 1, 1, 0}, 2), "no slice");
  ExpectRejected(scatter({0, 0, 0, 2, 1, 0, 1, 3}, 2), "no slice");
  ExpectRejected(scatter({0, 0, 1, 0, 0, 1, 1, 1}, 2), "no slice");
  std::vector<int64_t> columns;  // column by column: not the order of the data
  for (int64_t x = 0; x < 2; ++x)
    for (int64_t y = 0; y < 5; ++y) columns.insert(columns.end(), {y, x});
  ExpectRejected(scatter(columns, 2), "no slice");
  OpCase empty = Scatter(Tensor(DType::kFloat32, {5, 0}),
                         MakeTensor<int64_t>(DType::kInt64, {1, 2}, {2, 0}), Floats({1}, {0}));
  ExpectRejected(empty, "no slice");
}

TEST(ScatterND, RejectsWhatDoesNotFit) {
  std::mt19937 rng(3);
  const Tensor indices = MakeTensor<int64_t>(DType::kInt64, {1, 1}, {1});
  const OpCase good = Scatter(RandomTensor(rng, {3, 2}), indices, RandomTensor(rng, {1, 2}));
  OpCase test = good;
  test.constants.clear();
  ExpectRejected(test, "indices that are not constant");
  test = good;
  test.attributes["reduction"] = std::string("add");
  ExpectRejected(test, "a reduction; only assignments");
  test = good;
  test.inputs[2] = RandomTensor(rng, {1, 3});
  ExpectRejected(test, "updates [1,3] must be [1,2]");
  test.inputs[2] = MakeTensor<int64_t>(DType::kInt64, {1, 2}, {1, 2});
  ExpectRejected(test, "not of the data's type");
  test = good;
  test.inputs[1] = MakeTensor<int32_t>(DType::kInt32, {1, 1}, {1});
  ExpectRejected(test, "not int64");
  for (const Shape& shape : {Shape{}, {1, 0}, {0, 3}}) {
    test.inputs[1] = Tensor(DType::kInt64, shape);
    ExpectRejected(test, "do not fit data [3,2]");
  }
  test.inputs[1] = std::nullopt;
  ExpectRejected(test, "input 1 is missing");
}

}  // namespace
}  // namespace deltacnn::testing
