#include <algorithm>
#include <cmath>
#include <utility>

#include "deltacnn/vision.h"

namespace deltacnn {

ModelFacts FactsOf(const Model& model, const Plan& plan, const std::string& path) {
  ModelFacts facts;
  facts.path = path;
  for (const TensorInfo& info : plan.inputs()) facts.inputs.push_back({info.name, info.shape});
  for (const TensorInfo& info : plan.outputs()) facts.outputs.push_back({info.name, info.shape});
  facts.metadata = model.metadata();
  return facts;
}

Result<VisionModel> VisionModel::Load(const std::string& path, const PlanOptions& options,
                                      const std::string& preset) {
  const auto model = Model::Load(path);
  if (!model.ok()) return model.error();
  auto plan = Plan::Compile(**model, options);
  if (!plan.ok()) return plan.error();
  VisionModel vision;
  vision.plan = std::move(*plan);
  if (vision.plan->inputs().size() != 1) {
    return Error{
        ErrorCode::kUnsupported,
        path + ": has " + std::to_string(vision.plan->inputs().size()) +
            " inputs; a video needs a model with one, an image; make constants of the others "
            "(--value NAME=..., PlanOptions::input_values)"};
  }
  vision.facts = FactsOf(**model, *vision.plan, path);
  auto found = FindPreset(vision.facts, preset);
  if (!found.ok()) return found.error();
  vision.preset = std::move(*found);
  return vision;
}

Pipeline::Pipeline(const VisionModel& model, const VideoPolicy& policy, Stream stream)
    : changes_({.tolerance = policy.tolerance, .background = policy.layers.background}),
      preprocess_(model.preset.input),
      stream_(std::move(stream)),
      conf_(model.preset.conf),
      iou_(model.preset.iou),
      outputs_(model.plan->outputs().size()) {}

Result<Pipeline> Pipeline::Create(const VisionModel& model, const VideoPolicy& policy,
                                  std::shared_ptr<Executor> executor) {
  StreamOptions options;
  options.executor = std::move(executor);
  options.policy = policy.layers;
  options.budget_ms = policy.budget_ms;
  auto stream = Stream::Create(model.plan, options);
  if (!stream.ok()) return stream.error();
  Pipeline pipeline(model, policy, std::move(*stream));
  const auto input = pipeline.stream_.Image(0);
  if (!input.ok()) return input.error();
  pipeline.input_ = *input;
  if (model.preset.decoder != DecoderKind::kNone) {
    auto decoder = Decoder::Create(model.preset, model.facts);
    if (!decoder.ok()) return decoder.error();
    pipeline.decoder_ = std::move(*decoder);
  }
  return pipeline;
}

Result<StepReport> Pipeline::Run(const FrameView& frame, Answer& answer) {
  DELTACNN_RETURN_IF_ERROR(Feed(frame));
  const auto report = Step();
  if (report.ok()) DELTACNN_RETURN_IF_ERROR(Decode(conf_, iou_, answer));
  return report;
}

Status Pipeline::Feed(const FrameView& frame) {
  if (frame.discontinuity) Reset();
  DELTACNN_RETURN_IF_ERROR(changes_.Update(frame));
  const auto written = preprocess_.Apply(changes_.held(), changes_.changed(), input_);
  if (!written.ok()) return written.error();
  frame_width_ = frame.width;
  frame_height_ = frame.height;
  return {};
}

Result<StepReport> Pipeline::Step() { return stream_.Step(); }

Status Pipeline::Decode(float conf, float iou, Answer& answer) {
  if (!decoder_) {
    answer = {};
    return {};
  }
  for (size_t i = 0; i < outputs_.size(); ++i) outputs_[i] = stream_.Output(i);
  DELTACNN_RETURN_IF_ERROR(decoder_->Decode(outputs_, conf, iou, answer));
  stream_.SetFocus(decoder_->regions());
  changes_.SetFocus(stream_.focus(), preprocess_.transform());
  MapToSource(preprocess_.transform(), input_.width, input_.height, frame_width_, frame_height_,
              answer);
  return {};
}

HeatMap Pipeline::heat_map() {
  const WorkMap& work = stream_.work_map();
  heat_cells_.clear();
  for (const float share : work.share)
    heat_cells_.push_back(static_cast<uint8_t>(std::ceil(255 * std::min(share, 1.0F))));
  const PixelTransform& map = preprocess_.transform();
  return {.cells = heat_cells_,
          .rows = work.rows,
          .columns = work.columns,
          .x = static_cast<float>(map.offset_x),
          .y = static_cast<float>(map.offset_y),
          .width = static_cast<float>(map.scale_x * WorkMap::kCell * work.columns),
          .height = static_cast<float>(map.scale_y * WorkMap::kCell * work.rows)};
}

void Pipeline::Reset() {
  changes_.Reset();
  preprocess_.Reset();
  stream_.Reset();
}

}  // namespace deltacnn
