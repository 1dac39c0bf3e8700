#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <random>
#include <thread>

#include "clips.h"
#include "picture.h"
#include "playback.h"

namespace deltacnn {
namespace {

struct Coding {
  const char* encoder;
  const char* settings;  // of the encoder
  const char* file;
  const char* raw_format;  // FFmpeg's name of `format`
  PixelFormat format;
  bool exact;  // no conversion on the way
  ColorRange range;
};

constexpr auto kLimited = ColorRange::kLimited;
constexpr auto kFull = ColorRange::kFull;

const Coding kCodings[] = {
    {"libx264", "-pix_fmt yuv420p -bf 2", "a.mp4", "yuv420p", PixelFormat::kI420, true, kLimited},
    {"libx264", "-pix_fmt yuvj420p", "a.mp4", "yuvj420p", PixelFormat::kI420, true, kFull},
    {"libx264", "-pix_fmt yuv422p", "a.mkv", "yuv422p", PixelFormat::kI422, true, kLimited},
    {"libx264", "-pix_fmt yuv444p -vf scale=161:97", "a.mp4", "yuv444p", PixelFormat::kI444, true,
     kLimited},
    {"libx264", "-pix_fmt yuv420p10le", "a.mp4", "yuv420p", PixelFormat::kI420, false, kLimited},
    {"mpeg4", "-q:v 3", "a.avi", "yuv420p", PixelFormat::kI420, true, kLimited},
    {"mpeg2video", "-q:v 3", "a.ts", "yuv420p", PixelFormat::kI420, true, kLimited},
    {"mjpeg", "-q:v 3 -pix_fmt yuvj422p", "a.avi", "yuvj422p", PixelFormat::kI422, true, kFull},
    {"libx265", "-x265-params log-level=none -pix_fmt yuv420p", "a.mp4", "yuv420p",
     PixelFormat::kI420, true, kLimited},
    {"libvpx", "-b:v 400k -deadline realtime", "a.webm", "yuv420p", PixelFormat::kI420, true,
     kLimited},
    {"libvpx-vp9", "-b:v 400k -deadline realtime -vf scale=161:97", "a.webm", "yuv420p",
     PixelFormat::kI420, true, kLimited},
    {"libsvtav1", "-preset 12 -svtav1-params enable-stat-report=0", "a.mp4", "yuv420p",
     PixelFormat::kI420, true, kLimited},
    {"ffv1", "-pix_fmt gray", "a.mkv", "gray", PixelFormat::kGray8, true, kFull},
    {"ffv1", "-pix_fmt gray16le", "a.mkv", "gray", PixelFormat::kGray8, false, kFull},
    {"ffv1", "-pix_fmt bgr0", "a.mkv", "rgb24", PixelFormat::kRgb24, true, kLimited},
    {"ffv1", "-pix_fmt yuv420p -vf scale=161:97", "a.mkv", "yuv420p", PixelFormat::kI420, true,
     kLimited},
    {"ffv1", "-pix_fmt yuv410p", "a.mkv", "yuv444p", PixelFormat::kI444, false, kLimited},
    {"rawvideo", "-pix_fmt nv12", "a.nut", "nv12", PixelFormat::kNv12, true, kLimited},
    {"rawvideo", "-pix_fmt yuyv422", "a.nut", "yuv422p", PixelFormat::kI422, true, kLimited},
    {"rawvideo", "-pix_fmt bgr24", "a.nut", "bgr24", PixelFormat::kBgr24, true, kLimited},
    {"gif", "", "a.gif", "rgb24", PixelFormat::kRgb24, true, kLimited},
};

TEST(VideoSource, DecodesWhatFfmpegDecodes) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  int tried = 0;
  for (const Coding& coding : kCodings) {
    const std::string clip = dir / coding.file;
    const std::string raw = dir / "reference.raw";
    SCOPED_TRACE(std::string(coding.encoder) + " " + coding.settings);
    std::string encode = kScene;
    encode.append("-frames:v 9 -c:v ").append(coding.encoder).append(" ");
    if (!Ffmpeg(encode.append(coding.settings).append(" ").append(clip))) {
      std::cout << "no encoder " << coding.encoder << ", not tried\n";
      continue;
    }
    ++tried;
    std::string decode = "-i " + clip;
    decode.append(" -vsync passthrough -f rawvideo -pix_fmt ").append(coding.raw_format);
    ASSERT_TRUE(Ffmpeg(decode.append(" ").append(raw)));
    const std::vector<uint8_t> reference = ReadBytes(raw);
    size_t position = 0;
    int largest = 0;
    auto source = VideoSource::Open(clip);
    ASSERT_TRUE(source.ok()) << source.error().message;
    for (int i = 0; i < 9; ++i) {
      auto frame = source->Next();
      ASSERT_TRUE(frame.ok() && *frame);
      const FrameView& view = **frame;
      ASSERT_EQ(view.format, coding.format);
      if (!LayoutOf(view.format).rgb) {
        ASSERT_EQ(view.range, coding.range);
      }
      ASSERT_EQ(view.width, source->info().width);
      ASSERT_EQ(view.height, source->info().height);
      ASSERT_NEAR(view.pts, i / 25.0, 1e-3);
      ASSERT_EQ(view.discontinuity, i == 0);
      const PixelLayout& layout = LayoutOf(view.format);
      for (int p = 0; p < layout.planes; ++p) {
        const ComponentLayout& plane = PlaneLayout(layout, p);
        for (int y = 0; y < PlaneHeight(plane, view.height); ++y) {
          for (int x = 0; x < PlaneRowBytes(plane, view.width); ++x) {
            ASSERT_LT(position, reference.size());
            const int level = view.planes[p][y * view.strides[p] + x];
            largest = std::max(largest, std::abs(level - reference[position++]));
          }
        }
      }
    }
    EXPECT_EQ(position, reference.size());
    EXPECT_LE(largest, coding.exact ? 0 : 2);
    auto end = source->Next();
    ASSERT_TRUE(end.ok());
    EXPECT_FALSE(end->has_value());
    EXPECT_EQ(source->stats().decode_errors, 0);
  }
  EXPECT_GE(tried, 8);
}

TEST(VideoSource, ReportsTheColourMatrix) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  const auto matrix_of = [&](const std::string& tag) {
    EXPECT_TRUE(Ffmpeg(kScene + std::string("-frames:v 1 -c:v ffv1 -colorspace ") + tag + " " +
                       (dir / "a.mkv")));
    auto source = VideoSource::Open(dir / "a.mkv");
    auto frame = source->Next();
    return (**frame).matrix;
  };
  EXPECT_EQ(matrix_of("bt709"), ColorMatrix::kBt709);
  EXPECT_EQ(matrix_of("smpte170m"), ColorMatrix::kBt601);
  EXPECT_EQ(matrix_of("bt2020nc"), ColorMatrix::kBt2020);
}

