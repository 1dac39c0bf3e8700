#include <numeric>

#include "infer_only.h"

namespace deltacnn::testing {
namespace {

/// Few distinct values, so that there are many equals.
Tensor Digits(std::mt19937& rng, Shape shape, DType dtype = DType::kFloat32) {
  Tensor tensor(dtype, std::move(shape));
  for (size_t i = 0; i < static_cast<size_t>(tensor.elements()); ++i) {
    const auto digit = static_cast<int64_t>(rng() % 7) - 3;
    if (dtype == DType::kFloat32) {
      tensor.as<float>()[i] = static_cast<float>(digit);
    } else {
      tensor.as<int64_t>()[i] = digit;
    }
  }
  return tensor;
}

double ValueAt(const Tensor& tensor, size_t i) {
  return tensor.dtype == DType::kFloat32 ? tensor.as<float>()[i]
                                         : static_cast<double>(tensor.as<int64_t>()[i]);
}

/// Calls visit(first, stride, n) for every vector along an axis: its elements are at first + i *
/// stride.
template <class Visit>
void ForEachVector(const Shape& shape, size_t axis, const Visit& visit) {
  const auto split = shape.begin() + static_cast<int64_t>(axis);
  const auto outer = static_cast<size_t>(ElementCount(Shape(shape.begin(), split)));
  const auto inner = static_cast<size_t>(ElementCount(Shape(split + 1, shape.end())));
  const auto n = static_cast<size_t>(shape[axis]);
  for (size_t o = 0; o < outer; ++o) {
    for (size_t i = 0; i < inner; ++i) visit(o * n * inner + i, inner, n);
  }
}

/// Positions of the vector's elements, best first, the first one among equals.
std::vector<size_t> Ranking(const Tensor& x, size_t first, size_t stride, size_t n, bool largest) {
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    const double va = ValueAt(x, first + a * stride);
    const double vb = ValueAt(x, first + b * stride);
    return largest ? va > vb : va < vb;
  });
  return order;
}

TEST(ArgMax, FindsTheFirstOrLastOfTheBest) {
  std::mt19937 rng(1);
  const Shape shape = {2, 5, 4, 67};
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    for (const std::string op : {"ArgMax", "ArgMin"}) {
      for (const bool keep : {true, false}) {
        for (const bool last : {true, false}) {
          const DType dtype = rng() % 2 == 0 ? DType::kFloat32 : DType::kInt64;
          const OpCase test{.op = op,
                            .attributes = {{"axis", static_cast<int64_t>(axis) - (keep ? 4 : 0)},
                                           {"keepdims", int64_t{keep}},
                                           {"select_last_index", int64_t{last}}},
                            .inputs = {Digits(rng, shape, dtype)}};
          Shape out_shape = shape;
          out_shape[axis] = 1;
          Tensor want(DType::kInt64, out_shape);
          if (!keep) want.shape.erase(want.shape.begin() + static_cast<int64_t>(axis));
          size_t at = 0;
          ForEachVector(shape, axis, [&](size_t first, size_t stride, size_t n) {
            const auto order = Ranking(*test.inputs[0], first, stride, n, op == "ArgMax");
            size_t best = 0;
            const auto value = [&](size_t i) {
              return ValueAt(*test.inputs[0], first + order[i] * stride);
            };
            while (last && best + 1 < n && value(best + 1) == value(0)) ++best;
            want.as<int64_t>()[at++] = static_cast<int64_t>(order[best]);
          });
          ExpectSameBits(RunDense(test), {want});
          CheckIncremental(test, rng, 3);
        }
      }
    }
  }
}

TEST(ArgMax, ChangedPixelComputesOnlyThatPixel) {
  std::mt19937 rng(1);
  OpCase test{.op = "ArgMax",
              .attributes = {{"axis", int64_t{1}}},
              .inputs = {RandomTensor(rng, {1, 4, 5, 6})}};
  auto runner = OpRunner::Create(test);
  ASSERT_TRUE(runner.ok()) << runner.error().message;
  (*runner)->Run(test.inputs, true, rng);
  test.inputs[0]->as<float>()[2 * 30 + 7] += 1;
  (*runner)->Run(test.inputs, false, rng);
  EXPECT_EQ((*runner)->computed(), 1);
}

TEST(ArgMax, RejectsBadInputs) {
  ExpectRejected({.op = "ArgMax",
                  .attributes = {{"axis", int64_t{2}}},
                  .inputs = {Tensor(DType::kFloat32, {2, 3})}},
                 "axis 2");
  ExpectRejected({.op = "ArgMax", .inputs = {Tensor(DType::kFloat32, {0, 3})}}, "empty");
  ExpectRejected({.op = "ArgMax", .inputs = {Tensor(DType::kBool, {2, 3})}}, "bool");
}

