// SCRFD and CenterFace.
#include <cmath>

#include "post_test_util.h"

namespace deltacnn {
namespace {

void ExpectPoint(const KeyPoint& got, float x, float y) {
  EXPECT_NEAR(got.x, x, 1e-3F);
  EXPECT_NEAR(got.y, y, 1e-3F);
}

/// An SCRFD of an input of 64x96 whose outputs are scores, boxes and perhaps key points, each for
/// strides 8, 16, 32.
FakeModel MakeScrfd(bool has_batch, bool has_points) {
  FakeModel model(64, 96);
  for (const int64_t values : {1, 4, 10}) {
    if (values == 10 && !has_points) continue;
    for (const int64_t rows : {2 * 8 * 12, 2 * 4 * 6, 2 * 2 * 3}) {
      const std::string name = std::to_string(values) + "_" + std::to_string(rows);
      model.Add(name, has_batch ? Shape{1, rows, values} : Shape{rows, values});
    }
  }
  return model;
}

void SetScrfdBox(FakeModel& model, size_t level, int row, float score, std::array<float, 4> sides) {
  model.Data(level)[row] = score;
  std::copy(sides.begin(), sides.end(), model.Data(3 + level) + ptrdiff_t{4} * row);
}

TEST(Scrfd, DecodesBothAnchorsOfAllStrides) {
  for (const bool has_batch : {false, true}) {
    FakeModel model = MakeScrfd(has_batch, true);
    // Stride 8, cell (11, 7): the last one, around (88, 56). Its first anchor.
    SetScrfdBox(model, 0, 2 * (7 * 12 + 11), 0.6F, {1, 0.5F, 2, 1.5F});
    // Stride 16, cell (1, 2), around (16, 32). Its second anchor.
    SetScrfdBox(model, 1, 2 * (2 * 6 + 1) + 1, 0.9F, {0.5F, 1, 1, 1.25F});
    model.Data(7)[10 * (2 * (2 * 6 + 1) + 1) + 8] = 0.25F;
    model.Data(7)[10 * (2 * (2 * 6 + 1) + 1) + 9] = -0.5F;
    // Stride 32, cell (1, 0), around (32, 0). Both anchors, which overlap.
    SetScrfdBox(model, 2, 2, 0.7F, {1, 0, 1, 1});
    SetScrfdBox(model, 2, 3, 0.8F, {1, 0, 1, 1});
    model.Data(8)[10 * 3] = -0.5F;
    SetScrfdBox(model, 2, 0, NAN, {1, 1, 1, 1});
    SetScrfdBox(model, 2, 1, 0.95F, {1, NAN, 1, 1});
    SetScrfdBox(model, 0, 0, 0.4F, {1, 1, 1, 1});  // too faint

    const Preset preset = model.Find();
    EXPECT_EQ(preset.name, "scrfd");
    EXPECT_EQ(preset.Label(0), "face");
    const Answer answer = model.Decode(preset, preset.conf, preset.iou);
    ASSERT_EQ(answer.detections.size(), 3U);
    ExpectBox(answer.detections[0], MakeBox(0, 0.9F, 8, 16, 32, 52));
    ExpectBox(answer.detections[1], MakeBox(0, 0.8F, 0, 0, 64, 32));
    ExpectBox(answer.detections[2], MakeBox(0, 0.6F, 80, 52, 104, 68));
    for (const Detection& d : answer.detections) ASSERT_EQ(d.keypoints.size(), 5U);
    ExpectPoint(answer.detections[0].keypoints[0], 16, 32);
    ExpectPoint(answer.detections[0].keypoints[4], 20, 24);
    ExpectPoint(answer.detections[1].keypoints[0], 16, 0);
    ExpectPoint(answer.detections[2].keypoints[4], 88, 56);
  }
}

TEST(Scrfd, DoesWithoutKeyPoints) {
  FakeModel model = MakeScrfd(false, false);
  SetScrfdBox(model, 1, 1, 0.9F, {0, 0, 1, 2});
  const Preset preset = model.Find();
  EXPECT_EQ(preset.name, "scrfd");
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(0, 0.9F, 0, 0, 16, 32));
  EXPECT_TRUE(answer.detections[0].keypoints.empty());
}

TEST(Scrfd, GoesByShapesNotByOrder) {
  FakeModel model(64, 64);
  const size_t outputs[] = {model.Add("a", {8, 4}),   model.Add("b", {32, 1}),
                            model.Add("c", {32, 4}),  model.Add("d", {128, 1}),
                            model.Add("e", {128, 4}), model.Add("f", {8, 1})};
  model.Data(outputs[5])[4] = 0.9F;  // stride 32, cell (0, 1)
  model.Data(outputs[0])[4 * 4 + 2] = 1;
  model.Data(outputs[0])[4 * 4 + 3] = 0.5F;
  const Answer answer = model.Decode(model.Find());
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(0, 0.9F, 0, 32, 32, 48));
}

TEST(Scrfd, IsMappedBackFromTheLetterbox) {
  FakeModel model = MakeScrfd(false, true);
  SetScrfdBox(model, 1, 2 * 7, 0.9F, {0.5F, 0.5F, 0.5F, 10});  // around (16, 16)
  Answer answer = model.Decode(model.Find());
  // 192x90 at half the size in the top left corner: rows 45 to 63 are padding.
  MapToSource({2, 2, 0, 0}, 96, 64, 192, 90, answer);
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], MakeBox(0, 0.9F, 16, 16, 48, 90));
  ExpectPoint(answer.detections[0].keypoints[2], 32, 32);
}

