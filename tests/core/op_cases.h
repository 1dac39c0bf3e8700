// A valid small node for every operator that a model may name, and what it must give where that is
// trivial to say.
#pragma once

#include <functional>

#include "node_model.h"

namespace deltacnn::testing {

struct NodeCase {
  OpCase test;
  std::vector<double> want = {};  // elements of the first output; empty: not checked here
};

inline Tensor Image(Shape shape) {
  Tensor tensor(DType::kFloat32, std::move(shape));
  std::mt19937 rng(7);
  for (float& x : tensor.as<float>()) x = std::uniform_real_distribution<float>(-2, 2)(rng);
  return tensor;
}

/// The elements as doubles, whatever their type.
inline std::vector<double> Doubles(const TensorView& view) {
  std::vector<double> values;
  const auto append = [&]<class T>(T) {
    for (const T x : view.as<T>()) values.push_back(static_cast<double>(x));
  };
  switch (view.dtype) {
    case DType::kFloat32:
      append(float{});
      break;
    case DType::kInt64:
      append(int64_t{});
      break;
    case DType::kInt32:
      append(int32_t{});
      break;
    case DType::kBool:
    case DType::kUint8:
      append(uint8_t{});
      break;
    default:
      ADD_FAILURE() << "no case has outputs of type " << NameOf(view.dtype);
  }
  return values;
}

inline void AddUnaryCases(std::vector<NodeCase>& cases) {
  const Tensor x = Floats({1, 1, 2, 3}, {-2, -0.5f, 0, 0.25f, 1, 2.5f});
  const auto add = [&](const char* op, const std::function<double(double)>& f,
                       Attributes attributes = {}) {
    NodeCase c{.test = {.op = op, .attributes = std::move(attributes), .inputs = {x}}};
    for (const double value : Doubles(x)) c.want.push_back(f(value));
    cases.push_back(std::move(c));
  };
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  const auto relu6 = [](double v) { return std::clamp(v, 0.0, 1.0); };
  add("Abs", [](double v) { return std::abs(v); });
  add("Ceil", [](double v) { return std::ceil(v); });
  add("Celu", [](double v) { return v < 0 ? std::expm1(v) : v; });
  add("Celu", [](double v) { return v < 0 ? 2.5 * std::expm1(v / 2.5) : v; }, {{"alpha", 2.5f}});
  add("Clip", [](double v) { return v; });
  add("Cos", [](double v) { return std::cos(v); });
  add("Dropout", [](double v) { return v; });
  add("Elu", [](double v) { return v < 0 ? std::expm1(v) : v; });
  add("Erf", [](double v) { return std::erf(v); });
  add("Exp", [](double v) { return std::exp(v); });
  add("Floor", [](double v) { return std::floor(v); });
  add("Gelu", [](double v) { return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))); });
  add("HardSigmoid", [=](double v) { return relu6(0.2 * v + 0.5); });
  add("HardSwish", [=](double v) { return v * relu6(v / 6 + 0.5); });
  add("Identity", [](double v) { return v; });
  add("IsInf", [](double) { return 0; });
  add("IsNaN", [](double) { return 0; });
  add("LeakyRelu", [](double v) { return v < 0 ? 0.3 * v : v; }, {{"alpha", 0.3f}});
  add("Log", [](double v) { return std::log(v); });
  add("Mish", [](double v) { return v * std::tanh(std::log1p(std::exp(v))); });
  add("Neg", [](double v) { return -v; });
  add("Reciprocal", [](double v) { return 1 / v; });
  add("Relu", [](double v) { return std::max(v, 0.0); });
  add("Round", [](double v) { return std::nearbyint(v); });
  add("Selu", [](double v) { return 1.05070102 * (v > 0 ? v : 1.67326319 * std::expm1(v)); });
  add("Sigmoid", sigmoid);
  add("Sign", [](double v) { return (v > 0) - (v < 0); });
  add("Sin", [](double v) { return std::sin(v); });
  add("Softplus", [](double v) { return std::log1p(std::exp(v)); });
  add("Softsign", [](double v) { return v / (1 + std::abs(v)); });
  add("Sqrt", [](double v) { return std::sqrt(v); });
  add("Swish", [=](double v) { return v * sigmoid(v); });
  add("Tanh", [](double v) { return std::tanh(v); });
  add("ThresholdedRelu", [](double v) { return v > 0.5 ? v : 0; }, {{"alpha", 0.5f}});
  add("Cast", [](double v) { return std::trunc(v); }, {{"to", int64_t{6}}});
}

