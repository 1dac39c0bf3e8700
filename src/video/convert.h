// FFmpeg's pictures as FrameViews.
#pragma once

#include <cstdint>
#include <vector>

#include "deltacnn/frame.h"
#include "deltacnn/result.h"
#include "video/ffmpeg.h"
#include "video/orientation.h"

namespace deltacnn {

class FrameConverter {
 public:
  /// Points into `source` where a PixelFormat fits, else into an own 8-bit copy (RGB24 for RGB and
  /// palettes, GRAY8, I420, I422 or I444). Turned as `orientation` says. Valid until `source` or
  /// the converter changes. Sets format, colour, size, planes, frame type and hints.
  Result<FrameView> Convert(const AVFrame& source, const Orientation& orientation = {});

 private:
  FfmpegPtr<SwsContext> scaler_;
  FfmpegPtr<AVFrame> converted_;
  std::vector<uint8_t> turned_;
  std::vector<MotionVector> motion_vectors_;
  std::vector<BlockQp> block_qp_;
};

}  // namespace deltacnn