TEST(Scrfd, RefusesMixedOutputs) {
  FakeModel model = MakeScrfd(false, true);
  model.facts().outputs.pop_back();  // the key points of one stride
  EXPECT_EQ(model.Find().name, "none");
  const auto preset = FindPreset(model.facts(), "scrfd");
  ASSERT_FALSE(preset.ok());
  EXPECT_NE(preset.error().message.find("for stride 32 scores [12,1], boxes [12,4]"),
            std::string::npos)
      << preset.error().message;
}

/// A CenterFace of an input of 64x96: maps of 16x24.
class Centerface : public testing::Test {
 protected:
  static constexpr int kPlane = 16 * 24;

  Centerface() {
    heat_ = model_.Add("537", {1, 1, 16, 24});
    scale_ = model_.Add("538", {1, 2, 16, 24});
    offset_ = model_.Add("539", {1, 2, 16, 24});
    points_ = model_.Add("540", {1, 10, 16, 24});
  }

  void Set(int row, int column, float score, float height, float width) {
    const int cell = row * 24 + column;
    model_.Data(heat_)[cell] = score;
    model_.Data(scale_)[cell] = std::log(height / 4);
    model_.Data(scale_)[kPlane + cell] = std::log(width / 4);
  }

  FakeModel model_{64, 96};
  size_t heat_;
  size_t scale_;
  size_t offset_;
  size_t points_;
};

TEST_F(Centerface, DecodesBoxesAndPoints) {
  Set(4, 10, 0.9F, 24, 16);
  const int cell = 4 * 24 + 10;
  model_.Data(offset_)[cell] = 0.25F;           // y: (4 + 0.25 + 0.5) * 4 = 19
  model_.Data(offset_)[kPlane + cell] = -0.5F;  // x: (10 - 0.5 + 0.5) * 4 = 40
  model_.Data(points_)[8 * kPlane + cell] = 0.75F;
  model_.Data(points_)[9 * kPlane + cell] = 0.25F;
  Set(15, 23, 0.5F, 8, 8);
  const Preset preset = model_.Find();
  EXPECT_EQ(preset.name, "centerface");
  EXPECT_EQ(preset.Label(0), "face");
  const Answer answer = model_.Decode(preset, preset.conf, preset.iou);
  ASSERT_EQ(answer.detections.size(), 2U);
  ExpectBox(answer.detections[0], MakeBox(0, 0.9F, 32, 7, 48, 31));
  ASSERT_EQ(answer.detections[0].keypoints.size(), 5U);
  ExpectPoint(answer.detections[0].keypoints[0], 32, 7);
  ExpectPoint(answer.detections[0].keypoints[4], 36, 25);
  ExpectBox(answer.detections[1], MakeBox(0, 0.5F, 90, 58, 98, 66));
}

TEST_F(Centerface, SuppressesAndDropsWhatIsNoNumber) {
  Set(8, 8, 0.6F, 16, 16);
  Set(8, 9, 0.8F, 16, 16);
  Set(8, 16, 0.7F, 16, 16);
  Set(0, 0, NAN, 16, 16);
  Set(1, 0, 0.9F, NAN, 16);
  Set(2, 0, 0.9F, INFINITY, 16);
  Set(12, 2, 0.3F, 16, 16);  // too faint
  const Preset preset = model_.Find();
  const Answer answer = model_.Decode(preset, preset.conf, preset.iou);
  ASSERT_EQ(answer.detections.size(), 2U);
  ExpectBox(answer.detections[0], MakeBox(0, 0.8F, 30, 26, 46, 42));
  ExpectBox(answer.detections[1], MakeBox(0, 0.7F, 58, 26, 74, 42));
}

TEST_F(Centerface, KeepsNothingFromFrameToFrame) {
  const Preset preset = model_.Find();
  auto decoder = Decoder::Create(preset, model_.facts());
  ASSERT_TRUE(decoder.ok());
  Answer answer;
  Set(8, 8, 0.6F, 16, 16);
  Set(2, 2, 0.2F, 8, 8);  // faint: a region, but no face
  ASSERT_TRUE(decoder->Decode(model_.Views(), preset.conf, preset.iou, answer).ok());
  const Answer first = answer;
  ASSERT_EQ(first.detections.size(), 1U);
  EXPECT_EQ(decoder->regions().size(), 2U);
  ASSERT_TRUE(decoder->Decode(model_.Views(), preset.conf, preset.iou, answer).ok());
  ASSERT_EQ(answer.detections.size(), 1U);
  ExpectBox(answer.detections[0], first.detections[0]);
  EXPECT_EQ(answer.detections[0].keypoints.size(), 5U);
  Set(8, 8, 0, 16, 16);
  Set(2, 2, 0, 8, 8);
  ASSERT_TRUE(decoder->Decode(model_.Views(), preset.conf, preset.iou, answer).ok());
  EXPECT_TRUE(answer.detections.empty());
  EXPECT_TRUE(decoder->regions().empty());
}

TEST_F(Centerface, SaysWhatItExpects) {
  model_.facts().outputs[2].shape = {1, 2, 8, 12};
  const auto preset = FindPreset(model_.facts(), "centerface");
  ASSERT_FALSE(preset.ok());
  EXPECT_NE(preset.error().message.find("a heat map [1,1,16,24], in this order scale and offset"),
            std::string::npos)
      << preset.error().message;
}

}  // namespace
}  // namespace deltacnn