inline void AddBinaryCases(std::vector<NodeCase>& cases) {
  const Tensor x = Floats({1, 1, 1, 4}, {-2, 0.5f, 1, 3});
  const Tensor y = Floats({1, 1, 1, 4}, {1, 0.5f, -1, 2});
  const auto add = [&](const char* op, std::vector<double> want) {
    cases.push_back({.test = {.op = op, .inputs = {x, y}}, .want = std::move(want)});
  };
  add("Add", {-1, 1, 0, 5});
  add("Div", {-2, 1, -1, 1.5});
  add("Equal", {0, 1, 0, 0});
  add("Greater", {0, 0, 1, 1});
  add("GreaterOrEqual", {0, 1, 1, 1});
  add("Less", {1, 0, 0, 0});
  add("LessOrEqual", {1, 1, 0, 0});
  add("Max", {1, 0.5, 1, 3});
  add("Mean", {-0.5, 0.5, 0, 2.5});
  add("Min", {-2, 0.5, -1, 2});
  add("Mul", {-2, 0.25, -1, 6});
  add("PRelu", {-2, 0.5, 1, 3});
  add("Pow", {-2, std::sqrt(0.5), 1, 9});
  add("Sub", {-3, 0, 2, 1});
  add("Sum", {-1, 1, 0, 5});
  const auto bools = [](const std::vector<uint8_t>& values) {
    return MakeTensor(DType::kBool, {1, 1, 1, 4}, values);
  };
  for (const auto& [op, want] : {std::pair{"And", std::vector<double>{1, 0, 0, 0}},
                                 {"Or", {1, 1, 1, 0}},
                                 {"Xor", {0, 1, 1, 0}}}) {
    cases.push_back(
        {.test = {.op = op, .inputs = {bools({1, 1, 0, 0}), bools({1, 0, 1, 0})}}, .want = want});
  }
  cases.push_back({.test = {.op = "Not", .inputs = {bools({1, 0, 0, 1})}}, .want = {0, 1, 1, 0}});
  cases.push_back(
      {.test = {.op = "Where", .inputs = {bools({1, 0, 0, 1}), x, y}}, .want = {-2, 0.5, -1, 3}});
  const auto ints = [](const std::vector<int32_t>& values) {
    return MakeTensor(DType::kInt32, {4}, values);
  };
  cases.push_back({.test = {.op = "Mod", .inputs = {ints({5, -5, 5, 7}), ints({3, 3, -3, 7})}},
                   .want = {2, 1, -1, 0}});
  cases.push_back({.test = {.op = "Add", .inputs = {ints({1, 2, 3, 4}), ints({10, 20, 30, 40})}},
                   .want = {11, 22, 33, 44}});
  cases.push_back(
      {.test = {.op = "CastLike", .inputs = {x, ints({0, 0, 0, 0})}}, .want = {-2, 0, 1, 3}});
}

