// What `verify` holds against the dense run.
#pragma once

#include <vector>

#include "deltacnn/post.h"
#include "deltacnn/result.h"
#include "deltacnn/stream.h"
#include "deltacnn/video.h"

namespace deltacnn::cli {

/// Answers for every frame of a video, at a cost.
class Contender {
 public:
  virtual ~Contender() = default;

  /// Takes the next frame in.
  virtual Status Feed(const FrameView& frame) = 0;
  virtual Result<StepReport> Step() = 0;
  /// What it says about the last frame, in its pixels.
  virtual Status Decode(float conf, float iou, Answer& answer) = 0;

  /// The stream whose outputs stand for the last frame; null: there is none.
  virtual const Stream* outputs() const = 0;
  /// The layers' work in the last step; null: nothing is known of it.
  virtual const std::vector<LayerWork>* work() const { return nullptr; }
  /// Where the last step worked; no rows if unknown. Valid until the next step.
  virtual HeatMap heat_map() { return {}; }
  virtual double feed_ms() const = 0;
  virtual double step_ms() const = 0;
};

}  // namespace deltacnn::cli