TEST(VideoSource, ThreadsDoNotChangeThePictures) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(kScene + std::string("-frames:v 30 -c:v mpeg4 ") + (dir / "a.mp4")));
  auto one = VideoSource::Open(dir / "a.mp4", {.decode_threads = 1});
  auto many = VideoSource::Open(dir / "a.mp4", {.decode_threads = 3});
  ASSERT_TRUE(one.ok() && many.ok());
  for (int i = 0; i < 30; ++i) {
    auto a = one->Next();
    auto b = many->Next();
    ASSERT_TRUE(a.ok() && *a && b.ok() && *b);
    ASSERT_EQ((**a).pts, (**b).pts);
    for (int y = 0; y < 96; ++y) {
      for (int x = 0; x < 160; ++x) ASSERT_EQ(SampleAt(**a, 0, y, x), SampleAt(**b, 0, y, x));
    }
  }
}

TEST(VideoSource, ExportsHintsWhenAsked) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  if (!Ffmpeg(kScene + std::string("-frames:v 10 -c:v libx264 -bf 0 ") + (dir / "a.mp4"))) {
    GTEST_SKIP() << "no libx264";
  }
  for (const bool hints : {false, true}) {
    auto source = VideoSource::Open(dir / "a.mp4", {.export_hints = hints});
    ASSERT_TRUE(source.ok());
    size_t vectors = 0;
    size_t blocks = 0;
    for (int i = 0; i < 10; ++i) {
      auto frame = source->Next();
      ASSERT_TRUE(frame.ok() && *frame);
      EXPECT_EQ((**frame).keyframe, i == 0);
      EXPECT_EQ((**frame).type, i == 0 ? FrameType::kI : FrameType::kP);
      vectors += (**frame).motion_vectors.size();
      blocks += (**frame).block_qp.size();
    }
    EXPECT_EQ(vectors > 0, hints);
    EXPECT_EQ(blocks > 0, hints);
  }
}