inline void AddMoveCases(std::vector<NodeCase>& cases) {
  const Tensor x = Floats({1, 2, 1, 2}, {1, 2, 3, 4});
  const auto add = [&](const char* op, Attributes attributes,
                       std::vector<std::optional<Tensor>> more, std::vector<double> want,
                       size_t outputs = 1) {
    OpCase test{.op = op, .attributes = std::move(attributes), .inputs = {x}, .outputs = outputs};
    for (std::optional<Tensor>& input : more) {
      test.constants.push_back(test.inputs.size());
      test.inputs.push_back(std::move(input));
    }
    cases.push_back({.test = std::move(test), .want = std::move(want)});
  };
  add("Expand", {}, {Ints({1, 2, 2, 2})}, {1, 2, 1, 2, 3, 4, 3, 4});
  add("Flatten", {{"axis", int64_t{2}}}, {}, {1, 2, 3, 4});
  add("Gather", {{"axis", int64_t{1}}}, {Ints({1, -2, 1})}, {3, 4, 1, 2, 3, 4});
  add("GatherElements", {{"axis", int64_t{3}}},
      {MakeTensor<int64_t>(DType::kInt64, {1, 2, 1, 2}, {1, 1, 0, -1})}, {2, 2, 3, 4});
  add("Pad", {}, {Ints({0, 0, 0, 1, 0, 0, 0, 1}), Floats({}, {9})}, {9, 1, 2, 9, 9, 3, 4, 9});
  add("Pad", {{"mode", std::string("reflect")}}, {Ints({0, 0, 0, 1, 0, 0, 0, 0})},
      {2, 1, 2, 4, 3, 4});
  add("Reshape", {}, {Ints({4, -1})}, {1, 2, 3, 4});
  add("Slice", {}, {Ints({1}), Ints({-3}), Ints({3}), Ints({-1})}, {2, 1, 4, 3});
  add("Split", {{"axis", int64_t{1}}}, {Ints({1, 1})}, {1, 2}, 2);
  add("Squeeze", {}, {Ints({2})}, {1, 2, 3, 4});
  add("Tile", {}, {Ints({1, 1, 2, 1})}, {1, 2, 1, 2, 3, 4, 3, 4});
  add("Transpose", {{"perm", IntList{0, 3, 2, 1}}}, {}, {1, 3, 2, 4});
  add("Unsqueeze", {}, {Ints({0, 5})}, {1, 2, 3, 4});
  cases.push_back({.test = {.op = "Concat", .attributes = {{"axis", int64_t{3}}}, .inputs = {x, x}},
                   .want = {1, 2, 1, 2, 3, 4, 3, 4}});
  cases.push_back({.test = {.op = "ScatterND",
                            .inputs = {Floats({3, 2}, {1, 2, 3, 4, 5, 6}),
                                       MakeTensor<int64_t>(DType::kInt64, {1, 1}, {-2}),
                                       Floats({1, 2}, {8, 9})},
                            .constants = {1}},
                   .want = {1, 2, 8, 9, 5, 6}});
  cases.push_back({.test = {.op = "GatherND",
                            .inputs = {Floats({2, 3}, {1, 2, 3, 4, 5, 6}),
                                       MakeTensor<int64_t>(DType::kInt64, {2, 2}, {1, -1, 0, 1})},
                            .constants = {1}},
                   .want = {6, 2}});
  const Tensor blocks = Floats({1, 4, 1, 1}, {1, 2, 3, 4});
  cases.push_back({.test = {.op = "DepthToSpace",
                            .attributes = {{"blocksize", int64_t{2}}},
                            .inputs = {blocks}},
                   .want = {1, 2, 3, 4}});
  cases.push_back({.test = {.op = "SpaceToDepth",
                            .attributes = {{"blocksize", int64_t{2}}},
                            .inputs = {Floats({1, 1, 2, 2}, {1, 2, 3, 4})}},
                   .want = {1, 2, 3, 4}});
}

