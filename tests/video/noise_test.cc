// The change detector on scenes whose truth the tests know: noise, fades, codecs, small things.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "clips.h"
#include "picture.h"

namespace deltacnn {
namespace {

constexpr int kWidth = 320;
constexpr int kHeight = 192;
constexpr int kBlocks = kWidth / 8 * (kHeight / 8);
constexpr ChangeOptions kOptions = {.tolerance = 5};

/// A still picture with edges, slopes and fine texture in all planes.
Picture Still(PixelFormat format = PixelFormat::kI420) {
  Picture picture(format, kWidth, kHeight);
  std::mt19937 random(5);
  std::uniform_int_distribution<int> grain(-8, 8);
  for (int c = 0; c < LayoutOf(format).components; ++c) {
    for (int y = 0; y < kHeight; ++y) {
      for (int x = 0; x < kWidth; ++x) {
        const int edge = (x / 37 + y / 23) % 2 == 0 ? 30 : 0;
        picture.Sample(c, y, x) = static_cast<uint8_t>(90 + x / 6 - y / 8 + edge + grain(random));
      }
    }
  }
  return picture;
}

using Shade = std::function<double(int component, int y, int x, int level)>;

/// Another level for every sample.
Picture Shaded(const Picture& picture, const Shade& shade) {
  Picture result = picture;
  const PixelLayout& layout = LayoutOf(picture.view().format);
  for (int c = 0; c < layout.components; ++c) {
    const int step_x = 1 << layout.component[c].shift_x;
    const int step_y = 1 << layout.component[c].shift_y;
    for (int y = 0; y < kHeight; y += step_y) {
      for (int x = 0; x < kWidth; x += step_x) {
        const double level = shade(c, y, x, SampleAt(picture.view(), c, y, x));
        result.Sample(c, y, x) = static_cast<uint8_t>(std::lround(std::clamp(level, 0.0, 255.0)));
      }
    }
  }
  return result;
}

Picture Noisy(const Picture& picture, double sigma, std::mt19937& random) {
  std::normal_distribution<> noise(0, sigma);
  return Shaded(picture, [&](int, int, int, int level) { return level + noise(random); });
}

/// Adds to the luma of a rectangle.
void Paint(Picture& picture, int left, int top, int width, int height, int contrast) {
  for (int y = top; y < top + height; ++y) {
    for (int x = left; x < left + width; ++x) {
      uint8_t& sample = picture.Sample(0, y, x);
      sample = static_cast<uint8_t>(std::clamp(sample + contrast, 0, 255));
    }
  }
}

double Update(ChangeDetector& detector, const Picture& picture) {
  EXPECT_TRUE(detector.Update(picture.view()).ok());
  return static_cast<double>(detector.changed().count) / kBlocks;
}

TEST(Noise, StillScenesStayStill) {
  for (const PixelFormat format : {PixelFormat::kI420, PixelFormat::kNv12, PixelFormat::kI422,
                                   PixelFormat::kGray8, PixelFormat::kBgr24}) {
    const Picture still = Still(format);
    for (const double sigma : {1.0, 2.0, 4.0, 8.0}) {
      SCOPED_TRACE(testing::Message() << LayoutOf(format).name << " sigma " << sigma);
      std::mt19937 random(6);
      ChangeDetector detector(kOptions);
      Update(detector, Noisy(still, sigma, random));
      double changed = 0;
      constexpr int kFrames = 8;
      for (int i = 0; i < kFrames; ++i) {
        changed += Update(detector, Noisy(still, sigma, random)) / kFrames;
      }
      EXPECT_LT(changed, 0.02);
      EXPECT_NEAR(detector.noise(), sigma, 0.25 * sigma);
    }
  }
}

// However many blocks there are: noise alone changes hardly one of them in a frame.
TEST(Noise, LargePicturesStayStill) {
  constexpr int kSide = 1024;
  constexpr int kFrames = 16;
  std::mt19937 random(15);
  std::normal_distribution<float> noise(100, 4);
  Picture frame(PixelFormat::kGray8, kSide, kSide);
  ChangeDetector detector(kOptions);
  int64_t changed = 0;
  for (int i = 0; i < kFrames; ++i) {
    for (uint8_t& level : frame.plane(0)) level = static_cast<uint8_t>(std::lround(noise(random)));
    ASSERT_TRUE(detector.Update(frame.view()).ok());
    if (i > 0) changed += detector.changed().count;
  }
  EXPECT_LT(changed, kFrames);
}

TEST(Noise, OfOneComponentLeavesTheOthersAlone) {
  const Picture still = Still();
  std::mt19937 random(7);
  std::normal_distribution<> noise(0, 8);
  const auto frame = [&](int shift) {
    return Shaded(still, [&](int c, int, int, int level) {
      return c == 0 ? level + noise(random) : level + shift;
    });
  };
  ChangeDetector detector(kOptions);
  for (int i = 0; i < 10; ++i) Update(detector, frame(0));
  EXPECT_LT(Update(detector, frame(0)), 0.02);
  EXPECT_EQ(Update(detector, frame(6)), 1);
}

TEST(Noise, CostsLittleBesideAMovingObject) {
  const auto changed = [](double sigma) {
    std::mt19937 random(8);
    ChangeDetector detector(kOptions);
    double sum = 0;
    for (int i = 0; i < 20; ++i) {
      Picture frame = Still();
      Paint(frame, 20 + 5 * i, 60, 40, 60, 60);
      const double share = Update(detector, Noisy(frame, sigma, random));
      if (i > 0) sum += share;
    }
    return sum;
  };
  const double clean = changed(0);
  EXPECT_GT(clean, 0);
  for (const double sigma : {1.0, 2.0, 4.0, 8.0}) EXPECT_LT(changed(sigma), 1.5 * clean) << sigma;
}

TEST(Noise, HidesNoBall) {
  const Picture still = Still();
  for (const double sigma : {0.0, 2.0, 4.0}) {
    std::mt19937 random(9);
    ChangeDetector detector(kOptions);
    for (int i = 0; i < 8; ++i) Update(detector, Noisy(still, sigma, random));
    for (int place = 0; place < 64; place += 5) {  // every place relative to the blocks
      const int left = 8 + 16 * (place % 16) + place % 8;
      const int top = 16 + 16 * (place / 16) + place / 8;
      Picture frame = still;
      Paint(frame, left, top, 4, 4, 80);
      Update(detector, Noisy(frame, sigma, random));
      bool found = false;
      for (const int y : {top, top + 3}) {
        for (const int x : {left, left + 3}) found |= detector.changed().Test(y / 8, x / 8);
      }
      EXPECT_TRUE(found) << "sigma " << sigma << " at " << left << "," << top;
      Update(detector, Noisy(still, sigma, random));  // and it leaves again
    }
  }
}

TEST(Noise, CreepingThingsAreFollowed) {
  ChangeDetector detector(kOptions);
  std::mt19937 random(10);
  const auto frame = [](int i) {
    Picture picture = Still();
    Paint(picture, 100 + i / 20, 50, 40, 40, 40);  // a pixel in 20 frames
    return picture;
  };
  for (int i = 0; i < 120; ++i) {
    const Picture now = frame(i);
    Update(detector, Noisy(now, 1, random));
    double error = 0;  // around the edge that moves ahead
    for (int y = 50; y < 90; ++y) {
      for (int x = 136; x < 152; ++x) {
        error += SampleAt(detector.held(), 0, y, x) - now.view().planes[0][y * kWidth + x];
      }
    }
    EXPECT_LT(std::abs(error) / (40 * 40), 2.5) << i;  // so many pixels of it are behind
  }
}

TEST(Noise, FineTextureThatMovesIsSeen) {
  Picture picture(PixelFormat::kGray8, kWidth, kHeight);
  ChangeDetector detector(kOptions);
  for (int i = 0; i < 20; ++i) {
    // The mean of every 4x4 pixels stays the same.
    for (int y = 0; y < kHeight; ++y) {
      for (int x = 0; x < kWidth; ++x) picture.Sample(0, y, x) = (x + i) % 2 == 0 ? 100 : 120;
    }
    EXPECT_EQ(Update(detector, picture), 1);
  }
}

// What a fade, a step or a switch does is never taken for noise: the picture held stays near.
void ExpectFollowed(const std::vector<Picture>& frames) {
  ChangeDetector detector(kOptions);
  for (const Picture& frame : frames) {
    ASSERT_TRUE(detector.Update(frame.view()).ok());
    double error = 0;
    for (int y = 0; y < kHeight; ++y) {
      for (int x = 0; x < kWidth; ++x) {
        error += std::abs(SampleAt(detector.held(), 0, y, x) - SampleAt(frame.view(), 0, y, x));
      }
    }
    EXPECT_LE(error / (kWidth * kHeight), 6);
    EXPECT_LT(detector.noise(), 2);
  }
}

TEST(Light, FadesAreFollowed) {
  const Picture still = Still();
  std::vector<Picture> frames;
  for (int i = 0; i < 60; ++i) {
    frames.push_back(Shaded(still, [i](int c, int, int, int level) {
      return c == 0 ? level * (1 - i / 60.0) : level;
    }));
  }
  ExpectFollowed(frames);
}

TEST(Light, ExposureStepsAreTakenOverAtOnce) {
  const Picture still = Still();
  std::mt19937 random(11);
  std::vector<Picture> frames;
  for (int i = 0; i < 30; ++i) {
    const double gain = 1 + 0.12 * static_cast<double>(i / 6 % 2);
    frames.push_back(Shaded(
        still, [gain](int c, int, int, int level) { return c == 0 ? level * gain : level; }));
  }
  ExpectFollowed(frames);
  ChangeDetector detector(kOptions);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Update(detector, frames[i]), i == 0 ? 1 : 0);
  Update(detector, frames[5]);
  EXPECT_EQ(Update(detector, frames[6]), 1);
}

TEST(Light, SwitchToInfraredAndCutsChangeEverything) {
  const Picture still = Still();
  const Picture grey = Shaded(
      still, [](int c, int, int, int level) { return c == 0 ? level : 128 + (level - 128) / 64; });
  const Picture other =
      Shaded(still, [](int, int y, int x, int level) { return 255 - level + (x + y) % 13; });
  for (const double sigma : {0.0, 4.0}) {
    std::mt19937 random(12);
    ChangeDetector detector(kOptions);
    for (int i = 0; i < 8; ++i) Update(detector, Noisy(still, sigma, random));
    EXPECT_GT(Update(detector, Noisy(grey, sigma, random)), 0.8);
    EXPECT_LT(Update(detector, Noisy(grey, sigma, random)), 0.03);
    EXPECT_GT(Update(detector, Noisy(other, sigma, random)), 0.95);
    EXPECT_LT(Update(detector, Noisy(other, sigma, random)), 0.03);
  }
}

TEST(Clock, ChangesItsOwnBlocksOnly) {
  ChangeDetector detector(kOptions);
  std::mt19937 random(13);
  for (int i = 0; i < 20; ++i) {
    Picture frame = Still();
    for (int digit = 0; digit < 4; ++digit) {
      Paint(frame, 8 + 8 * digit, 8, 3 + (i + digit) % 4, 8, 100);
    }
    Update(detector, Noisy(frame, 1, random));
    if (i == 0) continue;
    EXPECT_GT(detector.changed().count, 0);
    for (int row = 0; row < detector.changed().rows; ++row) {
      for (int column = 0; column < detector.changed().columns; ++column) {
        if (row == 1 && column >= 1 && column <= 4) continue;
        EXPECT_FALSE(detector.changed().Test(row, column)) << row << "," << column;
      }
    }
  }
}

TEST(Noise, IsNotMeasuredWhereNothingMayBeGivenUp) {
  const Picture still = Still();
  std::mt19937 random(14);
  ChangeDetector detector;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Update(detector, Noisy(still, 8, random)), 1);
  EXPECT_EQ(detector.noise(), 0);
}

