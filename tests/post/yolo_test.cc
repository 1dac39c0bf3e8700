#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "post_test_util.h"

namespace deltacnn {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

void SetRow(float* row, std::initializer_list<float> values) {
  std::copy(values.begin(), values.end(), row);
}

TEST(Yolox, DecodesCellsOfEveryStride) {
  FakeModel model(64, 96);  // strides 8, 16, 32: 12x8, 6x4, 3x2 cells
  model.Add("output", {1, 96 + 24 + 6, 5 + 3});
  float* rows = model.Data();
  // Stride 8, cell (5, 2): centre (5.5, 2.25) cells, 2 x 4 cells.
  SetRow(rows + (2 * 12 + 5) * 8, {0.5F, 0.25F, std::log(2.0F), std::log(4.0F), 0.9F, 0, 1, 0});
  // Stride 32, cell (2, 1).
  SetRow(rows + (96 + 24 + 1 * 3 + 2) * 8, {0, 0, 0, 0, 0.8F, 0.1F, 0.2F, 0.75F});
  const Answer answer = model.Decode(model.Find("yolox"));
  ASSERT_EQ(answer.kind, AnswerKind::kDetections);
  ASSERT_EQ(answer.detections.size(), 2U);
  ExpectBox(answer.detections[0], MakeBox(1, 0.9F, 36, 2, 52, 34));
  ExpectBox(answer.detections[1], MakeBox(2, 0.6F, 48, 16, 80, 48));
}

TEST(Yolox, DropsRowsThatAreNotNumbers) {
  FakeModel model(32, 32);
  model.Add("output", {1, 16 + 4 + 1, 5 + 2});
  float* rows = model.Data();
  SetRow(rows, {0, 0, 0, 0, kNan, 1, 1});
  SetRow(rows + 7, {0, 0, 0, 0, 1, kNan, kNan});
  SetRow(rows + 14, {kNan, 0, 0, 0, 1, 1, 0});
  SetRow(rows + 21, {0, 0, 1e9F, 0, 1, 1, 0});  // exp overflows
  SetRow(rows + 28, {0, 0, 0, 0, 1, kNan, 0.7F});
  const Answer answer = model.Decode(model.Find("yolox"), 0.0F);
  ASSERT_GE(answer.detections.size(), 1U);
  EXPECT_EQ(answer.detections[0].class_id, 1);
  EXPECT_FLOAT_EQ(answer.detections[0].score, 0.7F);
  for (const Detection& d : answer.detections) EXPECT_TRUE(std::isfinite(d.x1 + d.x2 + d.score));
}

TEST(Yolov5, SuppressesByClass) {
  FakeModel model(64, 64);
  model.Add("output", {1, 4, 5 + 2});
  float* rows = model.Data();
  SetRow(rows, {20, 20, 20, 20, 1, 0.9F, 0});
  SetRow(rows + 7, {21, 20, 20, 20, 1, 0.8F, 0});      // IoU 0.90 with the first
  SetRow(rows + 14, {21, 20, 20, 20, 1, 0, 0.7F});     // another class
  SetRow(rows + 21, {32, 20, 20, 20, 0.5F, 0.9F, 0});  // IoU 0.25, 0.45
  const Preset preset = model.Find("yolov5");
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 3U);
  ExpectBox(answer.detections[0], MakeBox(0, 0.9F, 10, 10, 30, 30));
  ExpectBox(answer.detections[1], MakeBox(1, 0.7F, 11, 10, 31, 30));
  ExpectBox(answer.detections[2], MakeBox(0, 0.45F, 22, 10, 42, 30));
  EXPECT_EQ(model.Decode(preset, 0.5F).detections.size(), 2U);
  EXPECT_EQ(model.Decode(preset, 0.4F, 0.95F).detections.size(), 4U);
  EXPECT_EQ(model.Decode(preset, 0.4F, 0.2F).detections.size(), 2U);
}

