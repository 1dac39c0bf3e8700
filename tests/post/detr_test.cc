#include <cmath>

#include "post_test_util.h"

namespace deltacnn {
namespace {

void SetRow(float* row, const std::vector<float>& values) {
  std::copy(values.begin(), values.end(), row);
}

TEST(Detr, LogitsBecomeChancesOneByOne) {
  FakeModel model(50, 100);
  const size_t logits = model.Add("logits", {1, 4, 80});
  const size_t boxes = model.Add("pred_boxes", {1, 4, 4});
  std::fill_n(model.Data(logits), 4 * 80, -20.0F);
  model.Data(logits)[80 + 7] = 0;                        // 0.5
  model.Data(logits)[2 * 80 + 79] = std::log(4.0F);      // 0.8
  model.Data(logits)[3 * 80 + 79] = std::log(1 / 4.0F);  // 0.2
  SetRow(model.Data(boxes) + 4, {0.5F, 0.5F, 0.2F, 0.4F});
  SetRow(model.Data(boxes) + 8, {0.5F, 0.5F, 0.2F, 0.4F});  // nothing is suppressed
  const Preset preset = model.Find();
  EXPECT_EQ(preset.name, "rtdetr");
  EXPECT_EQ(preset.Label(79), "toothbrush");
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 2U);
  ExpectBox(answer.detections[0], MakeBox(79, 0.8F, 40, 15, 60, 35));
  ExpectBox(answer.detections[1], MakeBox(7, 0.5F, 40, 15, 60, 35));
}

TEST(Detr, LastLogitOfASoftmaxIsNoObject) {
  FakeModel model(100, 100);
  const size_t logits = model.Add("logits", {1, 3, 92});
  const size_t boxes = model.Add("pred_boxes", {1, 3, 4});
  std::fill_n(model.Data(logits), 3 * 92, -30.0F);
  SetRow(model.Data(logits) + 90, {std::log(3.0F), 0});  // class 90 three times as likely as none
  SetRow(model.Data(logits) + 92 + 90, {0, 2});
  SetRow(model.Data(logits) + 2 * 92, {NAN, INFINITY});
  SetRow(model.Data(boxes), {0.2F, 0.3F, 0.2F, 0.2F});
  const Preset preset = model.Find();
  EXPECT_EQ(preset.name, "detr");
  EXPECT_EQ(preset.Label(1), "person");
  EXPECT_EQ(preset.Label(13), "stop sign");
  EXPECT_EQ(preset.Label(90), "toothbrush");
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(90, 0.75F, 10, 20, 30, 40));
}

TEST(Detr, ReadsRowsOfScoresAndOfTheBestClass) {
  FakeModel scores(100, 200);
  scores.Add("output0", {1, 300, 84});
  SetRow(scores.Data() + ptrdiff_t{84} * 5, {0.5F, 0.5F, 0.1F, 0.2F, 0.1F, 0.9F});
  scores.facts().metadata["description"] = "Ultralytics rtdetr-l model";
  ASSERT_EQ(scores.Find().name, "rtdetr");
  Answer answer = scores.Decode(scores.Find());
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(1, 0.9F, 90, 40, 110, 60));

  FakeModel best(100, 200);
  best.Add("output0", {1, 300, 6});
  SetRow(best.Data() + 6, {0.5F, 0.5F, 0.1F, 0.2F, 0.7F, 17});
  SetRow(best.Data() + 12, {0.5F, 0.5F, 0.1F, 0.2F, 0.7F, -1});
  best.facts().metadata["head"] = "RTDETRDecoder";
  ASSERT_EQ(best.Find().name, "rtdetr");
  answer = best.Decode(best.Find());
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(17, 0.7F, 90, 40, 110, 60));
  EXPECT_EQ(best.Find().Label(17), "horse");
}

TEST(Detr, AnyNumberOfClasses) {
  for (const int64_t classes : {1, 4}) {
    FakeModel model(100, 100);
    const size_t logits = model.Add("logits", {1, 3, classes});
    const size_t boxes = model.Add("pred_boxes", {1, 3, 4});
    std::fill_n(model.Data(logits), 3 * classes, -20.0F);
    model.Data(logits)[2 * classes] = 2;
    SetRow(model.Data(boxes) + 8, {0.2F, 0.3F, 0.2F, 0.2F});
    const Preset preset = model.Find();
    EXPECT_EQ(preset.name, "rtdetr");
    const Answer answer = model.Decode(preset);
    ASSERT_EQ(answer.detections.size(), 1U);
    ExpectBox(answer.detections[0], MakeBox(0, 0.880797F, 10, 20, 30, 40));
  }
}

TEST(Detr, SaysWhatItExpects) {
  FakeModel model(100, 100);
  model.Add("output", {1, 100, 4});
  for (const char* name : {"detr", "rtdetr"}) {
    const auto preset = FindPreset(model.facts(), name);
    ASSERT_FALSE(preset.ok());
    EXPECT_NE(preset.error().message.find("logits"), std::string::npos) << preset.error().message;
  }
}

TEST(Dfine, BoxesAreCornersInPixels) {
  FakeModel model(640, 640);
  model.Add("labels", {1, 300}, DType::kInt64);
  const size_t boxes = model.Add("boxes", {1, 300, 4});
  const size_t scores = model.Add("scores", {1, 300});
  model.tensor(0).as<int64_t>()[3] = 2;
  SetRow(model.Data(boxes) + 12, {10, 20, 30, 50});
  model.Data(scores)[3] = 0.9F;
  const Preset preset = model.Find();
  EXPECT_EQ(preset.name, "d-fine");
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(2, 0.9F, 10, 20, 30, 50));
}

}  // namespace
}  // namespace deltacnn
