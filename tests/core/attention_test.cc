// Attention in all its forms, against sums written out.
#include <cmath>

#include "node_model.h"

namespace deltacnn::testing {
namespace {

struct Form {
  int64_t batch = 1, query_heads = 2, key_heads = 2, queries = 4, keys = 5, depth = 3, width = 2;
  bool merged = false;
  Attributes attributes = {};
  Shape mask = {};  // empty: none
  bool of_bools = false;
  bool constant_mask = false;
};

double Number(const Attributes& attributes, const std::string& key, double fallback) {
  const auto found = attributes.find(key);
  if (found == attributes.end()) return fallback;
  if (const auto* integer = std::get_if<int64_t>(&found->second))
    return static_cast<double>(*integer);
  return double{std::get<float>(found->second)};
}

/// Element (b, h, row, c) of an input.
double At(const Tensor& tensor, const Form& form, int64_t heads, int64_t b, int64_t h, int64_t row,
          int64_t c) {
  const auto data = tensor.as<float>();
  if (!form.merged) {
    const int64_t rows = tensor.shape[2], columns = tensor.shape[3];
    return data[static_cast<size_t>(((b * heads + h) * rows + row) * columns + c)];
  }
  const int64_t rows = tensor.shape[1], columns = tensor.shape[2] / heads;
  return data[static_cast<size_t>(((b * rows + row) * heads + h) * columns + c)];
}

/// What the mask adds to score (b, h, query, key).
double MaskAt(const Tensor& mask, const std::array<int64_t, 4>& at) {
  int64_t index = 0;
  for (size_t d = 0; d < mask.shape.size(); ++d) {
    const int64_t i = at[4 - mask.shape.size() + d];
    index = index * mask.shape[d] + (mask.shape[d] == 1 ? 0 : i);
  }
  const auto element = static_cast<size_t>(index);
  if (mask.dtype == DType::kFloat32) return mask.as<float>()[element];
  return mask.as<bool>()[element] ? 0 : -HUGE_VAL;
}

std::vector<double> Reference(const Form& form, const OpCase& test) {
  const Tensor &q = *test.inputs[0], &k = *test.inputs[1], &v = *test.inputs[2];
  const double scale =
      Number(test.attributes, "scale", 1 / std::sqrt(static_cast<double>(form.depth)));
  const double cap = Number(test.attributes, "softcap", 0);
  const double left = Number(test.attributes, "left_window_size", -1);
  const double right = Number(test.attributes, "is_causal", 0) != 0
                           ? 0
                           : Number(test.attributes, "right_window_size", -1);
  std::vector<double> out(
      static_cast<size_t>(form.batch * form.query_heads * form.queries * form.width));
  for (int64_t b = 0; b < form.batch; ++b) {
    for (int64_t h = 0; h < form.query_heads; ++h) {
      const int64_t key_head = h / (form.query_heads / form.key_heads);
      for (int64_t query = 0; query < form.queries; ++query) {
        std::vector<double> weights;
        double sum = 0;
        for (int64_t key = 0; key < form.keys; ++key) {
          double score = 0;
          for (int64_t c = 0; c < form.depth; ++c)
            score += At(q, form, form.query_heads, b, h, query, c) *
                     At(k, form, form.key_heads, b, key_head, key, c);
          score *= scale;
          if (cap != 0) score = cap * std::tanh(score / cap);
          if (test.inputs.size() > 3) score += MaskAt(*test.inputs[3], {b, h, query, key});
          const auto distance = static_cast<double>(key - query);
          if ((left >= 0 && distance < -left) || (right >= 0 && distance > right))
            score = -HUGE_VAL;
          weights.push_back(std::exp(score));
          sum += weights.back();
        }
        for (int64_t c = 0; c < form.width; ++c) {
          double value = 0;
          for (int64_t key = 0; key < form.keys; ++key) {
            if (sum > 0)
              value += weights[static_cast<size_t>(key)] / sum *
                       At(v, form, form.key_heads, b, key_head, key, c);
          }
          const int64_t index =
              form.merged ? ((b * form.queries + query) * form.query_heads + h) * form.width + c
                          : ((b * form.query_heads + h) * form.queries + query) * form.width + c;
          out[static_cast<size_t>(index)] = value;
        }
      }
    }
  }
  return out;
}

OpCase CaseOf(const Form& form, std::mt19937& rng) {
  OpCase test{.op = "Attention", .attributes = form.attributes};
  const auto add = [&](int64_t heads, int64_t rows, int64_t columns) {
    const Shape apart = {form.batch, heads, rows, columns};
    const Shape merged = {form.batch, rows, heads * columns};
    test.inputs.push_back(RandomTensor(rng, form.merged ? merged : apart, -2, 2));
  };
  add(form.query_heads, form.queries, form.depth);
  add(form.key_heads, form.keys, form.depth);
  add(form.key_heads, form.keys, form.width);
  if (form.merged) {
    test.attributes["q_num_heads"] = form.query_heads;
    test.attributes["kv_num_heads"] = form.key_heads;
  }
  if (form.mask.empty()) return test;
  Tensor mask = RandomTensor(rng, form.mask, -2, 2);
  if (form.of_bools) {
    mask = Tensor(DType::kBool, form.mask);
    for (bool& element : mask.as<bool>()) element = rng() % 3 != 0;
    // The first query sees nothing.
    std::ranges::fill(mask.as<bool>().first(static_cast<size_t>(form.mask.back())), false);
  }
  test.inputs.push_back(std::move(mask));
  if (form.constant_mask) test.constants = {3};
  return test;
}

TEST(Attention, IsThatOfTheDefinitionAndExact) {
  const Attributes causal = {{"is_causal", int64_t{1}}};
  const std::vector<Form> forms = {
      {},
      {.batch = 2, .merged = true},
      {.query_heads = 6, .attributes = {{"scale", 0.3f}}},
      {.query_heads = 6, .key_heads = 3, .merged = true, .attributes = causal},
      {.query_heads = 4, .key_heads = 1, .mask = {4, 5}},
      {.batch = 2, .merged = true, .mask = {2, 1, 4, 5}, .constant_mask = true},
      {.batch = 2, .mask = {2, 4, 5}, .of_bools = true, .constant_mask = true},
      {.merged = true, .mask = {1, 1, 1, 5}, .of_bools = true},
      {.attributes = causal, .mask = {4, 5}, .of_bools = true},
      {.attributes = {{"softcap", 1.5f}}, .mask = {4, 5}},
      {.attributes = {{"left_window_size", int64_t{1}}, {"right_window_size", int64_t{2}}}},
      {.queries = 7, .keys = 3, .attributes = {{"left_window_size", int64_t{1}}}},
  };
  std::mt19937 rng(6);
  for (size_t i = 0; i < forms.size(); ++i) {
    SCOPED_TRACE(i);
    const OpCase test = CaseOf(forms[i], rng);
    const std::vector<double> want = Reference(forms[i], test);
    const Tensor output = RunModel(test, rng);
    const auto got = output.as<float>();
    ASSERT_EQ(got.size(), want.size());
    for (size_t e = 0; e < got.size(); ++e) EXPECT_NEAR(got[e], want[e], 1e-5) << "element " << e;
  }
}

TEST(Attention, RefusesWhatKeepsAStateOrDoesNotFit) {
  std::mt19937 rng(6);
  const auto message = [](const OpCase& test) {
    const auto plan = Plan::Compile(Model(ModelGraph(test)));
    return plan.ok() ? std::string() : plan.error().message;
  };
  OpCase past = CaseOf({}, rng);
  past.inputs.push_back(std::nullopt);
  past.inputs.push_back(RandomTensor(rng, {1, 2, 3, 3}));
  EXPECT_NE(message(past).find("keys from before"), std::string::npos) << message(past);
  OpCase scores = CaseOf({}, rng);
  scores.outputs = 2;
  EXPECT_NE(message(scores).find("second output"), std::string::npos) << message(scores);
  const OpCase heads = CaseOf({.query_heads = 3}, rng);
  EXPECT_NE(message(heads).find("do not belong together"), std::string::npos) << message(heads);
  const OpCase mask = CaseOf({.mask = {4, 6}}, rng);
  EXPECT_NE(message(mask).find("a mask [4,6]"), std::string::npos) << message(mask);
}

}  // namespace
}  // namespace deltacnn::testing
