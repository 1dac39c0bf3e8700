#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "picture.h"

namespace deltacnn {
namespace {

constexpr int kBlock = BlockMap::kBlock;

// The rule as the header states it, sample by sample.
bool NaiveChanged(const FrameView& a, const FrameView& b, int row, int column, float tolerance) {
  const PixelLayout& layout = LayoutOf(a.format);
  for (int c = 0; c < layout.components; ++c) {
    const ComponentLayout& component = layout.component[c];
    const int width = PlaneWidth(component, a.width);
    const int height = PlaneHeight(component, a.height);
    const int block_width = kBlock >> component.shift_x;
    const int block_height = kBlock >> component.shift_y;
    for (int top = row * block_height; top < (row + 1) * block_height; top += 4) {
      for (int left = column * block_width; left < (column + 1) * block_width; left += 4) {
        int sum = 0;
        int absolute = 0;
        int count = 0;
        for (int y = top; y < std::min(top + 4, height); ++y) {
          for (int x = left; x < std::min(left + 4, width); ++x) {
            const int full_y = y << component.shift_y;
            const int full_x = x << component.shift_x;
            const int difference = SampleAt(a, c, full_y, full_x) - SampleAt(b, c, full_y, full_x);
            sum += difference;
            absolute += std::abs(difference);
            ++count;
          }
        }
        if (tolerance == 0 && absolute > 0) return true;
        if (tolerance > 0 && std::abs(sum) > tolerance * count) return true;
        if (tolerance > 0 && absolute > 1.5F * (tolerance * count)) return true;
      }
    }
  }
  return false;
}

struct Size {
  int width;
  int height;
};
constexpr std::array<Size, 7> kSizes = {
    {{1, 1}, {7, 5}, {8, 8}, {17, 9}, {64, 48}, {97, 63}, {530, 21}}};

// Noise of varied strength on some of the samples.
void Disturb(Picture& picture, std::mt19937& random) {
  std::uniform_real_distribution<> share(0, 1);
  const int strength = std::uniform_int_distribution<>(1, 12)(random);
  const double density = share(random) < 0.5 ? 0.01 : 0.6;
  std::uniform_int_distribution<> delta(-strength, strength);
  const PixelLayout& layout = LayoutOf(picture.view().format);
  for (int c = 0; c < layout.components; ++c) {
    for (int y = 0; y < picture.view().height; ++y) {
      for (int x = 0; x < picture.view().width; ++x) {
        if (share(random) >= density) continue;
        uint8_t& sample = picture.Sample(c, y, x);
        sample = static_cast<uint8_t>(std::clamp(sample + delta(random), 0, 255));
      }
    }
  }
}

TEST(ChangeDetector, AgreesWithTheNaiveRule) {
  std::mt19937 random(1);
  for (const PixelFormat format : kAllFormats) {
    for (const Size size : kSizes) {
      for (const float tolerance : {0.0F, 0.5F, 2.0F, 2.6F, 6.0F}) {
        Picture picture(format, size.width, size.height, 3);
        picture.Randomize(random);
        ChangeDetector detector({.tolerance = tolerance, .max_tolerance = 0});
        Picture held(format, size.width, size.height);
        for (int step = 0; step < 6; ++step) {
          SCOPED_TRACE(testing::Message()
                       << LayoutOf(format).name << " " << size.width << "x" << size.height
                       << " tolerance " << tolerance << " step " << step);
          ASSERT_TRUE(detector.Update(picture.view()).ok());
          const BlockMap& map = detector.changed();
          ASSERT_EQ(map.columns, (size.width + 7) / 8);
          ASSERT_EQ(map.rows, (size.height + 7) / 8);
          int64_t count = 0;
          for (int row = 0; row < map.rows; ++row) {
            for (int column = 0; column < map.columns; ++column) {
              const bool expected =
                  step == 0 || NaiveChanged(picture.view(), held.view(), row, column, tolerance);
              ASSERT_EQ(map.Test(row, column), expected) << row << "," << column;
              count += expected ? 1 : 0;
              if (!expected) continue;
              for (int c = 0; c < LayoutOf(format).components; ++c) {
                for (int y = row * 8; y < std::min(row * 8 + 8, size.height); ++y) {
                  for (int x = column * 8; x < std::min(column * 8 + 8, size.width); ++x) {
                    held.Sample(c, y, x) = SampleAt(picture.view(), c, y, x);
                  }
                }
              }
            }
          }
          ASSERT_EQ(map.count, count);
          for (int c = 0; c < LayoutOf(format).components; ++c) {
            for (int y = 0; y < size.height; ++y) {
              for (int x = 0; x < size.width; ++x) {
                ASSERT_EQ(SampleAt(detector.held(), c, y, x), held.Sample(c, y, x));
              }
            }
          }
          Disturb(picture, random);
        }
      }
    }
  }
}

// Whether a region, in a frame's pixels, has a part of a block.
bool Names(const Region& region, int row, int column) {
  return region.x1 < region.x2 && region.y1 < region.y2 && region.x2 > column * kBlock &&
         region.x1 < (column + 1) * kBlock && region.y2 > row * kBlock &&
         region.y1 < (row + 1) * kBlock;
}

TEST(ChangeDetector, IsStrictWhereItIsTold) {
  constexpr float kTolerance = 3;
  constexpr float kFactor = 2.5F;
  constexpr PixelTransform kToSource{.scale_x = 0.5, .scale_y = 2, .offset_x = -3, .offset_y = 1};
  std::mt19937 random(4);
  std::uniform_real_distribution<float> place(-40, 140);
  int64_t generous = 0;
  for (const PixelFormat format : kAllFormats) {
    Picture picture(format, 97, 63, 3);
    picture.Randomize(random);
    ChangeDetector detector({.tolerance = kTolerance, .max_tolerance = 0, .background = kFactor});
    ASSERT_TRUE(detector.Update(picture.view()).ok());
    for (int step = 0; step < 20; ++step) {
      // Corners in any order, in units of the transform.
      std::vector<Region> named;
      std::vector<Region> in_frame;
      for (int i = 0; i < step % 4; ++i) {
        const Region r{place(random), place(random), place(random), place(random)};
        in_frame.push_back(r);
        named.push_back({(r.x1 + 3) * 2, (r.y1 - 1) / 2, (r.x2 + 3) * 2, (r.y2 - 1) / 2});
      }
      named.push_back({NAN, -INFINITY, INFINITY, INFINITY});
      detector.SetFocus(named, kToSource);
      Disturb(picture, random);
      Picture held(format, 97, 63);
      for (int c = 0; c < LayoutOf(format).components; ++c) {
        for (int y = 0; y < 63; ++y) {
          for (int x = 0; x < 97; ++x) held.Sample(c, y, x) = SampleAt(detector.held(), c, y, x);
        }
      }
      ASSERT_TRUE(detector.Update(picture.view()).ok());
      for (int row = 0; row < detector.changed().rows; ++row) {
        for (int column = 0; column < detector.changed().columns; ++column) {
          const bool strict =
              std::ranges::any_of(in_frame, [&](const Region& r) { return Names(r, row, column); });
          const auto changed = [&](float tolerance) {
            return NaiveChanged(picture.view(), held.view(), row, column, tolerance);
          };
          const float tolerance = strict ? kTolerance : kFactor * kTolerance;
          ASSERT_EQ(detector.changed().Test(row, column), changed(tolerance))
              << LayoutOf(format).name << " step " << step << " at " << row << "," << column;
          generous += changed(kTolerance) && !changed(tolerance) ? 1 : 0;
        }
      }
    }
  }
  EXPECT_GT(generous, 100);
}

TEST(ChangeDetector, ForgetsTheFocusWithThePicture) {
  Picture picture(PixelFormat::kGray8, 64, 64);
  ChangeDetector detector({.tolerance = 4, .max_tolerance = 0, .background = 10});
  detector.SetFocus({}, {});  // of no picture yet
  ASSERT_TRUE(detector.Update(picture.view()).ok());
  const auto brighten = [&] {
    for (int y = 16; y < 24; ++y) {
      for (int x = 16; x < 24; ++x) picture.Sample(0, y, x) += 6;
    }
    EXPECT_TRUE(detector.Update(picture.view()).ok());
    return detector.changed().count;
  };
  EXPECT_EQ(brighten(), 1) << "nothing has been named: everything counts";
  detector.SetFocus({}, {});
  EXPECT_EQ(brighten(), 0);
  detector.SetFocus(std::vector<Region>{{20, 20, 21, 21}}, {});
  EXPECT_EQ(brighten(), 1) << "held back, but not forgotten";
  detector.SetFocus({}, {});
  detector.Reset();
  ASSERT_TRUE(detector.Update(picture.view()).ok());
  EXPECT_EQ(brighten(), 1);
  ChangeDetector exact({.tolerance = 0, .background = 10});
  ASSERT_TRUE(exact.Update(picture.view()).ok());
  exact.SetFocus({}, {});
  ++picture.Sample(0, 40, 40);
  ASSERT_TRUE(exact.Update(picture.view()).ok());
  EXPECT_EQ(exact.changed().count, 1) << "without a tolerance there is none to widen";
}

TEST(ChangeDetector, FindsEverySingleSample) {
  for (const PixelFormat format : kAllFormats) {
    Picture picture(format, 19, 11);
    ChangeDetector detector;
    ASSERT_TRUE(detector.Update(picture.view()).ok());
    for (int c = 0; c < LayoutOf(format).components; ++c) {
      for (int y = 0; y < 11; ++y) {
        for (int x = 0; x < 19; ++x) {
          ++picture.Sample(c, y, x);
          ASSERT_TRUE(detector.Update(picture.view()).ok());
          ASSERT_EQ(detector.changed().count, 1);
          ASSERT_TRUE(detector.changed().Test(y / 8, x / 8));
        }
      }
    }
  }
}

TEST(ChangeDetector, SemiPlanarEqualsPlanar) {
  std::mt19937 random(2);
  Picture planar(PixelFormat::kI420, 75, 41);
  Picture semi(PixelFormat::kNv12, 75, 41);
  ChangeDetector planar_detector({.tolerance = 3});
  ChangeDetector semi_detector({.tolerance = 3});
  for (int step = 0; step < 20; ++step) {
    Disturb(planar, random);
    for (int c = 0; c < 3; ++c) {
      for (int y = 0; y < 41; ++y) {
        for (int x = 0; x < 75; ++x) semi.Sample(c, y, x) = planar.Sample(c, y, x);
      }
    }
    ASSERT_TRUE(planar_detector.Update(planar.view()).ok());
    ASSERT_TRUE(semi_detector.Update(semi.view()).ok());
    ASSERT_EQ(planar_detector.changed().bits, semi_detector.changed().bits);
  }
}

TEST(ChangeDetector, SlowDriftAddsUp) {
  Picture picture(PixelFormat::kI420, 32, 32);
  ChangeDetector detector({.tolerance = 4});
  ASSERT_TRUE(detector.Update(picture.view()).ok());
  int updates = 0;
  for (int level = 1; level <= 50; ++level) {
    std::ranges::fill(picture.plane(0), static_cast<uint8_t>(level));
    ASSERT_TRUE(detector.Update(picture.view()).ok());
    updates += detector.changed().count > 0 ? 1 : 0;
    EXPECT_LE(std::abs(level - SampleAt(detector.held(), 0, 0, 0)), 4);
  }
  EXPECT_EQ(updates, 10);
}

TEST(ChangeDetector, StartsAfreshWhenItMust) {
  Picture picture(PixelFormat::kI420, 32, 16);
  ChangeDetector detector;
  const auto changed = [&](const FrameView& frame) {
    EXPECT_TRUE(detector.Update(frame).ok());
    return detector.changed().count;
  };
  EXPECT_EQ(changed(picture.view()), 8);
  EXPECT_EQ(changed(picture.view()), 0);
  detector.Reset();
  EXPECT_EQ(changed(picture.view()), 8);
  FrameView jump = picture.view();
  jump.discontinuity = true;
  EXPECT_EQ(changed(jump), 8);
  EXPECT_EQ(changed(picture.view()), 0);
  FrameView full = picture.view();
  full.range = ColorRange::kFull;
  EXPECT_EQ(changed(full), 8);
  FrameView matrix = full;
  matrix.matrix = ColorMatrix::kBt709;
  EXPECT_EQ(changed(matrix), 8);
  EXPECT_EQ(changed(Picture(PixelFormat::kI420, 24, 16).view()), 6);
  EXPECT_EQ(changed(Picture(PixelFormat::kNv12, 24, 16).view()), 6);
  EXPECT_EQ(changed(Picture(PixelFormat::kNv12, 24, 16).view()), 0);
}

TEST(ChangeDetector, ReadsBottomUpPictures) {
  std::mt19937 random(3);
  Picture picture(PixelFormat::kBgr24, 20, 12);
  picture.Randomize(random);
  FrameView flipped = picture.view();
  flipped.planes[0] += 11 * flipped.strides[0];
  flipped.strides[0] = -flipped.strides[0];
  ChangeDetector detector;
  ASSERT_TRUE(detector.Update(flipped).ok());
  EXPECT_EQ(SampleAt(detector.held(), 0, 0, 5), picture.Sample(0, 11, 5));
}

TEST(FrameView, RejectsWhatCannotBeRead) {
  const Picture picture(PixelFormat::kI420, 32, 16);
  ChangeDetector detector;
  const auto message = [&](auto change) {
    FrameView frame = picture.view();
    change(frame);
    const Status status = detector.Update(frame);
    EXPECT_FALSE(status.ok());
    return status.ok() ? "" : status.error().message;
  };
  EXPECT_NE(message([](FrameView& f) { f.width = 0; }).find("0x16"), std::string::npos);
  EXPECT_NE(message([](FrameView& f) { f.height = 20000; }).find("16384"), std::string::npos);
  EXPECT_NE(message([](FrameView& f) { f.planes[2] = nullptr; }).find("plane 2"),
            std::string::npos);
  EXPECT_NE(message([](FrameView& f) { f.strides[1] = 15; }).find("shorter"), std::string::npos);
  EXPECT_NE(message([](FrameView& f) { f.format = static_cast<PixelFormat>(77); }).find("format"),
            std::string::npos);
}

}  // namespace
}  // namespace deltacnn
