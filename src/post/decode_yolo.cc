// The YOLO families: one tensor with a row for each candidate box, perhaps followed by mask
// coefficients or key points.
#include <algorithm>

#include "post/decoder.h"

namespace deltacnn {
namespace {

/// Value c of row r is data[r * row_step + c * value_step].
struct Rows {
  const float* data;
  ptrdiff_t row_step;
  ptrdiff_t value_step;

  float At(int64_t row, int value) const { return data[row * row_step + value * value_step]; }
};

/// What follows box, score and classes in a row.
struct Extras {
  int first = 0;      // index of the first value
  int keypoints = 0;  // x, y, score each
  int masks = 0;      // coefficients of the prototype masks [1, masks, height, width]
  int height = 0;
  int width = 0;
  int proto_output = -1;

  int values() const { return masks + 3 * keypoints; }
};

Extras FindExtras(const Preset& preset, const ModelFacts& facts) {
  Extras extras;
  extras.keypoints = preset.keypoints;
  for (size_t i = 0; i < facts.outputs.size(); ++i) {
    const Shape& s = facts.outputs[i].shape;
    constexpr int64_t kMaxSide = 1 << 15;
    if (s.size() == 4 && s[0] == 1 && s[1] > 0 && s[1] <= 256 && s[2] > 0 && s[2] <= kMaxSide &&
        s[3] > 0 && s[3] <= kMaxSide) {
      extras.masks = static_cast<int>(s[1]);
      extras.height = static_cast<int>(s[2]);
      extras.width = static_cast<int>(s[3]);
      extras.proto_output = static_cast<int>(i);
      break;
    }
  }
  return extras;
}

class YoloDecoder : public BoxDecoder {
 public:
  YoloDecoder(const Preset& preset, const ModelFacts& facts, InputSize input, int output,
              Extras extras = {})
      : BoxDecoder(preset), input_(input), extras_(extras) {
    Use(facts, output);
    if (extras_.masks > 0) Use(facts, extras_.proto_output);
  }

 protected:
  /// Turns what is left of `candidates_` into detections.
  void Finish(const Rows& rows, std::span<const TensorView> in, Answer& answer) {
    ToDetections(candidates_, answer);
    for (size_t i = 0; i < candidates_.size(); ++i) {
      Detection& detection = answer.detections[i];
      const int64_t row = candidates_[i].row;
      for (int k = 0; k < extras_.keypoints; ++k) {
        const int value = extras_.first + extras_.masks + 3 * k;
        detection.keypoints.push_back(
            {rows.At(row, value), rows.At(row, value + 1), rows.At(row, value + 2)});
      }
      if (extras_.masks > 0 && detection.score >= answer_conf_) {
        coefficients_.clear();
        for (int m = 0; m < extras_.masks; ++m) {
          coefficients_.push_back(rows.At(row, extras_.first + m));
        }
        DrawMask(in[1].as<float>(), detection);
      }
    }
  }

  InputSize input_;
  Extras extras_;

 private:
  struct Tap {
    int low, high;
    float weight;  // of `high`
  };

  /// Where pixel centre `position` of `size` falls among `cells` (bilinear, clamped at the edges).
  static Tap FindTap(int position, int size, int cells) {
    const float scale = static_cast<float>(cells) / static_cast<float>(size);
    const float at = std::clamp((static_cast<float>(position) + 0.5F) * scale - 0.5F, 0.0F,
                                static_cast<float>(cells - 1));
    const int low = static_cast<int>(at);
    return {low, std::min(low + 1, cells - 1), at - static_cast<float>(low)};
  }

  void DrawMask(std::span<const float> prototypes, Detection& detection) {
    const auto side = [](float at, int size) {
      return static_cast<int>(std::clamp(at, 0.0F, static_cast<float>(size)));
    };
    Mask& mask = detection.mask;
    mask.x = side(std::floor(detection.x1), input_.width);
    mask.y = side(std::floor(detection.y1), input_.height);
    mask.width = side(std::ceil(detection.x2), input_.width) - mask.x;
    mask.height = side(std::ceil(detection.y2), input_.height) - mask.y;
    if (mask.width <= 0 || mask.height <= 0) {
      mask = {};
      return;
    }
    // Logits of the prototype cells that the box can reach ...
    const int left = FindTap(mask.x, input_.width, extras_.width).low;
    const int right = FindTap(mask.x + mask.width - 1, input_.width, extras_.width).high;
    const int top = FindTap(mask.y, input_.height, extras_.height).low;
    const int bottom = FindTap(mask.y + mask.height - 1, input_.height, extras_.height).high;
    const int columns = right - left + 1;
    logits_.assign(static_cast<size_t>(columns) * static_cast<size_t>(bottom - top + 1), 0.0F);
    for (int m = 0; m < extras_.masks; ++m) {
      const float coefficient = coefficients_[static_cast<size_t>(m)];
      float* out = logits_.data();
      for (int y = top; y <= bottom; ++y) {
        const float* row =
            prototypes.data() + (ptrdiff_t{m} * extras_.height + y) * extras_.width + left;
        for (int x = 0; x < columns; ++x) *out++ += coefficient * row[x];
      }
    }
    // ... and between them, where their bilinear mean is positive (a probability above one half).
    taps_.clear();
    for (int x = 0; x < mask.width; ++x) {
      taps_.push_back(FindTap(mask.x + x, input_.width, extras_.width));
    }
    mask.pixels.clear();
    for (int y = 0; y < mask.height; ++y) {
      const Tap v = FindTap(mask.y + y, input_.height, extras_.height);
      const float* low = logits_.data() + ptrdiff_t{v.low - top} * columns - left;
      const float* high = logits_.data() + ptrdiff_t{v.high - top} * columns - left;
      for (const Tap& h : taps_) {
        const float above = low[h.low] + (low[h.high] - low[h.low]) * h.weight;
        const float below = high[h.low] + (high[h.high] - high[h.low]) * h.weight;
        mask.pixels.push_back(above + (below - above) * v.weight > 0 ? 1 : 0);
      }
    }
  }

