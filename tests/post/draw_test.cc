#include <array>
#include <limits>

#include "post_test_util.h"

// Fontconfig keeps its configuration until the program ends; a leak check must not count that.
extern "C" const char* __lsan_default_suppressions();   // NOLINT(bugprone-reserved-identifier)
extern "C" const char* __lsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier)
  return "leak:libfontconfig";
}

namespace deltacnn {
namespace {

/// A grey picture.
class Picture {
 public:
  Picture(int width, int height)
      : width_(width), bytes_(static_cast<size_t>(width) * static_cast<size_t>(height) * 4, 128) {
    view_ = {bytes_.data(), width, height, ptrdiff_t{4} * width};
  }

  const BgraPicture& view() const { return view_; }

  std::array<int, 3> Bgr(int x, int y) const {
    const uint8_t* pixel =
        bytes_.data() +
        (static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x)) * 4;
    return {pixel[0], pixel[1], pixel[2]};
  }
  bool IsGrey(int x, int y) const { return Bgr(x, y) == std::array{128, 128, 128}; }

  int CountChanged() const {
    int count = 0;
    for (int i = 0; i < width_ * view_.height; ++i) count += !IsGrey(i % width_, i / width_);
    return count;
  }

 private:
  int width_;
  std::vector<uint8_t> bytes_;
  BgraPicture view_;
};

Answer OneBox(float x1, float y1, float x2, float y2) {
  Answer answer;
  answer.kind = AnswerKind::kDetections;
  answer.detections = {MakeBox(0, 0.9F, x1, y1, x2, y2)};
  return answer;
}

TEST(Annotate, DrawsTheBorderOfABox) {
  for (const auto& [width, height] : {std::pair{320, 240}, std::pair{1920, 1080}}) {
    Picture picture(width, height);
    const float x1 = 0.25F * static_cast<float>(width);
    const float y1 = 0.5F * static_cast<float>(height);
    const float x2 = 0.75F * static_cast<float>(width);
    const float y2 = 0.9F * static_cast<float>(height);
    ASSERT_TRUE(Annotate(picture.view(), OneBox(x1, y1, x2, y2), {}).ok());
    const int x = static_cast<int>(x1);
    const int y = static_cast<int>(y2);
    EXPECT_FALSE(picture.IsGrey(x, static_cast<int>(y1) + 20));
    EXPECT_FALSE(picture.IsGrey(width / 2, y));
    EXPECT_FALSE(picture.IsGrey(x + 3, static_cast<int>(y1) - 5)) << "the label above the box";
    EXPECT_TRUE(picture.IsGrey(width / 2, static_cast<int>(0.7F * static_cast<float>(height))));
    EXPECT_TRUE(picture.IsGrey(width - 2, 2));
  }
}

TEST(Annotate, GivesClassesColoursOfTheirOwn) {
  Picture picture(320, 240);
  Answer answer = OneBox(10, 100, 100, 200);
  answer.detections.push_back(MakeBox(1, 0.5F, 200, 100, 300, 200));
  ASSERT_TRUE(Annotate(picture.view(), answer, {}).ok());
  EXPECT_NE(picture.Bgr(10, 150), picture.Bgr(200, 150));
}

TEST(Annotate, TintsRecomputedCells) {
  Picture picture(64, 64);
  const std::vector<uint8_t> cells = {0, 255, 40, 0};
  AnnotateOptions options;
  options.heat_map = {cells, 2, 2, 0, 0, 64, 64};
  ASSERT_TRUE(Annotate(picture.view(), {}, {}, options).ok());
  EXPECT_TRUE(picture.IsGrey(10, 10));
  EXPECT_TRUE(picture.IsGrey(50, 50));
  const auto [blue, green, red] = picture.Bgr(50, 10);
  EXPECT_GT(red, 180);
  EXPECT_LT(blue, 80);
  const auto [pale_blue, pale_green, pale_red] = picture.Bgr(10, 50);
  EXPECT_GT(pale_red, pale_blue);
  EXPECT_GT(pale_blue, blue);
  EXPECT_GT(pale_green, green);
  EXPECT_EQ(picture.CountChanged(), 2 * 32 * 32);
}

TEST(Annotate, TintsClassesButNotTheBackground) {
  Picture picture(64, 64);
  Answer answer;
  answer.kind = AnswerKind::kSegmentation;
  answer.class_map = {64, 64, std::vector<uint8_t>(64 * 64, 0)};
  answer.class_map.classes[20 * 64 + 30] = 5;
  ASSERT_TRUE(Annotate(picture.view(), answer, {}).ok());
  EXPECT_EQ(picture.CountChanged(), 1);
  EXPECT_FALSE(picture.IsGrey(30, 20));
}

TEST(Annotate, DrawsMasksPointsTopkAndStatus) {
  Picture picture(320, 240);
  Answer answer = OneBox(100, 100, 200, 200);
  answer.detections[0].mask = {120, 120, 2, 1, {1, 0}};
  answer.detections[0].keypoints = {{150, 150, 0.9F}, {170, 150, 0.9F}, {150, 180, 0.1F}};
  Preset preset;
  preset.skeleton = {{0, 1}, {0, 2}, {0, 99}};
  ASSERT_TRUE(Annotate(picture.view(), answer, preset).ok());
  EXPECT_FALSE(picture.IsGrey(120, 120));
  EXPECT_TRUE(picture.IsGrey(121, 120));
  EXPECT_FALSE(picture.IsGrey(150, 150));
  EXPECT_FALSE(picture.IsGrey(160, 150)) << "the bone";
  EXPECT_TRUE(picture.IsGrey(150, 180)) << "below the score to show";

  Picture other(320, 240);
  answer = {};
  answer.kind = AnswerKind::kClassification;
  answer.topk = {{3, 0.9F}};
  ASSERT_TRUE(Annotate(other.view(), answer, {}, {.heat_map = {}, .status_line = "work 7 %"}).ok());
  EXPECT_FALSE(other.IsGrey(8, 8));
  EXPECT_FALSE(other.IsGrey(1, 238));
  EXPECT_TRUE(other.IsGrey(300, 120));
}

TEST(Annotate, SurvivesOddAnswers) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Picture picture(33, 17);
  Answer answer = OneBox(-1e9F, -5, 1e9F, 1e9F);
  answer.detections.push_back(MakeBox(-7, nan, nan, nan, nan, nan));
  answer.detections.push_back(MakeBox(2000000000, 1, 5, 5, 4, 4));
  answer.detections[0].keypoints = {{nan, 1, 1}, {1e30F, 0, 1}, {1, 1, 1}};
  answer.detections[0].mask = {-5, -5, 60, 60, std::vector<uint8_t>(3600, 1)};
  Preset preset;
  preset.names = {std::string("\xff\xfe broken \xc3", 11)};
  EXPECT_TRUE(Annotate(picture.view(), answer, preset).ok());
}

TEST(Annotate, RefusesPicturesItCannotDrawOn) {
  Picture picture(32, 32);
  for (const BgraPicture& bad :
       {BgraPicture{}, BgraPicture{picture.view().data, 0, 32, 128},
        BgraPicture{picture.view().data, 32, -1, 128}, BgraPicture{picture.view().data, 32, 32, 64},
        BgraPicture{picture.view().data, 32, 32, 130},
        BgraPicture{picture.view().data, 40000, 32, 160000}}) {
    EXPECT_FALSE(Annotate(bad, {}, {}).ok());
  }
  AnnotateOptions options;
  options.heat_map = {{}, 4, 4, 0, 0, 32, 32};
  EXPECT_FALSE(Annotate(picture.view(), {}, {}, options).ok());
}

}  // namespace
}  // namespace deltacnn
