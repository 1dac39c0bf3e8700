#include "post/presets.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "post/class_names.h"
#include "post/decoder.h"

namespace deltacnn {
namespace {

using Color = InputSpec::Color;
using Resize = InputSpec::Resize;
using Align = InputSpec::Align;

constexpr InputSpec kRgbUnit{};  // RGB 0..1, letterboxed on grey
constexpr InputSpec kBgrBytes{Color::kBgr,        {0, 0, 0}, {1, 1, 1},
                              Resize::kLetterbox, 114,       Align::kTopLeft};
constexpr InputSpec kRgbSigned{
    Color::kRgb,   {127.5F, 127.5F, 127.5F}, {127.5F, 127.5F, 127.5F}, Resize::kLetterbox, 127.5F,
    Align::kCentre};
constexpr InputSpec kImageNet{
    Color::kRgb,   {123.675F, 116.28F, 103.53F}, {58.395F, 57.12F, 57.375F}, Resize::kStretch, 114,
    Align::kCentre};

InputSpec With(InputSpec input, Resize resize) {
  input.resize = resize;
  return input;
}

const std::vector<std::pair<int, int>>& BodySkeleton() {
  static const std::vector<std::pair<int, int>> kSkeleton = {
      {0, 1},  {0, 2},  {1, 3},  {2, 4},   {5, 6},   {5, 7},   {7, 9},   {6, 8},
      {8, 10}, {5, 11}, {6, 12}, {11, 12}, {11, 13}, {13, 15}, {12, 14}, {14, 16}};
  return kSkeleton;
}

Preset Make(const char* name, DecoderKind decoder, const InputSpec& input,
            std::vector<std::string> names = {}) {
  Preset preset;
  preset.name = name;
  preset.decoder = decoder;
  preset.input = input;
  preset.names = std::move(names);
  return preset;
}

std::vector<Preset> MakeTable() {
  const InputSpec nanodet{Color::kBgr,
                          {103.53F, 116.28F, 123.675F},
                          {57.375F, 57.12F, 58.395F},
                          Resize::kLetterbox,
                          0,
                          Align::kCentre};
  const InputSpec fastestdet{Color::kBgr,      {0, 0, 0}, {255, 255, 255},
                             Resize::kStretch, 0,         Align::kCentre};
  const InputSpec ultraface{Color::kRgb, {127, 127, 127}, {128, 128, 128}, Resize::kStretch,
                            0,           Align::kCentre};
  const InputSpec retinaface{Color::kBgr, {104, 117, 123}, {1, 1, 1}, Resize::kLetterbox,
                             0,           Align::kTopLeft};
  const InputSpec scrfd{Color::kRgb, {127.5F, 127.5F, 127.5F}, {128, 128, 128}, Resize::kLetterbox,
                        0,           Align::kTopLeft};
  const InputSpec centerface{Color::kRgb,      {0, 0, 0}, {1, 1, 1},
                             Resize::kStretch, 0,         Align::kCentre};

  std::vector<Preset> table = {
      Make("none", DecoderKind::kNone, kRgbUnit),
      Make("yolox", DecoderKind::kYolox, kBgrBytes),
      Make("yolov5", DecoderKind::kYolov5, kRgbUnit),
      Make("yolov6", DecoderKind::kYolov5, kRgbUnit),
      Make("yolov7", DecoderKind::kYolov5, kRgbUnit),
      Make("yolov8", DecoderKind::kYolov8, kRgbUnit),
      Make("yolov8-pose", DecoderKind::kYolov8, kRgbUnit, {"person"}),
      Make("yolov8-cls", DecoderKind::kClassification, With(kRgbUnit, Resize::kCrop)),
      Make("yolov10", DecoderKind::kYoloEndToEnd, kRgbUnit),
      Make("yolov11", DecoderKind::kYolov8, kRgbUnit),
      Make("yolov26", DecoderKind::kYoloEndToEnd, kRgbUnit),
      Make("nanodet", DecoderKind::kNanodet, nanodet),
      Make("fastestdet", DecoderKind::kFastestdet, fastestdet),
      Make("ultraface", DecoderKind::kUltraface, ultraface),
      Make("retinaface", DecoderKind::kRetinaface, retinaface, {"face"}),
      Make("yunet", DecoderKind::kYunet, kBgrBytes, {"face"}),
      Make("scrfd", DecoderKind::kScrfd, scrfd, {"face"}),
      Make("centerface", DecoderKind::kCenterface, centerface, {"face"}),
      Make("boxes", DecoderKind::kBoxes, kRgbUnit),
      Make("rtdetr", DecoderKind::kRtdetr, With(kRgbUnit, Resize::kStretch)),
      Make("rf-detr", DecoderKind::kRtdetr, kImageNet),
      Make("detr", DecoderKind::kDetr, kImageNet),
      Make("d-fine", DecoderKind::kNms, With(kRgbUnit, Resize::kStretch)),
      Make("nms", DecoderKind::kNms, kRgbUnit),
      Make("classification", DecoderKind::kClassification, With(kImageNet, Resize::kCrop)),
      Make("classification-tf", DecoderKind::kClassification, With(kRgbSigned, Resize::kCrop)),
      Make("segmentation", DecoderKind::kSegmentation, kImageNet),
      Make("deeplab", DecoderKind::kSegmentation, kRgbSigned),
      Make("road-segmentation", DecoderKind::kSegmentation, With(kBgrBytes, Resize::kStretch),
           {"background", "road", "curb", "mark"}),
      Make("heatmaps", DecoderKind::kHeatmaps, kImageNet),
      Make("openseeface", DecoderKind::kOpenSeeFace, kImageNet),
      Make("posenet", DecoderKind::kPosenet, kRgbSigned, {"person"}),
  };
  for (Preset& preset : table) {
    if (preset.name == "yolov8-pose") preset.keypoints = 17;
    if (preset.name == "posenet") preset.conf = 0.3F;  // the mean over all 17 points
    if (preset.name == "ultraface") preset.conf = 0.6F;
    if (preset.name == "fastestdet") preset.conf = 0.65F;  // a mean of two scores, not a product
    if (preset.name == "scrfd") {
      preset.conf = 0.5F;
      preset.iou = 0.4F;
    }
    if (preset.name == "centerface") {
      preset.conf = 0.35F;
      preset.iou = 0.3F;
    }
    if (preset.name == "boxes" || preset.name == "d-fine") preset.box_format = BoxFormat::kXyxy;
    if (preset.name == "yolov8-pose" || preset.name == "posenet" || preset.name == "heatmaps") {
      preset.skeleton = BodySkeleton();
    }
  }
  return table;
}

const std::vector<Preset>& Table() {
  static const std::vector<Preset> kTable = MakeTable();
  return kTable;
}

/// A metadata entry; empty if there is none.
std::string Metadata(const ModelFacts& facts, const char* key) {
  const auto found = facts.metadata.find(key);
  return found == facts.metadata.end() ? "" : found->second;
}

/// The 17 of "[17, 3]", what Ultralytics writes for pose models; 0 for anything else.
int MetadataKeyPoints(const ModelFacts& facts) {
  const auto shape = nlohmann::json::parse(Metadata(facts, "kpt_shape"), nullptr, false);
  if (!shape.is_array() || shape.size() != 2 || !shape[0].is_number_unsigned() || shape[1] != 3) {
    return 0;
  }
  return shape[0] >= 1 && shape[0] <= 1000 ? shape[0].get<int>() : 0;
}

/// A preset of the table, with the number of key points that metadata states; gray where the input
/// has one channel.
std::optional<Preset> PresetFor(const ModelFacts& facts, const std::string& name) {
  std::optional<Preset> preset = BuiltInPreset(name);
  if (!preset) return preset;
  const auto input = FindInputSize(facts);
  if (input && input->channels == 1) preset->input.color = InputSpec::Color::kGray;
  const int keypoints = preset->keypoints == 0 ? 0 : MetadataKeyPoints(facts);
  if (keypoints > 0 && keypoints != preset->keypoints) {
    preset->keypoints = keypoints;
    preset->skeleton.clear();
  }
  return preset;
}

// ----------------------------------------------------------------- what outputs look like

class Suggestion {
 public:
  Suggestion(const ModelFacts& facts, size_t class_names)
      : facts_(facts),
        input_(FindInputSize(facts)),
        names_(static_cast<int64_t>(class_names)),
        task_(Metadata(facts, "task")) {}

