// From frames to answers: a model that looks at pictures, what may be given up for speed, and the
// pipeline of one camera.
//
//   auto model = VisionModel::Load("yolox.onnx");
//   auto policy = VideoPolicy::Find("balanced");
//   auto source = VideoSource::Open("rtsp://camera/1");
//   auto camera = Pipeline::Create(*model, *policy);
//   Answer answer;
//   for (auto frame = source->Next(); frame.ok() && *frame; frame = source->Next())
//     if (auto report = camera->Run(**frame, answer); report.ok()) Use(answer.detections);
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "deltacnn/executor.h"
#include "deltacnn/frame.h"
#include "deltacnn/input.h"
#include "deltacnn/model.h"
#include "deltacnn/post.h"
#include "deltacnn/result.h"
#include "deltacnn/stream.h"
#include "deltacnn/video.h"

namespace deltacnn {

/// What Plan and Model say that FindPreset and Decoder::Create want to know. `path` is that of the
/// ONNX file.
ModelFacts FactsOf(const Model& model, const Plan& plan, const std::string& path);

/// A planned model whose one input is an image, and how to feed and decode it. May be shared by any
/// number of pipelines.
struct VisionModel {
  std::shared_ptr<const Plan> plan;
  ModelFacts facts;
  Preset preset;

  /// Reads and plans an ONNX file. `preset` as in FindPreset: empty, the name of one, or the path
  /// of a JSON file. kUnsupported where the model has more than one input (PlanOptions::
  /// input_values makes constants of the others); else the errors of Model::Load, Plan::Compile and
  /// FindPreset.
  static Result<VisionModel> Load(const std::string& path, const PlanOptions& options = {},
                                  const std::string& preset = "");
};

/// What may be given up for speed between picture and answer: docs/policies.md.
struct VideoPolicy {
  std::string name = "exact";
  float tolerance = 0;         // of the picture, levels of 255: ChangeOptions::tolerance
  Policy layers = {};          // within the network
  double budget_ms = 0;        // StreamOptions::budget_ms
  std::string tuned_for = {};  // the model of the policy file; empty: none

  /// `name` is "exact", "balanced" (what programs should start with), "fast" or the path of a file
  /// that `deltacnn tune` wrote: {"deltacnn_policy": 1, "model", "tolerance", "reach", "cutoff",
  /// "strong", "background", "refresh", "target", "measured"}; a number left out gives nothing up.
  /// kUsage for anything else, unknown fields and values out of range.
  static Result<VideoPolicy> Find(const std::string& name);

  /// Whether it gives up nothing but, under a budget, time.
  bool exact() const;
  /// What it may give up, in one line for people.
  std::string GivesUp() const;
};

/// Change detector, preprocessor, stream and decoder of one camera. Movable; used by one thread at
/// a time.
class Pipeline {
 public:
  /// Computes on the calling thread, or where `executor` says (MakeThreadPool(2), say). Errors as
  /// Stream::Create, Stream::Image and Decoder::Create.
  static Result<Pipeline> Create(const VisionModel& model, const VideoPolicy& policy,
                                 std::shared_ptr<Executor> executor = nullptr);

  /// Feed, Step and Decode with the preset's `conf` and `iou`.
  Result<StepReport> Run(const FrameView& frame, Answer& answer);

  /// Finds out what changed and brings the network's input up to date. A discontinuity resets.
  /// Errors as ChangeDetector::Update and Preprocessor::Apply.
  Status Feed(const FrameView& frame);
  /// Brings the network's outputs up to date.
  Result<StepReport> Step();
  /// What the outputs of the last step mean, in pixels of the last frame; `conf` and `iou` as in
  /// Preset. Where they hold something, the next steps look closely (Stream::SetFocus). Without a
  /// decoder the answer is of kind kNone.
  Status Decode(float conf, float iou, Answer& answer);
  /// Forgets all frames: what comes next is computed from its own pixels alone.
  void Reset();

  bool has_decoder() const { return decoder_.has_value(); }
  Stream& stream() { return stream_; }
  const Stream& stream() const { return stream_; }
  /// Where the last step worked, for Annotate; no rows unless stream().TrackWorkMap() was called.
  /// Valid until the next call.
  HeatMap heat_map();

 private:
  Pipeline(const VisionModel& model, const VideoPolicy& policy, Stream stream);

  ChangeDetector changes_;
  Preprocessor preprocess_;
  Stream stream_;
  ImageTarget input_;
  std::optional<Decoder> decoder_;
  float conf_;
  float iou_;
  std::vector<TensorView> outputs_;
  std::vector<uint8_t> heat_cells_;
  int frame_width_ = 0;
  int frame_height_ = 0;
};

}  // namespace deltacnn
