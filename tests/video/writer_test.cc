#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <limits>

#include "clips.h"
#include "picture.h"

namespace deltacnn {
namespace {

// A plain colour in any format.
Picture Plain(PixelFormat format, int width, int height, std::array<int, 3> rgb) {
  Picture picture(format, width, height, 4);
  const PixelLayout& layout = LayoutOf(format);
  const double luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
  const std::array<double, 3> yuv = {16 + luma * 219 / 255,
                                     128 + (rgb[2] - luma) / 1.772 * 224 / 255,
                                     128 + (rgb[0] - luma) / 1.402 * 224 / 255};
  for (int c = 0; c < layout.components; ++c) {
    const auto level = static_cast<uint8_t>(std::lround(layout.rgb ? rgb[c] : yuv[c]));
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) picture.Sample(c, y, x) = level;
    }
  }
  return picture;
}

TEST(VideoWriter, KeepsColoursInEveryFormat) {
  const TempDir dir;
  for (const PixelFormat format : kAllFormats) {
    SCOPED_TRACE(LayoutOf(format).name);
    const std::array<int, 3> rgb =
        format == PixelFormat::kGray8 ? std::array{90, 90, 90} : std::array{180, 60, 30};
    auto writer = VideoWriter::Create(dir / "a.mp4", 64, 48);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    Picture picture = Plain(format, 64, 48, rgb);
    ASSERT_TRUE(writer->Write(picture.view()).ok());
    ASSERT_TRUE(writer->Close().ok());
    const Picture expected = Plain(PixelFormat::kI420, 64, 48, rgb);
    auto source = VideoSource::Open(dir / "a.mp4");
    ASSERT_TRUE(source.ok()) << source.error().message;
    auto frame = source->Next();
    ASSERT_TRUE(frame.ok() && *frame);
    for (int c = 0; c < 3; ++c) {
      EXPECT_NEAR(SampleAt(**frame, c, 20, 30), SampleAt(expected.view(), c, 20, 30), 3) << c;
    }
  }
}

TEST(VideoWriter, KeepsTimeStamps) {
  const TempDir dir;
  auto writer = VideoWriter::Create(dir / "a.mp4", 64, 48, {.fps = 30000.0 / 1001});
  ASSERT_TRUE(writer.ok());
  // The first one counts as 0, one that repeats moves on by a hair, gaps stay.
  const std::vector<double> stamps = {5, 5.1, 5.1, 5.5, 9, 9.04};
  for (const double pts : stamps) {
    Picture picture = Plain(PixelFormat::kBgra32, 64, 48, {0, 0, 0});
    picture.view().pts = pts;
    ASSERT_TRUE(writer->Write(picture.view()).ok());
  }
  ASSERT_TRUE(writer->Close().ok());
  auto source = VideoSource::Open(dir / "a.mp4");
  ASSERT_TRUE(source.ok());
  for (const double pts : stamps) {
    auto frame = source->Next();
    ASSERT_TRUE(frame.ok() && *frame);
    EXPECT_NEAR((**frame).pts, pts - 5, 1e-3);
  }
  EXPECT_EQ(source->stats().decode_errors, 0);
}

TEST(VideoWriter, CutsOddSizesAndScalesOthers) {
  const TempDir dir;
  auto writer = VideoWriter::Create(dir / "a.mp4", 65, 49);
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  EXPECT_TRUE(writer->Write(Plain(PixelFormat::kBgr24, 65, 49, {200, 10, 10}).view()).ok());
  EXPECT_TRUE(writer->Write(Plain(PixelFormat::kI420, 31, 77, {200, 10, 10}).view()).ok());
  ASSERT_TRUE(writer->Close().ok());
  auto source = VideoSource::Open(dir / "a.mp4");
  ASSERT_TRUE(source.ok());
  EXPECT_EQ(source->info().width, 64);
  EXPECT_EQ(source->info().height, 48);
  for (int i = 0; i < 2; ++i) {
    auto frame = source->Next();
    ASSERT_TRUE(frame.ok() && *frame);
    EXPECT_NEAR(SampleAt(**frame, 2, 30, 40), 220, 12);
  }
}

