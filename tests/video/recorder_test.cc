// What is recorded is what is delivered, frame by frame.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <memory>

#include "clips.h"
#include "picture.h"

namespace deltacnn {
namespace {

constexpr int kWidth = 160;
constexpr int kHeight = 96;

/// A still picture with a square that moves, and noise.
Picture Scene(int number, double sigma, int width = kWidth, int height = kHeight,
              PixelFormat format = PixelFormat::kI420) {
  Picture picture(format, width, height);
  std::mt19937 random(number + 1);
  std::normal_distribution<> noise(0, sigma);
  for (int c = 0; c < LayoutOf(format).components; ++c) {
    const ComponentLayout& layout = LayoutOf(format).component[c];
    for (int y = 0; y < height; y += 1 << layout.shift_y) {
      for (int x = 0; x < width; x += 1 << layout.shift_x) {
        const bool square = x / 16 == number % 8 && y / 16 == 2;
        const int level = 90 + x / 4 - y / 4 + ((x / 29 + y / 23) % 2) * 30 + (square ? 70 : 0);
        picture.Sample(c, y, x) =
            static_cast<uint8_t>(std::clamp(level + noise(random), 0.0, 255.0));
      }
    }
  }
  picture.view().pts = 3 + number / 25.0;
  picture.view().discontinuity = number == 0;
  return picture;
}

/// Frames one after the other; each goes away when the next is read.
VideoRecorder::Reader ReaderOf(int count, std::function<Picture(int)> make) {
  auto next = std::make_shared<int>(0);
  auto now = std::make_shared<std::unique_ptr<Picture>>();
  return [=]() -> Result<std::optional<FrameView>> {
    now->reset();
    if (*next == count) return std::optional<FrameView>();
    *now = std::make_unique<Picture>(make((*next)++));
    return std::optional((*now)->view());
  };
}

std::vector<uint8_t> SamplesOf(const FrameView& frame) {
  std::vector<uint8_t> samples;
  const PixelLayout& layout = LayoutOf(frame.format);
  for (int p = 0; p < layout.planes; ++p) {
    const ComponentLayout& plane = PlaneLayout(layout, p);
    for (int y = 0; y < PlaneHeight(plane, frame.height); ++y) {
      const uint8_t* row = frame.planes[p] + y * frame.strides[p];
      samples.insert(samples.end(), row, row + PlaneRowBytes(plane, frame.width));
    }
  }
  return samples;
}

/// A frame that outlives its source.
struct Kept {
  FrameView view;
  std::vector<uint8_t> samples;
};

std::vector<Kept> ReadAll(const VideoRecorder::Reader& next) {
  std::vector<Kept> frames;
  for (;;) {
    const auto frame = next();
    EXPECT_TRUE(frame.ok()) << (frame.ok() ? "" : frame.error().message);
    if (!frame.ok() || !*frame) return frames;
    frames.push_back({**frame, SamplesOf(**frame)});
  }
}

std::vector<Kept> Record(const std::string& path, VideoRecorder::Reader reader,
                         const RecorderOptions& options = {}) {
  auto recorder = VideoRecorder::Create(path, std::move(reader), options);
  EXPECT_TRUE(recorder.ok()) << (recorder.ok() ? "" : recorder.error().message);
  if (!recorder.ok()) return {};
  std::vector<Kept> frames = ReadAll([&] { return recorder->Next(); });
  EXPECT_TRUE(recorder->Close().ok());
  return frames;
}

std::vector<Kept> Play(const std::string& path) {
  auto source = VideoSource::Open(path);
  EXPECT_TRUE(source.ok()) << (source.ok() ? "" : source.error().message);
  if (!source.ok()) return {};
  std::vector<Kept> frames = ReadAll([&] { return source->Next(); });
  EXPECT_EQ(source->stats().decode_errors, 0);
  return frames;
}

bool HaveEncoder() {
  static const bool have = [] {
    const TempDir dir;
    return VideoRecorder::Create(dir / "a.mp4", ReaderOf(1, [](int i) { return Scene(i, 0); }))
        .ok();
  }();
  return have;
}

#define DELTACNN_NEEDS_ENCODER() \
  if (!HaveEncoder()) GTEST_SKIP() << "FFmpeg has no H.264 encoder that works here"

double Difference(const FrameView& a, const FrameView& b) {
  double sum = 0;
  for (int y = 0; y < a.height; ++y) {
    for (int x = 0; x < a.width; ++x) sum += std::abs(SampleAt(a, 0, y, x) - SampleAt(b, 0, y, x));
  }
  return sum / (a.width * a.height);
}

TEST(VideoRecorder, DeliversWhatTheRecordingShows) {
  DELTACNN_NEEDS_ENCODER();
  const TempDir dir;
  constexpr int kFrames = 40;
  for (const int threads : {1, 3}) {
    auto recorder = VideoRecorder::Create(
        dir / "a.mp4", ReaderOf(kFrames, [](int i) { return Scene(i, 4); }), {.threads = threads});
    ASSERT_TRUE(recorder.ok()) << recorder.error().message;
    EXPECT_NE(recorder->encoder(), "");
    std::vector<Kept> seen;
    for (int i = 0; i < kFrames; ++i) {
      const auto frame = recorder->Next();
      ASSERT_TRUE(frame.ok() && *frame);
      seen.push_back({**frame, SamplesOf(**frame)});
      EXPECT_LT(Difference(**frame, Scene(i, 0).view()), 4) << i;
      EXPECT_EQ((**frame).discontinuity, i == 0);
      EXPECT_EQ((**frame).keyframe, i == 0);
      EXPECT_EQ((**frame).pts, Scene(i, 0).view().pts);
      EXPECT_GT(recorder->encode_ms(), 0);
      EXPECT_GT(recorder->decode_ms(), 0);
    }
    for (int i = 0; i < 2; ++i) {
      const auto end = recorder->Next();
      EXPECT_TRUE(end.ok() && !*end);
    }
    ASSERT_TRUE(recorder->Close().ok());
    EXPECT_TRUE(recorder->Close().ok());
    EXPECT_FALSE(recorder->Next().ok());

    const std::vector<Kept> played = Play(dir / "a.mp4");
    ASSERT_EQ(played.size(), seen.size());
    for (int i = 0; i < kFrames; ++i) {
      EXPECT_EQ(played[i].samples, seen[i].samples) << i;
      EXPECT_NEAR(played[i].view.pts, i / 25.0, 1e-4);
      EXPECT_EQ(played[i].view.matrix, seen[i].view.matrix);
      EXPECT_EQ(played[i].view.range, seen[i].view.range);
    }
  }
}

// One in, one out: a frame is there before the next is read.
TEST(VideoRecorder, HoldsNothingBack) {
  DELTACNN_NEEDS_ENCODER();
  const TempDir dir;
  int read = 0;
  auto recorder =
      VideoRecorder::Create(dir / "a.mp4", ReaderOf(9, [&](int i) { return Scene(read = i, 2); }));
  ASSERT_TRUE(recorder.ok());
  if (recorder->encoder() != "libx264") GTEST_SKIP() << recorder->encoder() << " may hold frames";
  for (int i = 0; i < 9; ++i) {
    ASSERT_TRUE(recorder->Next().ok());
    EXPECT_EQ(read, i);
  }
}

TEST(VideoRecorder, LeavesNoiseOut) {
  DELTACNN_NEEDS_ENCODER();
  const TempDir dir;
  const auto changed = [](const VideoRecorder::Reader& next, float tolerance) {
    ChangeDetector detector({.tolerance = tolerance, .max_tolerance = tolerance});
    int64_t count = 0;
    for (auto frame = next(); frame.ok() && *frame; frame = next()) {
      EXPECT_TRUE(detector.Update(**frame).ok());
      if (!(**frame).discontinuity) count += detector.changed().count;
    }
    return count;
  };
  for (const float tolerance : {0.0F, 2.0F}) {
    const auto scene = [] { return ReaderOf(30, [](int i) { return Scene(i, 4); }); };
    auto recorder = VideoRecorder::Create(dir / "a.mp4", scene(), {.quality = 30});
    ASSERT_TRUE(recorder.ok());
    const int64_t raw = changed(scene(), tolerance);
    const int64_t encoded = changed([&] { return recorder->Next(); }, tolerance);
    EXPECT_GT(encoded, 0);
    EXPECT_LT(2 * encoded, raw) << tolerance;
  }
}

TEST(VideoRecorder, TakesEverySizeAndFormat) {
  DELTACNN_NEEDS_ENCODER();
  const TempDir dir;
  for (const PixelFormat format : kAllFormats) {
    for (const auto& size : {std::pair{160, 96}, {75, 51}, {74, 51}, {75, 52}}) {
      const int width = size.first;
      const int height = size.second;
      SCOPED_TRACE(testing::Message() << LayoutOf(format).name << " " << width << "x" << height);
      const auto make = [&](int i) {
        Picture picture = Scene(i, 0, width, height, format);
        if (format == PixelFormat::kGray8) picture.view().range = ColorRange::kFull;
        return picture;
      };
      const std::vector<Kept> seen = Record(dir / "a.mp4", ReaderOf(3, make), {.quality = 10});
      const std::vector<Kept> played = Play(dir / "a.mp4");
      ASSERT_EQ(seen.size(), 3);
      ASSERT_EQ(played.size(), 3);
      for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(seen[i].view.width, width);
        EXPECT_EQ(seen[i].view.height, height);
        ASSERT_TRUE(seen[i].view.Check().ok());
        // The recording has a column or a row more.
        EXPECT_EQ(played[i].view.width, (width + 1) / 2 * 2);
        EXPECT_EQ(played[i].view.height, (height + 1) / 2 * 2);
        const size_t stride = played[i].view.width;
        const auto shown = [&](int y, int x) { return played[i].samples[y * stride + x]; };
        for (int y = 0; y < height; ++y) {
          for (int x = 0; x < width; ++x) {
            ASSERT_EQ(shown(y, x), seen[i].samples[static_cast<size_t>(y) * width + x]);
          }
        }
        if (LayoutOf(format).rgb) continue;
        const Picture original = make(i);
        double sum = 0;
        for (int y = 0; y < height; ++y) {
          for (int x = 0; x < width; ++x)
            sum += std::abs(shown(y, x) - SampleAt(original.view(), 0, y, x));
        }
        EXPECT_LT(sum / (width * height), 2);
      }
    }
  }
}

TEST(VideoRecorder, KeepsTheColourDescription) {
  DELTACNN_NEEDS_ENCODER();
  const TempDir dir;
  const Picture original = Scene(1, 0);
  for (const ColorMatrix matrix :
       {ColorMatrix::kBt601, ColorMatrix::kBt709, ColorMatrix::kBt2020}) {
    for (const ColorRange range : {ColorRange::kLimited, ColorRange::kFull}) {
      const auto make = [&](int i) {
        Picture picture = Scene(i, 0);
        picture.view().matrix = matrix;
        picture.view().range = range;
        return picture;
      };
      for (const auto& frames : {Record(dir / "a.mp4", ReaderOf(2, make)), Play(dir / "a.mp4")}) {
        ASSERT_EQ(frames.size(), 2);
        EXPECT_EQ(frames[1].view.matrix, matrix);
        EXPECT_EQ(frames[1].view.range, range);
        double sum = 0;
        for (int i = 0; i < kWidth * kHeight; ++i)
          sum += std::abs(frames[1].samples[i] - original.view().planes[0][i]);
        EXPECT_LT(sum / (kWidth * kHeight), 2);
      }
    }
  }
}

// A new size ends what went before, and the rest of the recording has it.
TEST(VideoRecorder, FollowsTheSize) {
  DELTACNN_NEEDS_ENCODER();
  const TempDir dir;
  const auto make = [](int i) {
    if (i < 5) return Scene(i, 3);
    return i < 9 ? Scene(i, 3, 96, 160) : Scene(i, 3, 96, 160, PixelFormat::kRgb24);
  };
  const std::vector<Kept> seen = Record(dir / "a.mp4", ReaderOf(12, make));
  const std::vector<Kept> played = Play(dir / "a.mp4");
  ASSERT_EQ(seen.size(), 12);
  ASSERT_EQ(played.size(), 12);
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(seen[i].view.width, i < 5 ? 160 : 96);
    EXPECT_EQ(seen[i].view.height, i < 5 ? 96 : 160);
    EXPECT_EQ(seen[i].view.pts, 3 + i / 25.0);
    EXPECT_EQ(seen[i].view.discontinuity, i == 0 || i == 5) << i;
    EXPECT_EQ(seen[i].samples, played[i].samples) << i;
  }
}

