#include "post/presets.h"

#include <filesystem>
#include <fstream>

#include "post_test_util.h"

namespace deltacnn {
namespace {

using Outputs = std::vector<TensorFacts>;

struct KnownModel {
  const char* preset;
  Shape input;
  Outputs outputs;
  size_t names;
};

class KnownModels : public testing::TestWithParam<KnownModel> {};

TEST_P(KnownModels, AreFoundByTheirOutputs) {
  const KnownModel& model = GetParam();
  ModelFacts facts;
  facts.inputs = {{"input", model.input}};
  facts.outputs = model.outputs;
  const auto preset = FindPreset(facts);
  ASSERT_TRUE(preset.ok()) << preset.error().message;
  EXPECT_EQ(preset->name, model.preset);
  EXPECT_EQ(preset->names.size(), model.names);
  EXPECT_TRUE(FindPreset(facts, model.preset).ok());
}

Outputs YunetOutputs() {
  Outputs outputs;
  for (const auto& [kind, values] :
       {std::pair{"cls_", 1}, std::pair{"obj_", 1}, std::pair{"bbox_", 4}, std::pair{"kps_", 10}}) {
    for (const auto& [stride, cells] :
         {std::pair{"8", 6400}, std::pair{"16", 1600}, std::pair{"32", 400}}) {
      outputs.push_back({std::string(kind) + stride, {1, cells, values}});
    }
  }
  return outputs;
}

/// Outputs of det_10g.onnx and its relatives for 640x640, or those of another input's cells.
Outputs ScrfdOutputs(bool has_batch, bool has_points, const std::vector<int64_t>& rows) {
  Outputs outputs;
  for (const int64_t values : {1, 4, 10}) {
    if (values == 10 && !has_points) continue;
    for (const int64_t n : rows) {
      outputs.push_back({std::to_string(448 + outputs.size()),
                         has_batch ? Shape{1, n, values} : Shape{n, values}});
    }
  }
  return outputs;
}

const std::vector<int64_t> kScrfdRows = {12800, 3200, 800};

Outputs CenterfaceOutputs(int64_t height, int64_t width) {
  return {{"537", {1, 1, height, width}},
          {"538", {1, 2, height, width}},
          {"539", {1, 2, height, width}},
          {"540", {1, 10, height, width}}};
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, KnownModels,
    testing::Values(
        KnownModel{"yolox", {1, 3, 416, 416}, {{"output", {1, 3549, 85}}}, 80},
        KnownModel{"yolox", {1, 3, 640, 640}, {{"output", {1, 8400, 6}}}, 0},
        KnownModel{"yolov5", {1, 3, 640, 640}, {{"output", {1, 25200, 85}}}, 80},
        KnownModel{"yolov5", {1, 3, 640, 640}, {{"output", {1, 25200, 6}}}, 0},
        KnownModel{"yolov8", {1, 3, 640, 640}, {{"output0", {1, 84, 8400}}}, 80},
        KnownModel{"yolov8", {1, 3, 640, 640}, {{"output0", {1, 8400, 84}}}, 80},
        KnownModel{"yolov8", {1, 3, 640, 640}, {{"output0", {1, 6, 8400}}}, 0},
        KnownModel{"yolov8", {1, 3, 640, 640}, {{"output0", {1, 84, 2000}}}, 80},  // YOLOv3-tiny
        KnownModel{"yolov8",
                   {1, 3, 640, 640},
                   {{"output0", {1, 116, 8400}}, {"output1", {1, 32, 160, 160}}},
                   80},
        KnownModel{"yolov5",
                   {1, 3, 640, 640},
                   {{"output0", {1, 25200, 117}}, {"output1", {1, 32, 160, 160}}},
                   80},
        KnownModel{"yolov10", {1, 3, 640, 640}, {{"output0", {1, 300, 6}}}, 80},
        KnownModel{"yolov10",
                   {1, 3, 640, 640},
                   {{"output0", {1, 300, 38}}, {"output1", {1, 32, 160, 160}}},
                   80},
        KnownModel{"nanodet",
                   {1, 3, 416, 416},
                   {{"792", {1, 2704, 80}},
                    {"814", {1, 676, 80}},
                    {"836", {1, 169, 80}},
                    {"795", {1, 2704, 32}},
                    {"817", {1, 676, 32}},
                    {"839", {1, 169, 32}}},
                   80},
        KnownModel{"nanodet", {1, 3, 416, 416}, {{"output", {1, 3598, 112}}}, 80},
        KnownModel{"fastestdet", {1, 3, 352, 352}, {{"758", {1, 85, 22, 22}}}, 80},
        KnownModel{
            "ultraface", {1, 3, 240, 320}, {{"scores", {1, 4420, 2}}, {"boxes", {1, 4420, 4}}}, 1},
        KnownModel{"retinaface",
                   {1, 3, 320, 320},
                   {{"loc", {1, 4200, 4}}, {"conf", {1, 4200, 2}}, {"iou", {1, 4200, 10}}},
                   1},
        KnownModel{"yunet", {1, 3, 640, 640}, YunetOutputs(), 1},
        KnownModel{"scrfd", {1, 3, 640, 640}, ScrfdOutputs(false, true, kScrfdRows), 1},
        KnownModel{"scrfd", {1, 3, 640, 640}, ScrfdOutputs(true, true, kScrfdRows), 1},
        KnownModel{"scrfd", {1, 3, 640, 640}, ScrfdOutputs(false, false, kScrfdRows), 1},
        KnownModel{"scrfd", {1, 3, 640, 640}, ScrfdOutputs(true, false, kScrfdRows), 1},
        KnownModel{"scrfd", {1, 3, 360, 640}, ScrfdOutputs(false, true, {7200, 1840, 480}), 1},
        // One anchor a cell, rows of another size, and strides that no SCRFD has.
        KnownModel{"none", {1, 3, 640, 640}, ScrfdOutputs(true, true, {6400, 1600, 400}), 0},
        KnownModel{"none", {1, 3, 320, 320}, ScrfdOutputs(false, true, kScrfdRows), 0},
        KnownModel{"none", {1, 3, 640, 640}, ScrfdOutputs(false, true, {12800, 3200}), 0},
        KnownModel{"centerface", {1, 3, 480, 640}, CenterfaceOutputs(120, 160), 1},
        KnownModel{"posenet",
                   {1, 3, 480, 640},
                   {{"heatmap", {1, 1, 30, 40}}, {"offsets", {1, 2, 30, 40}}},
                   1},
        KnownModel{"boxes",
                   {1, 3, 640, 640},
                   {{"913", {1, 8400, 4}}, {"904", {1, 8400, 80}}},
                   80},  // YOLO-NAS
        KnownModel{"boxes",
                   {1, 3, 640, 640},
                   {{"output", {1, 8400, 80}}, {"1107", {1, 8400, 4}}},
                   80},  // DAMO-YOLO
        KnownModel{"boxes", {1, 3, 640, 640}, {{"904", {1, 8400, 1}}, {"913", {1, 8400, 4}}}, 0},
        KnownModel{
            "boxes", {1, 3, 640, 640}, {{"boxes", {1, 8400, 4}}, {"scores", {1, 8400, 2}}}, 0},
        // Detectors with anchors: their first class is the background.
        KnownModel{"ultraface",
                   {1, 3, 480, 640},
                   {{"scores", {1, 17640, 2}}, {"boxes", {1, 17640, 4}}},
                   1},
        KnownModel{
            "ultraface", {1, 3, 300, 300}, {{"scores", {1, 3000, 21}}, {"boxes", {1, 3000, 4}}}, 0},
        KnownModel{"none", {1, 3, 640, 640}, {{"boxes", {1, 300, 4}}, {"scores", {1, 300, 1}}}, 0},
        // A transformer's queries, and what a face refined to.
        KnownModel{"none", {1, 3, 800, 800}, {{"logits", {1, 100, 92}}, {"b", {1, 100, 4}}}, 0},
        KnownModel{
            "detr", {1, 3, 800, 800}, {{"logits", {1, 100, 92}}, {"pred_boxes", {1, 100, 4}}}, 91},
        KnownModel{"rtdetr",
                   {1, 3, 640, 640},
                   {{"logits", {1, 300, 80}}, {"pred_boxes", {1, 300, 4}}},
                   80},
        KnownModel{
            "rf-detr", {1, 3, 384, 384}, {{"dets", {1, 300, 4}}, {"labels", {1, 300, 91}}}, 91},
        KnownModel{"d-fine",
                   {1, 3, 640, 640},
                   {{"labels", {1, 300}}, {"boxes", {1, 300, 4}}, {"scores", {1, 300}}},
                   0},
        KnownModel{
            "none", {1, 48, 48, 3}, {{"box", {1, 4}}, {"points", {1, 10}}, {"face", {1, 2}}}, 0},
        KnownModel{"nms",
                   {1, 3, 640, 640},
                   {{"boxes", {1, 8400, 4}}, {"scores", {1, 80, 8400}}, {"selected", {-1, 3}}},
                   0},
        KnownModel{"nms", {1, 3, 640, 640}, {{"output", {-1, 7}}}, 0},
        KnownModel{"classification", {1, 3, 224, 224}, {{"scores", {1, 1000}}}, 0},
        KnownModel{"classification-tf", {1, 3, 224, 224}, {{"probs", {1, 1001}}}, 0},
        KnownModel{"deeplab", {1, 3, 513, 513}, {{"logits", {1, 21, 513, 513}}}, 21},
        KnownModel{"segmentation", {1, 3, 1024, 2048}, {{"out", {1, 19, 128, 256}}}, 0},
        KnownModel{"road-segmentation", {1, 512, 896, 3}, {{"tf.identity", {1, 512, 896, 4}}}, 4},
        KnownModel{"openseeface", {1, 3, 224, 224}, {{"output", {1, 198, 28, 28}}}, 0},
        KnownModel{"posenet",
                   {1, 3, 353, 481},
                   {{"heatmaps", {1, 17, 23, 31}},
                    {"short_offsets", {1, 34, 23, 31}},
                    {"mid_offsets", {1, 64, 23, 31}}},
                   1},
        KnownModel{"heatmaps", {1, 3, 256, 192}, {{"output", {1, 17, 64, 48}}}, 0},
        // Pictures and features have no decoder.
        KnownModel{"none", {1, 1, 180, 320}, {{"hr_y", {1, 1, 540, 960}}}, 0},
        KnownModel{"none", {1, 3, 256, 256}, {{"433", {1, 3, 256, 256}}}, 0},
        KnownModel{"none", {1, 3, 384, 384}, {{"c4", {1, 1024, 24, 24}}}, 0},
        KnownModel{"none", {1, 3, 112, 112}, {{"embedding", {1, 512}}}, 0},
        KnownModel{"none", {1, 10}, {{"output", {1, 10}}}, 0}));

ModelFacts Yolov8Facts() {
  ModelFacts facts;
  facts.inputs = {{"images", {1, 3, 640, 640}}};
  facts.outputs = {{"output0", {1, 6, 8400}}};
  return facts;
}

TEST(FindPreset, TakesNamesFromMetadata) {
  ModelFacts facts = Yolov8Facts();
  facts.metadata = {{"task", "detect"}, {"names", "{0: 'hard hat', 1: \"worker's vest\"}"}};
  const auto preset = FindPreset(facts);
  ASSERT_TRUE(preset.ok());
  EXPECT_EQ(preset->names, (std::vector<std::string>{"hard hat", "worker's vest"}));
  EXPECT_EQ(preset->Label(1), "worker's vest");
  EXPECT_EQ(preset->Label(2), "2");
  EXPECT_EQ(preset->Label(-1), "-1");
}

TEST(FindPreset, CountsNamesWhereShapesAreAmbiguous) {
  ModelFacts facts;
  facts.inputs = {{"images", {1, 3, 640, 640}}};
  facts.outputs = {{"output0", {1, 8400, 7}}};
  facts.metadata["names"] = "['a', 'b', 'c']";
  EXPECT_EQ(FindPreset(facts)->name, "yolov8");
  facts.metadata["names"] = "['a', 'b']";
  EXPECT_EQ(FindPreset(facts)->name, "yolox");
}

TEST(FindPreset, FollowsTheTaskInMetadata) {
  ModelFacts facts;
  facts.inputs = {{"images", {1, 3, 640, 640}}};
  facts.outputs = {{"output0", {1, 56, 8400}}};
  EXPECT_EQ(FindPreset(facts)->keypoints, 0);
  facts.metadata = {{"task", "pose"}, {"kpt_shape", "[17, 3]"}, {"names", "{0: 'person'}"}};
  const auto pose = FindPreset(facts);
  ASSERT_TRUE(pose.ok());
  EXPECT_EQ(pose->name, "yolov8-pose");
  EXPECT_EQ(pose->keypoints, 17);
  EXPECT_FALSE(pose->skeleton.empty());
  facts.metadata["task"] = "obb";
  EXPECT_EQ(FindPreset(facts)->decoder, DecoderKind::kNone);
}

TEST(FindPreset, ParsesPythonLiterals) {
  EXPECT_EQ(ParsePythonNames("{0: 'a', 1: 'it\\'s', 2: \"b, c\"}"),
            (std::vector<std::string>{"a", "it's", "b, c"}));
  EXPECT_TRUE(ParsePythonNames("").empty());
  EXPECT_TRUE(ParsePythonNames("person").empty());
  EXPECT_TRUE(ParsePythonNames("{0: 'a").empty());
  EXPECT_TRUE(ParsePythonNames("{0: 'a\\").empty());
}

TEST(FindPreset, SaysWhatANamedPresetExpects) {
  ModelFacts facts;
  facts.inputs = {{"images", {1, 3, 416, 416}}};
  facts.outputs = {{"758", {1, 85, 22, 22}}};
  const auto preset = FindPreset(facts, "yolox");
  ASSERT_FALSE(preset.ok());
  EXPECT_EQ(preset.error().code, ErrorCode::kUsage);
  EXPECT_EQ(preset.error().message,
            "preset yolox does not fit the model: it expects one output [1,3549,5+classes] for an "
            "input of 416x416; the outputs are 758[1,85,22,22]; name another preset or 'none'");
}

TEST(FindPreset, FacePresetsRefuseEachOthersModels) {
  const std::vector<std::pair<std::string, Outputs>> models = {
      {"yunet", YunetOutputs()},
      {"scrfd", ScrfdOutputs(true, true, kScrfdRows)},
      {"centerface", CenterfaceOutputs(160, 160)},
      {"retinaface",
       {{"loc", {1, 16800, 4}}, {"conf", {1, 16800, 2}}, {"landmarks", {1, 16800, 10}}}}};
  for (const auto& [own, outputs] : models) {
    ModelFacts facts;
    facts.inputs = {{"input", {1, 3, 640, 640}}};
    facts.outputs = outputs;
    for (const auto& [other, unused] : models) {
      EXPECT_EQ(FindPreset(facts, other).ok(), other == own) << other << " of " << own;
    }
    facts.inputs[0].shape = {1, 3, 512, 640};
    EXPECT_EQ(FindPreset(facts, own).ok(), false) << own << " of another size";
  }
}

TEST(FindPreset, ListsPresetsForAnUnknownName) {
  const auto preset = FindPreset(Yolov8Facts(), "yolo9000");
  ASSERT_FALSE(preset.ok());
  EXPECT_NE(preset.error().message.find("unknown preset 'yolo9000'; known are none, yolox, yolov5"),
            std::string::npos)
      << preset.error().message;
}

TEST(FindPreset, EveryPresetRefusesAModelWithoutOutputs) {
  ModelFacts facts;
  for (const std::string& name : PresetNames()) {
    EXPECT_EQ(FindPreset(facts, name).ok(), name == "none") << name;
  }
  EXPECT_EQ(FindPreset(facts)->name, "none");
}

class PresetFileTest : public testing::Test {
 protected:
  PresetFileTest() {
    folder_ =
        std::filesystem::path(testing::TempDir()) /
        ("preset_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::create_directories(folder_);
    facts_ = Yolov8Facts();
    facts_.path = (folder_ / "model.onnx").string();
  }
  ~PresetFileTest() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& text) { std::ofstream(folder_ / "model.json") << text; }

