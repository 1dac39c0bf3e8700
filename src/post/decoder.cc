#include "post/decoder.h"

#include <algorithm>

namespace deltacnn {
namespace {

// Grids and class maps are indexed by int; real inputs are far below.
constexpr int64_t kMaxSide = 1 << 15;

bool Matches(std::span<const int64_t> shape, const Shape& expected) {
  if (shape.size() != expected.size()) return false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 0 || (expected[i] >= 0 && shape[i] != expected[i])) return false;
  }
  return true;
}

DecoderResult CreateFamily(const Preset& preset, const ModelFacts& facts) {
  switch (preset.decoder) {
    case DecoderKind::kNone:
      break;
    case DecoderKind::kYolox:
      return CreateYolox(preset, facts);
    case DecoderKind::kYolov5:
      return CreateYolov5(preset, facts);
    case DecoderKind::kYolov8:
      return CreateYolov8(preset, facts);
    case DecoderKind::kYoloEndToEnd:
      return CreateYoloEndToEnd(preset, facts);
    case DecoderKind::kNanodet:
      return CreateNanodet(preset, facts);
    case DecoderKind::kFastestdet:
      return CreateFastestdet(preset, facts);
    case DecoderKind::kUltraface:
      return CreateUltraface(preset, facts);
    case DecoderKind::kRetinaface:
      return CreateRetinaface(preset, facts);
    case DecoderKind::kYunet:
      return CreateYunet(preset, facts);
    case DecoderKind::kScrfd:
      return CreateScrfd(preset, facts);
    case DecoderKind::kCenterface:
      return CreateCenterface(preset, facts);
    case DecoderKind::kBoxes:
      return CreateBoxes(preset, facts);
    case DecoderKind::kRtdetr:
    case DecoderKind::kDetr:
      return CreateDetr(preset, facts);
    case DecoderKind::kNms:
      return CreateNms(preset, facts);
    case DecoderKind::kClassification:
      return CreateClassification(preset, facts);
    case DecoderKind::kSegmentation:
      return CreateSegmentation(preset, facts);
    case DecoderKind::kHeatmaps:
      return CreateHeatmaps(preset, facts);
    case DecoderKind::kOpenSeeFace:
      return CreateOpenSeeFace(preset, facts);
    case DecoderKind::kPosenet:
      return CreatePosenet(preset, facts);
  }
  class RawOutputs final : public FamilyDecoder {
    void Run(std::span<const TensorView>, float, float, Answer&) override {}
  };
  return DecoderResult(std::make_unique<RawOutputs>());
}

/// True if the answers are boxes that no worse box has a say in: those above a score are the same
/// whatever is found below. (Of PoseNet's people, faint ones claim key points.)
bool FindsBoxes(DecoderKind kind) {
  switch (kind) {
    case DecoderKind::kYolox:
    case DecoderKind::kYolov5:
    case DecoderKind::kYolov8:
    case DecoderKind::kYoloEndToEnd:
    case DecoderKind::kNanodet:
    case DecoderKind::kFastestdet:
    case DecoderKind::kUltraface:
    case DecoderKind::kRetinaface:
    case DecoderKind::kYunet:
    case DecoderKind::kScrfd:
    case DecoderKind::kCenterface:
    case DecoderKind::kBoxes:
    case DecoderKind::kRtdetr:
    case DecoderKind::kDetr:
    case DecoderKind::kNms:
      return true;
    default:
      return false;
  }
}

void Clear(Answer& answer) {
  answer.kind = AnswerKind::kNone;
  answer.detections.clear();
  answer.topk.clear();
  answer.class_map.width = answer.class_map.height = 0;
  answer.class_map.classes.clear();
  answer.keypoints.clear();
}

}  // namespace

void FamilyDecoder::Use(const ModelFacts& facts, int index, Values values) {
  const TensorFacts& output = facts.outputs[static_cast<size_t>(index)];
  slots_.push_back({index, output.name, output.shape, values});
}

Status FamilyDecoder::Decode(std::span<const TensorView> outputs, float conf, float lowest,
                             float iou, Answer& answer) {
  Clear(answer);
  answer_conf_ = conf;
  bound_.clear();
  for (const Slot& slot : slots_) {
    if (static_cast<size_t>(slot.index) >= outputs.size()) {
      return Error{ErrorCode::kUsage, "decoding: output '" + slot.name + "' (number " +
                                          std::to_string(slot.index) +
                                          ") is missing; give all outputs of the model"};
    }
    const TensorView& view = outputs[static_cast<size_t>(slot.index)];
    if (!Matches(view.shape, slot.shape) || view.elements() < 0 ||
        (view.data == nullptr && view.elements() > 0)) {
      return Error{ErrorCode::kUsage, "decoding: output '" + slot.name + "' has shape " +
                                          ToString(view.shape) + " instead of " +
                                          ToString(slot.shape)};
    }
    const bool is_number = view.dtype == DType::kFloat32 ||
                           (slot.values == Values::kAnyNumbers &&
                            (view.dtype == DType::kInt32 || view.dtype == DType::kInt64 ||
                             view.dtype == DType::kUint8));
    if (!is_number) {
      return Error{ErrorCode::kUnsupported, "decoding: output '" + slot.name + "' is " +
                                                NameOf(view.dtype) +
                                                "; convert it to float32 in the model"};
    }
    bound_.push_back(view);
  }
  Run(bound_, lowest, iou, answer);
  return {};
}

