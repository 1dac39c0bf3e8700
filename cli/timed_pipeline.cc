#include "timed_pipeline.h"

#include "terminal.h"

namespace deltacnn::cli {

Result<TimedPipeline> TimedPipeline::Create(const VisionModel& model, const VideoPolicy& policy,
                                            std::shared_ptr<Executor> executor) {
  auto pipeline = Pipeline::Create(model, policy, std::move(executor));
  if (!pipeline.ok()) return pipeline.error();
  return TimedPipeline(std::move(*pipeline));
}

Status TimedPipeline::Feed(const FrameView& frame) {
  const Stopwatch watch;
  auto status = pipeline_.Feed(frame);
  feed_ms_ = watch.ms();
  return status;
}

Result<StepReport> TimedPipeline::Step() {
  const Stopwatch watch;
  auto report = pipeline_.Step();
  step_ms_ = watch.ms();
  return report;
}

Status TimedPipeline::Decode(float conf, float iou, Answer& answer) {
  const Stopwatch watch;
  auto status = pipeline_.Decode(conf, iou, answer);
  answer_ms_ = watch.ms();
  return status;
}

}  // namespace deltacnn::cli
