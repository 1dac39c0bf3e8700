// Face detectors whose boxes lie around the cells of grids: SCRFD, CenterFace.
#include "post/decoder.h"

namespace deltacnn {
namespace {

constexpr int kAnchorsPerCell = 2;  // of SCRFD, both in the same place

struct Point {
  float x, y;
};

class ScrfdDecoder final : public BoxDecoder {
 public:
  /// `outputs` holds, for each level, scores, boxes and, with `has_points`, key points.
  ScrfdDecoder(const Preset& preset, const ModelFacts& facts, std::vector<GridLevel> grid,
               std::span<const int> outputs, bool has_points)
      : BoxDecoder(preset),
        has_points_(has_points),
        outputs_per_level_(has_points ? 3 : 2),
        grid_(std::move(grid)) {
    classes_ = 1;
    for (const int output : outputs) Use(facts, output);
  }

 private:
  void Run(std::span<const TensorView> in, float conf, float iou, Answer& answer) override {
    candidates_.clear();
    for (size_t i = 0; i < grid_.size(); ++i) {
      const GridLevel& level = grid_[i];
      const auto stride = static_cast<float>(level.stride);
      const float* scores = in[outputs_per_level_ * i].as<float>().data();
      const float* boxes = in[outputs_per_level_ * i + 1].as<float>().data();
      for (int64_t r = 0; r < level.cells() * kAnchorsPerCell; ++r) {
        const float score = scores[r];
        if (!(score >= conf)) continue;
        const Point centre = CentreOf(level, r);
        const float* sides = boxes + 4 * r;  // distances from the centre
        AddCandidate({centre.x - sides[0] * stride, centre.y - sides[1] * stride,
                      centre.x + sides[2] * stride, centre.y + sides[3] * stride, score, 0,
                      level.first * kAnchorsPerCell + r},
                     candidates_);
      }
    }
    Suppress(iou, max_detections_, candidates_);
    ToDetections(candidates_, answer);
    if (!has_points_) return;
    for (size_t i = 0; i < candidates_.size(); ++i) {
      AddKeyPoints(in, candidates_[i], answer.detections[i]);
    }
  }

  static Point CentreOf(const GridLevel& level, int64_t row) {
    const int64_t cell = row / kAnchorsPerCell;
    const auto stride = static_cast<float>(level.stride);
    return {level.Column(cell) * stride, level.Row(cell) * stride};
  }

  void AddKeyPoints(std::span<const TensorView> in, const Candidate& candidate,
                    Detection& detection) const {
    const size_t i = LevelOf(grid_, candidate.row / kAnchorsPerCell);
    const GridLevel& level = grid_[i];
    const int64_t row = candidate.row - level.first * kAnchorsPerCell;
    const auto stride = static_cast<float>(level.stride);
    const Point centre = CentreOf(level, row);
    const float* points = in[outputs_per_level_ * i + 2].as<float>().data() + 2 * kFacePoints * row;
    for (int k = 0; k < kFacePoints; ++k) {
      detection.keypoints.push_back({centre.x + points[2 * k] * stride,
                                     centre.y + points[2 * k + 1] * stride, candidate.score});
    }
  }

  bool has_points_;
  size_t outputs_per_level_;
  std::vector<GridLevel> grid_;
};

/// The outputs of shape [rows, channels] or [1, rows, channels], in order.
std::vector<int> FindRowsOfAnyRank(const ModelFacts& facts, int64_t rows, int64_t channels) {
  std::vector<int> found;
  for (size_t i = 0; i < facts.outputs.size(); ++i) {
    const Shape& shape = facts.outputs[i].shape;
    if (shape == Shape{rows, channels} || shape == Shape{1, rows, channels}) {
      found.push_back(static_cast<int>(i));
    }
  }
  return found;
}

struct CenterfaceOutputs {
  int heat, scale, offset, points;
};

class CenterfaceDecoder final : public BoxDecoder {
 public:
  CenterfaceDecoder(const Preset& preset, const ModelFacts& facts, const GridLevel& level,
                    const CenterfaceOutputs& outputs)
      : BoxDecoder(preset), level_(level) {
    classes_ = 1;
    for (const int output : {outputs.heat, outputs.scale, outputs.offset, outputs.points}) {
      Use(facts, output);
    }
  }