TEST(VideoSource, PlaysImages) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(kScene + std::string("-frames:v 5 ") + (dir / "img_%d.png")));
  WriteBytes(dir / "notes.txt", {'h', 'i'});
  for (const std::string& input : {dir.path(), dir / "img_*.png"}) {
    const Playback all = Play(input, {.fps = 10});
    EXPECT_EQ(all.error, "");
    EXPECT_EQ(all.frames, 5);
    EXPECT_EQ(all.discontinuities, 1);
    EXPECT_NEAR(all.last_pts, 0.4, 1e-9);
  }
  EXPECT_EQ(Play(dir / "img_3.png").frames, 1);

  // A damaged image is skipped, and what follows starts afresh; so does another size.
  WriteBytes(dir / "img_2.png", {'b', 'a', 'd'});
  ASSERT_TRUE(Ffmpeg("-f lavfi -i testsrc2=s=64x64 -frames:v 1 " + (dir / "img_5.png")));
  const Playback damaged = Play(dir.path());
  EXPECT_EQ(damaged.frames, 4);
  EXPECT_EQ(damaged.discontinuities, 3);
  EXPECT_EQ(damaged.stats.decode_errors, 1);
}

TEST(VideoSource, ImagesAreOrderedByNumberAndNamed) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(kScene + std::string("-frames:v 12 ") + (dir / "%d.png")));
  std::filesystem::rename(dir / "3.png", dir / "03.png");
  std::filesystem::rename(dir / "5.png", dir / "03a.png");
  WriteBytes(dir / "2.png", {'b', 'a', 'd'});
  std::vector<uint8_t> cut = ReadBytes(dir / "7.png");
  cut.resize(60);
  WriteBytes(dir / "7.png", cut);
  for (const std::string& input : {dir.path(), dir / "*.png"}) {
    auto source = VideoSource::Open(input);
    ASSERT_TRUE(source.ok());
    std::vector<std::string> files;
    for (auto frame = source->Next(); frame.ok() && *frame; frame = source->Next())
      files.emplace_back((**frame).file);
    std::vector<std::string> expected;
    for (const char* name : {"1", "03", "03a", "4", "6", "8", "9", "10", "11", "12"})
      expected.push_back(dir / (name + std::string(".png")));
    EXPECT_EQ(files, expected);
    EXPECT_EQ(source->stats().decode_errors, 2);
    EXPECT_TRUE(Contains(source->stats().first_error.message, "2.png': it is damaged"));
  }

  ASSERT_TRUE(Ffmpeg(kScene + std::string("-frames:v 1 -c:v mpeg4 ") + (dir / "a.mp4")));
  auto video = VideoSource::Open(dir / "a.mp4");
  ASSERT_TRUE(video.ok());
  EXPECT_EQ((**video->Next()).file, "");
}

TEST(VideoSource, NamesTheFirstImageWhereNoneCanBeRead) {
  const TempDir dir;
  for (const char* name : {"1.png", "2.png", "3.jpg"}) WriteBytes(dir / name, {'b', 'a', 'd'});
  const std::string error = Play(dir.path()).error;
  EXPECT_TRUE(Contains(error, "none of its 3 files; the first: cannot")) << error;
  EXPECT_TRUE(Contains(error, "1.png'")) << error;
}