TEST(VideoWriter, AKilledProcessLeavesAFileThatPlays) {
  const TempDir dir;
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto writer = VideoWriter::Create(dir / "a.mp4", 64, 48, {.fps = 10});
    Picture picture(PixelFormat::kBgr24, 64, 48);
    std::mt19937 random(1);
    for (int i = 0; writer.ok(); ++i) {
      picture.Randomize(random);
      picture.view().pts = i / 10.0;
      (void)writer->Write(picture.view());
      (void)!write(ends[1], "x", 1);
    }
    _exit(1);
  }
  close(ends[1]);
  constexpr int kWritten = 57;
  char byte = 0;
  for (int i = 0; i < kWritten; ++i) ASSERT_EQ(read(ends[0], &byte, 1), 1);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ends[0]);

  auto source = VideoSource::Open(dir / "a.mp4");
  ASSERT_TRUE(source.ok()) << source.error().message;
  int frames = 0;
  for (auto frame = source->Next(); frame.ok() && *frame; frame = source->Next()) {
    EXPECT_NEAR((**frame).pts, frames / 10.0, 1e-3);
    ++frames;
  }
  EXPECT_GE(frames, 50);  // all fragments of a second but the last
  EXPECT_EQ(source->stats().decode_errors, 0);
}

TEST(VideoWriter, ClosesWhenItGoesAway) {
  const TempDir dir;
  {
    auto writer = VideoWriter::Create(dir / "a.mp4", 64, 48);
    ASSERT_TRUE(writer.ok());
    VideoWriter moved = std::move(*writer);
    ASSERT_TRUE(moved.Write(Plain(PixelFormat::kRgb24, 64, 48, {9, 9, 9}).view()).ok());
  }
  auto source = VideoSource::Open(dir / "a.mp4");
  ASSERT_TRUE(source.ok()) << source.error().message;
}

TEST(VideoWriter, KeepsThePixelAspect) {
  const TempDir dir;
  for (const double aspect : {1.0, 32.0 / 27, 10.0 / 11, 3.0}) {
    auto writer = VideoWriter::Create(dir / "a.mp4", 64, 48, {.pixel_aspect = aspect});
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    ASSERT_TRUE(writer->Write(Plain(PixelFormat::kI420, 64, 48, {9, 9, 9}).view()).ok());
    ASSERT_TRUE(writer->Close().ok());
    auto source = VideoSource::Open(dir / "a.mp4");
    ASSERT_TRUE(source.ok());
    EXPECT_NEAR(source->info().pixel_aspect, aspect, 1e-9);
    EXPECT_EQ(source->info().width, 64);
  }
  for (const double aspect : {0.0, -1.0, 1e9, std::numeric_limits<double>::quiet_NaN()})
    EXPECT_FALSE(VideoWriter::Create(dir / "b.mp4", 64, 48, {.pixel_aspect = aspect}).ok());
}

TEST(VideoWriter, SaysWhatIsWrong) {
  const TempDir dir;
  const auto message = [](const Result<VideoWriter>& result) {
    EXPECT_FALSE(result.ok());
    return result.ok() ? "" : result.error().message;
  };
  const std::string missing = message(VideoWriter::Create(dir / "none/a.mp4", 64, 48));
  EXPECT_NE(missing.find("none/a.mp4': No such file"), std::string::npos) << missing;
  EXPECT_NE(message(VideoWriter::Create(dir / "a.mp4", 1, 48)).find("1x48"), std::string::npos);
  EXPECT_NE(message(VideoWriter::Create(dir / "a.mp4", 64, 48, {.fps = 0})).find("fps"),
            std::string::npos);

  auto writer = VideoWriter::Create(dir / "a.mp4", 64, 48);
  ASSERT_TRUE(writer.ok());
  Picture picture = Plain(PixelFormat::kRgb24, 64, 48, {9, 9, 9});
  picture.view().pts = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(writer->Write(picture.view()).ok());
  EXPECT_FALSE(writer->Write(FrameView()).ok());
  picture.view().pts = 0;
  EXPECT_TRUE(writer->Write(picture.view()).ok());
  EXPECT_TRUE(writer->Close().ok());
  EXPECT_TRUE(writer->Close().ok());
  EXPECT_NE(writer->Write(picture.view()).error().message.find("already closed"),
            std::string::npos);
}

TEST(VideoWriter, ReportsAFullDisk) {
  const TempDir dir;
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  auto* const handler = signal(SIGXFSZ, SIG_IGN);
  constexpr rlim_t kBytes = 20000;
  const rlimit small = {kBytes, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);

  auto writer = VideoWriter::Create(dir / "a.mp4", 64, 48, {.fps = 2});
  ASSERT_TRUE(writer.ok());
  Picture picture(PixelFormat::kRgb24, 64, 48);
  std::mt19937 random(1);
  Status status;
  for (int i = 0; i < 200 && status.ok(); ++i) {
    picture.Randomize(random);
    picture.view().pts = i / 2.0;
    status = writer->Write(picture.view());
  }
  const Status again = writer->Write(picture.view());
  const Status closed = writer->Close();
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);

  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("File too large"), std::string::npos)
      << status.error().message;
  EXPECT_FALSE(again.ok());
  EXPECT_FALSE(closed.ok());
}

}  // namespace
}  // namespace deltacnn
