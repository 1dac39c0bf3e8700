// From frames to answers: the way that run, verify and bench have in common.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "commands.h"
#include "contender.h"
#include "deltacnn/post.h"
#include "deltacnn/result.h"
#include "deltacnn/stream.h"
#include "deltacnn/video.h"
#include "policy.h"

namespace deltacnn::cli {

/// A planned model, and how to feed and decode it.
struct VisionModel {
  std::shared_ptr<const Plan> plan;
  ModelFacts facts;
  Preset preset;
};

/// `preset` as in FindPreset. kUnsupported unless the model's one input is an image.
Result<VisionModel> LoadVisionModel(const ModelArguments& arguments, const std::string& preset);

/// Change detector, preprocessor, stream and decoder of one camera.
class Pipeline final : public Contender {
 public:
  static Result<Pipeline> Create(const VisionModel& model, const RunPolicy& policy,
                                 std::shared_ptr<Executor> executor);

  /// Finds out what changed and brings the network's input up to date. A discontinuity resets.
  Status Feed(const FrameView& frame) override;
  Result<StepReport> Step() override;
  /// What the outputs of the last step mean, in pixels of the last frame; the next step's focus is
  /// where they hold something. Without a decoder the answer is of kind kNone.
  Status Decode(float conf, float iou, Answer& answer) override;
  /// Forgets all frames: what comes next is computed from its own pixels alone.
  void Reset();

  bool has_decoder() const { return decoder_.has_value(); }
  Stream& stream() { return stream_; }
  const Stream* outputs() const override { return &stream_; }
  const std::vector<LayerWork>* work() const override { return &stream_.work(); }
  /// Empty unless the stream tracks its work map.
  HeatMap heat_map() override;
  double feed_ms() const override { return feed_ms_; }
  double step_ms() const override { return step_ms_; }
  double answer_ms() const { return answer_ms_; }

 private:
  Pipeline(const VisionModel& model, const RunPolicy& policy, Stream stream);

  ChangeDetector changes_;
  Preprocessor preprocess_;
  Stream stream_;
  ImageTarget input_;
  std::optional<Decoder> decoder_;
  std::vector<TensorView> outputs_;
  std::vector<uint8_t> heat_cells_;
  int frame_width_ = 0;
  int frame_height_ = 0;
  double feed_ms_ = 0;
  double step_ms_ = 0;
  double answer_ms_ = 0;
};

}  // namespace deltacnn::cli
