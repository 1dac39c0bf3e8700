// Classification, segmentation, key points, and the way back to source pixels.
#include <cmath>
#include <limits>

#include "post_test_util.h"

namespace deltacnn {
namespace {

TEST(Classification, AppliesSoftmaxToLogits) {
  FakeModel model(32, 32);
  model.Add("scores", {1, 3, 1, 1});
  const float logits[] = {0, std::log(2.0F), std::log(5.0F)};
  std::copy(logits, logits + 3, model.Data());
  const Answer answer = model.Decode(model.Find());
  ASSERT_EQ(answer.kind, AnswerKind::kClassification);
  ASSERT_EQ(answer.topk.size(), 3U);
  EXPECT_EQ(answer.topk[0].class_id, 2);
  EXPECT_NEAR(answer.topk[0].score, 5.0F / 8, 1e-6F);
  EXPECT_EQ(answer.topk[2].class_id, 0);
  EXPECT_NEAR(answer.topk[2].score, 1.0F / 8, 1e-6F);
}

TEST(Classification, LeavesProbabilitiesAlone) {
  FakeModel model(32, 32);
  model.Add("probs", {1, 10});
  model.Data()[4] = 0.75F;
  model.Data()[9] = 0.25F;
  const Answer answer = model.Decode(model.Find());
  ASSERT_EQ(answer.topk.size(), 5U);
  EXPECT_EQ(answer.topk[0].class_id, 4);
  EXPECT_FLOAT_EQ(answer.topk[0].score, 0.75F);
}

TEST(Classification, TakesWhatIsWithinZeroAndOneForProbabilities) {
  FakeModel model(32, 32);
  model.Add("probs", {1, 10});  // quantised: their sum is far from 1
  model.Data()[4] = 0.5F;
  model.Data()[9] = 0.25F;
  EXPECT_FLOAT_EQ(model.Decode(model.Find()).topk[0].score, 0.5F);
}

TEST(Classification, OfLogitsStaysSo) {
  FakeModel model(32, 32);
  model.Add("logits", {1, 2});
  const Preset preset = model.Find();
  auto decoder = Decoder::Create(preset, model.facts());
  ASSERT_TRUE(decoder.ok());
  Answer answer;
  const auto best = [&](float first, float second) {
    model.Data()[0] = first;
    model.Data()[1] = second;
    EXPECT_TRUE(decoder->Decode(model.Views(), 0.4F, 0.5F, answer).ok());
    return answer.topk[0].score;
  };
  EXPECT_FLOAT_EQ(best(3, 3), 0.5F);
  EXPECT_FLOAT_EQ(best(0.75F, 0.75F), 0.5F);  // could be probabilities, but is known better
}

TEST(Classification, IgnoresValuesThatAreNotNumbers) {
  FakeModel model(32, 32);
  model.Add("scores", {1, 3});
  std::fill(model.Data(), model.Data() + 3, std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(model.Decode(model.Find()).topk.empty());
  model.Data()[1] = 3;
  const Answer answer = model.Decode(model.Find());
  ASSERT_EQ(answer.topk.size(), 1U);
  EXPECT_EQ(answer.topk[0].class_id, 1);
  EXPECT_FLOAT_EQ(answer.topk[0].score, 1);
}

/// Class (x + y) % 4 at every pixel of a 6 x 8 picture.
void ExpectDiagonals(const Answer& answer) {
  ASSERT_EQ(answer.kind, AnswerKind::kSegmentation);
  ASSERT_EQ(answer.class_map.height, 6);
  ASSERT_EQ(answer.class_map.width, 8);
  for (int y = 0; y < 6; ++y) {
    for (int x = 0; x < 8; ++x) EXPECT_EQ(answer.class_map.classes[y * 8 + x], (x + y) % 4);
  }
}

TEST(Segmentation, TakesTheBestPlane) {
  FakeModel model(6, 8);
  model.Add("logits", {1, 4, 6, 8});
  for (int y = 0; y < 6; ++y) {
    for (int x = 0; x < 8; ++x) model.Data()[((x + y) % 4 * 6 + y) * 8 + x] = 1;
  }
  ExpectDiagonals(model.Decode(model.Find()));
}

TEST(Segmentation, TakesTheBestOfLastChannels) {
  FakeModel model(6, 8);
  model.Add("logits", {1, 6, 8, 4});
  for (int y = 0; y < 6; ++y) {
    for (int x = 0; x < 8; ++x) model.Data()[(y * 8 + x) * 4 + (x + y) % 4] = 1;
  }
  ExpectDiagonals(model.Decode(model.Find()));
}

TEST(Segmentation, TakesClassNumbers) {
  FakeModel model(6, 8);
  model.Add("classes", {1, 6, 8}, DType::kInt64);
  for (int y = 0; y < 6; ++y) {
    for (int x = 0; x < 8; ++x) model.tensor().as<int64_t>()[y * 8 + x] = (x + y) % 4;
  }
  ExpectDiagonals(model.Decode(model.Find()));
}

TEST(Segmentation, ManyClassesOnASmallMapAreStillChannelsFirst) {
  FakeModel model(512, 512);
  model.Add("logits", {1, 150, 128, 128});
  const Answer answer = model.Decode(model.Find());
  EXPECT_EQ(answer.class_map.width, 128);
  EXPECT_EQ(answer.class_map.height, 128);
}

TEST(Heatmaps, InterpolateThePeak) {
  FakeModel model(256, 192);
  model.Add("heatmaps", {1, 17, 64, 48});
  float* map = model.Data() + 3 * 64 * 48;
  // A parabola with its top at (20.25, 10).
  for (int dx = -2; dx <= 2; ++dx) {
    const float distance = static_cast<float>(dx) - 0.25F;
    map[10 * 48 + 20 + dx] = 0.9F - 0.1F * distance * distance;
  }
  const Preset preset = model.Find();
  EXPECT_EQ(preset.name, "heatmaps");
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.kind, AnswerKind::kKeyPoints);
  ASSERT_EQ(answer.keypoints.size(), 17U);
  EXPECT_NEAR(answer.keypoints[3].x, (20.25F + 0.5F) * 4, 1e-3F);
  EXPECT_NEAR(answer.keypoints[3].y, (10 + 0.5F) * 4, 1e-3F);
  EXPECT_NEAR(answer.keypoints[3].score, 0.9F - 0.1F / 16, 1e-6F);
}

TEST(OpenSeeFace, AddsOffsetsInBothDirections) {
  FakeModel model(224, 224);
  model.Add("output", {1, 198, 28, 28});
  std::fill(model.Data(), model.Data() + 198 * 784, 0.5F);  // no offsets
  const int cell = 9 * 28 + 18;
  model.Data()[5 * 784 + cell] = 0.75F;
  const auto probability = [](float offset) { return 1 / (1 + std::exp(-16 * offset)); };
  model.Data()[(66 + 5) * 784 + cell] = probability(0.01F);    // down
  model.Data()[(132 + 5) * 784 + cell] = probability(-0.02F);  // to the left
  const Preset preset = model.Find();
  EXPECT_EQ(preset.name, "openseeface");
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.keypoints.size(), 66U);
  EXPECT_NEAR(answer.keypoints[5].x, 223 * (18.0F / 27 - 0.02F), 1e-2F);
  EXPECT_NEAR(answer.keypoints[5].y, 223 * (9.0F / 27 + 0.01F), 1e-2F);
  EXPECT_FLOAT_EQ(answer.keypoints[5].score, 0.75F);
}

/// A PoseNet of 17 points, 16 bones and a stride of 16, that shows nothing yet.
class PosenetModel : public FakeModel {
 public:
  static constexpr int kCells = 21;

