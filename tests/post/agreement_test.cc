#include "post_test_util.h"

namespace deltacnn {
namespace {

Answer Objects(std::vector<Detection> detections) {
  Answer answer;
  answer.kind = AnswerKind::kDetections;
  answer.detections = std::move(detections);
  return answer;
}

TEST(BoxIou, OfOverlappingTouchingAndEmptyBoxes) {
  const Detection box = MakeBox(0, 1, 0, 0, 10, 10);
  EXPECT_FLOAT_EQ(BoxIou(box, box), 1);
  EXPECT_FLOAT_EQ(BoxIou(box, MakeBox(0, 1, 5, 0, 15, 10)), 1.0F / 3);
  EXPECT_FLOAT_EQ(BoxIou(box, MakeBox(0, 1, 10, 0, 20, 10)), 0);
  EXPECT_FLOAT_EQ(BoxIou(box, MakeBox(0, 1, 5, 5, 5, 5)), 0);
  EXPECT_FLOAT_EQ(BoxIou(MakeBox(0, 1, 9, 9, 3, 3), MakeBox(0, 1, 9, 9, 3, 3)), 0);
}

TEST(Agreement, CountsObjectsBothWays) {
  Agreement agreement;
  // Found with IoU 1; found at 0.5 only (IoU 0.6); not found: another class; too weak to count.
  agreement.Add(Objects({MakeBox(0, 0.9F, 0, 0, 10, 10), MakeBox(0, 0.8F, 100, 0, 110, 10),
                         MakeBox(1, 0.7F, 200, 0, 210, 10), MakeBox(1, 0.39F, 300, 0, 310, 10)}),
                Objects({MakeBox(0, 0.25F, 0, 0, 10, 10), MakeBox(0, 0.9F, 102.5F, 0, 112.5F, 10),
                         MakeBox(2, 0.9F, 200, 0, 210, 10), MakeBox(1, 0.24F, 300, 0, 310, 10),
                         MakeBox(1, 0.9F, 300, 0, 310, 10)}));
  const Agreement::Summary summary = agreement.Summarize();
  EXPECT_EQ(summary.frames, 1);
  EXPECT_EQ(summary.objects, 3);
  EXPECT_DOUBLE_EQ(*summary.recall50, 2.0 / 3);
  EXPECT_DOUBLE_EQ(*summary.recall75, 1.0 / 3);
  // Of the incremental run three objects count: shifted, other class, and one whose partner has
  // 0.39.
  EXPECT_DOUBLE_EQ(*summary.precision50, 2.0 / 3);
  EXPECT_DOUBLE_EQ(*summary.precision75, 1.0 / 3);
  EXPECT_FALSE(summary.pixels.has_value());
  EXPECT_FALSE(summary.same_top1.has_value());
}

TEST(Agreement, TakesAnotherScore) {
  Agreement agreement(0.8F);
  EXPECT_FLOAT_EQ(agreement.partner_score(), 0.5F);
  // Found; not found: its partner is too weak; too weak to count.
  agreement.Add(Objects({MakeBox(0, 0.9F, 0, 0, 10, 10), MakeBox(0, 0.8F, 100, 0, 110, 10),
                         MakeBox(0, 0.79F, 200, 0, 210, 10)}),
                Objects({MakeBox(0, 0.51F, 0, 0, 10, 10), MakeBox(0, 0.49F, 100, 0, 110, 10)}));
  EXPECT_EQ(agreement.Summarize().objects, 2);
  EXPECT_DOUBLE_EQ(*agreement.Summarize().recall50, 0.5);
}

TEST(Agreement, AddsFramesUp) {
  Agreement agreement;
  const Answer one = Objects({MakeBox(0, 0.9F, 0, 0, 10, 10)});
  agreement.Add(one, one);
  agreement.Add(one, Objects({}));
  agreement.Add(Objects({}), Objects({}));
  const Agreement::Summary summary = agreement.Summarize();
  EXPECT_EQ(summary.frames, 3);
  EXPECT_EQ(summary.objects, 2);
  EXPECT_DOUBLE_EQ(*summary.recall50, 0.5);
  EXPECT_DOUBLE_EQ(*summary.precision75, 1);
}

TEST(Agreement, IsCompleteWhereThereIsNothingToFind) {
  Agreement agreement;
  agreement.Add(Objects({}), Objects({}));
  EXPECT_DOUBLE_EQ(*agreement.Summarize().recall50, 1);
  EXPECT_FALSE(Agreement().Summarize().recall50.has_value());
}

TEST(Agreement, OfOtherAnswers) {
  Agreement agreement;
  Answer a;
  a.kind = AnswerKind::kClassification;
  a.topk = {{3, 0.9F}, {1, 0.1F}};
  Answer b = a;
  agreement.Add(a, b);
  b.topk[0].class_id = 1;
  agreement.Add(a, b);
  EXPECT_DOUBLE_EQ(*agreement.Summarize().same_top1, 0.5);

  agreement = {};
  a.kind = AnswerKind::kSegmentation;
  a.class_map = {2, 2, {0, 1, 2, 3}};
  b.class_map = {2, 2, {0, 1, 2, 0}};
  agreement.Add(a, b);
  EXPECT_DOUBLE_EQ(*agreement.Summarize().pixels, 0.75);

  agreement = {};
  a.kind = AnswerKind::kKeyPoints;
  a.keypoints = {{0, 0, 1}, {100, 0, 1}, {50, 50, 1}, {50, 0, 0.1F}};
  b.keypoints = {{4, 0, 1}, {106, 0, 1}, {50, 45, 1}, {0, 0, 0.1F}};
  agreement.Add(a, b);
  EXPECT_DOUBLE_EQ(*agreement.Summarize().keypoints, 2.0 / 3);
  EXPECT_FALSE(agreement.Summarize().recall50.has_value());
}

}  // namespace
}  // namespace deltacnn