TEST(TopK, RanksEveryVector) {
  std::mt19937 rng(2);
  const Shape shape = {2, 9, 4, 21};
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    for (const int64_t k : {int64_t{1}, shape[axis] / 2 + 1, shape[axis]}) {
      for (const int64_t opset : {9, 10, 19}) {
        const bool largest = opset < 11 || rng() % 2 == 0;
        const DType dtype = rng() % 2 == 0 ? DType::kFloat32 : DType::kInt64;
        OpCase test{
            .op = "TopK",
            .opset = opset,
            .attributes = {{"axis", static_cast<int64_t>(axis)}, {"largest", int64_t{largest}}},
            .inputs = {Digits(rng, shape, dtype)},
            .outputs = 2};
        if (opset < 10) {
          test.attributes["k"] = k;
        } else {
          test.inputs.push_back(Ints({k}));
          test.constants = {1};
        }
        Shape out_shape = shape;
        out_shape[axis] = k;
        Tensor values(dtype, out_shape);
        Tensor indices(DType::kInt64, out_shape);
        const size_t size = SizeOf(dtype);
        const size_t inner = static_cast<size_t>(
            ElementCount(Shape(shape.begin() + static_cast<int64_t>(axis) + 1, shape.end())));
        ForEachVector(shape, axis, [&](size_t first, size_t stride, size_t n) {
          const auto order = Ranking(*test.inputs[0], first, stride, n, largest);
          const size_t outer = first / (n * inner);
          for (size_t i = 0; i < static_cast<size_t>(k); ++i) {
            const size_t to = (outer * static_cast<size_t>(k) + i) * inner + first % inner;
            std::memcpy(values.bytes.data() + to * size,
                        test.inputs[0]->bytes.data() + (first + order[i] * stride) * size, size);
            indices.as<int64_t>()[to] = static_cast<int64_t>(order[i]);
          }
        });
        ExpectSameBits(RunDense(test), {values, indices});
        CheckIncremental(test, rng, 3);
      }
    }
  }
}

TEST(TopK, OrdersNaNFirst) {
  const OpCase test{.op = "TopK",
                    .inputs = {Floats({6}, {1, NAN, 3, NAN, 2, -INFINITY}), Ints({4})},
                    .constants = {1},
                    .outputs = 2};
  const auto got = RunDense(test);
  ExpectNear(got[0], {4}, {NAN, NAN, 3, 2});
  ExpectSameBits({got[1]}, {Ints({1, 3, 2, 4})});
}

TEST(TopK, RejectsBadInputs) {
  const auto top = [](const Tensor& k) {
    return OpCase{.op = "TopK",
                  .inputs = {Tensor(DType::kFloat32, {2, 3}), k},
                  .constants = {1},
                  .outputs = 2};
  };
  ExpectRejected(top(Ints({4})), "from 0 to 3");
  ExpectRejected(top(Ints({-1})), "from 0 to 3");
  ExpectRejected(top(Ints({1, 1})), "from 0 to 3");
  OpCase runtime = top(Ints({1}));
  runtime.constants = {};
  ExpectDataDependent(runtime);
}

struct NmsOptions {
  int64_t most = 5;
  float overlap = 0.4f;
  std::optional<float> score = std::nullopt;
  bool center_point = false;
};

OpCase Nms(const Tensor& boxes, const Tensor& scores, const NmsOptions& options) {
  OpCase test{.op = "NonMaxSuppression",
              .attributes = {{"center_point_box", int64_t{options.center_point}}},
              .inputs = {boxes, scores, Ints({options.most}), Floats({1}, {options.overlap})},
              .constants = {0, 1, 2, 3}};
  if (options.score) {
    test.inputs.push_back(Floats({1}, {*options.score}));
    test.constants.push_back(4);
  }
  return test;
}