// What comes after a discontinuity owes nothing to what went before it.
TEST(VideoRecorder, DiscontinuitiesStartWithAKeyframe) {
  DELTACNN_NEEDS_ENCODER();
  const TempDir dir;
  const auto make = [](int i) {
    Picture picture = Scene(i, 0);
    picture.view().discontinuity = i == 0 || i == 6;
    return picture;
  };
  const std::vector<Kept> seen = Record(dir / "a.mp4", ReaderOf(10, make));
  ASSERT_EQ(seen.size(), 10);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(seen[i].view.discontinuity, i == 0 || i == 6) << i;
    EXPECT_EQ(seen[i].view.keyframe, i == 0 || i == 6) << i;
  }
}

TEST(VideoRecorder, KeepsGapsBetweenFrames) {
  DELTACNN_NEEDS_ENCODER();
  const TempDir dir;
  const std::vector<double> stamps = {5, 5.1, 5.1, 5.5, 9, 9.04};
  const auto make = [&](int i) {
    Picture picture = Scene(i, 0);
    picture.view().pts = stamps[i];
    return picture;
  };
  const std::vector<Kept> seen = Record(dir / "a.mp4", ReaderOf(6, make));
  const std::vector<Kept> played = Play(dir / "a.mp4");
  ASSERT_EQ(seen.size(), 6);
  ASSERT_EQ(played.size(), 6);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(seen[i].view.pts, stamps[i]);
    EXPECT_NEAR(played[i].view.pts, stamps[i] - 5, 1e-3);
  }
}