inline void AddWindowCases(std::vector<NodeCase>& cases) {
  const Tensor x = Floats({1, 1, 2, 3}, {1, 2, 3, 4, 5, 6});
  const auto add = [&](OpCase test, std::vector<double> want = {}) {
    cases.push_back({.test = std::move(test), .want = std::move(want)});
  };
  add({.op = "Conv",
       .inputs = {x, Floats({1, 1, 2, 2}, {1, 0, 0, 10}), Floats({1}, {100})},
       .constants = {1, 2}},
      {151, 162});
  add({.op = "Conv",
       .attributes = {{"group", int64_t{4}},
                      {"pads", IntList{1, 1, 1, 1}},
                      {"strides", IntList{2, 2}}},
       .inputs = {Image({1, 4, 9, 9}), Image({4, 1, 3, 3})},
       .constants = {1}});
  add({.op = "ConvTranspose",
       .attributes = {{"strides", IntList{2, 2}}},
       .inputs = {Floats({1, 1, 1, 2}, {1, 2}), Floats({1, 1, 1, 2}, {1, 10})},
       .constants = {1}},
      {1, 10, 2, 20});
  add({.op = "MaxPool", .attributes = {{"kernel_shape", IntList{2, 2}}}, .inputs = {x}}, {5, 6});
  add({.op = "AveragePool", .attributes = {{"kernel_shape", IntList{2, 2}}}, .inputs = {x}},
      {3, 4});
  add({.op = "GlobalAveragePool", .inputs = {x}}, {3.5});
  add({.op = "GlobalMaxPool", .inputs = {x}}, {6});
  const auto reduce = [&](const char* op, std::vector<double> want) {
    add({.op = op, .inputs = {x, Ints({-2})}, .constants = {1}}, std::move(want));
  };
  reduce("ReduceL1", {5, 7, 9});
  reduce("ReduceL2", {std::sqrt(17), std::sqrt(29), std::sqrt(45)});
  reduce("ReduceMax", {4, 5, 6});
  reduce("ReduceMean", {2.5, 3.5, 4.5});
  reduce("ReduceMin", {1, 2, 3});
  reduce("ReduceProd", {4, 10, 18});
  reduce("ReduceSum", {5, 7, 9});
  reduce("ReduceSumSquare", {17, 29, 45});
  const Tensor scales = Floats({4}, {1, 1, 2, 1});
  add({.op = "Resize", .inputs = {x, std::nullopt, scales}, .constants = {2}},
      {1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6});
  add({.op = "Resize",
       .attributes = {{"mode", std::string("cubic")}},
       .inputs = {Image({1, 2, 6, 5}), std::nullopt, std::nullopt, Ints({1, 2, 9, 11})},
       .constants = {3}});
  add({.op = "GridSample",
       .inputs = {Floats({1, 1, 1, 2}, {2, 4}), Floats({1, 1, 3, 2}, {-0.5f, 0, 0, 0, 0.5f, 0})}},
      {2, 3, 4});
  add({.op = "QuantizeLinear",
       .inputs = {Floats({1, 1, 1, 5}, {-1, -0.25f, 0.25f, 0.75f, 99}), Floats({}, {0.5f}),
                  MakeTensor<uint8_t>(DType::kUint8, {}, {1})},
       .constants = {1, 2}},
      {0, 1, 1, 3, 199});
  add({.op = "DequantizeLinear",
       .inputs = {MakeTensor<uint8_t>(DType::kUint8, {1, 1, 1, 3}, {0, 1, 255}), Floats({}, {0.5f}),
                  MakeTensor<uint8_t>(DType::kUint8, {}, {1})},
       .constants = {1, 2}},
      {-0.5, 0, 127});
  add({.op = "Upsample", .opset = 9, .inputs = {x, scales}, .constants = {1}},
      {1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6});
  const Tensor one = Floats({1}, {1});
  const Tensor two = Floats({1}, {2});
  add({.op = "BatchNormalization",
       .attributes = {{"epsilon", 0.0f}},
       .inputs = {x, two, one, one, Floats({1}, {4})},
       .constants = {1, 2, 3, 4}},
      {1, 2, 3, 4, 5, 6});
  add({.op = "InstanceNormalization",
       .attributes = {{"epsilon", 0.25f}},
       .inputs = {Floats({1, 1, 1, 2}, {1, 5}), two, one},
       .constants = {1, 2}},
      {1 - 4 / std::sqrt(4.25), 1 + 4 / std::sqrt(4.25)});
  add({.op = "GroupNormalization",
       .opset = 21,
       .attributes = {{"num_groups", int64_t{1}}, {"epsilon", 0.75f}},
       .inputs = {Floats({1, 2, 1, 1}, {1, 5}), Floats({2}, {2, 4}), Floats({2}, {1, 0})},
       .constants = {1, 2}},
      {1 - 4 / std::sqrt(4.75), 8 / std::sqrt(4.75)});
  add({.op = "LpNormalization",
       .attributes = {{"axis", int64_t{2}}},
       .inputs = {Floats({1, 1, 2, 2}, {3, 0, -4, 0})}},
      {0.6, 0, -0.8, 0});
  add({.op = "MeanVarianceNormalization", .inputs = {Floats({1, 2, 1, 2}, {1, 5, 7, 7})}},
      {-1, 1, 0, 0});
  add({.op = "LayerNormalization",
       .inputs = {Image({1, 3, 4}), Image({4}), Image({4})},
       .constants = {1, 2}});
  add({.op = "RMSNormalization",
       .inputs = {Floats({2, 2}, {1, 3, 0, 2}), Floats({2}, {1, 10})},
       .constants = {1}},
      {1 / std::sqrt(5.0), 30 / std::sqrt(5.0), 0, 10 * std::sqrt(2.0)});
  add({.op = "LRN", .attributes = {{"size", int64_t{3}}}, .inputs = {Image({1, 5, 4, 4})}});
}

