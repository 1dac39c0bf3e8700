#include <gtest/gtest.h>

#include <fstream>

#include "clips.h"
#include "picture.h"

namespace deltacnn {
namespace {

/// Dark on the left, bright on the right.
Picture Halves(PixelFormat format, int width, int height) {
  Picture picture(format, width, height, 4);
  const PixelLayout& layout = LayoutOf(format);
  for (int c = 0; c < layout.components; ++c) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const bool is_level = c == 0 || layout.rgb;
        picture.Sample(c, y, x) = !is_level ? 128 : x < width / 2 ? 40 : 200;
      }
    }
  }
  return picture;
}

TEST(EncodeJpeg, MakesAPictureOfAnyFormat) {
  const TempDir dir;
  for (const PixelFormat format : kAllFormats) {
    SCOPED_TRACE(LayoutOf(format).name);
    Picture picture = Halves(format, 128, 64);
    const auto jpeg = EncodeJpeg(picture.view(), 1000);
    ASSERT_TRUE(jpeg.ok()) << jpeg.error().message;
    const std::string path = dir / "a.jpg";
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(jpeg->data()),
               static_cast<std::streamsize>(jpeg->size()));
    auto source = VideoSource::Open(path);
    ASSERT_TRUE(source.ok()) << source.error().message;
    auto frame = source->Next();
    ASSERT_TRUE(frame.ok() && *frame);
    EXPECT_EQ((*frame)->width, 128);
    EXPECT_EQ((*frame)->height, 64);
    EXPECT_LT(SampleAt(**frame, 0, 20, 20), 80);
    EXPECT_GT(SampleAt(**frame, 0, 20, 100), 160);
  }
}

TEST(EncodeJpeg, ScalesDownOnly) {
  const TempDir dir;
  Picture picture = Halves(PixelFormat::kBgra32, 300, 101);
  const auto jpeg = EncodeJpeg(picture.view(), 100);
  ASSERT_TRUE(jpeg.ok()) << jpeg.error().message;
  const std::string path = dir / "a.jpg";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(jpeg->data()),
             static_cast<std::streamsize>(jpeg->size()));
  auto source = VideoSource::Open(path);
  ASSERT_TRUE(source.ok()) << source.error().message;
  EXPECT_EQ(source->info().width, 100);
  EXPECT_EQ(source->info().height, 34);
}

TEST(EncodeJpeg, RefusesWhatIsNoPicture) {
  EXPECT_EQ(EncodeJpeg(FrameView{}, 100).error().code, ErrorCode::kUsage);
}

}  // namespace
}  // namespace deltacnn