  explicit PosenetModel(bool has_bones) : FakeModel(16 * (kCells - 1) + 1, 16 * (kCells - 1) + 1) {
    Add("heatmaps", {1, 17, kCells, kCells});
    Add("short_offsets", {1, 34, kCells, kCells});
    if (has_bones) Add("mid_offsets", {1, 64, kCells, kCells});
    std::fill(Data(0), Data(0) + 17 * kCells * kCells, -10.0F);
  }

  float& At(size_t output, int channel, int y, int x) {
    return Data(output)[(channel * kCells + y) * kCells + x];
  }
};

TEST(Posenet, ShowsOnePersonWithoutDisplacements) {
  PosenetModel model(false);
  model.At(0, 9, 4, 6) = 2;
  model.At(1, 9, 4, 6) = 3;        // y
  model.At(1, 17 + 9, 4, 6) = -5;  // x
  const Preset preset = model.Find();
  EXPECT_EQ(preset.name, "posenet");
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.kind, AnswerKind::kKeyPoints);
  EXPECT_FLOAT_EQ(answer.keypoints[9].x, 6 * 16 - 5);
  EXPECT_FLOAT_EQ(answer.keypoints[9].y, 4 * 16 + 3);
  EXPECT_NEAR(answer.keypoints[9].score, 1 / (1 + std::exp(-2.0F)), 1e-6F);
}