// A still scene as codecs deliver it. Returns the share of changed blocks of I-frames between
// others and of the rest.
struct Activity {
  double intra = 0;
  double other = 0;
  double noise = 0;  // as estimated
  int frames = 0;
};
Activity Play(const std::string& clip, const VideoOptions& options = {}) {
  Activity activity;
  auto source = VideoSource::Open(clip, options);
  EXPECT_TRUE(source.ok()) << source.error().message;
  if (!source.ok()) return activity;
  ChangeDetector detector(kOptions);
  int intra = 0;
  int other = 0;
  FrameType before = FrameType::kUnknown;
  for (auto frame = source->Next(); frame.ok() && *frame; frame = source->Next()) {
    EXPECT_TRUE(detector.Update(**frame).ok());
    const BlockMap& map = detector.changed();
    const double share = static_cast<double>(map.count) / (map.rows * map.columns);
    const bool pop = (*frame)->type == FrameType::kI && before != FrameType::kI;
    before = (*frame)->type;
    if (activity.frames++ == 0) continue;
    (pop ? intra : other) += 1;
    (pop ? activity.intra : activity.other) += share;
  }
  activity.noise = detector.noise();
  if (intra > 0) activity.intra /= intra;
  if (other > 0) activity.other /= other;
  return activity;
}