inline void AddOtherCases(std::vector<NodeCase>& cases) {
  const Tensor x = Floats({2, 2}, {1, 3, 0, 2});
  const auto add = [&](OpCase test, std::vector<double> want = {}) {
    cases.push_back({.test = std::move(test), .want = std::move(want)});
  };
  const double e2 = 1 / (1 + std::exp(2.0));
  add({.op = "Softmax", .inputs = {x}}, {e2, 1 - e2, e2, 1 - e2});
  add({.op = "LogSoftmax", .inputs = {x}},
      {std::log(e2), std::log(1 - e2), std::log(e2), std::log(1 - e2)});
  add({.op = "Gemm",
       .inputs = {x, Floats({2, 1}, {1, 10}), Floats({1}, {100})},
       .constants = {1, 2}},
      {131, 120});
  add({.op = "Einsum",
       .attributes = {{"equation", std::string("ij,kj->ki")}},
       .inputs = {x, Floats({1, 2}, {1, 10})},
       .constants = {1}},
      {31, 20});
  const Tensor tokens = Floats({1, 1, 2, 2}, {1, 3, 0, 2});
  add({.op = "Attention",
       .attributes = {{"is_causal", int64_t{1}}, {"scale", 0.5f}},
       .inputs = {tokens, tokens, tokens}},
      {1, 3, 1 / (1 + std::exp(-1.0)), 2 + 1 / (1 + std::exp(-1.0))});
  add({.op = "MatMul", .inputs = {x, x}}, {1, 9, 0, 4});
  add({.op = "CumSum", .inputs = {x, Ints({1})}, .constants = {1}}, {1, 4, 0, 2});
  add({.op = "ArgMax", .attributes = {{"axis", int64_t{0}}}, .inputs = {x}}, {0, 0});
  add({.op = "ArgMin", .attributes = {{"axis", int64_t{1}}}, .inputs = {x}}, {0, 0});
  add({.op = "TopK", .inputs = {x, Ints({1})}, .constants = {1}, .outputs = 2}, {3, 2});
  add({.op = "NonMaxSuppression",
       .inputs = {Floats({1, 2, 4}, {0, 0, 1, 1, 0, 0, 1, 1}), Floats({1, 1, 2}, {0.5f, 0.75f}),
                  Ints({2}), Floats({1}, {0.5f})},
       .constants = {2, 3}},
      {0, 0, 1});
  add({.op = "NonZero", .inputs = {x}}, {0, 0, 1, 0, 1, 1});
  add({.op = "ConstantOfShape", .inputs = {Ints({2, 1})}, .constants = {0}}, {0, 0});
  add({.op = "EyeLike", .inputs = {x}}, {1, 0, 0, 1});
  add({.op = "Range",
       .inputs = {Floats({}, {1}), Floats({}, {7}), Floats({}, {2})},
       .constants = {0, 1, 2}},
      {1, 3, 5});
  add({.op = "Shape", .inputs = {Image({1, 2, 3, 4})}}, {1, 2, 3, 4});
  add({.op = "Size", .inputs = {Image({1, 2, 3, 4})}}, {24});
}

inline std::vector<NodeCase> AllNodeCases() {
  std::vector<NodeCase> cases;
  AddUnaryCases(cases);
  AddBinaryCases(cases);
  AddMoveCases(cases);
  AddWindowCases(cases);
  AddOtherCases(cases);
  return cases;
}

}  // namespace deltacnn::testing