TEST(VideoSource, ImageNamesAreNoPatterns) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(kScene + std::string("-frames:v 1 ") + (dir / "a.png")));
  std::filesystem::rename(dir / "a.png", dir / "100%d [1]*: x.png");
  EXPECT_EQ(Play(dir / "100%d [1]*: x.png").frames, 1);
  EXPECT_EQ(Play(dir.path()).frames, 1);
}

TEST(VideoSource, PlaysAGlobOfVideosOneAfterTheOther) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  for (const char* name : {"a.avi", "b.avi"}) {
    ASSERT_TRUE(Ffmpeg(kScene + std::string("-frames:v 10 -c:v mpeg4 ") + (dir / name)));
  }
  const Playback both = Play(dir / "*.avi");
  EXPECT_EQ(both.frames, 20);
  EXPECT_EQ(both.discontinuities, 2);
  EXPECT_NEAR(both.last_pts, 19 / 25.0, 1e-3);
}

TEST(VideoSource, PlaysTransportStreamsLaidEndToEnd) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  if (!Ffmpeg(kScene + std::string("-frames:v 20 -c:v libx264 ") + (dir / "a.ts"))) {
    GTEST_SKIP() << "no libx264";
  }
  ASSERT_TRUE(RunShell("cat " + (dir / "a.ts") + " " + (dir / "a.ts") + " " + (dir / "a.ts") +
                       " > " + (dir / "b.ts")));
  const Playback result = Play(dir / "b.ts");
  EXPECT_EQ(result.frames, 60);
  EXPECT_EQ(result.discontinuities, 3);
}

TEST(VideoSource, StopsInTheMiddleOfAFile) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(kScene + std::string("-frames:v 20 -c:v mpeg4 ") + (dir / "a.mp4")));
  std::atomic<bool> stop = false;
  auto source = VideoSource::Open(dir / "a.mp4", {.stop = &stop});
  ASSERT_TRUE(source.ok());
  auto frame = source->Next();
  ASSERT_TRUE(frame.ok() && *frame);
  stop = true;
  frame = source->Next();
  ASSERT_TRUE(frame.ok());
  EXPECT_FALSE(frame->has_value());
}

TEST(VideoSource, TruncatedFilesGiveWhatTheyHold) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  for (const std::string& form :
       {std::string("a.mp4 -movflags +faststart"), std::string("a.mp4 -movflags frag_keyframe"),
        std::string("a.mkv"), std::string("a.avi"), std::string("a.ts")}) {
    const std::string name = form.substr(0, 5);
    const size_t gap = form.find(' ');
    const std::string file = form.substr(0, gap);
    const std::string flags = gap == std::string::npos ? "" : form.substr(gap);
    ASSERT_TRUE(
        Ffmpeg(kScene + std::string("-frames:v 40 -g 10 -c:v mpeg4") + flags + " " + (dir / file)));
    const std::vector<uint8_t> whole = ReadBytes(dir / file);
    constexpr int kCuts = 40;
    int last = 0;
    for (int cut = 1; cut <= kCuts; ++cut) {
      SCOPED_TRACE(form + " cut to " + std::to_string(cut) + "/" + std::to_string(kCuts));
      WriteBytes(dir / file, {whole.begin(), whole.begin() + whole.size() * cut / kCuts});
      const Playback part = Play(dir / file);
      if (part.frames == 0) {
        EXPECT_FALSE(part.error.empty());
      } else {
        EXPECT_EQ(part.error, "");
      }
      EXPECT_GE(part.frames + 1, last);
      EXPECT_LE(part.frames, 40);
      last = part.frames;
    }
    EXPECT_EQ(last, 40) << form;
  }
}