struct Encoder {
  const char* name;
  const char* settings;
  const char* file;
};
constexpr Encoder kEncoders[] = {
    {"libx264", "-crf 23 -g 10", "a.mp4"},
    {"libx264", "-crf 28 -g 10", "a.mp4"},
    {"libx264", "-crf 35 -g 10", "a.mp4"},
    {"libx264", "-crf 28 -g 10 -bf 0 -preset ultrafast", "a.mp4"},
    {"libx265", "-crf 28 -x265-params keyint=10:log-level=none", "a.mp4"},
    {"libaom-av1", "-crf 35 -b:v 0 -cpu-used 8 -usage realtime -g 10", "a.mkv"},
    {"libvpx-vp9", "-b:v 300k -deadline realtime -cpu-used 8 -g 10", "a.webm"},
    {"mpeg4", "-q:v 5 -g 10", "a.avi"},
    {"mjpeg", "-q:v 5 -pix_fmt yuvj420p", "a.avi"},
    {"rawvideo", "-pix_fmt yuv420p", "a.nut"},
};

TEST(Codecs, StillScenesWithNoiseStayStill) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  int tried = 0;
  for (const Encoder& encoder : kEncoders) {
    SCOPED_TRACE(std::string(encoder.name) + " " + encoder.settings);
    std::string command =
        "-f lavfi -i \"testsrc2=s=320x192:r=25,boxblur=2,select='eq(n,0)',loop=-1:1,"
        "setpts=N/25/TB,noise=alls=10:allf=t:all_seed=7\" -frames:v 45 -c:v ";
    command.append(encoder.name).append(" ").append(encoder.settings).append(" ");
    if (!Ffmpeg(command.append(dir / encoder.file))) continue;
    ++tried;
    const Activity activity = Play(dir / encoder.file);
    EXPECT_EQ(activity.frames, 45);
    EXPECT_LT(activity.other, 0.03);
    EXPECT_LT(activity.intra, activity.other + 0.1);
  }
  EXPECT_GE(tried, 3);
}