TEST(VideoRecorder, AKilledProcessLeavesAFileThatPlays) {
  DELTACNN_NEEDS_ENCODER();
  const TempDir dir;
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto recorder =
        VideoRecorder::Create(dir / "a.mp4", ReaderOf(1000000, [](int i) { return Scene(i, 4); }));
    while (recorder.ok() && recorder->Next().ok()) (void)!write(ends[1], "x", 1);
    _exit(1);
  }
  close(ends[1]);
  constexpr int kRead = 110;
  char byte = 0;
  for (int i = 0; i < kRead; ++i) ASSERT_EQ(read(ends[0], &byte, 1), 1);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ends[0]);
  EXPECT_GE(Play(dir / "a.mp4").size(), 75);  // three fragments of a second, at least
}

TEST(VideoRecorder, KeepsThePixelAspect) {
  DELTACNN_NEEDS_ENCODER();
  const TempDir dir;
  auto recorder =
      VideoRecorder::Create(dir / "a.mp4", ReaderOf(2, [](int number) { return Scene(number, 0); }),
                            {.pixel_aspect = 12.0 / 11});
  ASSERT_TRUE(recorder.ok()) << recorder.error().message;
  EXPECT_TRUE(recorder->Next().ok());
  ASSERT_TRUE(recorder->Close().ok());
  EXPECT_NEAR(VideoSource::Open(dir / "a.mp4")->info().pixel_aspect, 12.0 / 11, 1e-9);
}

