// Detectors with boxes and scores in tensors of their own: face detectors with prior boxes, graphs
// that decode their boxes, and graphs that end in their own non-maximum suppression.
#include <algorithm>
#include <array>

#include "post/decoder.h"

namespace deltacnn {
namespace {

class UltrafaceDecoder final : public BoxDecoder {
 public:
  UltrafaceDecoder(const Preset& preset, const ModelFacts& facts, InputSize input, int scores,
                   int boxes)
      : BoxDecoder(preset), input_(input) {
    // The first score is the background's.
    classes_ = static_cast<int>(facts.outputs[static_cast<size_t>(scores)].shape[2]) - 1;
    Use(facts, scores);
    Use(facts, boxes);
  }

 private:
  void Run(std::span<const TensorView> in, float conf, float iou, Answer& answer) override {
    candidates_.clear();
    const auto width = static_cast<float>(input_.width);
    const auto height = static_cast<float>(input_.height);
    const float* scores = in[0].as<float>().data() + 1;
    const float* box = in[1].as<float>().data();
    for (int64_t r = 0; r < in[0].shape[1]; ++r, scores += classes_ + 1, box += 4) {
      const BestClass best = FindBestClass(scores, classes_);
      if (!(best.score >= conf)) continue;
      AddCandidate({box[0] * width, box[1] * height, box[2] * width, box[3] * height, best.score,
                    best.class_id, r},
                   candidates_);
    }
    Suppress(iou, max_detections_, candidates_);
    ToDetections(candidates_, answer);
  }

  InputSize input_;
};

constexpr int kPriorsPerCell = 2;

class RetinafaceDecoder final : public BoxDecoder {
 public:
  RetinafaceDecoder(const Preset& preset, const ModelFacts& facts, std::vector<GridLevel> grid,
                    int boxes, int scores, int points)
      : BoxDecoder(preset), grid_(std::move(grid)) {
    classes_ = 1;
    Use(facts, boxes);
    Use(facts, scores);
    Use(facts, points);
  }

 private:
  struct Prior {
    float x, y;  // centre
    float side;
  };

  void Run(std::span<const TensorView> in, float conf, float iou, Answer& answer) override {
    candidates_.clear();
    const float* boxes = in[0].as<float>().data();
    const float* scores = in[1].as<float>().data();
    for (int64_t r = 0; r < in[0].shape[1]; ++r) {
      const float score = scores[2 * r + 1];
      if (!(score >= conf)) continue;
      const Prior prior = PriorOf(r);
      const float* box = boxes + 4 * r;
      AddCandidate(FromCentre(prior.x + box[0] * kCentreVariance * prior.side,
                              prior.y + box[1] * kCentreVariance * prior.side,
                              std::exp(box[2] * kSizeVariance) * prior.side,
                              std::exp(box[3] * kSizeVariance) * prior.side, score, 0, r),
                   candidates_);
    }
    Suppress(iou, max_detections_, candidates_);
    ToDetections(candidates_, answer);
    const float* all_points = in[2].as<float>().data();
    for (size_t i = 0; i < candidates_.size(); ++i) {
      const Prior prior = PriorOf(candidates_[i].row);
      const float* points = all_points + 2 * kFacePoints * candidates_[i].row;
      for (int k = 0; k < kFacePoints; ++k) {
        answer.detections[i].keypoints.push_back(
            {prior.x + points[2 * k] * kCentreVariance * prior.side,
             prior.y + points[2 * k + 1] * kCentreVariance * prior.side, candidates_[i].score});
      }
    }
  }

  /// Each cell has two square priors: 16 and 32 pixels at the first stride, four times that at each
  /// next one.
  Prior PriorOf(int64_t row) const {
    const size_t i = LevelOf(grid_, row / kPriorsPerCell);
    const GridLevel& level = grid_[i];
    const int64_t within = row - level.first * kPriorsPerCell;
    const int64_t cell = within / kPriorsPerCell;
    const float smallest = 16.0F * static_cast<float>(int64_t{1} << (2 * i));
    return {(level.Column(cell) + 0.5F) * static_cast<float>(level.stride),
            (level.Row(cell) + 0.5F) * static_cast<float>(level.stride),
            within % kPriorsPerCell == 0 ? smallest : 2 * smallest};
  }

  static constexpr float kCentreVariance = 0.1F;
  static constexpr float kSizeVariance = 0.2F;
  std::vector<GridLevel> grid_;
};

/// What the four numbers of a box are.
struct BoxLayout {
  BoxFormat format;
  bool normalized;  // shares of the input's size, not pixels
  InputSize input;

