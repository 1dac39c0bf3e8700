#include "pipeline.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "loader.h"
#include "terminal.h"

namespace deltacnn::cli {
namespace {

PreprocessOptions OptionsOf(const InputSpec& input) {
  PreprocessOptions options;
  switch (input.resize) {
    case InputSpec::Resize::kLetterbox:
      options.fit = Fit::kLetterbox;
      break;
    case InputSpec::Resize::kStretch:
      options.fit = Fit::kStretch;
      break;
    case InputSpec::Resize::kCrop:
      options.fit = Fit::kCrop;
      break;
  }
  switch (input.color) {
    case InputSpec::Color::kRgb:
      options.order = ChannelOrder::kRgb;
      break;
    case InputSpec::Color::kBgr:
      options.order = ChannelOrder::kBgr;
      break;
    case InputSpec::Color::kGray:
      options.order = ChannelOrder::kGray;
      break;
  }
  options.centered = input.align == InputSpec::Align::kCentre;
  options.pad = input.pad_value;
  options.mean = input.mean;
  options.deviation = input.std;
  return options;
}

}  // namespace

Result<VisionModel> LoadVisionModel(const ModelArguments& arguments, const std::string& preset) {
  auto loaded = LoadModel(arguments);
  if (!loaded.ok()) return loaded.error();
  VisionModel model;
  model.plan = loaded->plan;
  if (model.plan->inputs().size() != 1) {
    return Error{ErrorCode::kUnsupported,
                 arguments.path + ": has " + std::to_string(model.plan->inputs().size()) +
                     " inputs; a video needs a model with one, an image; give the others with "
                     "--value NAME=..., once for all frames ('infer' takes any)"};
  }
  model.facts = FactsOf(*loaded, arguments.path);
  auto found = FindPreset(model.facts, preset);
  if (!found.ok()) return found.error();
  model.preset = std::move(*found);
  return model;
}

Pipeline::Pipeline(const VisionModel& model, const RunPolicy& policy, Stream stream)
    : changes_({.tolerance = policy.tolerance, .background = policy.layers.background}),
      preprocess_(OptionsOf(model.preset.input)),
      stream_(std::move(stream)),
      outputs_(model.plan->outputs().size()) {}

Result<Pipeline> Pipeline::Create(const VisionModel& model, const RunPolicy& policy,
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

Status Pipeline::Feed(const FrameView& frame) {
  const Stopwatch watch;
  if (frame.discontinuity) Reset();
  DELTACNN_RETURN_IF_ERROR(changes_.Update(frame));
  const auto written = preprocess_.Apply(changes_.held(), changes_.changed(), input_);
  if (!written.ok()) return written.error();
  frame_width_ = frame.width;
  frame_height_ = frame.height;
  feed_ms_ = watch.ms();
  return {};
}

Result<StepReport> Pipeline::Step() {
  const Stopwatch watch;
  auto report = stream_.Step();
  step_ms_ = watch.ms();
  return report;
}

Status Pipeline::Decode(float conf, float iou, Answer& answer) {
  if (!decoder_) return {};
  const Stopwatch watch;
  for (size_t i = 0; i < outputs_.size(); ++i) outputs_[i] = stream_.Output(i);
  DELTACNN_RETURN_IF_ERROR(decoder_->Decode(outputs_, conf, iou, answer));
  stream_.SetFocus(decoder_->regions());
  const PixelTransform& map = preprocess_.transform();
  changes_.SetFocus(stream_.focus(), map);
  MapToSource({.scale_x = static_cast<float>(map.scale_x),
               .scale_y = static_cast<float>(map.scale_y),
               .offset_x = static_cast<float>(map.offset_x),
               .offset_y = static_cast<float>(map.offset_y)},
              input_.width, input_.height, frame_width_, frame_height_, answer);
  answer_ms_ = watch.ms();
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

}  // namespace deltacnn::cli
