// Detectors without anchors that are not YOLO: NanoDet, FastestDet, YuNet.
#include <algorithm>

#include "post/decoder.h"

namespace deltacnn {
namespace {

constexpr int kBins =
    8;  // NanoDet's boxes: each side's distance is a distribution over 0..7 strides

/// The mean of the distribution that `logits` describe.
float ExpectedBin(const float* logits) {
  const float top = *std::max_element(logits, logits + kBins);
  float sum = 0;
  float weighted = 0;
  for (int i = 0; i < kBins; ++i) {
    const float weight = std::exp(logits[i] - top);
    sum += weight;
    weighted += weight * static_cast<float>(i);
  }
  return weighted / sum;
}

class NanodetDecoder final : public BoxDecoder {
 public:
  /// `scores` and `boxes` name an output for each level; both are the same single output if all
  /// levels come in one.
  NanodetDecoder(const Preset& preset, const ModelFacts& facts, std::vector<GridLevel> grid,
                 const std::vector<int>& scores, const std::vector<int>& boxes, int classes)
      : BoxDecoder(preset),
        // NanoDet-Plus, the one with four strides, counts from the corner of a cell.
        centre_(grid.size() == 4 ? 0.0F : 0.5F),
        merged_(scores == boxes),
        grid_(std::move(grid)) {
    classes_ = classes;
    for (const int output : scores) Use(facts, output);
    if (merged_) return;
    for (const int output : boxes) Use(facts, output);
  }

 private:
  void Run(std::span<const TensorView> in, float conf, float iou, Answer& answer) override {
    candidates_.clear();
    for (size_t i = 0; i < grid_.size(); ++i) {
      const GridLevel& level = grid_[i];
      if (merged_) {
        const int values = classes_ + 4 * kBins;
        const float* rows = in[0].as<float>().data() + level.first * values;
        RunLevel(level, rows, values, rows + classes_, values, conf);
      } else {
        RunLevel(level, in[i].as<float>().data(), classes_, in[grid_.size() + i].as<float>().data(),
                 4 * kBins, conf);
      }
    }
    Suppress(iou, max_detections_, candidates_);
    ToDetections(candidates_, answer);
  }

  void RunLevel(const GridLevel& level, const float* scores, int score_step, const float* boxes,
                int box_step, float conf) {
    const auto stride = static_cast<float>(level.stride);
    for (int64_t cell = 0; cell < level.cells(); ++cell) {
      if (!AnyReaches(scores + cell * score_step, classes_, conf)) continue;
      const BestClass best = FindBestClass(scores + cell * score_step, classes_);
      const float x = (level.Column(cell) + centre_) * stride;
      const float y = (level.Row(cell) + centre_) * stride;
      const float* box = boxes + cell * box_step;
      AddCandidate(
          {x - ExpectedBin(box) * stride, y - ExpectedBin(box + kBins) * stride,
           x + ExpectedBin(box + 2 * kBins) * stride, y + ExpectedBin(box + 3 * kBins) * stride,
           best.score, best.class_id, level.first + cell},
          candidates_);
    }
  }

  float centre_;
  bool merged_;
  std::vector<GridLevel> grid_;
};

class FastestdetDecoder final : public BoxDecoder {
 public:
  FastestdetDecoder(const Preset& preset, const ModelFacts& facts, InputSize input, int output)
      : BoxDecoder(preset), input_(input) {
    const Shape& shape = facts.outputs[static_cast<size_t>(output)].shape;
    classes_ = static_cast<int>(shape[1]) - 5;
    height_ = shape[2];
    width_ = shape[3];
    Use(facts, output);
  }

  /// Most others multiply two probabilities; the mean of two that are equal is the root of that.
  /// (YuNet's score is a mean, too, but of its faces some are lost this way:
  /// docs/experiments_policies.md.)
  float FaintScore() const override { return std::sqrt(kFaintScore); }