  Candidate Read(std::array<float, 4> v, float score, int class_id, int64_t row) const {
    if (normalized) {
      const auto width = static_cast<float>(input.width);
      const auto height = static_cast<float>(input.height);
      const bool y_first = format == BoxFormat::kYxyx;
      for (size_t i = 0; i < 4; ++i) v[i] *= (i % 2 == 0) == y_first ? height : width;
    }
    switch (format) {
      case BoxFormat::kYxyx:
        return {v[1], v[0], v[3], v[2], score, class_id, row};
      case BoxFormat::kCxcywh:
        return FromCentre(v[0], v[1], v[2], v[3], score, class_id, row);
      case BoxFormat::kXyxy:
        break;
    }
    return {v[0], v[1], v[2], v[3], score, class_id, row};
  }
};

class BoxesDecoder final : public BoxDecoder {
 public:
  BoxesDecoder(const Preset& preset, const ModelFacts& facts, InputSize input, int boxes,
               int scores)
      : BoxDecoder(preset), layout_{preset.box_format, preset.normalized_boxes, input} {
    classes_ = static_cast<int>(facts.outputs[static_cast<size_t>(scores)].shape[2]);
    Use(facts, boxes);
    Use(facts, scores);
  }

 private:
  void Run(std::span<const TensorView> in, float conf, float iou, Answer& answer) override {
    candidates_.clear();
    const float* box = in[0].as<float>().data();
    const float* scores = in[1].as<float>().data();
    for (int64_t r = 0; r < in[0].shape[1]; ++r, box += 4, scores += classes_) {
      if (!AnyReaches(scores, classes_, conf)) continue;
      const BestClass best = FindBestClass(scores, classes_);
      AddCandidate(layout_.Read({box[0], box[1], box[2], box[3]}, best.score, best.class_id, r),
                   candidates_);
    }
    Suppress(iou, max_detections_, candidates_);
    ToDetections(candidates_, answer);
  }

  BoxLayout layout_;
};

/// Element `i` of a tensor of any of the types that Values::kAnyNumbers admits.
double NumberAt(const TensorView& view, int64_t i) {
  switch (view.dtype) {
    case DType::kInt32:
      return static_cast<const int32_t*>(view.data)[i];
    case DType::kInt64:
      return static_cast<double>(static_cast<const int64_t*>(view.data)[i]);
    case DType::kUint8:
      return static_cast<const uint8_t*>(view.data)[i];
    default:
      return static_cast<const float*>(view.data)[i];
  }
}

/// A number as an index below `limit`, or -1.
int64_t IndexBelow(double value, int64_t limit) {
  return value >= 0 && value < static_cast<double>(limit) ? static_cast<int64_t>(value) : -1;
}

constexpr int64_t kMaxClasses = 1000000;

/// Rows in any of three layouts: see CreateNms.
class NmsDecoder final : public BoxDecoder {
 public:
  struct Layout {
    int rows = -1;     // [n,7]: batch, x1, y1, x2, y2, class, score
    int boxes = -1;    // [1,n,4], [n,4]; with a fifth column it holds the scores
    int scores = -1;   // one for each box; with `indices`: [1,classes,n]
    int labels = -1;   // one for each box
    int indices = -1;  // [n,3]: batch, class, box
  };

  NmsDecoder(const Preset& preset, const ModelFacts& facts, InputSize input, const Layout& layout)
      : BoxDecoder(preset),
        box_layout_{preset.box_format, preset.normalized_boxes, input},
        layout_(layout) {
    for (const int output :
         {layout.rows, layout.boxes, layout.scores, layout.labels, layout.indices}) {
      if (output >= 0) Use(facts, output, Values::kAnyNumbers);
    }
  }

 private:
  void Run(std::span<const TensorView> in, float conf, float, Answer& answer) override {
    candidates_.clear();
    if (layout_.rows >= 0) {
      RunRows(in[0], conf);
    } else if (layout_.indices >= 0) {
      RunIndices(in[0], in[1], in[2], conf);
    } else {
      RunLists(in, conf);
    }
    KeepBest(static_cast<size_t>(max_detections_), candidates_);
    ToDetections(candidates_, answer);
  }