  std::string Find() const {
    const std::string name = FromAll();
    return Fits(name) ? name : "none";
  }

 private:
  // Transformers give two outputs of the same form, for fewer queries.
  static constexpr int64_t kFewestPriors = 1000;

  std::string FromAll() const {
    if (!input_ || facts_.outputs.empty() || task_ == "obb") return "none";
    if (task_ == "classify") return "yolov8-cls";
    // CenterFace's maps would also do for a PoseNet of a single key point.
    for (const char* name : {"yunet", "retinaface", "scrfd", "centerface", "posenet"}) {
      if (Fits(name)) return name;
    }
    const Shape& first = facts_.outputs[0].shape;
    const size_t count = facts_.outputs.size();
    // Two outputs a stride are NanoDet's; a single one needs a look at its size.
    if (count >= 6 && Fits("nanodet")) return "nanodet";
    if (HasBoxPerCell()) return "boxes";
    if (const std::string transformer = FromQueries(); !transformer.empty()) return transformer;
    if (count == 2 && first.size() == 3 && first[1] >= kFewestPriors && Fits("ultraface"))
      return "ultraface";
    for (const TensorFacts& output : facts_.outputs) {
      const Shape& s = output.shape;
      const bool rows = s.size() == 3 && s[0] == 1 && !SameSize(s[1], s[2], 1);
      if (rows && (count == 1 || HasPrototypes())) {
        std::string yolo = FromRows(s);
        if (!yolo.empty()) return yolo;
      }
    }
    const bool vectors = std::ranges::all_of(facts_.outputs, [](const TensorFacts& o) {
      return o.shape.size() == 2 && o.shape[0] == 1;
    });
    if (!vectors && Fits("nms")) return "nms";
    if (first.size() == 4) return FromPlanes(first);
    if (first.size() == 3) return SameSize(first[1], first[2], 1) ? "segmentation" : "none";
    if (first.size() <= 2 && count == 1) return FromVector(first);
    return "none";
  }

