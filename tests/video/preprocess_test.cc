#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "picture.h"

namespace deltacnn {
namespace {

using Align = InputSpec::Align;
using Color = InputSpec::Color;
using Resize = InputSpec::Resize;

// A network input with gaps between pixels and rows that nobody may touch.
class Input {
 public:
  Input(int width, int height, int channels, bool planar = false) {
    const int pitch = width + 2;
    target_ = {.height = height,
               .width = width,
               .channels = channels,
               .row_stride = planar ? pitch : pitch * (channels + 1),
               .pixel_stride = planar ? 1 : channels + 1,
               .channel_stride = planar ? static_cast<ptrdiff_t>(pitch) * height : 1,
               .words_per_row = (width + 63) / 64};
    data_.assign(static_cast<size_t>(pitch) * height * (channels + 1), kUntouched);
    marks_.assign(static_cast<size_t>(target_.words_per_row) * height, 0);
    target_.data = data_.data();
    target_.changed = marks_.data();
  }

  const ImageTarget& target() const { return target_; }
  float At(int y, int x, int c) const { return target_.Pixel(y, x)[c * target_.channel_stride]; }
  bool Marked(int y, int x) const {
    return (marks_[y * target_.words_per_row + x / 64] >> (x % 64) & 1) != 0;
  }
  void ClearMarks() { std::ranges::fill(marks_, 0); }
  const std::vector<float>& data() const { return data_; }
  std::vector<float>& data() { return data_; }

  static constexpr float kUntouched = -12345;

 private:
  ImageTarget target_;
  std::vector<float> data_;
  std::vector<uint64_t> marks_;
};

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(
      a, b, {}, [](float v) { return std::bit_cast<uint32_t>(v); },
      [](float v) { return std::bit_cast<uint32_t>(v); });
}

// Textbook arithmetic in double.
class Reference {
 public:
  Reference(const InputSpec& spec, const FrameView& frame, int width, int height)
      : spec_(spec), frame_(frame) {
    double rx = static_cast<double>(width) / frame.width;
    double ry = static_cast<double>(height) / frame.height;
    if (spec.resize == Resize::kLetterbox) rx = ry = std::min(rx, ry);
    if (spec.resize == Resize::kCrop) rx = ry = std::max(rx, ry);
    resized_width_ = std::max(1L, std::lround(frame.width * rx));
    resized_height_ = std::max(1L, std::lround(frame.height * ry));
    if (spec.align == Align::kCentre || spec.resize == Resize::kCrop) {
      left_ = std::floor((width - resized_width_) / 2.0);
      top_ = std::floor((height - resized_height_) / 2.0);
    }
  }

  double At(int y, int x, int c) const {
    const double ry = y - top_;
    const double rx = x - left_;
    double level = spec_.pad_value;
    if (ry >= 0 && ry < resized_height_ && rx >= 0 && rx < resized_width_) {
      const double sy = Source(ry, resized_height_, frame_.height);
      const double sx = Source(rx, resized_width_, frame_.width);
      const int y0 = static_cast<int>(sy);
      const int x0 = static_cast<int>(sx);
      const int y1 = std::min(y0 + 1, frame_.height - 1);
      const int x1 = std::min(x0 + 1, frame_.width - 1);
      const double top = Level(y0, x0, c) * (x0 + 1 - sx) + Level(y0, x1, c) * (sx - x0);
      const double bottom = Level(y1, x0, c) * (x0 + 1 - sx) + Level(y1, x1, c) * (sx - x0);
      level = top * (y0 + 1 - sy) + bottom * (sy - y0);
    }
    return (level - spec_.mean[c]) / spec_.std[c];
  }