  void RunRows(const TensorView& rows, float conf) {
    BoxLayout corners = box_layout_;
    corners.format = BoxFormat::kXyxy;
    for (int64_t r = 0; r < rows.shape[0]; ++r) {
      const double score = NumberAt(rows, 7 * r + 6);
      const int64_t label = IndexBelow(NumberAt(rows, 7 * r + 5), kMaxClasses);
      Add(rows, 7 * r + 1, corners, label, score, conf, r);
    }
  }

  void RunIndices(const TensorView& boxes, const TensorView& scores, const TensorView& indices,
                  float conf) {
    const int64_t count = std::min(boxes.shape[1], scores.shape[2]);
    for (int64_t r = 0; r < indices.shape[0]; ++r) {
      const int64_t label = IndexBelow(NumberAt(indices, 3 * r + 1), scores.shape[1]);
      const int64_t box = IndexBelow(NumberAt(indices, 3 * r + 2), count);
      if (label < 0 || box < 0) continue;
      Add(boxes, 4 * box, box_layout_, label, NumberAt(scores, label * scores.shape[2] + box), conf,
          r);
    }
  }

  void RunLists(std::span<const TensorView> in, float conf) {
    const TensorView& boxes = in[0];
    const bool has_scores = layout_.scores >= 0;
    const TensorView& labels = in[has_scores ? 2 : 1];
    const int64_t step = boxes.shape.back();
    int64_t count = std::min(boxes.elements() / step, labels.elements());
    if (has_scores) count = std::min(count, in[1].elements());
    for (int64_t r = 0; r < count; ++r) {
      const double score = has_scores ? NumberAt(in[1], r) : NumberAt(boxes, step * r + 4);
      Add(boxes, step * r, box_layout_, IndexBelow(NumberAt(labels, r), kMaxClasses), score, conf,
          r);
    }
  }

  void Add(const TensorView& boxes, int64_t at, const BoxLayout& layout, int64_t label,
           double score, float conf, int64_t row) {
    if (label < 0 || !(score >= static_cast<double>(conf))) return;
    std::array<float, 4> values;
    for (int i = 0; i < 4; ++i) {
      values[static_cast<size_t>(i)] = static_cast<float>(NumberAt(boxes, at + i));
    }
    AddCandidate(layout.Read(values, static_cast<float>(score), static_cast<int>(label), row),
                 candidates_);
  }