  std::vector<float> coefficients_;
  std::vector<float> logits_;
  std::vector<Tap> taps_;
};

std::string SizeText(InputSize input) {
  return std::to_string(input.width) + "x" + std::to_string(input.height);
}

class YoloxDecoder final : public YoloDecoder {
 public:
  YoloxDecoder(const Preset& preset, const ModelFacts& facts, InputSize input, int output,
               std::vector<GridLevel> grid)
      : YoloDecoder(preset, facts, input, output),
        values_(static_cast<int>(facts.outputs[static_cast<size_t>(output)].shape[2])),
        grid_(std::move(grid)) {
    classes_ = values_ - 5;
  }

 private:
  void Run(std::span<const TensorView> in, float conf, float iou, Answer& answer) override {
    candidates_.clear();
    const float* row = in[0].as<float>().data();
    for (const GridLevel& level : grid_) {
      const auto stride = static_cast<float>(level.stride);
      for (int64_t cell = 0; cell < level.cells(); ++cell, row += values_) {
        if (!(row[4] >= conf)) continue;
        const BestClass best = FindBestClass(row + 5, classes_);
        const float score = row[4] * best.score;
        if (!(score >= conf)) continue;
        const float x = level.Column(cell);
        const float y = level.Row(cell);
        AddCandidate(
            FromCentre((row[0] + x) * stride, (row[1] + y) * stride, std::exp(row[2]) * stride,
                       std::exp(row[3]) * stride, score, best.class_id, level.first + cell),
            candidates_);
      }
    }
    Suppress(iou, max_detections_, candidates_);
    ToDetections(candidates_, answer);
  }

  int values_;
  std::vector<GridLevel> grid_;
};

class Yolov5Decoder final : public YoloDecoder {
 public:
  Yolov5Decoder(const Preset& preset, const ModelFacts& facts, InputSize input, int output,
                int classes, const Extras& extras)
      : YoloDecoder(preset, facts, input, output, extras) {
    classes_ = classes;
  }

 private:
  void Run(std::span<const TensorView> in, float conf, float iou, Answer& answer) override {
    candidates_.clear();
    const int values = extras_.first + extras_.values();
    const float* row = in[0].as<float>().data();
    for (int64_t r = 0; r < in[0].shape[1]; ++r, row += values) {
      if (!(row[4] >= conf)) continue;
      const BestClass best = FindBestClass(row + 5, classes_);
      const float score = row[4] * best.score;
      if (!(score >= conf)) continue;
      AddCandidate(FromCentre(row[0], row[1], row[2], row[3], score, best.class_id, r),
                   candidates_);
    }
    Suppress(iou, max_detections_, candidates_);
    Finish({in[0].as<float>().data(), values, 1}, in, answer);
  }
};

class Yolov8Decoder final : public YoloDecoder {
 public:
  Yolov8Decoder(const Preset& preset, const ModelFacts& facts, InputSize input, int output,
                bool channels_first, int classes, const Extras& extras)
      : YoloDecoder(preset, facts, input, output, extras), channels_first_(channels_first) {
    classes_ = classes;
  }

 private:
  void Run(std::span<const TensorView> in, float conf, float iou, Answer& answer) override {
    candidates_.clear();
    const int64_t count = in[0].shape[channels_first_ ? 2 : 1];
    const ptrdiff_t values = extras_.first + extras_.values();
    const float* data = in[0].as<float>().data();
    const Rows rows = channels_first_ ? Rows{data, 1, count} : Rows{data, values, 1};
    FindBest(rows, count);
    for (int64_t r = 0; r < count; ++r) {
      const BestClass& best = best_[static_cast<size_t>(r)];
      if (!(best.score >= conf)) continue;
      AddCandidate(FromCentre(rows.At(r, 0), rows.At(r, 1), rows.At(r, 2), rows.At(r, 3),
                              best.score, best.class_id, r),
                   candidates_);
    }
    Suppress(iou, max_detections_, candidates_);
    Finish(rows, in, answer);
  }