// Light that swings, a colour cast, a switch to infrared, a cut and a fade, as codecs deliver them:
// the picture held stays near what was decoded, and none of it is taken for noise.
TEST(Codecs, LightCutsAndFadesAreFollowed) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  int tried = 0;
  for (const Encoder& encoder : kEncoders) {
    SCOPED_TRACE(std::string(encoder.name) + " " + encoder.settings);
    std::string command =
        "-f lavfi -i \"testsrc2=s=320x192:r=25,boxblur=2,eq=brightness='0.2*sin(n/8)':eval=frame,"
        "hue=h='90*gte(n,12)':s='lt(n,24)',negate=enable='gte(n,30)',fade=out:36:9\" "
        "-frames:v 45 -c:v ";
    command.append(encoder.name).append(" ").append(encoder.settings).append(" ");
    if (!Ffmpeg(command.append(dir / encoder.file))) continue;
    ++tried;
    auto source = VideoSource::Open(dir / encoder.file, {});
    ASSERT_TRUE(source.ok()) << source.error().message;
    ChangeDetector detector(kOptions);
    int number = 0;
    for (auto frame = source->Next(); frame.ok() && *frame; frame = source->Next(), ++number) {
      ASSERT_TRUE(detector.Update(**frame).ok());
      for (int c = 0; c < 3; ++c) {
        double error = 0;
        for (int y = 0; y < kHeight; y += 2) {
          for (int x = 0; x < kWidth; x += 2) {
            error += std::abs(SampleAt(detector.held(), c, y, x) - SampleAt(**frame, c, y, x));
          }
        }
        EXPECT_LE(error / (kWidth * kHeight / 4), 4) << "component " << c << " frame " << number;
      }
      EXPECT_LT(detector.noise(), 2);
    }
    EXPECT_EQ(number, 45);
  }
  EXPECT_GE(tried, 3);
}

