#include <fstream>
#include <initializer_list>
#include <iterator>
#include <nlohmann/json.hpp>

#include "post/class_names.h"
#include "post/parse_json.h"
#include "post/presets.h"

namespace deltacnn {
namespace {

using nlohmann::json;

constexpr size_t kMaxFileBytes = 16 << 20;

/// Reads typed values out of one JSON object; keeps the first error.
class ObjectReader {
 public:
  ObjectReader(const json& object, std::string place) : object_(object), place_(std::move(place)) {}

  Status status() const { return error_ ? Status(*error_) : Status(); }

  void AllowOnly(std::initializer_list<const char*> keys) {
    for (const auto& [key, value] : object_.items()) {
      bool known = false;
      std::string list;
      for (const char* name : keys) {
        known = known || key == name;
        list.append(list.empty() ? "" : ", ").append(name);
      }
      if (!known) Fail("unknown key '" + key + "'; known are " + list);
    }
  }

  void Number(const char* key, double low, double high, float& out) {
    const json* value = Find(key);
    if (value == nullptr) return;
    if (!IsNumber(*value, low, high)) return FailRange(key, low, high);
    out = value->get<float>();
  }

  void Integer(const char* key, int low, int high, int& out) {
    const json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_number_integer() || !IsNumber(*value, low, high)) {
      return FailRange(key, low, high);
    }
    out = value->get<int>();
  }

  void Bool(const char* key, bool& out) {
    const json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) return Fail(Quote(key) + " must be true or false");
    out = value->get<bool>();
  }

  void Three(const char* key, std::array<float, 3>& out) {
    const json* value = Find(key);
    if (value == nullptr) return;
    bool fits = value->is_array() && value->size() == 3;
    for (size_t i = 0; fits && i < 3; ++i) fits = IsNumber((*value)[i], -1e6, 1e6);
    if (!fits) return Fail(Quote(key) + " must be a list of three numbers");
    for (size_t i = 0; i < 3; ++i) out[i] = (*value)[i].get<float>();
  }

  template <class Enum>
  void Choice(const char* key, std::initializer_list<std::pair<const char*, Enum>> choices,
              Enum& out) {
    const json* value = Find(key);
    if (value == nullptr) return;
    std::string list;
    for (const auto& [name, choice] : choices) {
      if (*value == name) {
        out = choice;
        return;
      }
      list += (list.empty() ? "\"" : ", \"") + std::string(name) + "\"";
    }
    Fail(Quote(key) + " must be one of " + list);
  }

  const json* Find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }

  void Fail(const std::string& what) {
    if (!error_) error_ = Error{ErrorCode::kUsage, place_ + ": " + what};
  }

  static std::string Quote(const char* key) { return "'" + std::string(key) + "'"; }

 private:
  static bool IsNumber(const json& value, double low, double high) {
    return value.is_number() && value.get<double>() >= low && value.get<double>() <= high;
  }

  void FailRange(const char* key, double low, double high) {
    Fail(Quote(key) + " must be a number from " + json(low).dump() + " to " + json(high).dump());
  }

  const json& object_;
  std::string place_;
  std::optional<Error> error_;
};

void ReadNames(ObjectReader& reader, std::vector<std::string>& names) {
  const json* value = reader.Find("names");
  if (value == nullptr) return;
  if (*value == "coco") {
    names = CocoNames();
  } else if (*value == "voc") {
    names = VocNames();
  } else if (*value == "face") {
    names = {"face"};
  } else {
    names.clear();
    bool fits = value->is_array();
    for (size_t i = 0; fits && i < value->size(); ++i) {
      fits = (*value)[i].is_string();
      if (fits) names.push_back((*value)[i].get<std::string>());
    }
    if (!fits) reader.Fail("'names' must be a list of strings, \"coco\", \"voc\" or \"face\"");
  }
}

void ReadStrides(ObjectReader& reader, std::vector<int>& strides) {
  const json* value = reader.Find("strides");
  if (value == nullptr) return;
  strides.clear();
  bool fits = value->is_array() && value->size() <= 8;
  for (size_t i = 0; fits && i < value->size(); ++i) {
    const json& stride = (*value)[i];
    fits = stride.is_number_integer() && stride >= 1 && stride <= 4096;
    if (fits) strides.push_back(stride.get<int>());
  }
  if (!fits) reader.Fail("'strides' must be a list of at most 8 integers from 1 to 4096");
}

