// Pictures for a report: a few frames of a video with what dense and incremental runs said of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "annotated_video.h"
#include "deltacnn/post.h"
#include "deltacnn/result.h"
#include "deltacnn/video.h"

namespace deltacnn::cli {

/// JPEG files.
struct SampleFrame {
  int64_t number = 0;
  int64_t errors = 0;  // objects that only one of the runs found
  std::vector<uint8_t> dense;
  std::vector<uint8_t> incremental;
  std::vector<uint8_t> heat;  // empty where nothing is known of the work
};

/// Keeps a few frames, evenly spread over a video of unknown length, and the one with most errors.
class Album {
 public:
  /// Draws objects with a score of at least `object_score`; the rest was decoded as partners only.
  Album(const Preset& preset, float object_score) : preset_(preset), object_score_(object_score) {}

  /// A frame with its two answers, in its pixels. Only drawn if it is to be kept.
  Status Offer(const FrameView& frame, int64_t number, const Answer& dense,
               const Answer& incremental, const HeatMap& heat, int64_t errors);
  const std::vector<SampleFrame>& spread() const { return spread_; }
  const std::optional<SampleFrame>& worst() const { return worst_; }

 private:
  Result<SampleFrame> Draw(const FrameView& frame, const Answer& dense, const Answer& incremental,
                           const HeatMap& heat);

  const Preset& preset_;
  float object_score_;
  Canvas canvas_;
  std::vector<SampleFrame> spread_;
  std::optional<SampleFrame> worst_;
  int64_t offered_ = 0;
  int64_t every_ = 1;
};

}  // namespace deltacnn::cli
