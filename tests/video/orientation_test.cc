#include "video/orientation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string_view>

#include "clips.h"
#include "picture.h"

namespace deltacnn {
namespace {

using Matrix = std::array<int32_t, 9>;

constexpr int32_t kOne = 1 << 16;

Matrix MatrixOf(int a, int b, int c, int d) {
  return {a * kOne, b * kOne, 0, c * kOne, d * kOne, 0, 0, 0, 1 << 30};
}

struct Case {
  const char* name;
  Matrix matrix;
  const char* filter;  // of FFmpeg, that does the same
};

const Case kCases[] = {
    {"upright", MatrixOf(1, 0, 0, 1), "null"},
    {"90", MatrixOf(0, 1, -1, 0), "transpose=clock"},
    {"180", MatrixOf(-1, 0, 0, -1), "hflip,vflip"},
    {"270", MatrixOf(0, -1, 1, 0), "transpose=cclock"},
    {"mirrored", MatrixOf(-1, 0, 0, 1), "hflip"},
    {"upside down", MatrixOf(1, 0, 0, -1), "vflip"},
    {"transposed", MatrixOf(0, 1, 1, 0), "transpose=cclock_flip"},
    {"transposed about the other diagonal", MatrixOf(0, -1, -1, 0), "transpose=clock_flip"},
};

TEST(Orientation, IgnoresOtherAngles) {
  constexpr int32_t kDiagonal = 46341;  // of 45 degrees
  EXPECT_TRUE(
      OrientationOf(Matrix{kDiagonal, kDiagonal, 0, -kDiagonal, kDiagonal}.data()).upright());
  EXPECT_TRUE(OrientationOf(Matrix{}.data()).upright());
  const int32_t least = std::numeric_limits<int32_t>::min();
  EXPECT_TRUE(OrientationOf(Matrix{least, least, 0, least, least}.data()).upright());
  // Rounded matrices are common.
  EXPECT_TRUE(OrientationOf(Matrix{3, kOne, 0, -kOne, -2}.data()).transpose);
}

TEST(Orientation, TurnsEveryFormatAndSize) {
  std::mt19937 random(3);
  std::vector<uint8_t> memory;
  for (const PixelFormat format : kAllFormats) {
    for (const Case& turn : kCases) {
      SCOPED_TRACE(std::string(LayoutOf(format).name) + " " + turn.name);
      const Orientation orientation = OrientationOf(turn.matrix.data());
      if (orientation.transpose && format == PixelFormat::kI422) continue;
      const int width = 74;
      const int height = 38;
      Picture picture(format, width, height, 5);
      picture.Randomize(random);
      const FrameView turned = Turn(picture.view(), orientation, memory);
      ASSERT_TRUE(turned.Check().ok());
      ASSERT_EQ(turned.width, orientation.transpose ? height : width);
      for (int y = 0; y < turned.height; ++y) {
        for (int x = 0; x < turned.width; ++x) {
          int from_x = orientation.mirror_x ? turned.width - 1 - x : x;
          int from_y = orientation.mirror_y ? turned.height - 1 - y : y;
          if (orientation.transpose) std::swap(from_x, from_y);
          for (int c = 0; c < LayoutOf(format).components; ++c) {
            ASSERT_EQ(SampleAt(turned, c, y, x), SampleAt(picture.view(), c, from_y, from_x));
          }
        }
      }
    }
  }
}

/// The matrix written into the track of an MP4 file.
void SetMatrix(const std::string& path, const Matrix& matrix) {
  std::vector<uint8_t> bytes = ReadBytes(path);
  constexpr std::string_view kTrackHeader = "tkhd";
  constexpr int kToMatrix = 44;
  const auto header =
      std::search(bytes.begin(), bytes.end(), kTrackHeader.begin(), kTrackHeader.end());
  ASSERT_LT(kToMatrix + 36, bytes.end() - header);
  auto byte = header + kToMatrix;
  for (const int32_t value : matrix) {
    for (int shift = 24; shift >= 0; shift -= 8)
      *byte++ = static_cast<uint8_t>(static_cast<uint32_t>(value) >> shift);
  }
  WriteBytes(path, bytes);
}

/// Every sample of every frame, in the order of a headerless file.
std::vector<uint8_t> Samples(const std::string& path, int& frames) {
  std::vector<uint8_t> samples;
  auto source = VideoSource::Open(path, {.export_hints = true});
  EXPECT_TRUE(source.ok());
  if (!source.ok()) return samples;
  frames = 0;
  for (auto frame = source->Next(); frame.ok() && *frame; frame = source->Next(), ++frames) {
    const FrameView& view = **frame;
    EXPECT_TRUE(view.Check().ok());
    EXPECT_EQ(view.width, source->info().width);
    EXPECT_EQ(view.height, source->info().height);
    EXPECT_EQ(view.discontinuity, frames == 0);
    const PixelLayout& layout = LayoutOf(view.format);
    for (int p = 0; p < layout.planes; ++p) {
      const ComponentLayout& plane = PlaneLayout(layout, p);
      for (int y = 0; y < PlaneHeight(plane, view.height); ++y) {
        const uint8_t* row = view.planes[p] + y * view.strides[p];
        samples.insert(samples.end(), row, row + PlaneRowBytes(plane, view.width));
      }
    }
  }
  return samples;
}

int LargestDifference(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  EXPECT_EQ(a.size(), b.size());
  int largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

TEST(VideoSource, DeliversTurnedVideosUpright) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  const std::string scene = "-f lavfi -i testsrc2=s=160x96:r=25 -frames:v 5 -c:v mpeg4 -q:v 3 ";
  ASSERT_TRUE(Ffmpeg(scene + (dir / "stored.mp4")));
  for (const Case& turn : kCases) {
    SCOPED_TRACE(turn.name);
    std::filesystem::copy_file(dir / "stored.mp4", dir / "a.mp4",
                               std::filesystem::copy_options::overwrite_existing);
    SetMatrix(dir / "a.mp4", turn.matrix);
    ASSERT_TRUE(Ffmpeg("-i " + (dir / "stored.mp4") + " -vf " + turn.filter +
                       " -f rawvideo -pix_fmt yuv420p " + (dir / "turned.raw")));
    ASSERT_TRUE(
        Ffmpeg("-i " + (dir / "a.mp4") + " -f rawvideo -pix_fmt yuv420p " + (dir / "player.raw")));
    int frames = 0;
    const std::vector<uint8_t> samples = Samples(dir / "a.mp4", frames);
    EXPECT_EQ(frames, 5);
    EXPECT_TRUE(samples == ReadBytes(dir / "turned.raw"));
    EXPECT_TRUE(samples == ReadBytes(dir / "player.raw"));
  }
}

TEST(VideoSource, TurnsPixelsThatAreNotSquare) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg("-f lavfi -i testsrc2=s=160x96 -frames:v 1 -vf setsar=4/3 -c:v mpeg4 " +
                     (dir / "a.mp4")));
  EXPECT_NEAR(VideoSource::Open(dir / "a.mp4")->info().pixel_aspect, 4.0 / 3, 1e-9);
  SetMatrix(dir / "a.mp4", MatrixOf(0, 1, -1, 0));
  EXPECT_NEAR(VideoSource::Open(dir / "a.mp4")->info().pixel_aspect, 3.0 / 4, 1e-9);
}

