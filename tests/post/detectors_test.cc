// NanoDet, FastestDet, YuNet, UltraFace, RetinaFace, decoded boxes, and graphs with their own
// suppression.
#include <cmath>

#include "post_test_util.h"

namespace deltacnn {
namespace {

/// A distribution over 8 bins whose mean is `mean` (a multiple of one half).
void SetBins(float* logits, float mean) {
  std::fill(logits, logits + 8, -100.0F);
  logits[static_cast<int>(std::floor(mean))] = 0;
  logits[static_cast<int>(std::ceil(mean))] = 0;
}

void SetSides(float* logits, float left, float top, float right, float bottom) {
  SetBins(logits, left);
  SetBins(logits + 8, top);
  SetBins(logits + 16, right);
  SetBins(logits + 24, bottom);
}

TEST(Nanodet, DecodesSplitOutputs) {
  FakeModel model(64, 64);
  const int64_t cells[] = {64, 16, 4};
  for (const int64_t hw : cells) model.Add("cls" + std::to_string(hw), {1, hw, 80});
  for (const int64_t hw : cells) model.Add("dis" + std::to_string(hw), {1, hw, 32});
  model.Data(1)[6 * 80 + 7] = 0.9F;  // stride 16, cell (2, 1): centre (40, 24)
  SetSides(model.Data(4) + 6 * 32, 1, 0.5F, 2, 1.5F);
  const Preset preset = model.Find();
  EXPECT_EQ(preset.name, "nanodet");
  EXPECT_EQ(preset.names.size(), 80U);
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(7, 0.9F, 24, 16, 72, 48));
}

TEST(Nanodet, DecodesMergedOutputs) {
  FakeModel model(64, 64);  // four strides: NanoDet-Plus, whose cells count from their corner
  model.Add("output", {1, 64 + 16 + 4 + 1, 80 + 32});
  float* row = model.Data() + (64 + 16 + 2) * 112;  // stride 32, cell (0, 1)
  row[3] = 0.5F;
  SetSides(row + 80, 0, 1, 1, 0.5F);
  const Preset preset = model.Find();
  EXPECT_EQ(preset.name, "nanodet");
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(3, 0.5F, 0, 0, 32, 48));
}

TEST(Fastestdet, CombinesObjectAndClassScores) {
  FakeModel model(64, 96);
  model.Add("758", {1, 85, 4, 6});
  const int plane = 24;
  const int cell = 1 * 6 + 3;
  float* data = model.Data() + cell;
  data[0] = 0.8F;
  data[1 * plane] = std::atanh(0.5F);         // x: (3 + 0.5) / 6 of 96
  data[2 * plane] = 0;                        // y: 1 / 4 of 64
  data[3 * plane] = 0;                        // half of 96
  data[4 * plane] = std::log(0.25F / 0.75F);  // a quarter of 64
  data[(5 + 11) * plane] = 0.9F;
  const Preset preset = model.Find();
  EXPECT_EQ(preset.name, "fastestdet");
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 1U);
  const float score = std::pow(0.8F, 0.6F) * std::pow(0.9F, 0.4F);
  ExpectBox(answer.detections[0], MakeBox(11, score, 32, 8, 80, 24));
}

TEST(Yunet, DecodesBoxesAndPoints) {
  FakeModel model(64, 64);
  for (const char* kind : {"cls", "obj", "bbox", "kps"}) {
    const int64_t values = kind[0] == 'b' ? 4 : kind[0] == 'k' ? 10 : 1;
    for (const int64_t stride : {8, 16, 32}) {
      model.Add(std::string(kind) + "_" + std::to_string(stride),
                {1, (64 / stride) * (64 / stride), values});
    }
  }
  const int cell = 2 * 4 + 1;  // stride 16, column 1, row 2
  model.Data(1)[cell] = 0.81F;
  model.Data(4)[cell] = 1.0F;
  float* box = model.Data(7) + 4 * cell;
  box[0] = 0.5F;
  box[1] = -0.5F;
  box[2] = std::log(2.0F);
  box[3] = std::log(3.0F);
  model.Data(10)[10 * cell + 8] = 0.25F;
  const Preset preset = model.Find();
  EXPECT_EQ(preset.name, "yunet");
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(0, 0.9F, 8, 0, 40, 48));
  ASSERT_EQ(answer.detections[0].keypoints.size(), 5U);
  EXPECT_FLOAT_EQ(answer.detections[0].keypoints[4].x, 20);
  EXPECT_FLOAT_EQ(answer.detections[0].keypoints[4].y, 32);
  EXPECT_EQ(preset.Label(0), "face");
}

