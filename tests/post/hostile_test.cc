// Shapes and values that no sane model has: refused or decoded to nothing, but never a crash.
#include <cmath>
#include <limits>
#include <random>

#include "post_test_util.h"

namespace deltacnn {
namespace {

/// Decodes `count` random models; returns how many fitted some decoder.
int DecodeRandomModels(int count, unsigned seed) {
  std::mt19937 random(seed);
  const auto pick = [&random](const auto& from) { return from[random() % from.size()]; };
  const std::vector<int64_t> sizes = {0,  1,  1,  2,  3,  4,  4,  5,  6,  7,  8,   10,  16,
                                      17, 21, 32, 34, 36, 38, 64, 80, 84, 85, 112, 168, -1};
  const std::vector<float> values = {0,
                                     1,
                                     0.5F,
                                     -1,
                                     100,
                                     -1e9F,
                                     1e9F,
                                     3e38F,
                                     INFINITY,
                                     -INFINITY,
                                     std::numeric_limits<float>::quiet_NaN()};
  int fitted = 0;
  for (int i = 0; i < count; ++i) {
    ModelFacts facts;
    const int64_t side = pick(std::vector<int64_t>{16, 32, 33, 64});
    facts.inputs = {{"input", {1, 3, side, side}}};
    const size_t outputs = 1 + random() % 4;
    std::vector<Tensor> tensors;
    for (size_t o = 0; o < outputs; ++o) {
      Shape shape(1 + random() % 4);
      for (int64_t& dimension : shape) dimension = pick(sizes);
      if (random() % 4 != 0) shape[0] = 1;
      facts.outputs.push_back({o == 1 ? "scores" : "output", shape});
      for (int64_t& dimension : shape) {
        if (dimension < 0) dimension = static_cast<int64_t>(random() % 5);
      }
      Tensor tensor(random() % 8 == 0 ? DType::kInt64 : DType::kFloat32, shape);
      for (float& value : tensor.as<float>()) value = pick(values);
      tensors.push_back(std::move(tensor));
    }
    const std::vector<TensorView> views(tensors.begin(), tensors.end());
    for (const std::string& name : PresetNames()) {
      auto preset = FindPreset(facts, name);
      if (!preset) continue;
      auto decoder = Decoder::Create(*preset, facts);
      if (!decoder) {
        ADD_FAILURE() << decoder.error().message;
        continue;
      }
      Answer answer;
      const Status status = decoder->Decode(views, 0.0F, 0.5F, answer);
      if (name != "none") fitted += status.ok();
      if (!status) {
        EXPECT_EQ(answer.kind, AnswerKind::kNone);
      }
      for (const Detection& d : answer.detections) {
        EXPECT_TRUE(std::isfinite(d.x1) && std::isfinite(d.x2) && std::isfinite(d.score)) << name;
      }
      MapToSource({2, 2, -3, 5}, static_cast<int>(side), static_cast<int>(side), 50, 40, answer);
      EXPECT_FALSE(FrameJson(0, 0, answer, *preset, {}, 50, 40).empty());
    }
    const auto found = FindPreset(facts);
    EXPECT_TRUE(found.ok()) << found.error().message;
  }
  return fitted;
}

TEST(Hostile, RandomModels) { EXPECT_GT(DecodeRandomModels(1000, 1), 300); }

TEST(Hostile, HugeShapesAreRefused) {
  constexpr int64_t kHuge = int64_t{1} << 62;
  for (const Shape& input : {Shape{1, 3, kHuge, kHuge}, Shape{1, 3, 640, 640}, Shape{}, Shape{3}}) {
    for (const Shape& output :
         {Shape{1, kHuge, 85}, Shape{1, 85, kHuge}, Shape{1, kHuge, kHuge, kHuge}, Shape{1, kHuge},
          Shape{1, 17, kHuge, kHuge}, Shape{1, kHuge, 6}, Shape{kHuge, 7}, Shape{1, 0, 0, 0}}) {
      ModelFacts facts;
      facts.inputs = {{"input", input}};
      facts.outputs = {{"output", output}};
      for (const std::string& name : PresetNames()) {
        auto preset = FindPreset(facts, name);
        if (!preset) continue;
        auto decoder = Decoder::Create(*preset, facts);
        ASSERT_TRUE(decoder.ok());
        Answer answer;
        const TensorView view(DType::kFloat32, output, nullptr);
        EXPECT_EQ(decoder->Decode({&view, 1}, 0.4F, 0.5F, answer).ok(), name == "none") << name;
      }
    }
  }
}

TEST(Hostile, TensorsThatDifferFromTheFactsAreErrors) {
  FakeModel model(64, 64);
  model.Add("output", {1, 84, 6});
  model.Data()[4] = 1;
  model.Data()[5] = 1;
  auto decoder = Decoder::Create(model.Find("yolox"), model.facts());
  ASSERT_TRUE(decoder.ok());
  Answer answer;
  std::vector<TensorView> views = model.Views();
  ASSERT_TRUE(decoder->Decode(views, 0.4F, 0.5F, answer).ok());
  ASSERT_EQ(answer.detections.size(), 1U);

  EXPECT_FALSE(decoder->Decode({}, 0.4F, 0.5F, answer).ok());
  EXPECT_TRUE(answer.detections.empty());
  for (const Tensor& wrong : {Tensor(DType::kFloat32, {1, 83, 6}), Tensor(DType::kFloat32, {84, 6}),
                              Tensor(DType::kFloat16, {1, 84, 6})}) {
    views = {wrong};
    const Status status = decoder->Decode(views, 0.4F, 0.5F, answer);
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.error().message.find("output 'output'"), std::string::npos);
  }
}

}  // namespace
}  // namespace deltacnn
