#include <limits>
#include <nlohmann/json.hpp>

#include "post_test_util.h"

namespace deltacnn {
namespace {

using nlohmann::json;

json Parse(const std::string& text) {
  const json parsed = json::parse(text, nullptr, false);
  EXPECT_FALSE(parsed.is_discarded()) << text;
  EXPECT_EQ(text.find('\n'), std::string::npos);
  return parsed;
}

TEST(FrameJson, WritesObjects) {
  Answer answer;
  answer.kind = AnswerKind::kDetections;
  answer.detections = {MakeBox(1, 0.4F, 1.23456789F, 20, 300.5F, 1e-7F)};
  Preset preset;
  preset.names = {"car", "person"};
  EXPECT_EQ(FrameJson(12, 123456.789, answer, preset, {0.07, 0.01, 1.5, false}, 640, 480),
            R"({"frame":12,"pts":123456.789,"objects":[{"class":1,"label":"person","score":0.4,)"
            R"("xyxy":[1.23457,20,300.5,1e-07]}],)"
            R"("work":{"macs_share":0.07,"changed":0.01,"step_ms":1.5,"dense":false}})");
}

TEST(FrameJson, NamesTheFile) {
  const json line = Parse(FrameJson(0, 0, {}, {}, {}, 8, 8, "a/\"b\".jpg"));
  EXPECT_EQ(line["file"], "a/\"b\".jpg");
  EXPECT_FALSE(Parse(FrameJson(0, 0, {}, {}, {}, 8, 8)).contains("file"));
}

TEST(FrameJson, StaysValidForOddNumbersAndLabels) {
  Answer answer;
  answer.kind = AnswerKind::kDetections;
  const float infinity = std::numeric_limits<float>::infinity();
  answer.detections = {MakeBox(0, std::numeric_limits<float>::quiet_NaN(), -infinity, 0, 1e30F, 1),
                       MakeBox(1, 1, 0, 0, 1, 1)};
  Preset preset;
  preset.names = {"a \"quoted\" \\ name\n", "bad \xff utf-8"};
  const json line = Parse(FrameJson(0, infinity, answer, preset, {}, 640, 480));
  EXPECT_TRUE(line["pts"].is_null());
  EXPECT_TRUE(line["objects"][0]["score"].is_null());
  EXPECT_TRUE(line["objects"][0]["xyxy"][0].is_null());
  EXPECT_EQ(line["objects"][0]["label"], preset.names[0]);
  EXPECT_EQ(line["objects"][1]["label"], "bad \xef\xbf\xbd utf-8");
  EXPECT_EQ(line["work"]["dense"], true);
}

TEST(FrameJson, WritesTopkAndKeyPoints) {
  Answer answer;
  answer.kind = AnswerKind::kClassification;
  answer.topk = {{7, 0.5F}};
  json line = Parse(FrameJson(0, 0, answer, {}, {}, 8, 8));
  EXPECT_EQ(line["topk"], json::parse(R"([{"class":7,"label":"7","score":0.5}])"));
  EXPECT_EQ(line["objects"], json::array());

  answer = {};
  answer.kind = AnswerKind::kKeyPoints;
  answer.keypoints = {{1, 2, 0.5F}, {3, 4, 1}};
  line = Parse(FrameJson(0, 0, answer, {}, {}, 8, 8));
  EXPECT_EQ(line["keypoints"], json::parse("[[1,2,0.5],[3,4,1]]"));

  answer = {};
  answer.kind = AnswerKind::kDetections;
  answer.detections = {MakeBox(0, 1, 0, 0, 1, 1)};
  answer.detections[0].keypoints = {{5, 6, 0.25F}};
  line = Parse(FrameJson(0, 0, answer, {}, {}, 8, 8));
  EXPECT_EQ(line["objects"][0]["keypoints"], json::parse("[[5,6,0.25]]"));
}

/// The pixels that run lengths stand for.
std::vector<int> Expand(const json& runs) {
  std::vector<int> pixels;
  int value = 0;
  for (const json& run : runs) {
    pixels.insert(pixels.end(), run.get<size_t>(), value);
    value = 1 - value;
  }
  return pixels;
}

TEST(FrameJson, WritesRunLengthsOfSegments) {
  Answer answer;
  answer.kind = AnswerKind::kSegmentation;
  answer.class_map = {4, 3, {2, 2, 0, 0, 0, 2, 2, 2, 2, 2, 255, 255}};
  const json line = Parse(FrameJson(0, 0, answer, {}, {}, 4, 3));
  EXPECT_EQ(line["size"], json::parse("[3,4]"));
  ASSERT_EQ(line["segments"].size(), 3U);
  EXPECT_EQ(line["segments"][0]["rle"], json::parse("[2,3,7]"));
  EXPECT_EQ(line["segments"][1]["rle"], json::parse("[0,2,3,5,2]"));
  EXPECT_EQ(line["segments"][2]["rle"], json::parse("[10,2]"));
  for (const json& segment : line["segments"]) {
    const std::vector<int> pixels = Expand(segment["rle"]);
    ASSERT_EQ(pixels.size(), 12U);
    for (size_t i = 0; i < 12; ++i) {
      EXPECT_EQ(pixels[i], answer.class_map.classes[i] == segment["class"] ? 1 : 0);
    }
  }
}

TEST(FrameJson, WritesRunLengthsOfMasks) {
  Answer answer;
  answer.kind = AnswerKind::kDetections;
  answer.detections = {MakeBox(0, 1, 1, 1, 3, 3), MakeBox(0, 1, 0, 0, 4, 3),
                       MakeBox(0, 1, 0, 0, 1, 1)};
  answer.detections[0].mask = {1, 1, 2, 2, {1, 0, 1, 1}};
  answer.detections[1].mask = {0, 0, 4, 3, std::vector<uint8_t>(12, 1)};
  const json line = Parse(FrameJson(0, 0, answer, {}, {}, 4, 3));
  EXPECT_EQ(line["size"], json::parse("[3,4]"));
  EXPECT_EQ(line["objects"][0]["rle"], json::parse("[5,1,3,2,1]"));
  EXPECT_EQ(line["objects"][1]["rle"], json::parse("[0,12]"));
  EXPECT_FALSE(line["objects"][2].contains("rle"));
}

}  // namespace
}  // namespace deltacnn