Decoder::Decoder(std::unique_ptr<FamilyDecoder> family, bool finds_boxes, float region_score)
    : family_(std::move(family)),
      finds_boxes_(finds_boxes),
      region_score_(region_score),
      regions_{kEverywhere} {}
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;
Decoder::~Decoder() = default;

Result<Decoder> Decoder::Create(const Preset& preset, const ModelFacts& facts) {
  for (const int stride : preset.strides) {
    if (stride < 1) {
      return Error{ErrorCode::kUsage, "preset " + preset.name + ": strides must be positive"};
    }
  }
  if (preset.max_detections < 0 || preset.keypoints < 0) {
    return Error{ErrorCode::kUsage,
                 "preset " + preset.name + ": max_detections and keypoints must not be negative"};
  }
  auto family = CreateFamily(preset, facts);
  if (!family) return family.error();
  const auto classes = static_cast<size_t>((*family)->classes());
  if (classes > 0 && !preset.names.empty() && preset.names.size() != classes) {
    return Error{ErrorCode::kUsage, "preset " + preset.name + ": " +
                                        std::to_string(preset.names.size()) + " names for " +
                                        std::to_string(classes) +
                                        " classes; give one name for each class"};
  }
  const float region_score = std::min(preset.conf, (*family)->FaintScore());
  return Decoder(std::move(*family), FindsBoxes(preset.decoder), region_score);
}

Status Decoder::Decode(std::span<const TensorView> outputs, float conf, float iou, Answer& answer) {
  regions_.assign(1, kEverywhere);
  const float lowest = finds_boxes_ ? std::min(conf, region_score_) : conf;
  DELTACNN_RETURN_IF_ERROR(family_->Decode(outputs, conf, lowest, iou, answer));
  if (!finds_boxes_) return {};
  regions_.clear();
  for (const Detection& d : answer.detections)
    if (d.score >= region_score_) regions_.push_back({d.x1, d.y1, d.x2, d.y2});
  // Best score first.
  const auto below = std::ranges::find_if_not(
      answer.detections, [conf](const Detection& d) { return d.score >= conf; });
  answer.detections.erase(below, answer.detections.end());
  return {};
}

int Decoder::classes() const { return family_->classes(); }

Error Misfit(const Preset& preset, const ModelFacts& facts, const std::string& expected) {
  std::string message = "preset " + preset.name + " does not fit the model: it expects " +
                        expected + "; the outputs are";
  for (const TensorFacts& output : facts.outputs) {
    message += " " + output.name + ToString(output.shape);
  }
  return Error{ErrorCode::kUsage, message + "; name another preset or 'none'"};
}

std::optional<InputSize> FindInputSize(const ModelFacts& facts) {
  const auto is_image = [](int64_t channels, int64_t height, int64_t width) {
    return (channels == 1 || channels == 3 || channels == 4) && height > 0 && width > 0 &&
           height <= kMaxSide && width <= kMaxSide;
  };
  for (const TensorFacts& input : facts.inputs) {
    const Shape& s = input.shape;
    if (s.size() != 4) continue;
    if (is_image(s[1], s[2], s[3])) {
      return InputSize{static_cast<int>(s[3]), static_cast<int>(s[2]), static_cast<int>(s[1])};
    }
    if (is_image(s[3], s[1], s[2])) {
      return InputSize{static_cast<int>(s[2]), static_cast<int>(s[1]), static_cast<int>(s[3])};
    }
  }
  return std::nullopt;
}

bool AreChannelsLast(const Shape& shape, InputSize input) {
  const auto mismatch = [&](int64_t height, int64_t width) {
    return std::abs(static_cast<double>(height) * input.width -
                    static_cast<double>(width) * input.height);
  };
  return mismatch(shape[1], shape[2]) < mismatch(shape[2], shape[3]);
}

std::vector<GridLevel> MakeGrid(InputSize input, std::span<const int> strides) {
  std::vector<GridLevel> grid;
  int64_t first = 0;
  for (const int stride : strides) {
    const GridLevel level{stride, (input.width - 1) / stride + 1, (input.height - 1) / stride + 1,
                          first};
    grid.push_back(level);
    first += level.cells();
  }
  return grid;
}

int64_t CountCells(std::span<const GridLevel> grid) {
  return grid.empty() ? 0 : grid.back().first + grid.back().cells();
}

std::vector<GridLevel> FindGrid(const Preset& preset, InputSize input, int64_t rows,
                                int boxes_per_cell) {
  const std::vector<std::vector<int>> usual = {{8, 16, 32}, {8, 16, 32, 64}};
  const std::vector<std::vector<int>> own = {preset.strides};
  for (const std::vector<int>& strides : preset.strides.empty() ? usual : own) {
    std::vector<GridLevel> grid = MakeGrid(input, strides);
    if (CountCells(grid) * boxes_per_cell == rows) return grid;
  }
  return {};
}

std::vector<int> FindRows(const ModelFacts& facts, int64_t rows, int64_t channels) {
  std::vector<int> found;
  for (size_t i = 0; i < facts.outputs.size(); ++i) {
    const Shape& s = facts.outputs[i].shape;
    if (s.size() == 3 && s[0] == 1 && s[1] > 0 && s[2] > 0 && (rows < 0 || s[1] == rows) &&
        (channels < 0 || s[2] == channels)) {
      found.push_back(static_cast<int>(i));
    }
  }
  return found;
}

}  // namespace deltacnn