TEST(Ultraface, ScalesNormalisedBoxes) {
  FakeModel model(240, 320);
  model.Add("scores", {1, 4420, 2});
  model.Add("boxes", {1, 4420, 4});
  model.Data(0)[2 * 77 + 1] = 0.95F;
  model.Data(0)[2 * 78] = 0.95F;  // background
  const float corners[] = {0.25F, 0.5F, 0.5F, 0.75F};
  std::copy(corners, corners + 4, model.Data(1) + 4 * 77);
  const Preset preset = model.Find();
  EXPECT_EQ(preset.name, "ultraface");
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(0, 0.95F, 80, 120, 160, 180));
}

TEST(Retinaface, DecodesAgainstPriors) {
  FakeModel model(64, 64);
  const int64_t rows = 2 * (64 + 16 + 4);
  model.Add("loc", {1, rows, 4});
  model.Add("conf", {1, rows, 2});
  model.Add("landmarks", {1, rows, 10});
  // Stride 16, cell (1, 2), the larger prior: 128 pixels around (24, 40).
  const int64_t row = 2 * 64 + 2 * (2 * 4 + 1) + 1;
  model.Data(1)[2 * row + 1] = 0.7F;
  float* box = model.Data(0) + 4 * row;
  box[0] = 0.5F;                     // 0.05 * 128 to the right
  box[3] = std::log(0.5F) / 0.2F;    // half as high
  model.Data(2)[10 * row + 1] = -1;  // 12.8 up
  const Preset preset = model.Find();
  EXPECT_EQ(preset.name, "retinaface");
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(0, 0.7F, 30.4F - 64, 8, 30.4F + 64, 72));
  EXPECT_FLOAT_EQ(answer.detections[0].keypoints[0].x, 24);
  EXPECT_FLOAT_EQ(answer.detections[0].keypoints[0].y, 27.2F);
}

TEST(Boxes, TakesTheBestClassOfEachBoxAndSuppresses) {
  FakeModel model(64, 64);
  const size_t boxes = model.Add("913", {1, 84, 4});
  const size_t scores = model.Add("904", {1, 84, 80});
  const float corners[3][4] = {{10, 20, 30, 40}, {11, 20, 31, 40}, {-5, 1, 20, 80}};
  for (int i = 0; i < 3; ++i) {
    std::copy(corners[i], corners[i] + 4, model.Data(boxes) + static_cast<ptrdiff_t>(4 * (7 + i)));
  }
  float* row = model.Data(scores) + ptrdiff_t{80 * 7};
  row[3] = 0.6F;
  row[79] = 0.8F;
  row[80 + 79] = 0.7F;  // overlaps the first
  row[2 * 80] = 0.5F;
  row[3 * 80] = NAN;
  const Preset preset = model.Find();
  EXPECT_EQ(preset.name, "boxes");
  EXPECT_EQ(preset.names.size(), 80U);
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 2U);
  ExpectBox(answer.detections[0], MakeBox(79, 0.8F, 10, 20, 30, 40));
  ExpectBox(answer.detections[1], MakeBox(0, 0.5F, -5, 1, 20, 80));
}

TEST(Boxes, ScoresMayComeFirstAndBoxesAsThePresetSays) {
  FakeModel model(100, 200);
  const size_t scores = model.Add("scores", {1, 10, 2});
  const size_t boxes = model.Add("boxes", {1, 10, 4});
  const float centre[] = {0.5F, 0.5F, 0.2F, 0.4F};
  std::copy(centre, centre + 4, model.Data(boxes) + 4);
  model.Data(scores)[2] = 0.9F;
  Preset preset = model.Find("boxes");
  preset.box_format = BoxFormat::kCxcywh;
  preset.normalized_boxes = true;
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(0, 0.9F, 80, 30, 120, 70));
}

