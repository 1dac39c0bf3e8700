// The pipeline of a camera, on the shipped clip and detector.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>

#include "deltacnn/vision.h"

namespace deltacnn {
namespace {

const std::string kAssets = std::string(DELTACNN_SOURCE_DIR) + "/demo_assets/";

VisionModel Detector() {
  auto model = VisionModel::Load(kAssets + "detector.onnx");
  EXPECT_TRUE(model.ok()) << model.error().message;
  return std::move(model).value();
}

Pipeline Camera(const VisionModel& model, const std::string& policy) {
  const auto found = VideoPolicy::Find(policy);
  EXPECT_TRUE(found.ok());
  auto camera = Pipeline::Create(model, *found);
  EXPECT_TRUE(camera.ok()) << camera.error().message;
  return std::move(camera).value();
}

VideoSource Clip() {
  auto source = VideoSource::Open(kAssets + "street.mp4");
  EXPECT_TRUE(source.ok()) << source.error().message;
  return std::move(source).value();
}

void ExpectEqual(const Answer& a, const Answer& b) {
  ASSERT_EQ(a.detections.size(), b.detections.size());
  for (size_t i = 0; i < a.detections.size(); ++i) {
    EXPECT_EQ(a.detections[i].class_id, b.detections[i].class_id);
    EXPECT_EQ(a.detections[i].score, b.detections[i].score);
    EXPECT_EQ(a.detections[i].x1, b.detections[i].x1);
    EXPECT_EQ(a.detections[i].y2, b.detections[i].y2);
  }
}

TEST(Pipeline, ExactGivesTheAnswersOfFreshOnes) {
  const VisionModel model = Detector();
  Pipeline incremental = Camera(model, "exact");
  Pipeline fresh = Camera(model, "exact");
  VideoSource source = Clip();
  Answer answer;
  Answer want;
  int64_t objects = 0;
  double least = 1;
  for (int i = 0; i < 12; ++i) {
    const auto frame = source.Next();
    ASSERT_TRUE(frame.ok() && *frame);
    fresh.Reset();
    const auto dense = fresh.Run(**frame, want);
    ASSERT_TRUE(dense.ok());
    EXPECT_TRUE(dense->dense);
    const auto report = incremental.Run(**frame, answer);
    ASSERT_TRUE(report.ok());
    EXPECT_TRUE(report->dense || i > 0);
    least = std::min(least, report->macs_share);
    ExpectEqual(answer, want);
    objects += static_cast<int64_t>(want.detections.size());
    for (const Detection& object : want.detections) {
      EXPECT_LE(object.x2, static_cast<float>((*frame)->width));
      EXPECT_GE(object.score, model.preset.conf);
    }
  }
  EXPECT_GT(objects, 0);
  EXPECT_LT(least, 1);
}

TEST(Pipeline, BalancedSavesWorkAndADiscontinuityResets) {
  Pipeline camera = Camera(Detector(), "balanced");
  VideoSource source = Clip();
  Answer answer;
  double share = 0;
  for (int i = 0; i < 10; ++i) {
    auto frame = source.Next();
    ASSERT_TRUE(frame.ok() && *frame);
    (*frame)->discontinuity = i == 5;
    const auto report = camera.Run(**frame, answer);
    ASSERT_TRUE(report.ok());
    EXPECT_EQ(report->dense, i == 0 || i == 5);
    if (!report->dense) share += report->macs_share / 8;
  }
  EXPECT_LT(share, 0.5);
}

TEST(Pipeline, OfAPresetWithoutDecoderAnswersNothing) {
  const auto model = VisionModel::Load(kAssets + "detector.onnx", {}, "none");
  ASSERT_TRUE(model.ok());
  Pipeline camera = Camera(*model, "exact");
  EXPECT_FALSE(camera.has_decoder());
  VideoSource source = Clip();
  const auto frame = source.Next();
  ASSERT_TRUE(frame.ok() && *frame);
  Answer answer;
  answer.kind = AnswerKind::kDetections;
  ASSERT_TRUE(camera.Run(**frame, answer).ok());
  EXPECT_EQ(answer.kind, AnswerKind::kNone);
}

TEST(VideoPolicy, IsFoundByNameOrInAFile) {
  EXPECT_TRUE(VideoPolicy::Find("exact")->exact());
  const auto balanced = VideoPolicy::Find("balanced");
  ASSERT_TRUE(balanced.ok());
  EXPECT_FALSE(balanced->exact());
  EXPECT_NE(balanced->GivesUp().find("24 %"), std::string::npos) << balanced->GivesUp();
  EXPECT_LT(balanced->layers.cutoff, VideoPolicy::Find("fast")->layers.cutoff);

  const std::string path = ::testing::TempDir() + "vision_policy.json";
  std::ofstream(path) << R"({"deltacnn_policy": 1, "model": "a.onnx", "tolerance": 3, "reach": 2})";
  const auto read = VideoPolicy::Find(path);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->tolerance, 3);
  EXPECT_EQ(read->layers.reach, 2);
  EXPECT_EQ(read->layers.cutoff, 0);
  EXPECT_EQ(read->tuned_for, "a.onnx");
  std::ofstream(path) << R"({"deltacnn_policy": 1, "cutoff": 2})";
  EXPECT_EQ(VideoPolicy::Find(path).error().message,
            "policy " + path + ": \"cutoff\" wants a number from 0 to 1");
  std::remove(path.c_str());
  EXPECT_EQ(VideoPolicy::Find("slow").error().code, ErrorCode::kUsage);
}

TEST(VisionModel, SaysWhatIsWrong) {
  EXPECT_EQ(VisionModel::Load("no.onnx").error().code, ErrorCode::kIo);
  EXPECT_EQ(VisionModel::Load(kAssets + "detector.onnx", {}, "yunet").error().code,
            ErrorCode::kUsage);
  PlanOptions options;
  options.isa = "Z80";
  EXPECT_EQ(VisionModel::Load(kAssets + "detector.onnx", options).error().code, ErrorCode::kUsage);
}

}  // namespace
}  // namespace deltacnn