  bool Fits(const std::string& name) const {
    Preset preset = *PresetFor(facts_, name);
    preset.names.clear();
    return Decoder::Create(preset, facts_).ok();
  }

  bool HasPrototypes() const {
    return facts_.outputs.size() == 2 && task_ != "detect" &&
           std::any_of(facts_.outputs.begin(), facts_.outputs.end(),
                       [](const TensorFacts& o) { return o.shape.size() == 4; });
  }

  /// Whether `rows` is the number of cells of a usual set of strides, times `boxes`.
  bool AreCells(int64_t rows, int boxes) const {
    for (const std::vector<int>& strides : {std::vector{8, 16, 32}, std::vector{8, 16, 32, 64},
                                            std::vector{4, 8, 16, 32}, std::vector{16, 32}}) {
      if (CountCells(MakeGrid(*input_, strides)) * boxes == rows) return true;
    }
    return false;
  }

  /// Whether the outputs are two, boxes [1,N,4] and something else [1,N,C], with one row for each
  /// cell: detectors with anchors, whose first score is the background's, have more.
  bool HasBoxPerCell() const {
    if (facts_.outputs.size() != 2) return false;
    const Shape& a = facts_.outputs[0].shape;
    const Shape& b = facts_.outputs[1].shape;
    return a.size() == 3 && b.size() == 3 && a[0] == 1 && b[0] == 1 && a[1] == b[1] &&
           (a[2] == 4 || b[2] == 4) && AreCells(a[1], 1);
  }

  /// Transformers, told by what exporters call the outputs. Empty if it is none of them.
  std::string FromQueries() const {
    if (Metadata(facts_, "head") == "RTDETRDecoder" ||
        Metadata(facts_, "description").find("rtdetr") != std::string::npos)
      return "rtdetr";
    const auto find = [&](const char* name) -> const Shape* {
      for (const TensorFacts& output : facts_.outputs)
        if (output.name == name) return &output.shape;
      return nullptr;
    };
    if (find("dets") != nullptr && find("labels") != nullptr && Fits("rf-detr")) return "rf-detr";
    const Shape* logits = find("logits");
    if (logits != nullptr && find("pred_boxes") != nullptr) {
      constexpr int64_t kCocoIds = 91;
      return logits->back() == kCocoIds + 1 ? "detr" : "rtdetr";
    }
    return facts_.outputs[0].name == "labels" && find("boxes") != nullptr && Fits("d-fine")
               ? "d-fine"
               : "";
  }

