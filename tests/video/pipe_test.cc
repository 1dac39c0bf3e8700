// Standard input, and what has no header or time stamps.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include "clips.h"
#include "playback.h"

namespace deltacnn {
namespace {

// Feeds standard input from a file or pipe for as long as it lives.
class StandardInput {
 public:
  explicit StandardInput(int descriptor) : saved_(dup(STDIN_FILENO)) {
    dup2(descriptor, STDIN_FILENO);
    close(descriptor);
  }
  StandardInput(const StandardInput&) = delete;
  StandardInput& operator=(const StandardInput&) = delete;
  ~StandardInput() {
    dup2(saved_, STDIN_FILENO);
    close(saved_);
  }

 private:
  int saved_;
};

// Standard input that is a pipe, fed from a file.
class PipedFile {
 public:
  PipedFile(const std::string& path, size_t bytes_a_write) {
    signal(SIGPIPE, SIG_IGN);
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe(ends.data()), 0);
    feeder_ = std::jthread([path, bytes_a_write, to = ends[1]] {
      const std::vector<uint8_t> bytes = ReadBytes(path);
      for (size_t sent = 0; sent < bytes.size();) {
        const size_t size = std::min(bytes_a_write, bytes.size() - sent);
        const ssize_t written = write(to, &bytes[sent], size);
        if (written <= 0) break;
        sent += static_cast<size_t>(written);
      }
      close(to);
    });
    input_.emplace(ends[0]);
  }

 private:
  std::jthread feeder_;
  std::optional<StandardInput> input_;  // goes away first, which ends the feeder
};

TEST(VideoSource, ReadsAPipe) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(
      Ffmpeg(kScene + std::string("-frames:v 20 -c:v mpeg4 -f matroska ") + (dir / "a.mkv")));
  const PipedFile input(dir / "a.mkv", 1);
  const Playback piped = Play("-");
  EXPECT_EQ(piped.error, "");
  EXPECT_EQ(piped.frames, 20);
}

TEST(VideoSource, ReadsHeaderlessVideo) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(
      Ffmpeg(kScene + std::string("-frames:v 6 -f rawvideo -pix_fmt nv12 ") + (dir / "a.raw")));
  const VideoOptions options = {.raw_format = "nv12", .width = 160, .height = 96, .fps = 10};
  EXPECT_EQ(Play(dir / "a.raw", options).frames, 6);
  {
    const StandardInput input(open((dir / "a.raw").c_str(), O_RDONLY));
    const Playback piped = Play("-", options);
    EXPECT_EQ(piped.frames, 6);
    EXPECT_NEAR(piped.last_pts, 0.5, 1e-6);
  }
  std::filesystem::copy_file(dir / "a.raw", dir / "a.yuv");
  EXPECT_TRUE(Contains(Play(dir / "a.yuv").error, "--raw FORMAT --size WxH"));
  for (const std::string& name : {dir / "a.raw", std::string("-")}) {
    const StandardInput input(open((dir / "a.raw").c_str(), O_RDONLY));
    EXPECT_TRUE(Contains(Play(name).error, "--raw FORMAT --size WxH"));
    lseek(STDIN_FILENO, 0, SEEK_SET);
    EXPECT_TRUE(Contains(Play(name, {.raw_format = "nv12"}).error, "0x0"));
    EXPECT_TRUE(Contains(Play(name, {.raw_format = "nonsense", .width = 2, .height = 2}).error,
                         "pix_fmts"));
  }
}

TEST(VideoSource, StreamsWithoutTimeStampsHaveTheRateAskedFor) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(kScene + std::string("-frames:v 6 -c:v mjpeg ") + (dir / "a.mjpeg")));
  ASSERT_TRUE(Ffmpeg(kScene + std::string("-frames:v 6 -c:v mjpeg ") + (dir / "a.avi")));
  EXPECT_NEAR(Play(dir / "a.mjpeg", {.fps = 10}).last_pts, 0.5, 1e-6);
  EXPECT_NEAR(Play(dir / "a.avi", {.fps = 10}).last_pts, 0.2, 1e-6);
  const StandardInput input(open((dir / "a.mjpeg").c_str(), O_RDONLY));
  const auto source = VideoSource::Open("-", {.fps = 10});
  ASSERT_TRUE(source.ok());
  EXPECT_EQ(source->info().fps, 10);
}

TEST(VideoSource, SaysWhyAnIndexAtTheEndIsNoUseInAPipe) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  const std::string scene = "-f lavfi -i testsrc2=s=640x480:r=25 -frames:v 30 -c:v mpeg4 -q:v 2 ";
  ASSERT_TRUE(Ffmpeg(scene + (dir / "a.mov")));
  ASSERT_TRUE(Ffmpeg(scene + "-movflags +faststart " + (dir / "b.mov")));
  {
    const PipedFile input(dir / "a.mov", 4096);
    EXPECT_TRUE(Contains(Play("-").error, "faststart"));
  }
  const PipedFile input(dir / "b.mov", 4096);
  EXPECT_EQ(Play("-").frames, 30);
}

TEST(VideoSource, EndsWhenToldTo) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const StandardInput input(ends[0]);
  std::atomic<bool> stop = false;
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    stop = true;
  });
  const auto source = VideoSource::Open("-", {.stop = &stop});
  stopper.join();
  close(ends[1]);
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.error().message, "cannot open standard input: interrupted");
}

}  // namespace
}  // namespace deltacnn
