// Plays any input to its end.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "deltacnn/video.h"

namespace deltacnn {

inline constexpr const char* kScene = "-f lavfi -i testsrc2=s=160x96:r=25 ";

struct Playback {
  int frames = 0;
  int discontinuities = 0;
  double last_pts = -1;
  VideoStats stats;
  std::string error;
};

// Plays to the end, checking what holds for any input.
inline Playback Play(const std::string& input, const VideoOptions& options = {}) {
  Playback result;
  auto source = VideoSource::Open(input, options);
  if (!source.ok()) {
    result.error = source.error().message;
    EXPECT_FALSE(result.error.empty());
    EXPECT_EQ(result.error.find('\n'), std::string::npos);
    return result;
  }
  for (;;) {
    auto frame = source->Next();
    if (!frame.ok()) result.error = frame.error().message;
    if (!frame.ok() || !*frame) break;
    const FrameView& view = **frame;
    EXPECT_TRUE(view.Check().ok());
    EXPECT_GT(view.pts, result.last_pts);
    if (result.frames == 0) {
      EXPECT_TRUE(view.discontinuity);
      EXPECT_EQ(view.pts, 0);
    }
    ++result.frames;
    result.discontinuities += view.discontinuity ? 1 : 0;
    result.last_pts = view.pts;
  }
  result.stats = source->stats();
  EXPECT_EQ(result.stats.frames, result.frames);
  return result;
}

inline bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace deltacnn