 private:
  // Of each pair of planes the first is for y and the height, the second for x and the width.
  void Run(std::span<const TensorView> in, float conf, float iou, Answer& answer) override {
    candidates_.clear();
    const int64_t plane = level_.cells();
    const auto stride = static_cast<float>(level_.stride);
    const float* heat = in[0].as<float>().data();
    const float* scale = in[1].as<float>().data();
    const float* offset = in[2].as<float>().data();
    for (int64_t cell = 0; cell < plane; ++cell) {
      if (!(heat[cell] >= conf)) continue;
      AddCandidate(FromCentre((level_.Column(cell) + offset[plane + cell] + 0.5F) * stride,
                              (level_.Row(cell) + offset[cell] + 0.5F) * stride,
                              std::exp(scale[plane + cell]) * stride,
                              std::exp(scale[cell]) * stride, heat[cell], 0, cell),
                   candidates_);
    }
    Suppress(iou, max_detections_, candidates_);
    ToDetections(candidates_, answer);
    const float* points = in[3].as<float>().data();
    for (size_t i = 0; i < candidates_.size(); ++i) {
      const Candidate& box = candidates_[i];
      for (int k = 0; k < kFacePoints; ++k) {  // shares of the box
        const float* y = points + 2 * k * plane + box.row;
        const float* x = y + plane;
        answer.detections[i].keypoints.push_back(
            {box.x1 + *x * (box.x2 - box.x1), box.y1 + *y * (box.y2 - box.y1), box.score});
      }
    }
  }

  GridLevel level_;
};

/// Scale and offset have the same shape: the scale comes first.
std::optional<CenterfaceOutputs> FindCenterfaceOutputs(const ModelFacts& facts,
                                                       const GridLevel& level) {
  const auto find = [&](int64_t channels) {
    std::vector<int> found;
    for (size_t i = 0; i < facts.outputs.size(); ++i) {
      if (facts.outputs[i].shape == Shape{1, channels, level.height, level.width}) {
        found.push_back(static_cast<int>(i));
      }
    }
    return found;
  };
  const std::vector<int> heat = find(1);
  const std::vector<int> pairs = find(2);
  const std::vector<int> points = find(2 * kFacePoints);
  if (heat.size() != 1 || pairs.size() != 2 || points.size() != 1) return std::nullopt;
  return CenterfaceOutputs{heat[0], pairs[0], pairs[1], points[0]};
}

}  // namespace

DecoderResult CreateScrfd(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  if (!input) return Misfit(preset, facts, "an image input of known size");
  std::vector<GridLevel> grid = MakeGrid(*input, StridesOr(preset, {8, 16, 32}));
  const bool has_points =
      !FindRowsOfAnyRank(facts, grid[0].cells() * kAnchorsPerCell, 2 * kFacePoints).empty();
  std::vector<int> outputs;
  for (const GridLevel& level : grid) {
    const int64_t rows = level.cells() * kAnchorsPerCell;
    const std::vector<int> scores = FindRowsOfAnyRank(facts, rows, 1);
    const std::vector<int> boxes = FindRowsOfAnyRank(facts, rows, 4);
    const std::vector<int> points = FindRowsOfAnyRank(facts, rows, 2 * kFacePoints);
    if (scores.size() != 1 || boxes.size() != 1 || points.size() != (has_points ? 1U : 0U)) {
      const std::string n = "[" + std::to_string(rows) + ",";
      return Misfit(preset, facts,
                    "for stride " + std::to_string(level.stride) + " scores " + n + "1], boxes " +
                        n + "4] and, for all strides or none, key points " + n +
                        "10], perhaps with a batch of 1 in front");
    }
    outputs.insert(outputs.end(), {scores[0], boxes[0]});
    outputs.insert(outputs.end(), points.begin(), points.end());
  }
  return DecoderResult(
      std::make_unique<ScrfdDecoder>(preset, facts, std::move(grid), outputs, has_points));
}

DecoderResult CreateCenterface(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  if (!input) return Misfit(preset, facts, "an image input of known size");
  const GridLevel level = MakeGrid(*input, StridesOr(preset, {4})).front();
  const std::optional<CenterfaceOutputs> outputs = FindCenterfaceOutputs(facts, level);
  if (!outputs) {
    const std::string size = "," + std::to_string(level.height) + "," + std::to_string(level.width);
    return Misfit(preset, facts,
                  "a heat map [1,1" + size + "], in this order scale and offset [1,2" + size +
                      "], and landmarks [1,10" + size + "]");
  }
  return DecoderResult(std::make_unique<CenterfaceDecoder>(preset, facts, level, *outputs));
}

}  // namespace deltacnn