  std::string FromRows(const Shape& s) const {
    const int points = task_ == "pose" ? MetadataKeyPoints(facts_) : 0;
    const char* const yolov8 = points > 0 ? "yolov8-pose" : "yolov8";
    const int64_t extras = (HasPrototypes() ? PrototypeCount() : 0) + 3 * points;
    const int64_t values = s[2] - extras;
    if (AreCells(s[1], 1)) {
      const int64_t classes = names_ > 0 ? names_ : 80;
      if (values == 4 + classes) return yolov8;
      if (values == 32 + classes && Fits("nanodet")) return "nanodet";
      if (Fits("yolox")) return "yolox";
    }
    if (AreCells(s[1], 3) && values > 5) return "yolov5";
    if (AreCells(s[2], 1) && s[1] > 4 + extras) return yolov8;
    constexpr int64_t kMostRows = 1000;
    return values == 6 && s[1] > 1 && s[1] <= kMostRows ? "yolov10" : "";
  }

  int64_t PrototypeCount() const {
    for (const TensorFacts& output : facts_.outputs) {
      if (output.shape.size() == 4) return output.shape[1];
    }
    return 0;
  }

  bool SameSize(int64_t height, int64_t width, int shrunk) const {
    return height == (input_->height - 1) / shrunk + 1 && width == (input_->width - 1) / shrunk + 1;
  }

  std::string FromPlanes(const Shape& s) const {
    if (s[0] != 1) return "none";
    if (s[2] == 1 && s[3] == 1) return FromVector(s);
    const bool channels_last = AreChannelsLast(s, *input_);
    const int64_t channels = s[channels_last ? 3 : 1];
    const int64_t height = s[channels_last ? 1 : 2];
    const int64_t width = s[channels_last ? 2 : 3];
    if (channels_last && height == 512 && width == 896 && channels == 4) return "road-segmentation";
    if (channels == 5 + (names_ > 0 ? names_ : 80) && Fits("fastestdet")) return "fastestdet";
    if (channels == 198 && SameSize(height, width, 8)) return "openseeface";
    if (channels == 17 && SameSize(height, width, 4)) return "heatmaps";
    // One plane or three, as large as the input, are a picture; many small ones are features.
    const bool is_large =
        SameSize(height, width, 1) || SameSize(height, width, 2) || SameSize(height, width, 4);
    const bool is_known = channels == 19 || channels == 21 || channels == 150 || channels == names_;
    const bool is_map = (is_large && channels != 1 && channels != 3 && channels <= 32) ||
                        ((is_large || SameSize(height, width, 8)) && is_known);
    if (!is_map) return "none";
    return channels == 21 && input_->width == 513 ? "deeplab" : "segmentation";
  }

  std::string FromVector(const Shape& s) const {
    const int64_t count = ElementCount(s);
    // Feature vectors are as long as a power of two; no class list in use is.
    const bool is_feature = count >= 64 && (count & (count - 1)) == 0 && count != names_;
    if (count < 2 || is_feature) return "none";
    return count == 1001 ? "classification-tf" : "classification";
  }