  /// Walks the scores in the order of memory.
  void FindBest(const Rows& rows, int64_t count) {
    best_.assign(static_cast<size_t>(count), {});
    if (!channels_first_) {
      for (int64_t r = 0; r < count; ++r) {
        best_[static_cast<size_t>(r)] = FindBestClass(rows.data + r * rows.row_step + 4, classes_);
      }
      return;
    }
    for (int c = 0; c < classes_; ++c) {
      const float* scores = rows.data + (4 + c) * rows.value_step;
      for (int64_t r = 0; r < count; ++r) {
        BestClass& best = best_[static_cast<size_t>(r)];
        if (scores[r] > best.score) best = {c, scores[r]};
      }
    }
  }

  bool channels_first_;
  std::vector<BestClass> best_;
};

class YoloEndToEndDecoder final : public YoloDecoder {
 public:
  using YoloDecoder::YoloDecoder;

 private:
  void Run(std::span<const TensorView> in, float conf, float, Answer& answer) override {
    candidates_.clear();
    const int values = extras_.first + extras_.values();
    const float* row = in[0].as<float>().data();
    for (int64_t r = 0; r < in[0].shape[1]; ++r, row += values) {
      if (!(row[4] >= conf) || !(row[5] >= 0) || !(row[5] < 1e6F)) continue;
      AddCandidate({row[0], row[1], row[2], row[3], row[4], static_cast<int>(row[5]), r},
                   candidates_);
    }
    KeepBest(static_cast<size_t>(max_detections_), candidates_);
    Finish({in[0].as<float>().data(), values, 1}, in, answer);
  }
};

}  // namespace

DecoderResult CreateYolox(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  if (!input) return Misfit(preset, facts, "an image input of known size");
  const std::vector<int> rows = FindRows(facts, -1, -1);
  for (const int output : rows) {
    const Shape& shape = facts.outputs[static_cast<size_t>(output)].shape;
    std::vector<GridLevel> grid = FindGrid(preset, *input, shape[1]);
    if (!grid.empty() && shape[2] > 5 && shape[2] < 100000) {
      return DecoderResult(
          std::make_unique<YoloxDecoder>(preset, facts, *input, output, std::move(grid)));
    }
  }
  const auto grid = MakeGrid(*input, StridesOr(preset, {8, 16, 32}));
  return Misfit(preset, facts,
                "one output [1," + std::to_string(CountCells(grid)) +
                    ",5+classes] for an input of " + SizeText(*input));
}

DecoderResult CreateYolov5(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  if (!input) return Misfit(preset, facts, "an image input of known size");
  Extras extras = FindExtras(preset, facts);
  for (const int output : FindRows(facts, -1, -1)) {
    const int64_t classes =
        facts.outputs[static_cast<size_t>(output)].shape[2] - 5 - extras.values();
    if (classes < 1 || classes > 100000) continue;
    extras.first = 5 + static_cast<int>(classes);
    return DecoderResult(std::make_unique<Yolov5Decoder>(preset, facts, *input, output,
                                                         static_cast<int>(classes), extras));
  }
  return Misfit(preset, facts, "an output [1,N,5+classes]");
}

DecoderResult CreateYolov8(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  if (!input) return Misfit(preset, facts, "an image input of known size");
  Extras extras = FindExtras(preset, facts);
  for (const int output : FindRows(facts, -1, -1)) {
    const Shape& shape = facts.outputs[static_cast<size_t>(output)].shape;
    // There are more boxes than values a box, except in toy models: those are told by their cells.
    const bool channels_first = !FindGrid(preset, *input, shape[2]).empty() ||
                                (FindGrid(preset, *input, shape[1]).empty() && shape[2] > shape[1]);
    const int64_t classes = shape[channels_first ? 1 : 2] - 4 - extras.values();
    if (classes < 1 || classes > 100000) continue;
    extras.first = 4 + static_cast<int>(classes);
    return DecoderResult(std::make_unique<Yolov8Decoder>(
        preset, facts, *input, output, channels_first, static_cast<int>(classes), extras));
  }
  return Misfit(
      preset, facts,
      preset.keypoints > 0
          ? "an output [1,4+classes+3*" + std::to_string(preset.keypoints) + ",N] with key points"
          : "an output [1,4+classes,N] or [1,N,4+classes] (segmentation: "
            "32 more and prototypes [1,32,H,W])");
}

DecoderResult CreateYoloEndToEnd(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  if (!input) return Misfit(preset, facts, "an image input of known size");
  Extras extras = FindExtras(preset, facts);
  extras.first = 6;
  const std::vector<int> outputs = FindRows(facts, -1, extras.first + extras.values());
  if (outputs.empty()) {
    return Misfit(preset, facts, "an output [1,N,6] of x1, y1, x2, y2, score, class");
  }
  return DecoderResult(
      std::make_unique<YoloEndToEndDecoder>(preset, facts, *input, outputs.front(), extras));
}

}  // namespace deltacnn