 private:
  static double Source(double i, double resized, int size) {
    return std::clamp((i + 0.5) * size / resized - 0.5, 0.0, size - 1.0);
  }
  double Level(int y, int x, int c) const {
    const auto sample = [&](int component) -> double { return SampleAt(frame_, component, y, x); };
    const PixelLayout& layout = LayoutOf(frame_.format);
    std::array<double, 3> rgb{};
    double gray = 0;
    if (layout.rgb) {
      rgb = {sample(0), sample(1), sample(2)};
      gray = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
    } else {
      const bool full = frame_.range == ColorRange::kFull;
      const double luma = full ? sample(0) : (sample(0) - 16) * 255 / 219;
      const double cs = full ? 1 : 255.0 / 224;
      const double u = layout.components == 1 ? 0 : (sample(1) - 128) * cs;
      const double v = layout.components == 1 ? 0 : (sample(2) - 128) * cs;
      // The standards' own decimals.
      switch (frame_.matrix) {
        case ColorMatrix::kBt601:
          rgb = {luma + 1.402 * v, luma - 0.344136 * u - 0.714136 * v, luma + 1.772 * u};
          break;
        case ColorMatrix::kBt709:
          rgb = {luma + 1.5748 * v, luma - 0.187324 * u - 0.468124 * v, luma + 1.8556 * u};
          break;
        case ColorMatrix::kBt2020:
          rgb = {luma + 1.4746 * v, luma - 0.164553 * u - 0.571353 * v, luma + 1.8814 * u};
          break;
      }
      gray = luma;
    }
    if (spec_.color == Color::kGray) return std::clamp(gray, 0.0, 255.0);
    return std::clamp(rgb[spec_.color == Color::kBgr ? 2 - c : c], 0.0, 255.0);
  }