// Whatever way a camera's frames come in, unchanged blocks keep their pixels.
TEST(Cameras, AreTreatedAlike) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(
      Ffmpeg("-f lavfi -i \"testsrc2=s=320x192:r=25,boxblur=2,select='eq(n,0)',"
             "lutyuv=y=val/2+64:u=val/4+96:v=val/4+96,loop=-1:1,setpts=N/25/"
             "TB,noise=c0s=12:c0f=t:c0_seed=8\" -frames:v 20 "
             "-f rawvideo -pix_fmt yuv420p " +
             (dir / "camera.raw")));
  const VideoOptions raw = {.raw_format = "yuv420p", .width = 320, .height = 192};
  const std::string from_raw =
      "-f rawvideo -pix_fmt yuv420p -s 320x192 -r 25 -i " + (dir / "camera.raw") + " ";
  std::filesystem::create_directory(dir / "images");
  ASSERT_TRUE(Ffmpeg(from_raw + (dir / "images/%03d.png")));
  ASSERT_TRUE(Ffmpeg(from_raw + "-c:v ffv1 " + (dir / "lossless.mkv")));
  ASSERT_TRUE(Ffmpeg(from_raw + "-c:v mjpeg -q:v 3 " + (dir / "webcam.avi")));

  const Activity pipe = Play(dir / "camera.raw", raw);
  EXPECT_GT(pipe.noise, 1.5);
  const std::array<Activity, 4> all = {pipe, Play(dir / "images"), Play(dir / "lossless.mkv"),
                                       Play(dir / "webcam.avi")};
  for (const Activity& activity : all) {
    EXPECT_EQ(activity.frames, 20);
    EXPECT_EQ(activity.intra, 0);  // none of them has I-frames between others
    EXPECT_LT(activity.other, 0.02);
  }
  EXPECT_GT(all[1].noise, pipe.noise);  // luma of limited range
  EXPECT_GT(all[3].noise, 0.5 * pipe.noise);
  EXPECT_EQ(all[2].noise, pipe.noise);
}

}  // namespace
}  // namespace deltacnn
