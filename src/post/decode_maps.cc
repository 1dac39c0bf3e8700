// Answers about the whole picture: classification and semantic segmentation.
#include <algorithm>

#include "post/decoder.h"

namespace deltacnn {
namespace {

constexpr int64_t kMaxMapSide = 1 << 15;
constexpr int kMaxMapClasses = 256;  // a class map has one byte a pixel

class ClassificationDecoder final : public FamilyDecoder {
 public:
  ClassificationDecoder(const Preset& preset, const ModelFacts& facts, int output, int classes)
      : count_(static_cast<size_t>(std::min({5, preset.max_detections, classes}))) {
    classes_ = classes;
    Use(facts, output);
  }

 private:
  void Run(std::span<const TensorView> in, float, float, Answer& answer) override {
    answer.kind = AnswerKind::kClassification;
    const std::span<const float> values = in[0].as<float>();
    order_.clear();
    for (int c = 0; c < classes_; ++c) {
      const float value = values[static_cast<size_t>(c)];
      if (std::isfinite(value)) order_.push_back({c, value});
    }
    const size_t count = std::min(count_, order_.size());
    if (count == 0) return;
    std::partial_sort(order_.begin(), order_.begin() + static_cast<ptrdiff_t>(count), order_.end(),
                      [](const ClassScore& a, const ClassScore& b) {
                        return a.score != b.score ? a.score > b.score : a.class_id < b.class_id;
                      });
    double exp_sum = 0;
    float lowest = INFINITY;
    const double top = order_.front().score;
    for (const ClassScore& entry : order_) {
      exp_sum += std::exp(entry.score - top);
      lowest = std::min(lowest, entry.score);
    }
    // The sum of probabilities says nothing: quantised ones miss 1 by far, sigmoids have any.
    if (lowest < -1e-3F || top > 1 + 1e-3) logits_ = true;
    for (size_t i = 0; i < count; ++i) {
      const double score = order_[i].score;
      answer.topk.push_back(
          {order_[i].class_id, static_cast<float>(logits_ ? std::exp(score - top) / exp_sum
                                                          : std::clamp(score, 0.0, 1.0))});
    }
  }

  size_t count_;
  bool logits_ = false;  // a value was seen that is no probability
  std::vector<ClassScore> order_;
};

/// Where the scores or classes of a segmentation lie.
struct MapLayout {
  int output = -1;
  int64_t classes = 0;  // 0: the values are class numbers
  int64_t height = 0;
  int64_t width = 0;
  bool channels_last = false;
};

template <class T>
void CopyClasses(std::span<const T> values, std::vector<uint8_t>& classes) {
  for (const T value : values) {
    classes.push_back(value >= 0 && value < kMaxMapClasses ? static_cast<uint8_t>(value) : 0);
  }
}

class SegmentationDecoder final : public FamilyDecoder {
 public:
  SegmentationDecoder(const ModelFacts& facts, const MapLayout& layout) : layout_(layout) {
    classes_ = static_cast<int>(layout.classes);
    Use(facts, layout.output, layout.classes == 0 ? Values::kAnyNumbers : Values::kFloats);
  }

 private:
  void Run(std::span<const TensorView> in, float, float, Answer& answer) override {
    answer.kind = AnswerKind::kSegmentation;
    ClassMap& map = answer.class_map;
    map.width = static_cast<int>(layout_.width);
    map.height = static_cast<int>(layout_.height);
    if (layout_.classes == 0) {
      CopyNumbers(in[0], map.classes);
    } else if (layout_.channels_last) {
      const float* pixel = in[0].as<float>().data();
      for (int64_t i = 0; i < layout_.height * layout_.width; ++i, pixel += classes_) {
        map.classes.push_back(static_cast<uint8_t>(FindBestClass(pixel, classes_).class_id));
      }
    } else {
      ArgmaxPlanes(in[0].as<float>().data(), map.classes);
    }
  }

  static void CopyNumbers(const TensorView& view, std::vector<uint8_t>& classes) {
    switch (view.dtype) {
      case DType::kInt32:
        return CopyClasses(view.as<int32_t>(), classes);
      case DType::kInt64:
        return CopyClasses(view.as<int64_t>(), classes);
      case DType::kUint8:
        return CopyClasses(view.as<uint8_t>(), classes);
      default:
        return CopyClasses(view.as<float>(), classes);
    }
  }

  /// Row by row, so that the best scores so far stay in the cache.
  void ArgmaxPlanes(const float* planes, std::vector<uint8_t>& classes) {
    const int64_t width = layout_.width;
    const int64_t plane = layout_.height * width;
    classes.assign(static_cast<size_t>(plane), 0);
    for (int64_t y = 0; y < layout_.height; ++y) {
      uint8_t* row = classes.data() + y * width;
      best_.assign(static_cast<size_t>(width), -INFINITY);
      for (int c = 0; c < classes_; ++c) {
        const float* scores = planes + c * plane + y * width;
        for (int64_t x = 0; x < width; ++x) {
          if (scores[x] > best_[static_cast<size_t>(x)]) {
            best_[static_cast<size_t>(x)] = scores[x];
            row[x] = static_cast<uint8_t>(c);
          }
        }
      }
    }
  }

  MapLayout layout_;
  std::vector<float> best_;
};

std::optional<MapLayout> FindMap(const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  for (size_t i = 0; i < facts.outputs.size(); ++i) {
    const Shape& s = facts.outputs[i].shape;
    MapLayout map{.output = static_cast<int>(i)};
    if (s.size() == 3 && s[0] == 1) {
      map.height = s[1];
      map.width = s[2];
    } else if (s.size() == 4 && s[0] == 1) {
      map.channels_last = input && AreChannelsLast(s, *input);
      map.classes = s[map.channels_last ? 3 : 1];
      map.height = s[map.channels_last ? 1 : 2];
      map.width = s[map.channels_last ? 2 : 3];
      if (map.classes < 1 || map.classes > kMaxMapClasses) continue;
      if (map.classes == 1) map.classes = 0;
    }
    if (map.height > 0 && map.width > 0 && map.height <= kMaxMapSide && map.width <= kMaxMapSide) {
      return map;
    }
  }
  return std::nullopt;
}

}  // namespace

DecoderResult CreateClassification(const Preset& preset, const ModelFacts& facts) {
  for (size_t i = 0; i < facts.outputs.size(); ++i) {
    const Shape& shape = facts.outputs[i].shape;
    const int64_t count = ElementCount(shape);
    const bool is_vector = std::find(shape.begin(), shape.end(), count) != shape.end();
    if (is_vector && count > 1 && count < 10000000) {
      return DecoderResult(std::make_unique<ClassificationDecoder>(
          preset, facts, static_cast<int>(i), static_cast<int>(count)));
    }
  }
  return Misfit(preset, facts, "an output [1,classes] or [1,classes,1,1]");
}

DecoderResult CreateSegmentation(const Preset& preset, const ModelFacts& facts) {
  const std::optional<MapLayout> layout = FindMap(facts);
  if (!layout) {
    return Misfit(preset, facts,
                  "an output [1,classes,H,W] or [1,H,W,classes] with at most 256 classes, or class "
                  "numbers [1,H,W]");
  }
  return DecoderResult(std::make_unique<SegmentationDecoder>(facts, *layout));
}

}  // namespace deltacnn
