// A pipeline whose parts are timed: what run, verify and bench have in common.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "contender.h"
#include "deltacnn/result.h"
#include "deltacnn/vision.h"

namespace deltacnn::cli {

class TimedPipeline final : public Contender {
 public:
  /// As Pipeline::Create.
  static Result<TimedPipeline> Create(const VisionModel& model, const VideoPolicy& policy,
                                      std::shared_ptr<Executor> executor);

  Status Feed(const FrameView& frame) override;
  Result<StepReport> Step() override;
  Status Decode(float conf, float iou, Answer& answer) override;
  void Reset() { pipeline_.Reset(); }

  bool has_decoder() const { return pipeline_.has_decoder(); }
  Stream& stream() { return pipeline_.stream(); }
  const Stream* outputs() const override { return &pipeline_.stream(); }
  const std::vector<LayerWork>* work() const override { return &pipeline_.stream().work(); }
  HeatMap heat_map() override { return pipeline_.heat_map(); }
  double feed_ms() const override { return feed_ms_; }
  double step_ms() const override { return step_ms_; }
  double answer_ms() const { return answer_ms_; }

 private:
  explicit TimedPipeline(Pipeline pipeline) : pipeline_(std::move(pipeline)) {}

  Pipeline pipeline_;
  double feed_ms_ = 0;
  double step_ms_ = 0;
  double answer_ms_ = 0;
};

}  // namespace deltacnn::cli
