#include "harness.h"

namespace deltacnn::testing {
namespace {

/// Row-major matrix element, transposed or not.
double At(const Tensor& m, bool transposed, int64_t row, int64_t col) {
  const int64_t index = transposed ? col * m.shape[1] + row : row * m.shape[1] + col;
  return m.as<float>()[static_cast<size_t>(index)];
}

/// Element of a tensor that broadcasts to [rows,cols].
double BroadcastAt(const Tensor& c, int64_t row, int64_t col) {
  const size_t rank = c.shape.size();
  const int64_t cols = rank > 0 ? c.shape[rank - 1] : 1;
  const int64_t rows = rank > 1 ? c.shape[0] : 1;
  return c.as<float>()[static_cast<size_t>((rows == 1 ? 0 : row) * cols + (cols == 1 ? 0 : col))];
}

struct GemmSizes {
  int64_t m, k, n;
};

void CheckGemm(const GemmSizes& s, bool trans_a, bool trans_b, const std::optional<Shape>& c_shape,
               const std::vector<size_t>& constants) {
  SCOPED_TRACE(::testing::Message()
               << s.m << "x" << s.k << "x" << s.n << " transA " << trans_a << " transB " << trans_b
               << " C " << (c_shape ? ToString(*c_shape) : "absent") << ", " << constants.size()
               << " constants");
  std::mt19937 rng(7);
  const float alpha = 0.75f;
  const float beta = -1.5f;
  OpCase test{.op = "Gemm",
              .attributes = {{"alpha", alpha},
                             {"beta", beta},
                             {"transA", int64_t{trans_a}},
                             {"transB", int64_t{trans_b}}},
              .inputs = {RandomTensor(rng, trans_a ? Shape{s.k, s.m} : Shape{s.m, s.k}),
                         RandomTensor(rng, trans_b ? Shape{s.n, s.k} : Shape{s.k, s.n})},
              .constants = constants};
  if (c_shape) test.inputs.push_back(RandomTensor(rng, *c_shape));
  std::vector<double> want;
  for (int64_t m = 0; m < s.m; ++m) {
    for (int64_t n = 0; n < s.n; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < s.k; ++k)
        sum += At(*test.inputs[0], trans_a, m, k) * At(*test.inputs[1], trans_b, k, n);
      want.push_back(alpha * sum + (c_shape ? beta * BroadcastAt(*test.inputs[2], m, n) : 0));
    }
  }
  const auto got = RunDense(test);
  ASSERT_EQ(got.size(), 1u);
  ExpectNear(got[0], {s.m, s.n}, want);
  CheckIncremental(test, rng, 3);
}

TEST(Gemm, MatchesTheDefinition) {
  const GemmSizes sizes = {70, 13, 37};
  const std::optional<Shape> c_shapes[] = {
      std::nullopt,           Shape{},           Shape{1},
      Shape{sizes.n},         Shape{1, sizes.n}, Shape{sizes.m, 1},
      Shape{sizes.m, sizes.n}};
  for (const auto& c_shape : c_shapes) {
    for (const int trans : {0, 1, 2, 3}) {
      CheckGemm(sizes, trans & 1, trans & 2, c_shape, {1, 2});
      CheckGemm(sizes, trans & 1, trans & 2, c_shape, {1});
      CheckGemm(sizes, trans & 1, trans & 2, c_shape, {});
    }
  }
  CheckGemm({1, 300, 1000}, false, true, Shape{1000}, {1, 2});
  CheckGemm({1, 5, 1}, true, true, Shape{1, 1}, {1, 2});
  CheckGemm({500, 3, 1}, false, false, Shape{500, 1}, {1});
}

TEST(Gemm, ChangedRowComputesOnlyThatRow) {
  std::mt19937 rng(3);
  OpCase test{.op = "Gemm",
              .inputs = {RandomTensor(rng, {40, 8}), RandomTensor(rng, {8, 5})},
              .constants = {1}};
  auto runner = OpRunner::Create(test);
  ASSERT_TRUE(runner.ok()) << runner.error().message;
  (*runner)->Run(test.inputs, true, rng);
  test.inputs[0]->as<float>()[17 * 8 + 3] += 1;
  (*runner)->Run(test.inputs, false, rng);
  EXPECT_EQ((*runner)->computed(), 1);
  EXPECT_EQ((*runner)->kernel().MacsPerPixel(), 40);
}

TEST(Gemm, RejectsWhatDoesNotFit) {
  std::mt19937 rng(3);
  const auto gemm = [&](Shape a, Shape b, Shape c) {
    return OpCase{.op = "Gemm",
                  .inputs = {RandomTensor(rng, std::move(a)), RandomTensor(rng, std::move(b)),
                             RandomTensor(rng, std::move(c))}};
  };
  ExpectRejected(gemm({2, 3}, {4, 5}, {5}), "do not fit");
  ExpectRejected(gemm({2, 3, 1}, {3, 5}, {5}), "must be matrices");
  ExpectRejected(gemm({2, 3}, {3, 5}, {4}), "does not broadcast");
  ExpectRejected(gemm({2, 3}, {3, 5}, {1, 1, 1}), "does not broadcast");
  OpCase integers = gemm({2, 3}, {3, 5}, {5});
  integers.inputs[0] = Tensor(DType::kInt32, {2, 3});
  ExpectRejected(integers, "int32");
}

/// numpy.matmul by the definition: every output coordinate sums over k.
std::vector<double> MatMulReference(Tensor a, Tensor b, const Shape& output) {
  const bool a_vector = a.shape.size() == 1;
  const bool b_vector = b.shape.size() == 1;
  if (a_vector) a.shape = {1, a.shape[0]};
  if (b_vector) b.shape = {b.shape[0], 1};
  Shape full = output;  // with the axes that vectors drop
  if (b_vector) full.push_back(1);
  if (a_vector) full.insert(full.end() - 1, 1);
  const size_t rank = full.size();
  const auto offset = [&](const Shape& shape, const std::vector<int64_t>& at) {
    int64_t index = 0;
    for (size_t i = 0; i < shape.size(); ++i) {
      const int64_t coordinate = at[rank - shape.size() + i];
      index = index * shape[i] + (shape[i] == 1 ? 0 : coordinate);
    }
    return static_cast<size_t>(index);
  };
  std::vector<double> want(static_cast<size_t>(ElementCount(full)));
  for (size_t i = 0; i < want.size(); ++i) {
    std::vector<int64_t> at(rank);
    auto rest = static_cast<int64_t>(i);
    for (size_t d = rank; d-- > 0; rest /= full[d]) at[d] = rest % full[d];
    for (int64_t k = 0; k < a.shape.back(); ++k) {
      std::vector<int64_t> at_a = at;
      std::vector<int64_t> at_b = at;
      at_a[rank - 1] = k;
      at_b[rank - 2] = k;
      want[i] += double{a.as<float>()[offset(a.shape, at_a)]} *
                 double{b.as<float>()[offset(b.shape, at_b)]};
    }
  }
  return want;
}

TEST(MatMul, FollowsNumpy) {
  struct Row {
    Shape a, b, output;
  };
  const Row rows[] = {
      {{3, 4}, {4, 5}, {3, 5}},
      {{4}, {4}, {}},
      {{4}, {4, 5}, {5}},
      {{70, 4}, {4}, {70}},
      {{2, 3, 4}, {4, 35}, {2, 3, 35}},
      {{2, 3, 4}, {4}, {2, 3}},
      {{3, 4}, {1, 4, 5}, {1, 3, 5}},
      {{4}, {3, 4, 5}, {3, 5}},
      {{3, 4}, {2, 4, 5}, {2, 3, 5}},
      {{2, 1, 3, 4}, {5, 4, 6}, {2, 5, 3, 6}},
      {{5, 3, 4}, {2, 1, 4, 6}, {2, 5, 3, 6}},
      {{1, 2, 30, 4}, {1, 2, 4, 30}, {1, 2, 30, 30}},
      {{2, 5, 4}, {1, 4, 3}, {2, 5, 3}},
  };
  std::mt19937 rng(11);
  for (const Row& row : rows) {
    for (const std::vector<size_t>& constants : {std::vector<size_t>{}, {0}, {1}}) {
      SCOPED_TRACE(ToString(row.a) + " x " + ToString(row.b) +
                   (constants.empty() ? "" : ", constant " + std::to_string(constants[0])));
      const OpCase test{.op = "MatMul",
                        .inputs = {RandomTensor(rng, row.a), RandomTensor(rng, row.b)},
                        .constants = constants};
      const auto got = RunDense(test);
      ASSERT_EQ(got.size(), 1u);
      ExpectNear(got[0], row.output, MatMulReference(*test.inputs[0], *test.inputs[1], row.output));
      CheckIncremental(test, rng, 3);
    }
  }
}

TEST(MatMul, RejectsWhatDoesNotFit) {
  std::mt19937 rng(3);
  const auto matmul = [&](Shape a, Shape b) {
    return OpCase{.op = "MatMul",
                  .inputs = {RandomTensor(rng, std::move(a)), RandomTensor(rng, std::move(b))}};
  };
  ExpectRejected(matmul({2, 3}, {4, 5}), "do not fit");
  ExpectRejected(matmul({2, 2, 3}, {3, 3, 5}), "do not fit");
  ExpectRejected(matmul({}, {3, 3}), "do not fit");
}

}  // namespace
}  // namespace deltacnn::testing