void ReadSkeleton(ObjectReader& reader, std::vector<std::pair<int, int>>& skeleton) {
  const json* value = reader.Find("skeleton");
  if (value == nullptr) return;
  skeleton.clear();
  bool fits = value->is_array();
  for (size_t i = 0; fits && i < value->size(); ++i) {
    const json& pair = (*value)[i];
    fits = pair.is_array() && pair.size() == 2 && pair[0].is_number_integer() &&
           pair[1].is_number_integer() && pair[0] >= 0 && pair[1] >= 0 && pair[0] < 100000 &&
           pair[1] < 100000;
    if (fits) skeleton.emplace_back(pair[0].get<int>(), pair[1].get<int>());
  }
  if (!fits) reader.Fail("'skeleton' must be a list of pairs of key point numbers");
}

Status ReadInput(const json& object, const std::string& path, InputSpec& input) {
  ObjectReader reader(object, path + ", 'input'");
  reader.AllowOnly({"color", "mean", "std", "resize", "pad_value", "align"});
  reader.Choice<InputSpec::Color>("color",
                                  {{"rgb", InputSpec::Color::kRgb},
                                   {"bgr", InputSpec::Color::kBgr},
                                   {"gray", InputSpec::Color::kGray}},
                                  input.color);
  reader.Three("mean", input.mean);
  reader.Three("std", input.std);
  for (const float value : input.std) {
    if (value == 0) reader.Fail("'std' must not be 0");
  }
  reader.Choice<InputSpec::Resize>("resize",
                                   {{"letterbox", InputSpec::Resize::kLetterbox},
                                    {"stretch", InputSpec::Resize::kStretch},
                                    {"crop", InputSpec::Resize::kCrop}},
                                   input.resize);
  reader.Number("pad_value", 0, 255, input.pad_value);
  reader.Choice<InputSpec::Align>(
      "align", {{"centre", InputSpec::Align::kCentre}, {"top-left", InputSpec::Align::kTopLeft}},
      input.align);
  return reader.status();
}

}  // namespace

Result<json> ReadPresetFile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string text;
  if (stream) {
    text.resize(kMaxFileBytes + 1);
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(stream.gcount()));
  }
  if (!stream.eof() || stream.bad()) {
    return Error{ErrorCode::kIo,
                 path + ": the preset file cannot be read or is larger than 16 MiB"};
  }
  std::string place;
  json file = ParseJson<json>(text, place);
  if (!file.is_object()) {
    return Error{ErrorCode::kUsage,
                 path +
                     (file.is_discarded() ? ", " + place + ": not JSON" : ": not a JSON object") +
                     "; correct it, remove it or name a preset"};
  }
  const auto decoder = file.find("decoder");
  if (decoder != file.end() && !decoder->is_string()) {
    return Error{ErrorCode::kUsage, path + ": 'decoder' must be the name of a preset"};
  }
  return file;
}

Status ApplyPresetFile(const json& file, const std::string& path, Preset& preset) {
  ObjectReader reader(file, path);
  reader.AllowOnly({"decoder", "names", "strides", "input", "conf", "iou", "max_detections",
                    "keypoints", "skeleton", "box_format", "normalized_boxes"});
  ReadNames(reader, preset.names);
  ReadStrides(reader, preset.strides);
  ReadSkeleton(reader, preset.skeleton);
  reader.Number("conf", 0, 1, preset.conf);
  reader.Number("iou", 0, 1, preset.iou);
  reader.Integer("max_detections", 1, 100000, preset.max_detections);
  reader.Integer("keypoints", 0, 1000, preset.keypoints);
  reader.Choice<BoxFormat>(
      "box_format",
      {{"xyxy", BoxFormat::kXyxy}, {"yxyx", BoxFormat::kYxyx}, {"cxcywh", BoxFormat::kCxcywh}},
      preset.box_format);
  reader.Bool("normalized_boxes", preset.normalized_boxes);
  const json* input = reader.Find("input");
  if (input != nullptr && !input->is_object()) reader.Fail("'input' must be an object");
  DELTACNN_RETURN_IF_ERROR(reader.status());
  return input == nullptr ? Status() : ReadInput(*input, path, preset.input);
}

}  // namespace deltacnn