  InputSpec spec_;
  FrameView frame_;
  double resized_width_ = 0;
  double resized_height_ = 0;
  double left_ = 0;
  double top_ = 0;
};

struct Case {
  InputSpec spec;
  int source_width;
  int source_height;
  int width;
  int height;
};

std::vector<Case> Cases() {
  const InputSpec plain;
  const InputSpec top_left = {.color = Color::kBgr, .pad_value = 0, .align = Align::kTopLeft};
  const InputSpec imagenet = {.mean = {123.675F, 116.28F, 103.53F},
                              .std = {58.4F, 57.1F, 57.4F},
                              .resize = Resize::kStretch};
  const InputSpec crop = {.std = {1, 1, 1}, .resize = Resize::kCrop};
  const InputSpec gray = {.color = Color::kGray, .mean = {127.5F}};
  return {{plain, 64, 36, 32, 32},    {plain, 97, 63, 130, 70},   {top_left, 75, 41, 48, 64},
          {top_left, 33, 50, 33, 50}, {imagenet, 81, 47, 29, 66}, {imagenet, 16, 16, 64, 64},
          {crop, 90, 51, 40, 40},     {crop, 51, 90, 70, 40},     {gray, 61, 37, 50, 50},
          {gray, 1, 1, 5, 3},         {plain, 3, 200, 40, 40},    {crop, 300, 2, 33, 32}};
}

int ChannelsOf(const InputSpec& spec) { return spec.color == Color::kGray ? 1 : 3; }

TEST(Preprocessor, AgreesWithTextbookArithmetic) {
  std::mt19937 random(1);
  for (const Case& test : Cases()) {
    for (const PixelFormat format : kAllFormats) {
      for (const ColorMatrix matrix :
           {ColorMatrix::kBt601, ColorMatrix::kBt709, ColorMatrix::kBt2020}) {
        Picture picture(format, test.source_width, test.source_height);
        picture.Randomize(random);
        picture.view().matrix = matrix;
        picture.view().range =
            matrix == ColorMatrix::kBt709 ? ColorRange::kFull : ColorRange::kLimited;
        Input input(test.width, test.height, ChannelsOf(test.spec));
        Preprocessor preprocessor(test.spec);
        ASSERT_TRUE(preprocessor
                        .Apply(picture.view(), EveryBlock(test.source_width, test.source_height),
                               input.target())
                        .ok());
        const Reference reference(test.spec, picture.view(), test.width, test.height);
        for (int y = 0; y < test.height; ++y) {
          for (int x = 0; x < test.width; ++x) {
            for (int c = 0; c < ChannelsOf(test.spec); ++c) {
              ASSERT_NEAR(input.At(y, x, c) * test.spec.std[c],
                          reference.At(y, x, c) * test.spec.std[c], 2e-3)
                  << LayoutOf(format).name << " (" << y << "," << x << "," << c << ")";
            }
          }
        }
      }
    }
  }
}

// Changes of random blocks, applied step by step, against the whole picture converted from scratch.
TEST(Preprocessor, IncrementalEqualsFromScratchBitForBit) {
  std::mt19937 random(2);
  for (const Case& test : Cases()) {
    for (const PixelFormat format : kAllFormats) {
      SCOPED_TRACE(testing::Message()
                   << LayoutOf(format).name << " " << test.source_width << "x" << test.source_height
                   << " to " << test.width << "x" << test.height);
      const bool planar = random() % 2 == 0;
      const int channels = ChannelsOf(test.spec);
      Picture picture(format, test.source_width, test.source_height, 5);
      picture.Randomize(random);
      ChangeDetector detector;
      Preprocessor preprocessor(test.spec);
      Input input(test.width, test.height, channels, planar);
      Input before = input;
      for (int step = 0; step < 8; ++step) {
        ASSERT_TRUE(detector.Update(picture.view()).ok());
        before.data() = input.data();
        input.ClearMarks();
        const auto count = preprocessor.Apply(detector.held(), detector.changed(), input.target());
        ASSERT_TRUE(count.ok());

        Input scratch(test.width, test.height, channels, planar);
        Preprocessor other(test.spec);
        ASSERT_TRUE(other
                        .Apply(picture.view(), EveryBlock(test.source_width, test.source_height),
                               scratch.target())
                        .ok());
        ASSERT_TRUE(SameBits(input.data(), scratch.data())) << "step " << step;
        int64_t marked = 0;
        for (int y = 0; y < test.height; ++y) {
          for (int x = 0; x < test.width; ++x) {
            bool differs = step == 0;
            for (int c = 0; c < channels; ++c) {
              const auto offset =
                  static_cast<size_t>(input.target().Pixel(y, x) - input.data().data() +
                                      c * input.target().channel_stride);
              differs = differs || before.data()[offset] != input.data()[offset];
            }
            ASSERT_EQ(input.Marked(y, x), differs) << y << "," << x;
            marked += differs ? 1 : 0;
          }
        }
        ASSERT_EQ(*count, marked);

        // A few samples anywhere, and a rectangle.
        std::uniform_int_distribution<> any_x(0, test.source_width - 1);
        std::uniform_int_distribution<> any_y(0, test.source_height - 1);
        for (int i = 0; i < step; ++i) {
          const int c = static_cast<int>(random() % LayoutOf(format).components);
          picture.Sample(c, any_y(random), any_x(random)) = static_cast<uint8_t>(random());
        }
        if (step % 2 == 1) {
          const int top = any_y(random);
          const int left = any_x(random);
          for (int y = top; y < std::min(top + 9, test.source_height); ++y) {
            for (int x = left; x < std::min(left + 13, test.source_width); ++x) {
              picture.Sample(0, y, x) = static_cast<uint8_t>(random());
            }
          }
        }
      }
    }
  }
}

TEST(Preprocessor, LeavesGapsAlone) {
  Picture picture(PixelFormat::kI420, 40, 30);
  Input input(20, 20, 3);
  Preprocessor preprocessor;
  ASSERT_TRUE(preprocessor.Apply(picture.view(), EveryBlock(40, 30), input.target()).ok());
  const auto untouched = std::ranges::count(input.data(), Input::kUntouched);
  EXPECT_EQ(untouched, 22 * 20 * 4 - 20 * 20 * 3);
}

TEST(Preprocessor, RecomputesAfterMapsItHasNotSeen) {
  std::mt19937 random(3);
  Picture picture(PixelFormat::kI420, 64, 64);
  ChangeDetector detector;
  Preprocessor preprocessor;
  Input input(32, 32, 3);
  for (int step = 0; step < 12; ++step) {
    picture.Sample(0, static_cast<int>(random() % 64), static_cast<int>(random() % 64)) ^= 0xFF;
    ASSERT_TRUE(detector.Update(picture.view()).ok());
    if (step % 3 == 1) continue;
    ASSERT_TRUE(preprocessor.Apply(detector.held(), detector.changed(), input.target()).ok());
    Input scratch(32, 32, 3);
    Preprocessor other;
    ASSERT_TRUE(other.Apply(picture.view(), EveryBlock(64, 64), scratch.target()).ok());
    ASSERT_TRUE(SameBits(input.data(), scratch.data())) << "step " << step;
  }
}

TEST(Preprocessor, StartsAfreshWhenItMust) {
  Picture picture(PixelFormat::kI420, 64, 64);
  BlockMap nothing = EveryBlock(64, 64);
  std::ranges::fill(nothing.bits, 0);
  nothing.count = 0;
  Preprocessor preprocessor;
  Input input(32, 32, 3);
  const auto apply = [&](const FrameView& frame, const Input& target) {
    const auto count = preprocessor.Apply(frame, nothing, target.target());
    EXPECT_TRUE(count.ok());
    return count.ok() ? *count : -1;
  };
  EXPECT_EQ(apply(picture.view(), input), 32 * 32);
  EXPECT_EQ(apply(picture.view(), input), 0);
  preprocessor.Reset();
  EXPECT_EQ(apply(picture.view(), input), 32 * 32);
  FrameView frame = picture.view();
  frame.discontinuity = true;
  EXPECT_EQ(apply(frame, input), 32 * 32);
  frame.discontinuity = false;
  EXPECT_EQ(apply(frame, input), 0);
  frame.range = ColorRange::kFull;
  EXPECT_EQ(apply(frame, input), 32 * 32);
  const Input other(32, 32, 3);
  EXPECT_EQ(apply(frame, other), 32 * 32);
  EXPECT_EQ(apply(frame, other), 0);
}

TEST(Preprocessor, TransformMapsTheInputOntoThePicture) {
  const Picture picture(PixelFormat::kI420, 640, 360);
  const auto transform = [&](const InputSpec& spec, int width, int height) {
    Preprocessor preprocessor(spec);
    const Input input(width, height, 3);
    EXPECT_TRUE(preprocessor.Apply(picture.view(), EveryBlock(640, 360), input.target()).ok());
    return preprocessor.transform();
  };
  const PixelTransform letterbox = transform({}, 416, 416);
  EXPECT_DOUBLE_EQ(letterbox.SourceX(0), 0);
  EXPECT_DOUBLE_EQ(letterbox.SourceX(416), 640);
  EXPECT_NEAR(letterbox.SourceY(91), 0, 1e-9);
  EXPECT_NEAR(letterbox.SourceY(325), 360, 1e-9);
  const PixelTransform top_left = transform({.align = Align::kTopLeft}, 416, 416);
  EXPECT_DOUBLE_EQ(top_left.SourceY(0), 0);
  const PixelTransform stretch = transform({.resize = Resize::kStretch}, 320, 240);
  EXPECT_DOUBLE_EQ(stretch.SourceX(320), 640);
  EXPECT_DOUBLE_EQ(stretch.SourceY(240), 360);
  const PixelTransform crop = transform({.resize = Resize::kCrop}, 180, 180);
  EXPECT_DOUBLE_EQ(crop.SourceY(180), 360);
  EXPECT_DOUBLE_EQ(crop.SourceX(0), 140);
  EXPECT_DOUBLE_EQ(crop.SourceX(180), 500);
}

TEST(Preprocessor, RejectsWhatDoesNotFitTogether) {
  const Picture picture(PixelFormat::kI420, 64, 48);
  const Input input(32, 32, 3);
  const auto message = [&](const InputSpec& spec, const BlockMap& map, const ImageTarget& target) {
    Preprocessor preprocessor(spec);
    const auto result = preprocessor.Apply(picture.view(), map, target);
    EXPECT_FALSE(result.ok());
    return result.ok() ? "" : result.error().message;
  };
  const BlockMap map = EveryBlock(64, 48);
  EXPECT_NE(message({.color = Color::kGray}, map, input.target()).find("gray needs 1"),
            std::string::npos);
  EXPECT_NE(message({}, EveryBlock(64, 40), input.target()).find("64x48"), std::string::npos);
  EXPECT_NE(message({}, map, {}).find("channels"), std::string::npos);
  EXPECT_NE(message({.std = {1, 0, 1}}, map, input.target()).find("std"), std::string::npos);
  EXPECT_NE(message({.mean = {std::numeric_limits<float>::quiet_NaN()}}, map, input.target())
                .find("mean"),
            std::string::npos);
}

}  // namespace
}  // namespace deltacnn