  std::string ErrorOf(const std::string& text) {
    Write(text);
    const auto preset = FindPreset(facts_);
    return preset.ok() ? "" : preset.error().message;
  }

  std::filesystem::path folder_;
  ModelFacts facts_;
};

TEST_F(PresetFileTest, BesideTheModelIsRead) {
  Write(R"({"decoder": "yolov8", "names": ["ball", "bat"], "conf": 0.25, "iou": 0.75,
            "max_detections": 7, "strides": [8, 16, 32],
            "input": {"color": "bgr", "mean": [1, 2, 3], "std": [4, 5, 6.5], "resize": "stretch",
                      "pad_value": 0, "align": "top-left"}})");
  const auto preset = FindPreset(facts_);
  ASSERT_TRUE(preset.ok()) << preset.error().message;
  EXPECT_EQ(preset->decoder, DecoderKind::kYolov8);
  EXPECT_EQ(preset->names, (std::vector<std::string>{"ball", "bat"}));
  EXPECT_FLOAT_EQ(preset->conf, 0.25F);
  EXPECT_FLOAT_EQ(preset->iou, 0.75F);
  EXPECT_EQ(preset->max_detections, 7);
  EXPECT_EQ(preset->strides, (std::vector<int>{8, 16, 32}));
  EXPECT_EQ(preset->input.color, InputSpec::Color::kBgr);
  EXPECT_EQ(preset->input.mean, (std::array<float, 3>{1, 2, 3}));
  EXPECT_EQ(preset->input.std, (std::array<float, 3>{4, 5, 6.5F}));
  EXPECT_EQ(preset->input.resize, InputSpec::Resize::kStretch);
  EXPECT_EQ(preset->input.align, InputSpec::Align::kTopLeft);
  EXPECT_FLOAT_EQ(preset->input.pad_value, 0);
}

TEST_F(PresetFileTest, MayStateAPart) {
  Write(R"({"input": {"color": "bgr"}})");
  const auto preset = FindPreset(facts_);
  ASSERT_TRUE(preset.ok()) << preset.error().message;
  EXPECT_EQ(preset->name, "yolov8");
  EXPECT_EQ(preset->input.color, InputSpec::Color::kBgr);
  EXPECT_EQ(preset->input.std[0], 255);
}

TEST_F(PresetFileTest, CanBeNamed) {
  Write(R"({"decoder": "none"})");
  facts_.path = "elsewhere.onnx";
  const auto preset = FindPreset(facts_, (folder_ / "model.json").string());
  ASSERT_TRUE(preset.ok());
  EXPECT_EQ(preset->decoder, DecoderKind::kNone);
  EXPECT_FALSE(FindPreset(facts_, (folder_ / "missing.json").string()).ok());
}

TEST_F(PresetFileTest, GivesWayToANamedPreset) {
  Write("not JSON at all");
  EXPECT_TRUE(FindPreset(facts_, "none").ok());
  EXPECT_FALSE(FindPreset(facts_).ok());
}

TEST_F(PresetFileTest, MistakesAreNamed) {
  EXPECT_NE(ErrorOf(R"({"decoder": "yolox", "colour": 1})").find("unknown key 'colour'"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"input": {"color": "hsv"}})").find("\"rgb\", \"bgr\", \"gray\""),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"names": ["only one"]})").find("1 names for 2 classes"), std::string::npos);
  for (const char* text : {"",
                           "[]",
                           "{",
                           R"({"decoder": 3})",
                           R"({"decoder": "what"})",
                           R"({"names": [1]})",
                           R"({"names": "what"})",
                           R"({"names": null})",
                           R"({"strides": [0]})",
                           R"({"strides": 8})",
                           R"({"strides": [1e99]})",
                           R"({"conf": 2})",
                           R"({"conf": "x"})",
                           R"({"iou": -1})",
                           R"({"input": 3})",
                           R"({"input": {"mean": [1, 2]}})",
                           R"({"input": {"std": [0, 1, 1]}})",
                           R"({"input": {"mean": [1, 2, "x"]}})",
                           R"({"max_detections": 1.5})",
                           R"({"max_detections": 99999999999})",
                           R"({"skeleton": [[0]]})",
                           R"({"skeleton": [[0, -1]]})",
                           R"({"box_format": 7})",
                           R"({"normalized_boxes": 1})"}) {
    EXPECT_NE(ErrorOf(text), "") << text;
    EXPECT_EQ(ErrorOf(text).find('\n'), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace deltacnn
