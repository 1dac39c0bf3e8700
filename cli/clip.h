// Frames of a video kept in memory, for whoever looks at them more than once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "commands.h"
#include "deltacnn/result.h"
#include "deltacnn/video.h"

namespace deltacnn::cli {

class Clip {
 public:
  /// At most `frames` frames behind the first `skip`, fewer where the video ends or `most_bytes`
  /// are full. kUsage if there is none.
  static Result<Clip> Read(const VideoArguments& video, int64_t skip, int64_t frames,
                           uint64_t most_bytes);

  /// Without motion vectors and quantisers.
  const std::vector<FrameView>& frames() const { return frames_; }

 private:
  std::vector<FrameView> frames_;
  std::vector<std::vector<uint8_t>> pixels_;  // what frames_ points to
};

}  // namespace deltacnn::cli