TEST(VideoSource, DamagedFilesNeverCrash) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  std::mt19937 random(7);
  int64_t errors = 0;
  for (const char* coding : {"-c:v libx264 a.mp4", "-c:v mpeg4 a.mkv", "-c:v mjpeg a.avi",
                             "-c:v libx264 a.h264", "-c:v mpeg2video a.ts"}) {
    const std::string name = std::string(coding).substr(std::string(coding).rfind(' ') + 1);
    if (!Ffmpeg("-f lavfi -i testsrc2=s=64x48:r=25 -frames:v 30 -g 10 " +
                std::string(coding, std::string(coding).rfind(' ')) + " " + (dir / name))) {
      continue;
    }
    const std::vector<uint8_t> whole = ReadBytes(dir / name);
    for (int round = 0; round < 30; ++round) {
      SCOPED_TRACE(name + " round " + std::to_string(round));
      std::vector<uint8_t> damaged = whole;
      for (int i = 0; i <= round; ++i) {
        damaged[random() % damaged.size()] ^= static_cast<uint8_t>(1U << (random() % 8));
      }
      WriteBytes(dir / name, damaged);
      const Playback result = Play(dir / name);
      errors += result.stats.decode_errors;
      // Damage noticed after the first frame is never passed over in silence.
      if (result.frames > 2 && result.stats.decode_errors > 2) {
        EXPECT_GT(result.discontinuities, 0);
      }
    }
  }
  EXPECT_GT(errors, 0);
}

TEST(VideoSource, DamageIsADiscontinuity) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(kScene + std::string("-frames:v 30 -g 10 -c:v mpeg4 ") + (dir / "a.mp4")));
  std::vector<uint8_t> bytes = ReadBytes(dir / "a.mp4");
  const auto middle = bytes.begin() + static_cast<ptrdiff_t>(bytes.size() / 2);
  std::fill(middle, middle + 600, uint8_t{0});
  WriteBytes(dir / "a.mp4", bytes);
  const Playback result = Play(dir / "a.mp4");
  EXPECT_GT(result.frames, 25);
  EXPECT_GT(result.stats.decode_errors, 0);
  EXPECT_GT(result.discontinuities, 1);
}

TEST(VideoSource, ANewSizeIsADiscontinuity) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  if (!Ffmpeg("-f lavfi -i testsrc2=s=160x96 -frames:v 8 -c:v libx264 -bf 0 " + (dir / "a.h264")) ||
      !Ffmpeg("-f lavfi -i testsrc2=s=96x160 -frames:v 8 -c:v libx264 -bf 0 " + (dir / "b.h264"))) {
    GTEST_SKIP() << "no libx264";
  }
  ASSERT_TRUE(RunShell("cat " + (dir / "a.h264") + " " + (dir / "b.h264") + " " + (dir / "a.h264") +
                       " > " + (dir / "c.h264")));
  auto source = VideoSource::Open(dir / "c.h264");
  ASSERT_TRUE(source.ok());
  std::vector<int> jumps;
  std::vector<int> widths;
  for (int i = 0; i < 24; ++i) {
    auto frame = source->Next();
    ASSERT_TRUE(frame.ok() && *frame) << i;
    if ((**frame).discontinuity) jumps.push_back(i);
    widths.push_back((**frame).width);
  }
  EXPECT_EQ(jumps, (std::vector<int>{0, 8, 16}));
  EXPECT_EQ(widths[7], 160);
  EXPECT_EQ(widths[8], 96);
  EXPECT_EQ(widths[16], 160);
}