TEST(Posenet, GrowsEveryPersonFromTheBestPoint) {
  PosenetModel model(true);
  // Point k of a person lies k % 4 cells to the right and k / 4 cells below the nose.
  const std::pair<int, int> bones[] = {{0, 1},  {1, 3},  {0, 2},   {2, 4},   {0, 5}, {5, 7},
                                       {7, 9},  {5, 11}, {11, 13}, {13, 15}, {0, 6}, {6, 8},
                                       {8, 10}, {6, 12}, {12, 14}, {14, 16}};
  for (const int left : {2, 12}) {
    const auto x_of = [left](int k) { return left + k % 4; };
    const auto y_of = [left](int k) { return left + k / 4; };
    for (int k = 0; k < 17; ++k) model.At(0, k, y_of(k), x_of(k)) = left == 2 ? 3 : 4;
    // Roots of the second person are a wrist, those of the first a nose.
    model.At(0, left == 2 ? 0 : 9, y_of(left == 2 ? 0 : 9), x_of(left == 2 ? 0 : 9)) = 5;
    for (int b = 0; b < 16; ++b) {
      const auto [from, to] = bones[b];
      const auto dy = static_cast<float>(16 * (y_of(to) - y_of(from)));
      const auto dx = static_cast<float>(16 * (x_of(to) - x_of(from)));
      model.At(2, b, y_of(from), x_of(from)) = dy;
      model.At(2, 16 + b, y_of(from), x_of(from)) = dx;
      model.At(2, 32 + b, y_of(to), x_of(to)) = -dy;
      model.At(2, 48 + b, y_of(to), x_of(to)) = -dx;
    }
  }
  const Preset preset = model.Find();
  const Answer answer = model.Decode(preset);
  ASSERT_EQ(answer.kind, AnswerKind::kDetections);
  ASSERT_EQ(answer.detections.size(), 2U);
  for (size_t person = 0; person < 2; ++person) {
    const int left = person == 0 ? 12 : 2;  // the better one first
    const Detection& detection = answer.detections[person];
    ASSERT_EQ(detection.keypoints.size(), 17U);
    for (int k = 0; k < 17; ++k) {
      EXPECT_FLOAT_EQ(detection.keypoints[k].x, static_cast<float>(16 * (left + k % 4))) << k;
      EXPECT_FLOAT_EQ(detection.keypoints[k].y, static_cast<float>(16 * (left + k / 4))) << k;
    }
    EXPECT_FLOAT_EQ(detection.x1, static_cast<float>(16 * left));
    EXPECT_FLOAT_EQ(detection.y2, static_cast<float>(16 * (left + 4)));
  }
}

TEST(MapToSource, ScalesClipsAndDropsBoxes) {
  Answer answer;
  answer.kind = AnswerKind::kDetections;
  answer.detections = {MakeBox(0, 1, 10, 20, 30, 40), MakeBox(0, 1, -5, 10, 500, 900),
                       MakeBox(0, 1, 300, 10, 310, 20)};
  answer.detections[0].keypoints = {{10, 20, 1}};
  MapToSource({2, 0.5F, -10, 5}, 416, 416, 500, 200, answer);
  ASSERT_EQ(answer.detections.size(), 2U);
  ExpectBox(answer.detections[0], MakeBox(0, 1, 10, 15, 50, 25));
  ExpectBox(answer.detections[1], MakeBox(0, 1, 0, 10, 500, 200));
  EXPECT_FLOAT_EQ(answer.detections[0].keypoints[0].x, 10);
  EXPECT_FLOAT_EQ(answer.detections[0].keypoints[0].y, 15);
}

TEST(MapToSource, ResamplesClassMaps) {
  Answer answer;
  answer.kind = AnswerKind::kSegmentation;
  answer.class_map = {2, 2, {1, 2, 3, 4}};  // of an input of 8 x 8 pixels
  // The source, 8 x 4, is shown at half size with a border of 3 above.
  MapToSource({2, 2, 0, -6}, 8, 8, 16, 4, answer);
  ASSERT_EQ(answer.class_map.width, 16);
  ASSERT_EQ(answer.class_map.height, 4);
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 16; ++x) {
      EXPECT_EQ(answer.class_map.classes[y * 16 + x], (x < 8 ? 1 : 2) + (y < 2 ? 0 : 2));
    }
  }
  // A source of which the network sees only the middle.
  answer.class_map = {1, 1, {7}};
  MapToSource({1, 1, 2, 0}, 4, 4, 8, 1, answer);
  EXPECT_EQ(answer.class_map.classes, (std::vector<uint8_t>{0, 0, 7, 7, 7, 7, 0, 0}));
}

}  // namespace
}  // namespace deltacnn