TEST(VideoRecorder, PassesErrorsOn) {
  DELTACNN_NEEDS_ENCODER();
  const TempDir dir;
  const auto scene = ReaderOf(9, [](int i) { return Scene(i, 2); });
  int calls = 0;
  auto recorder = VideoRecorder::Create(dir / "a.mp4", [&]() -> Result<std::optional<FrameView>> {
    if (++calls > 3) return Error{ErrorCode::kIo, "lost the camera"};
    return scene();
  });
  ASSERT_TRUE(recorder.ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(recorder->Next().ok());
  const auto lost = recorder->Next();
  ASSERT_FALSE(lost.ok());
  EXPECT_EQ(lost.error().message, "lost the camera");
  EXPECT_TRUE(recorder->Close().ok());
  EXPECT_EQ(Play(dir / "a.mp4").size(), 3);
}

TEST(VideoRecorder, SaysWhatIsWrong) {
  const TempDir dir;
  const auto error = [&](const std::string& path, const RecorderOptions& options) {
    const auto recorder =
        VideoRecorder::Create(path, ReaderOf(3, [](int i) { return Scene(i, 0); }), options);
    EXPECT_FALSE(recorder.ok());
    return recorder.ok() ? Error() : recorder.error();
  };
  const auto names = [](const Error& found, ErrorCode code, const char* text) {
    EXPECT_EQ(found.code, code) << found.message;
    EXPECT_NE(found.message.find(text), std::string::npos) << found.message;
    EXPECT_EQ(found.message.find('\n'), std::string::npos);
  };
  names(error(dir / "a.mp4", {.encoder = "nobody"}), ErrorCode::kUnsupported, "'nobody'");
  names(error(dir / "a.mp4", {.encoder = "mpeg4"}), ErrorCode::kUsage, "does not make H.264");
  names(error(dir / "a.mp4", {.fps = 0}), ErrorCode::kUsage, "fps");
  names(VideoRecorder::Create(dir / "a.mp4", nullptr).error(), ErrorCode::kUsage, "reader");
  names(error(dir / "a.mp4", {.quality = 52}), ErrorCode::kUsage, "quality");
  EXPECT_FALSE(std::filesystem::exists(dir / "a.mp4"));
  if (HaveEncoder()) names(error(dir / "none/a.mp4", {}), ErrorCode::kIo, "none/a.mp4': No such");
  const auto empty = VideoRecorder::Create(dir / "a.mp4", ReaderOf(0, nullptr));
  ASSERT_FALSE(empty.ok());
  EXPECT_NE(empty.error().message.find("no frame"), std::string::npos);
  const auto invalid =
      VideoRecorder::Create(dir / "a.mp4", [] { return std::optional(FrameView()); });
  EXPECT_FALSE(invalid.ok());
}

}  // namespace
}  // namespace deltacnn