 private:
  void Run(std::span<const TensorView> in, float conf, float iou, Answer& answer) override {
    candidates_.clear();
    const int64_t plane = height_ * width_;
    const float* data = in[0].as<float>().data();
    const auto input_width = static_cast<float>(input_.width);
    const auto input_height = static_cast<float>(input_.height);
    FindTop(data + 5 * plane, plane);
    // Below, no class probability makes up for the object score; a little less, for rounding.
    const float least = 0.999F * std::pow(conf, 1 / kObjectPower);
    for (int64_t cell = 0; cell < plane; ++cell) {
      const float* values = data + cell;
      const float top = top_[static_cast<size_t>(cell)];
      if (values[0] < least && top <= 1) continue;
      const float score = std::pow(values[0], kObjectPower) * std::pow(top, kClassPower);
      if (!(score >= conf)) continue;
      const BestClass best = FindBestClass(values + 5 * plane, classes_, plane);
      const float x = std::tanh(values[plane]) + static_cast<float>(cell % width_);
      const int64_t row = cell / width_;
      const float y = std::tanh(values[2 * plane]) + static_cast<float>(row);
      AddCandidate(
          FromCentre(x / static_cast<float>(width_) * input_width,
                     y / static_cast<float>(height_) * input_height,
                     Sigmoid(values[3 * plane]) * input_width,
                     Sigmoid(values[4 * plane]) * input_height, score, best.class_id, cell),
          candidates_);
    }
    Suppress(iou, max_detections_, candidates_);
    ToDetections(candidates_, answer);
  }

  // Of the two scores that a box has, in the one it is given.
  static constexpr float kObjectPower = 0.6F;
  static constexpr float kClassPower = 0.4F;

  /// The largest of each cell's class scores, plane by plane: the order of memory.
  void FindTop(const float* scores, int64_t plane) {
    top_.assign(static_cast<size_t>(plane), -INFINITY);
    for (int c = 0; c < classes_; ++c, scores += plane) {
      for (size_t i = 0; i < top_.size(); ++i) top_[i] = scores[i] > top_[i] ? scores[i] : top_[i];
    }
  }

  InputSize input_;
  int64_t height_;
  int64_t width_;
  std::vector<float> top_;  // by cell
};

class YunetDecoder final : public BoxDecoder {
 public:
  /// `outputs` holds, for each level, class score, object score, box and key points.
  YunetDecoder(const Preset& preset, const ModelFacts& facts, std::vector<GridLevel> grid,
               std::span<const int> outputs)
      : BoxDecoder(preset), grid_(std::move(grid)) {
    classes_ = 1;
    for (const int output : outputs) Use(facts, output);
  }

 private:
  void Run(std::span<const TensorView> in, float conf, float iou, Answer& answer) override {
    candidates_.clear();
    for (size_t i = 0; i < grid_.size(); ++i) {
      const GridLevel& level = grid_[i];
      const auto stride = static_cast<float>(level.stride);
      const std::span<const float> classes = in[4 * i].as<float>();
      const std::span<const float> objects = in[4 * i + 1].as<float>();
      for (int64_t cell = 0; cell < level.cells(); ++cell) {
        const auto at = static_cast<size_t>(cell);
        const float score = std::sqrt(classes[at] * objects[at]);
        if (!(score >= conf)) continue;
        const float* box = in[4 * i + 2].as<float>().data() + 4 * cell;
        const float x = level.Column(cell);
        const float y = level.Row(cell);
        AddCandidate(
            FromCentre((x + box[0]) * stride, (y + box[1]) * stride, std::exp(box[2]) * stride,
                       std::exp(box[3]) * stride, score, 0, level.first + cell),
            candidates_);
      }
    }
    Suppress(iou, max_detections_, candidates_);
    ToDetections(candidates_, answer);
    for (size_t i = 0; i < candidates_.size(); ++i) {
      AddKeyPoints(in, candidates_[i], answer.detections[i]);
    }
  }

  void AddKeyPoints(std::span<const TensorView> in, const Candidate& candidate,
                    Detection& detection) const {
    const size_t i = LevelOf(grid_, candidate.row);
    const GridLevel& level = grid_[i];
    const int64_t cell = candidate.row - level.first;
    const auto stride = static_cast<float>(level.stride);
    const float* points = in[4 * i + 3].as<float>().data() + 2 * kFacePoints * cell;
    for (int k = 0; k < kFacePoints; ++k) {
      detection.keypoints.push_back({(points[2 * k] + level.Column(cell)) * stride,
                                     (points[2 * k + 1] + level.Row(cell)) * stride,
                                     candidate.score});
    }
  }