TEST(Boxes, FourClassesAreToldByName) {
  for (const bool boxes_first : {true, false}) {
    for (const auto& [boxes_name, scores_name] :
         {std::pair{"pred_bboxes", "12"}, std::pair{"11", "scores"}, std::pair{"boxes", "cls"}}) {
      FakeModel model(64, 64);
      model.Add(boxes_first ? boxes_name : scores_name, {1, 84, 4});
      model.Add(boxes_first ? scores_name : boxes_name, {1, 84, 4});
      const float corners[] = {10, 20, 30, 40};
      std::copy(corners, corners + 4, model.Data(boxes_first ? 0 : 1));
      model.Data(boxes_first ? 1 : 0)[2] = 0.75F;
      const Answer answer = model.Decode(model.Find());
      ASSERT_EQ(answer.detections.size(), 1U) << boxes_name << boxes_first;
      ExpectBox(answer.detections[0], MakeBox(2, 0.75F, 10, 20, 30, 40));
    }
  }
  FakeModel model(64, 64);
  model.Add("11", {1, 84, 4});
  model.Add("12", {1, 84, 4});
  EXPECT_EQ(model.Find().name, "none");
  const auto preset = FindPreset(model.facts(), "boxes");
  ASSERT_FALSE(preset.ok());
  EXPECT_NE(preset.error().message.find("named \"boxes\" and \"scores\""), std::string::npos)
      << preset.error().message;
}

TEST(Nms, ReadsRowsOfSeven) {
  FakeModel model(64, 64);
  model.Add("output", {2, 7});
  const float rows[] = {0, 1, 2, 3, 4, 5, 0.5F, 0, 10, 20, 30, 40, 6, 0.75F};
  std::copy(rows, rows + 14, model.Data());
  const Answer answer = model.Decode(model.Find());
  ASSERT_EQ(answer.detections.size(), 2U);
  ExpectBox(answer.detections[0], MakeBox(6, 0.75F, 10, 20, 30, 40));
  ExpectBox(answer.detections[1], MakeBox(5, 0.5F, 1, 2, 3, 4));
}

TEST(Nms, ReadsSelectedIndices) {
  FakeModel model(64, 64);
  const size_t boxes = model.Add("boxes", {1, 5, 4});
  const size_t scores = model.Add("scores", {1, 2, 5});
  const size_t indices = model.Add("selected", {3, 3}, DType::kInt64);
  model.facts().outputs[indices].shape[0] = -1;
  const float corners[] = {10, 20, 30, 40};  // y1, x1, y2, x2
  std::copy(corners, corners + 4, model.Data(boxes) + 4 * 3);
  model.Data(scores)[1 * 5 + 3] = 0.9F;
  const int64_t selected[] = {0, 1, 3, 0, 1, 99, 0, -1, 3};  // the last two point nowhere
  std::copy(selected, selected + 9, model.tensor(indices).as<int64_t>().data());
  const Answer answer = model.Decode(model.Find());
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(1, 0.9F, 20, 10, 40, 30));
}

TEST(Nms, ReadsListsOfNormalisedBoxes) {
  FakeModel model(100, 200);
  const size_t boxes = model.Add("detection_boxes", {1, 10, 4});
  const size_t classes = model.Add("detection_classes", {1, 10});
  const size_t scores = model.Add("detection_scores", {1, 10});
  model.Add("num_detections", {1});
  const float corners[] = {0.1F, 0.2F, 0.5F, 0.6F};
  std::copy(corners, corners + 4, model.Data(boxes) + 4);
  model.Data(classes)[1] = 17;
  model.Data(scores)[1] = 0.6F;
  Preset preset = model.Find();
  EXPECT_EQ(preset.name, "nms");
  preset.normalized_boxes = true;
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(17, 0.6F, 40, 10, 120, 50));
}

TEST(Nms, ReadsBoxesWithScoresAndLabels) {
  FakeModel model(64, 64);
  const size_t boxes = model.Add("dets", {1, 3, 5});
  const size_t labels = model.Add("labels", {1, 3}, DType::kInt64);
  const float row[] = {1, 2, 11, 22, 0.8F};
  std::copy(row, row + 5, model.Data(boxes) + 10);
  model.tensor(labels).as<int64_t>()[2] = 4;
  Preset preset = model.Find("nms");
  preset.box_format = BoxFormat::kXyxy;
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(4, 0.8F, 1, 2, 11, 22));
}

}  // namespace
}  // namespace deltacnn
