// What the decoder families share: binding of outputs, grids, candidate boxes and their
// suppression.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "deltacnn/post.h"

namespace deltacnn {

/// Base of all decoders. Bind checks every tensor against what the constructor asked for, so that
/// Run works on tensors whose shape and type are known.
class FamilyDecoder {
 public:
  virtual ~FamilyDecoder() = default;

  /// Objects below `conf` are wanted as boxes only, down to `lowest`.
  Status Decode(std::span<const TensorView> outputs, float conf, float lowest, float iou,
                Answer& answer);
  /// The score from which on a box may well become an object soon.
  virtual float FaintScore() const { return kFaintScore; }
  int classes() const { return classes_; }

 protected:
  static constexpr float kFaintScore = 0.1F;
  enum class Values { kFloats, kAnyNumbers };

  /// Output number `index` of the model becomes the next element of Run's `in`.
  void Use(const ModelFacts& facts, int index, Values values = Values::kFloats);

  /// `in` holds the outputs in the order of the calls of Use; `answer` is empty.
  virtual void Run(std::span<const TensorView> in, float conf, float iou, Answer& answer) = 0;

  int classes_ = 0;
  float answer_conf_ = 0;  // of the current Run: boxes below need no masks

 private:
  struct Slot {
    int index;
    std::string name;
    Shape shape;  // -1: any size
    Values values;
  };
  std::vector<Slot> slots_;
  std::vector<TensorView> bound_;
};

using DecoderResult = Result<std::unique_ptr<FamilyDecoder>>;

DecoderResult CreateYolox(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateYolov5(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateYolov8(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateYoloEndToEnd(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateNanodet(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateFastestdet(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateUltraface(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateRetinaface(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateYunet(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateScrfd(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateCenterface(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateBoxes(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateDetr(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateNms(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateClassification(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateSegmentation(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateHeatmaps(const Preset& preset, const ModelFacts& facts);
DecoderResult CreateOpenSeeFace(const Preset& preset, const ModelFacts& facts);
DecoderResult CreatePosenet(const Preset& preset, const ModelFacts& facts);

/// "preset yolox does not fit: it expects <expected>; the model has output[1,85,22,22]".
Error Misfit(const Preset& preset, const ModelFacts& facts, const std::string& expected);

struct InputSize {
  int width = 0;
  int height = 0;
  int channels = 3;
};

/// Size of the first image-shaped input, NCHW or NHWC; nothing if there is none.
std::optional<InputSize> FindInputSize(const ModelFacts& facts);

/// Whether a [1,C,H,W] or [1,H,W,C] shape is the latter: its sides, not C, are as the input's are.
bool AreChannelsLast(const Shape& shape, InputSize input);

/// The cells of one stride, row by row; `first` is the number of cells of the strides before.
struct GridLevel {
  int stride;
  int width;
  int height;
  int64_t first;

  int64_t cells() const { return int64_t{width} * height; }
  float Column(int64_t cell) const { return static_cast<float>(cell % width); }
  float Row(int64_t cell) const {
    const int64_t row = cell / width;
    return static_cast<float>(row);
  }
};

std::vector<GridLevel> MakeGrid(InputSize input, std::span<const int> strides);
/// The strides that the preset states, or else the usual ones.
inline std::vector<int> StridesOr(const Preset& preset, std::vector<int> usual) {
  return preset.strides.empty() ? std::move(usual) : preset.strides;
}
int64_t CountCells(std::span<const GridLevel> grid);

/// The level that a cell of the grid, counted over all levels, belongs to.
inline size_t LevelOf(std::span<const GridLevel> grid, int64_t cell) {
  size_t level = grid.size() - 1;
  while (cell < grid[level].first) --level;
  return level;
}

constexpr int kFacePoints = 5;  // eyes, nose and corners of the mouth

/// The preset's strides, or else the first of {8,16,32}, {8,16,32,64} whose cells, times
/// `boxes_per_cell`, number `rows`. Empty if none do.
std::vector<GridLevel> FindGrid(const Preset& preset, InputSize input, int64_t rows,
                                int boxes_per_cell = 1);

/// The outputs of shape [1, rows, channels], in order. -1 stands for any number.
std::vector<int> FindRows(const ModelFacts& facts, int64_t rows, int64_t channels);

/// A box on its way through suppression; `row` says where it came from.
struct Candidate {
  float x1, y1, x2, y2;
  float score;
  int class_id;
  int64_t row;
};

inline Candidate FromCentre(float cx, float cy, float width, float height, float score,
                            int class_id, int64_t row) {
  return {cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2, score, class_id, row};
}

/// Adds a candidate unless one of its numbers is not finite.
void AddCandidate(const Candidate& candidate, std::vector<Candidate>& candidates);

/// Sorts by score (then row) and keeps the best `count`.
void KeepBest(size_t count, std::vector<Candidate>& candidates);

/// KeepBest of a bounded number, then drops, class by class, what overlaps a better box by more
/// than `iou`, and keeps at most `max_detections`.
void Suppress(float iou, int max_detections, std::vector<Candidate>& candidates);

/// Writes the candidates as the detections of `answer`.
void ToDetections(std::span<const Candidate> candidates, Answer& answer);

/// Base of the decoders that look for boxes.
class BoxDecoder : public FamilyDecoder {
 protected:
  explicit BoxDecoder(const Preset& preset) : max_detections_(preset.max_detections) {}

  int max_detections_;
  std::vector<Candidate> candidates_;  // of the current Run
};

struct BestClass {
  int class_id = 0;
  float score = -INFINITY;  // remains so if no value is a number
};

/// The largest of `count` values that lie `step` apart.
inline BestClass FindBestClass(const float* values, int count, ptrdiff_t step = 1) {
  BestClass best;
  for (int c = 0; c < count; ++c) {
    const float value = values[c * step];
    if (value > best.score) best = {c, value};
  }
  return best;
}

/// Whether any of `count` values is at least `least`: faster than the largest of them, which few
/// cells need.
inline bool AnyReaches(const float* values, int count, float least) {
  int any = 0;  // GCC does not vectorise the loop for a bool
  for (int c = 0; c < count; ++c) any |= values[c] >= least ? 1 : 0;
  return any != 0;
}

inline float Sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }

}  // namespace deltacnn