TEST(Yolov8, ReadsBothOrientations) {
  constexpr int kRows = 64 + 16 + 4;  // 64x64, strides 8, 16, 32
  const std::vector<float> row = {30, 40, 10, 20, 0.1F, 0.95F, 0.2F};
  for (const bool channels_first : {true, false}) {
    FakeModel model(64, 64);
    model.Add("output0", channels_first ? Shape{1, 7, kRows} : Shape{1, kRows, 7});
    for (size_t c = 0; c < row.size(); ++c) {
      model.Data()[channels_first ? c * kRows + 50 : 50 * row.size() + c] = row[c];
    }
    const Answer answer = model.Decode(model.Find("yolov8"));
    ASSERT_EQ(answer.detections.size(), 1U) << channels_first;
    ExpectBox(answer.detections[0], MakeBox(1, 0.95F, 25, 30, 35, 50));
  }
}

TEST(Yolov8, DrawsMasksFromPrototypes) {
  constexpr int kRows = 64 + 16 + 4;
  FakeModel model(64, 64);
  const size_t boxes = model.Add("output0", {1, 4 + 2 + 32, kRows});
  const size_t prototypes = model.Add("output1", {1, 32, 16, 16});
  float* data = model.Data(boxes);
  const float values[] = {32, 32, 32, 16, 0.9F, 0};  // box (16, 24)-(48, 40)
  for (int c = 0; c < 6; ++c) data[c * kRows + 3] = values[c];
  data[(6 + 5) * kRows + 3] = 2;  // coefficient 5
  for (int y = 0; y < 16; ++y) {
    // Prototype 5 is positive in the left half of the picture.
    for (int x = 0; x < 16; ++x) model.Data(prototypes)[(5 * 16 + y) * 16 + x] = x < 8 ? 1 : -1;
  }
  const Preset preset = model.Find();
  EXPECT_EQ(preset.decoder, DecoderKind::kYolov8);
  Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 1U);
  const Mask& mask = answer.detections[0].mask;
  EXPECT_EQ(mask.x, 16);
  EXPECT_EQ(mask.y, 24);
  ASSERT_EQ(mask.width, 32);
  ASSERT_EQ(mask.height, 16);
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 32; ++x) EXPECT_EQ(mask.pixels[y * 32 + x], x < 16 ? 1 : 0) << x;
  }

  MapToSource({2, 3, -8, 0}, 64, 64, 100, 100, answer);
  const Mask& mapped = answer.detections[0].mask;
  EXPECT_EQ(mapped.x, 24);
  EXPECT_EQ(mapped.y, 72);
  ASSERT_EQ(mapped.width, 64);
  ASSERT_EQ(mapped.height, 28);  // cut at the lower edge
  EXPECT_EQ(mapped.pixels[31], 1);
  EXPECT_EQ(mapped.pixels[32], 0);
}

TEST(Yolov8, ReadsKeyPoints) {
  constexpr int kRows = 64 + 16 + 4;
  FakeModel model(64, 64);
  model.Add("output0", {1, 4 + 1 + 2 * 3, kRows});
  model.facts().metadata = {{"task", "pose"}, {"kpt_shape", "[2, 3]"}, {"names", "{0: 'hand'}"}};
  const float values[] = {32, 32, 10, 10, 0.9F, 30, 31, 0.8F, 33, 34, 0.7F};
  for (int c = 0; c < 11; ++c) model.Data()[c * kRows + 9] = values[c];
  const Preset preset = model.Find();
  EXPECT_EQ(preset.keypoints, 2);
  EXPECT_EQ(preset.Label(0), "hand");
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 1U);
  ASSERT_EQ(answer.detections[0].keypoints.size(), 2U);
  EXPECT_FLOAT_EQ(answer.detections[0].keypoints[1].x, 33);
  EXPECT_FLOAT_EQ(answer.detections[0].keypoints[1].y, 34);
  EXPECT_FLOAT_EQ(answer.detections[0].keypoints[1].score, 0.7F);
}