  const ModelFacts& facts_;
  std::optional<InputSize> input_;
  int64_t names_;
  std::string task_;
};

/// Names of the data set that models with this many classes are usually trained on.
std::vector<std::string> UsualNames(const Preset& preset, int classes) {
  switch (preset.decoder) {
    case DecoderKind::kUltraface:
      return classes == 1 ? std::vector<std::string>{"face"} : std::vector<std::string>{};
    case DecoderKind::kSegmentation:
      return classes == 21 ? VocNames() : std::vector<std::string>{};
    case DecoderKind::kYoloEndToEnd:
      return CocoNames();
    case DecoderKind::kClassification:
      return {};
    case DecoderKind::kRtdetr:
    case DecoderKind::kDetr:
      if (classes == 91) return CocoIdNames();
      return classes == 0 || classes == 80 ? CocoNames() : std::vector<std::string>{};
    default:
      return classes == 80 ? CocoNames() : std::vector<std::string>{};
  }
}

std::string List(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

/// The JSON file that `name` is, or that stands beside the model; empty if there is none.
std::string FindPresetFile(const ModelFacts& facts, const std::string& name) {
  if (name.ends_with(".json")) return name;
  if (!name.empty() || facts.path.empty()) return "";
  const std::filesystem::path beside = std::filesystem::path(facts.path).replace_extension(".json");
  std::error_code error;
  return std::filesystem::exists(beside, error) ? beside.string() : "";
}

}  // namespace

std::string Preset::Label(int class_id) const {
  const auto index = static_cast<size_t>(class_id);
  return class_id >= 0 && index < names.size() ? names[index] : std::to_string(class_id);
}

std::optional<Preset> BuiltInPreset(const std::string& name) {
  const auto found = std::find_if(Table().begin(), Table().end(),
                                  [&](const Preset& preset) { return preset.name == name; });
  return found == Table().end() ? std::nullopt : std::optional(*found);
}

std::vector<std::string> PresetNames() {
  std::vector<std::string> names;
  for (const Preset& preset : Table()) names.push_back(preset.name);
  return names;
}

std::string SuggestPreset(const ModelFacts& facts, size_t class_names) {
  return Suggestion(facts, class_names).Find();
}

std::vector<std::string> ParsePythonNames(const std::string& text) {
  std::vector<std::string> names;
  const size_t open = text.find_first_not_of(" \t\n");
  if (open == std::string::npos || (text[open] != '{' && text[open] != '[')) return {};
  for (size_t i = open + 1; i < text.size(); ++i) {
    const char quote = text[i];
    if (quote != '\'' && quote != '"') continue;
    std::string name;
    for (++i; i < text.size() && text[i] != quote; ++i) {
      if (text[i] == '\\' && i + 1 < text.size()) ++i;
      name += text[i];
    }
    if (i >= text.size()) return {};  // no closing quote
    names.push_back(std::move(name));
  }
  return names;
}

Result<Preset> FindPreset(const ModelFacts& facts, const std::string& name) {
  const std::string path = FindPresetFile(facts, name);
  nlohmann::json file = nlohmann::json::object();
  if (!path.empty()) {
    auto read = ReadPresetFile(path);
    if (!read) return read.error();
    file = std::move(*read);
  }
  Preset stated;  // only what the file says, to count its names
  DELTACNN_RETURN_IF_ERROR(ApplyPresetFile(file, path, stated));
  const std::vector<std::string> metadata_names = ParsePythonNames(Metadata(facts, "names"));

  std::string preset_name = path.empty() ? name : file.value("decoder", "");
  if (preset_name.empty()) {
    preset_name =
        SuggestPreset(facts, stated.names.empty() ? metadata_names.size() : stated.names.size());
  }
  std::optional<Preset> preset = PresetFor(facts, preset_name);
  if (!preset) {
    return Error{ErrorCode::kUsage, (path.empty() ? std::string() : path + ": ") +
                                        "unknown preset '" + preset_name + "'; known are " +
                                        List(PresetNames())};
  }
  DELTACNN_RETURN_IF_ERROR(ApplyPresetFile(file, path, *preset));
  if (!stated.names.empty()) {
    auto decoder = Decoder::Create(*preset, facts);
    return decoder ? Result<Preset>(std::move(*preset)) : decoder.error();
  }

  // Nobody insisted on names: take the best that are as many as the classes.
  std::vector<std::string> own = std::move(preset->names);
  preset->names.clear();
  auto decoder = Decoder::Create(*preset, facts);
  if (!decoder) return decoder.error();
  const auto classes = static_cast<size_t>(decoder->classes());
  for (std::vector<std::string> names :
       {metadata_names, std::move(own), UsualNames(*preset, decoder->classes())}) {
    if (!names.empty() && (classes == 0 || names.size() == classes)) {
      preset->names = std::move(names);
      break;
    }
  }
  return std::move(*preset);
}

}  // namespace deltacnn