TEST(VideoSource, TurnsWhatHasNoFormatLyingDown) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  if (!Ffmpeg("-f lavfi -i testsrc2=s=160x96:r=25 -frames:v 2 -c:v libx264 -pix_fmt yuv422p " +
              (dir / "a.mp4"))) {
    GTEST_SKIP() << "no libx264";
  }
  SetMatrix(dir / "a.mp4", MatrixOf(0, 1, -1, 0));
  ASSERT_TRUE(Ffmpeg("-noautorotate -i " + (dir / "a.mp4") +
                     " -vf format=yuv444p,transpose=clock -f rawvideo " + (dir / "turned.raw")));
  int frames = 0;
  const std::vector<uint8_t> samples = Samples(dir / "a.mp4", frames);
  EXPECT_EQ(frames, 2);
  // Chroma is interpolated in more than one way.
  EXPECT_LE(LargestDifference(samples, ReadBytes(dir / "turned.raw")), 2);
}

TEST(VideoSource, DeliversTurnedPhotographsUpright) {
  DELTACNN_NEEDS_FFMPEG();
  const TempDir dir;
  ASSERT_TRUE(Ffmpeg("-f lavfi -i testsrc2=s=160x96 -frames:v 1 -pix_fmt yuvj420p " +
                     (dir / "stored.jpg")));
  const std::vector<uint8_t> stored = ReadBytes(dir / "stored.jpg");
  // Orientation 6: the first row is the right side.
  const std::vector<uint8_t> exif = {0xFF, 0xE1, 0,    34,   'E', 'x', 'i', 'f', 0, 0,  // segment
                                     'M',  'M',  0,    42,   0,   0,   0,   8,  // TIFF, big endian
                                     0,    1,    0x01, 0x12, 0,   3,   0,   0,   0, 1,
                                     0,    6,    0,    0,  // one entry
                                     0,    0,    0,    0};
  std::vector<uint8_t> turned = stored;
  turned.insert(turned.begin() + 2, exif.begin(), exif.end());
  WriteBytes(dir / "a.jpg", turned);
  ASSERT_TRUE(Ffmpeg("-i " + (dir / "stored.jpg") +
                     " -vf transpose=clock -f rawvideo -pix_fmt yuvj420p " + (dir / "turned.raw")));
  int frames = 0;
  EXPECT_TRUE(Samples(dir / "a.jpg", frames) == ReadBytes(dir / "turned.raw"));
  EXPECT_EQ(frames, 1);
}

}  // namespace
}  // namespace deltacnn