TEST(Regions, HoldWhatIsTooFaintForTheAnswer) {
  FakeModel model(64, 64);
  model.Add("boxes", {1, 252, 7});
  const auto set = [&](int row, float x, float score) {
    const std::array<float, 7> values = {x, 20, 10, 12, score, 1, 0};
    std::ranges::copy(values, model.Data() + ptrdiff_t{7} * row);
  };
  set(3, 20, 0.9F);
  set(4, 21, 0.6F);  // hidden by the first
  set(5, 45, 0.2F);
  set(6, 10, 0.05F);
  Preset preset = model.Find("yolov5");
  preset.names.clear();
  auto decoder = Decoder::Create(preset, model.facts());
  ASSERT_TRUE(decoder.ok());
  ASSERT_EQ(decoder->regions().size(), 1U);
  EXPECT_EQ(decoder->regions()[0].x1, -INFINITY) << "nothing is known yet: everywhere";
  Answer answer;
  ASSERT_TRUE(decoder->Decode(model.Views(), 0.4F, 0.5F, answer).ok());
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(0, 0.9F, 15, 14, 25, 26));
  ASSERT_EQ(decoder->regions().size(), 2U);
  EXPECT_EQ(decoder->regions()[1].x1, 40);
  EXPECT_EQ(decoder->regions()[1].y2, 26);
  ASSERT_TRUE(decoder->Decode(model.Views(), 0.01F, 0.5F, answer).ok());
  EXPECT_EQ(answer.detections.size(), 3U);
  EXPECT_EQ(decoder->regions().size(), 2U) << "not what one call asks for";
  preset.conf = 0.01F;
  decoder = Decoder::Create(preset, model.facts());
  ASSERT_TRUE(decoder.ok());
  ASSERT_TRUE(decoder->Decode(model.Views(), 0.4F, 0.5F, answer).ok());
  EXPECT_EQ(decoder->regions().size(), 3U) << "what the user calls an object";
  EXPECT_FALSE(decoder->Decode({}, 0.4F, 0.5F, answer).ok());
  EXPECT_EQ(decoder->regions()[0].x2, INFINITY);
}

TEST(YoloEndToEnd, SortsAndKeepsOverlaps) {
  FakeModel model(640, 640);
  model.Add("output0", {1, 300, 6});
  SetRow(model.Data(), {10, 10, 50, 50, 0.5F, 2});
  SetRow(model.Data() + 6, {11, 10, 50, 50, 0.9F, 2});
  SetRow(model.Data() + 12, {0, 0, 5, 5, 0.3F, 2});
  SetRow(model.Data() + 18, {0, 0, 5, 5, 0.8F, -1});
  const Preset preset = model.Find();
  EXPECT_EQ(preset.decoder, DecoderKind::kYoloEndToEnd);
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 2U);
  ExpectBox(answer.detections[0], MakeBox(2, 0.9F, 11, 10, 50, 50));
  EXPECT_EQ(preset.Label(2), "car");
}

TEST(Suppression, KeepsTheBestOfTooMany) {
  FakeModel model(640, 640);
  model.Add("output", {1, 25200, 6});
  float* rows = model.Data();
  for (int r = 0; r < 25200; ++r) {
    // Boxes of one pixel, side by side; scores grow.
    SetRow(rows + r * 6, {static_cast<float>(r % 160) * 4, static_cast<float>(r / 160) * 4, 1, 1, 1,
                          0.4F + 0.00002F * static_cast<float>(r)});
  }
  const Answer answer = model.Decode(model.Find("yolov5"));
  ASSERT_EQ(answer.detections.size(), 300U);
  EXPECT_FLOAT_EQ(answer.detections[0].score, 0.4F + 0.00002F * 25199);
  EXPECT_FLOAT_EQ(answer.detections[299].score, 0.4F + 0.00002F * 24900);
}

}  // namespace
}  // namespace deltacnn