TEST(VideoSource, SaysWhatIsWrong) {
  const TempDir dir;
  WriteBytes(dir / "empty.mp4", {});
  WriteBytes(dir / "text.mp4", {'h', 'e', 'l', 'l', 'o', '\n'});
  WriteBytes(dir / "text.txt", std::vector<uint8_t>(3000, 'a'));
  EXPECT_TRUE(Contains(Play(dir / "empty.mp4").error, "empty (0 bytes)"));
  EXPECT_TRUE(Contains(Play(dir / "text.mp4").error, "ffprobe"));
  EXPECT_TRUE(Contains(Play(dir / "text.txt").error, "text"));
  EXPECT_TRUE(Contains(Play(dir / "none.mp4").error, "none.mp4': No such file or directory"));
  EXPECT_TRUE(Contains(Play(dir / "none*.mp4").error, "no file matches"));
  EXPECT_TRUE(Contains(Play(dir.path()).error, "no images"));
  EXPECT_TRUE(Contains(Play("").error, "empty"));
  EXPECT_TRUE(Contains(Play("/dev/video97").error, "No such device"));
  EXPECT_TRUE(Contains(Play("nonsense://host/x").error, "protocol"));
  EXPECT_TRUE(Contains(Play("new\nline").error, "new?line"));
}

TEST(VideoSource, SaysWhichCodecIsMissing) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg(kScene + std::string("-frames:v 3 -c:v mjpeg ") + (dir / "a.avi")));
  std::vector<uint8_t> bytes = ReadBytes(dir / "a.avi");
  const std::string tag = "MJPG";
  auto found = std::search(bytes.begin(), bytes.end(), tag.begin(), tag.end());
  ASSERT_NE(found, bytes.end());
  for (; found != bytes.end(); found = std::search(found, bytes.end(), tag.begin(), tag.end())) {
    std::fill(found, found + 4, uint8_t{'z'});
  }
  WriteBytes(dir / "a.avi", bytes);
  auto source = VideoSource::Open(dir / "a.avi");
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.error().code, ErrorCode::kUnsupported);
  EXPECT_TRUE(Contains(source.error().message, "'zzzz'")) << source.error().message;

  ASSERT_TRUE(Ffmpeg("-f lavfi -i sine=d=1 " + (dir / "a.wav")));
  EXPECT_TRUE(Contains(Play(dir / "a.wav").error, "no video stream"));
}

// A server socket on loopback that accepts connections and says nothing.
class SilentServer {
 public:
  SilentServer() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
    listen(socket_, 4);
    getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  SilentServer(const SilentServer&) = delete;
  SilentServer& operator=(const SilentServer&) = delete;
  ~SilentServer() { close(socket_); }
  std::string port() const { return std::to_string(port_); }

 private:
  int socket_;
  int port_ = 0;
};

TEST(VideoSource, NamesAnUnreachableHostWithoutItsPassword) {
  const SilentServer server;
  const std::string silent =
      Play("rtsp://bob:p%2Fw0rd@127.0.0.1:" + server.port() + "/cam?token=t0p", {.timeout_s = 0.3})
          .error;
  EXPECT_TRUE(Contains(silent, "'rtsp://***@127.0.0.1:" + server.port() + "/cam?***'")) << silent;
  EXPECT_TRUE(Contains(silent, "nothing came within 0.3 s")) << silent;
  const std::string odd = Play("rtsp://bob:pa/ss@w0rd@127.0.0.1:1/cam?token=t0p").error;
  for (const char* secret : {"bob", "pa/", "w0rd", "t0p"}) {
    EXPECT_FALSE(Contains(silent, secret)) << silent;
    EXPECT_FALSE(Contains(odd, secret)) << odd;
  }

  const std::string refused = Play("rtsp://bob:secret@127.0.0.1:1/cam").error;
  EXPECT_TRUE(Contains(refused, "refused")) << refused;
  EXPECT_FALSE(Contains(refused, "secret"));
}

TEST(VideoSource, AnInterruptBreaksAConnectionAttempt) {
  const SilentServer server;
  std::atomic<bool> stop = false;
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    stop = true;
  });
  const auto source = VideoSource::Open("rtsp://127.0.0.1:" + server.port() + "/",
                                        {.timeout_s = 1000, .stop = &stop});
  stopper.join();
  ASSERT_FALSE(source.ok());
  EXPECT_TRUE(Contains(source.error().message, "interrupted"));
}

}  // namespace
}  // namespace deltacnn