  std::vector<GridLevel> grid_;
};

struct NanodetOutputs {
  std::vector<int> scores;  // one for each level
  std::vector<int> boxes;
  int64_t classes = 0;
};

/// For each level two outputs with a row for each cell: boxes have 32 values, scores come before
/// them where they have 32 too.
std::optional<NanodetOutputs> FindNanodetOutputs(const ModelFacts& facts,
                                                 std::span<const GridLevel> grid) {
  NanodetOutputs found;
  for (const GridLevel& level : grid) {
    std::vector<int> pair = FindRows(facts, level.cells(), -1);
    if (pair.size() != 2) return std::nullopt;
    const auto channels = [&](int output) {
      return facts.outputs[static_cast<size_t>(output)].shape[2];
    };
    if (channels(pair[1]) != 4 * kBins) std::swap(pair[0], pair[1]);
    const int64_t classes = channels(pair[0]);
    if (channels(pair[1]) != 4 * kBins || (found.classes != 0 && classes != found.classes)) {
      return std::nullopt;
    }
    found.classes = classes;
    found.scores.push_back(pair[0]);
    found.boxes.push_back(pair[1]);
  }
  return found;
}

}  // namespace

DecoderResult CreateNanodet(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  if (!input) return Misfit(preset, facts, "an image input of known size");
  constexpr int kMaxClasses = 10000;
  for (const int output : FindRows(facts, -1, -1)) {
    const Shape& shape = facts.outputs[static_cast<size_t>(output)].shape;
    std::vector<GridLevel> grid = FindGrid(preset, *input, shape[1]);
    const int64_t classes = shape[2] - 4 * kBins;
    if (grid.empty() || classes < 1 || classes > kMaxClasses) continue;
    return DecoderResult(std::make_unique<NanodetDecoder>(preset, facts, std::move(grid),
                                                          std::vector{output}, std::vector{output},
                                                          static_cast<int>(classes)));
  }
  for (const std::vector<int>& usual : {std::vector{8, 16, 32, 64}, std::vector{8, 16, 32}}) {
    std::vector<GridLevel> grid = MakeGrid(*input, StridesOr(preset, usual));
    const std::optional<NanodetOutputs> found = FindNanodetOutputs(facts, grid);
    if (!found || found->classes > kMaxClasses) continue;
    return DecoderResult(std::make_unique<NanodetDecoder>(preset, facts, std::move(grid),
                                                          found->scores, found->boxes,
                                                          static_cast<int>(found->classes)));
  }
  return Misfit(
      preset, facts,
      "for each stride (8, 16, 32, perhaps 64) scores [1,HW,classes] and boxes [1,HW,32], "
      "or all strides in one [1,N,classes+32]");
}

DecoderResult CreateFastestdet(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  if (!input) return Misfit(preset, facts, "an image input of known size");
  const GridLevel level = MakeGrid(*input, StridesOr(preset, {16})).front();
  for (size_t i = 0; i < facts.outputs.size(); ++i) {
    const Shape& s = facts.outputs[i].shape;
    if (s.size() == 4 && s[0] == 1 && s[1] > 5 && s[1] < 10000 && s[2] == level.height &&
        s[3] == level.width) {
      return DecoderResult(
          std::make_unique<FastestdetDecoder>(preset, facts, *input, static_cast<int>(i)));
    }
  }
  return Misfit(preset, facts,
                "one output [1,5+classes," + std::to_string(level.height) + "," +
                    std::to_string(level.width) + "]");
}

DecoderResult CreateYunet(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  if (!input) return Misfit(preset, facts, "an image input of known size");
  std::vector<GridLevel> grid = MakeGrid(*input, StridesOr(preset, {8, 16, 32}));
  std::vector<int> outputs;
  for (const GridLevel& level : grid) {
    const std::vector<int> scores = FindRows(facts, level.cells(), 1);
    const std::vector<int> boxes = FindRows(facts, level.cells(), 4);
    const std::vector<int> points = FindRows(facts, level.cells(), 2 * kFacePoints);
    if (scores.size() != 2 || boxes.size() != 1 || points.size() != 1) {
      const std::string rows = "[1," + std::to_string(level.cells()) + ",";
      std::string expected = "for stride " + std::to_string(level.stride) + " two score outputs ";
      expected += rows + "1], boxes " + rows + "4] and key points " + rows + "10]";
      return Misfit(preset, facts, expected);
    }
    outputs.insert(outputs.end(), {scores[0], scores[1], boxes[0], points[0]});
  }
  return DecoderResult(std::make_unique<YunetDecoder>(preset, facts, std::move(grid), outputs));
}

}  // namespace deltacnn