  BoxLayout box_layout_;
  Layout layout_;
};

bool Contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

struct BoxesAndScores {
  int boxes, scores;
};

/// Outputs [1,N,4] and [1,N,classes]; with four classes their names must tell which is which.
std::optional<BoxesAndScores> FindBoxesAndScores(const ModelFacts& facts) {
  const auto at = [&](int output) -> const TensorFacts& {
    return facts.outputs[static_cast<size_t>(output)];
  };
  const auto says_boxes = [&](int output) { return Contains(at(output).name, "box"); };
  const auto says_scores = [&](int output) {
    return Contains(at(output).name, "score") || Contains(at(output).name, "conf") ||
           Contains(at(output).name, "cls") || Contains(at(output).name, "class");
  };
  for (const int boxes : FindRows(facts, -1, 4)) {
    for (const int scores : FindRows(facts, at(boxes).shape[1], -1)) {
      const int64_t classes = at(scores).shape[2];
      if (scores == boxes || classes > kMaxClasses) continue;
      const bool is_told = says_boxes(boxes) != says_boxes(scores)
                               ? says_boxes(boxes)
                               : says_scores(scores) && !says_scores(boxes);
      if (classes != 4 || is_told) return BoxesAndScores{boxes, scores};
    }
  }
  return std::nullopt;
}

/// A list with one number for each box: [n] or [1,n], and not a single count.
bool IsList(const Shape& shape) {
  return (shape.size() == 1 && shape[0] != 1) ||
         (shape.size() == 2 && shape[0] == 1 && shape[1] != 1);
}

std::optional<NmsDecoder::Layout> FindNmsLayout(const ModelFacts& facts) {
  NmsDecoder::Layout layout;
  std::vector<int> lists;
  for (size_t i = 0; i < facts.outputs.size(); ++i) {
    const Shape& s = facts.outputs[i].shape;
    const int output = static_cast<int>(i);
    const bool is_box_list =
        (s.size() == 2 || (s.size() == 3 && s[0] == 1)) && (s.back() == 4 || s.back() == 5);
    // [1,7] and [1,3] are lists, unless there is nothing else.
    if (s.size() == 2 && s[1] == 7 && (s[0] != 1 || facts.outputs.size() == 1)) {
      layout.rows = output;
      return layout;
    }
    if (s.size() == 2 && s[1] == 3 && s[0] != 1) {
      layout.indices = output;
    } else if (is_box_list && layout.boxes < 0) {
      layout.boxes = output;
    } else if (s.size() == 3 && s[0] == 1 && s[1] > 0) {
      layout.scores = output;
    } else if (IsList(s)) {
      lists.push_back(output);
    }
  }
  if (layout.boxes < 0) return std::nullopt;
  const auto shape = [&](int output) { return facts.outputs[static_cast<size_t>(output)].shape; };
  if (layout.indices >= 0) {
    const bool fits =
        layout.scores >= 0 && shape(layout.boxes).size() == 3 && shape(layout.boxes).back() == 4;
    return fits ? std::optional(layout) : std::nullopt;
  }
  layout.scores = -1;
  if (shape(layout.boxes).back() == 5 && lists.size() == 1) {
    layout.labels = lists[0];
    return layout;
  }
  if (shape(layout.boxes).back() != 4 || lists.size() != 2) return std::nullopt;
  // Exporters that do not say in the name which is which write the classes first.
  const std::string& first = facts.outputs[static_cast<size_t>(lists[0])].name;
  const bool scores_first = Contains(first, "score") || Contains(first, "conf");
  layout.scores = lists[scores_first ? 0 : 1];
  layout.labels = lists[scores_first ? 1 : 0];
  return layout;
}

}  // namespace

DecoderResult CreateUltraface(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  if (!input) return Misfit(preset, facts, "an image input of known size");
  for (const int boxes : FindRows(facts, -1, 4)) {
    const int64_t count = facts.outputs[static_cast<size_t>(boxes)].shape[1];
    for (const int scores : FindRows(facts, count, -1)) {
      const int64_t classes = facts.outputs[static_cast<size_t>(scores)].shape[2];
      if (scores == boxes || classes < 2 || classes > kMaxClasses) continue;
      return DecoderResult(
          std::make_unique<UltrafaceDecoder>(preset, facts, *input, scores, boxes));
    }
  }
  return Misfit(preset, facts, "scores [1,N,1+classes] and corner boxes [1,N,4] of 0..1");
}

DecoderResult CreateRetinaface(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  if (!input) return Misfit(preset, facts, "an image input of known size");
  std::vector<GridLevel> grid = MakeGrid(*input, StridesOr(preset, {8, 16, 32}));
  const int64_t rows = CountCells(grid) * kPriorsPerCell;
  const std::vector<int> boxes = FindRows(facts, rows, 4);
  const std::vector<int> scores = FindRows(facts, rows, 2);
  const std::vector<int> points = FindRows(facts, rows, 2 * kFacePoints);
  if (boxes.size() != 1 || scores.size() != 1 || points.size() != 1 || grid.size() > 8) {
    const std::string n = std::to_string(rows);
    return Misfit(preset, facts,
                  "boxes [1," + n + ",4], scores [1," + n + ",2] and landmarks [1," + n + ",10]");
  }
  return DecoderResult(std::make_unique<RetinafaceDecoder>(preset, facts, std::move(grid), boxes[0],
                                                           scores[0], points[0]));
}

DecoderResult CreateBoxes(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  if (!input) return Misfit(preset, facts, "an image input of known size");
  const std::optional<BoxesAndScores> found = FindBoxesAndScores(facts);
  if (!found) {
    return Misfit(preset, facts,
                  "boxes [1,N,4] and scores [1,N,classes], named \"boxes\" and \"scores\" if there "
                  "are four classes");
  }
  return DecoderResult(
      std::make_unique<BoxesDecoder>(preset, facts, *input, found->boxes, found->scores));
}

DecoderResult CreateNms(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  if (!input) return Misfit(preset, facts, "an image input of known size");
  const std::optional<NmsDecoder::Layout> layout = FindNmsLayout(facts);
  if (!layout) {
    return Misfit(preset, facts,
                  "rows [n,7] of batch, x1, y1, x2, y2, class, score; or indices [n,3] with boxes "
                  "[1,N,4] and scores [1,classes,N]; or boxes [n,4] with labels and scores [n]; or "
                  "boxes with scores [n,5] with labels [n]");
  }
  return DecoderResult(std::make_unique<NmsDecoder>(preset, facts, *input, *layout));
}

}  // namespace deltacnn