/// Repeatedly takes the best box left and drops those that overlap it too much.
std::vector<int64_t> NmsReference(const Tensor& boxes, const Tensor& scores,
                                  const NmsOptions& options) {
  std::vector<int64_t> rows;
  const int64_t count = boxes.shape[1];
  for (int64_t group = 0; group < scores.shape[0] * scores.shape[1]; ++group) {
    const int64_t batch = group / scores.shape[1];
    const auto corner = [&](int64_t box, int64_t i) {  // y1, x1, y2, x2
      const float* b = boxes.as<float>().data() + (batch * count + box) * 4;
      if (!options.center_point) return b[i];
      const float center = b[i % 2 == 0 ? 1 : 0];
      const float size = b[i % 2 == 0 ? 3 : 2];
      return i < 2 ? center - size / 2 : center + size / 2;
    };
    const auto area = [&](int64_t box) {
      return std::abs(corner(box, 2) - corner(box, 0)) * std::abs(corner(box, 3) - corner(box, 1));
    };
    const auto shared = [&](int64_t a, int64_t b, int64_t axis) {
      const auto [a_low, a_high] = std::minmax({corner(a, axis), corner(a, axis + 2)});
      const auto [b_low, b_high] = std::minmax({corner(b, axis), corner(b, axis + 2)});
      return std::max(0.0f, std::min(a_high, b_high) - std::max(a_low, b_low));
    };
    const auto score = [&](int64_t box) {
      return scores.as<float>()[static_cast<size_t>(group * count + box)];
    };
    std::vector<int64_t> left(static_cast<size_t>(count));
    std::iota(left.begin(), left.end(), 0);
    std::erase_if(left, [&](int64_t box) { return options.score && score(box) <= *options.score; });
    for (int64_t taken = 0; taken < options.most && !left.empty(); ++taken) {
      int64_t best = left[0];
      for (const int64_t box : left) {
        if (score(box) > score(best)) best = box;
      }
      rows.insert(rows.end(), {batch, group % scores.shape[1], best});
      std::erase_if(left, [&](int64_t box) {
        const float both = shared(best, box, 0) * shared(best, box, 1);
        return box == best || both / (area(best) + area(box) - both) > options.overlap;
      });
    }
  }
  return rows;
}

TEST(NonMaxSuppression, MatchesTheGreedyDefinition) {
  std::mt19937 rng(3);
  for (int round = 0; round < 20; ++round) {
    Tensor boxes = RandomTensor(rng, {2, 40, 4}, 0, 4);
    const Tensor scores = Digits(rng, {2, 3, 40});
    NmsOptions options = {.most = 1 + static_cast<int64_t>(rng() % 30),
                          .overlap = 0.1f * static_cast<float>(rng() % 9)};
    if (round % 2 == 0) options.score = -1.0f;
    options.center_point = round % 3 == 0;
    const auto rows = NmsReference(boxes, scores, options);
    const auto count = static_cast<int64_t>(rows.size()) / 3;
    ExpectConstant(Nms(boxes, scores, options), MakeTensor(DType::kInt64, {count, 3}, rows));
  }
}

TEST(NonMaxSuppression, MayKeepNothing) {
  std::mt19937 rng(3);
  const Tensor boxes = RandomTensor(rng, {1, 4, 4});
  const Tensor scores = RandomTensor(rng, {1, 2, 4});
  const Tensor nothing(DType::kInt64, {0, 3});
  ExpectConstant(Nms(boxes, scores, {.most = 0}), nothing);
  ExpectConstant(Nms(boxes, scores, {.score = 1.0f}), nothing);
  OpCase defaults = Nms(boxes, scores, {});
  defaults.inputs.resize(2);
  ExpectConstant(defaults, nothing);
  ExpectConstant(Nms(Tensor(DType::kFloat32, {1, 0, 4}), Tensor(DType::kFloat32, {1, 2, 0}), {}),
                 nothing);
}

TEST(NonMaxSuppression, DependsOnTheData) {
  std::mt19937 rng(3);
  OpCase test = Nms(RandomTensor(rng, {1, 4, 4}), RandomTensor(rng, {1, 2, 4}), {});
  for (const size_t runtime : {0, 1, 2, 3}) {
    test.constants = {0, 1, 2, 3};
    std::erase(test.constants, runtime);
    ExpectDataDependent(test);
  }
}

TEST(NonMaxSuppression, RejectsBadInputs) {
  const auto nms = [](Shape boxes, Shape scores, float overlap) {
    return InferOnly(Nms(Tensor(DType::kFloat32, std::move(boxes)),
                         Tensor(DType::kFloat32, std::move(scores)), {.overlap = overlap}))
        .status;
  };
  EXPECT_TRUE(nms({1, 4, 4}, {1, 2, 4}, 0.5f).ok());
  EXPECT_FALSE(nms({1, 4, 5}, {1, 2, 4}, 0.5f).ok());
  EXPECT_FALSE(nms({1, 4, 4}, {1, 2, 3}, 0.5f).ok());
  EXPECT_FALSE(nms({1, 4, 4}, {2, 2, 4}, 0.5f).ok());
  EXPECT_FALSE(nms({4, 4}, {1, 2, 4}, 0.5f).ok());
  EXPECT_FALSE(nms({1, 4, 4}, {1, 2, 4}, 1.5f).ok());
  EXPECT_FALSE(nms({1, 4, 4}, {1, 2, 4}, NAN).ok());
}

}  // namespace
}  // namespace deltacnn::testing
