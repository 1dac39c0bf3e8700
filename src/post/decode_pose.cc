// Key points from heat maps: of the one object that fills the picture, or of several people.
#include <algorithm>
#include <array>

#include "post/decoder.h"

namespace deltacnn {
namespace {

constexpr int64_t kMaxMapSide = 1 << 12;
constexpr int64_t kMaxKeyPoints = 1024;

/// One plane of a [1,channels,height,width] tensor.
struct Plane {
  const float* data;
  int height;
  int width;

  float At(int y, int x) const { return data[ptrdiff_t{y} * width + x]; }
  /// Index of the largest value; 0 if none is a number.
  int Peak() const { return FindBestClass(data, height * width).class_id; }
};

Plane PlaneOf(const TensorView& view, int channel) {
  const int height = static_cast<int>(view.shape[2]);
  const int width = static_cast<int>(view.shape[3]);
  return {view.as<float>().data() + ptrdiff_t{channel} * height * width, height, width};
}

/// Distance, -0.5..0.5, from the middle of three samples to the top of the parabola through them.
float ParabolaTop(float before, float middle, float after) {
  const float curvature = 2 * middle - before - after;
  const float shift = (after - before) / (2 * curvature);
  return curvature > 0 && std::isfinite(shift) ? std::clamp(shift, -0.5F, 0.5F) : 0;
}

class HeatmapDecoder final : public FamilyDecoder {
 public:
  HeatmapDecoder(const ModelFacts& facts, InputSize input, int output)
      : keypoints_(static_cast<int>(facts.outputs[static_cast<size_t>(output)].shape[1])),
        input_(input) {
    Use(facts, output);
  }

 private:
  void Run(std::span<const TensorView> in, float, float, Answer& answer) override {
    answer.kind = AnswerKind::kKeyPoints;
    for (int k = 0; k < keypoints_; ++k) {
      const Plane map = PlaneOf(in[0], k);
      const int peak = map.Peak();
      const int y = peak / map.width;
      const int x = peak % map.width;
      const float value = map.At(y, x);
      if (!std::isfinite(value)) {
        answer.keypoints.push_back({});
        continue;
      }
      float dx = 0;
      float dy = 0;
      if (x > 0 && x + 1 < map.width) {
        dx = ParabolaTop(map.At(y, x - 1), value, map.At(y, x + 1));
      }
      if (y > 0 && y + 1 < map.height) {
        dy = ParabolaTop(map.At(y - 1, x), value, map.At(y + 1, x));
      }
      answer.keypoints.push_back(
          {(static_cast<float>(x) + dx + 0.5F) * static_cast<float>(input_.width) /
               static_cast<float>(map.width),
           (static_cast<float>(y) + dy + 0.5F) * static_cast<float>(input_.height) /
               static_cast<float>(map.height),
           std::clamp(value, 0.0F, 1.0F)});
    }
  }

  int keypoints_;
  InputSize input_;
};

class OpenSeeFaceDecoder final : public FamilyDecoder {
 public:
  OpenSeeFaceDecoder(const ModelFacts& facts, InputSize input, int output)
      : keypoints_(static_cast<int>(facts.outputs[static_cast<size_t>(output)].shape[1] / 3)),
        input_(input) {
    Use(facts, output);
  }

 private:
  void Run(std::span<const TensorView> in, float, float, Answer& answer) override {
    answer.kind = AnswerKind::kKeyPoints;
    // Cell 0 is the first pixel of the input and the last cell the last pixel.
    const auto last_x = static_cast<float>(input_.width - 1);
    const auto last_y = static_cast<float>(input_.height - 1);
    for (int k = 0; k < keypoints_; ++k) {
      const Plane map = PlaneOf(in[0], k);
      const int peak = map.Peak();
      const int y = peak / map.width;
      const int x = peak % map.width;
      const float dy = Offset(PlaneOf(in[0], keypoints_ + k).At(y, x));
      const float dx = Offset(PlaneOf(in[0], 2 * keypoints_ + k).At(y, x));
      const KeyPoint point{
          last_x * (static_cast<float>(x) / static_cast<float>(map.width - 1) + dx),
          last_y * (static_cast<float>(y) / static_cast<float>(map.height - 1) + dy),
          std::clamp(map.At(y, x), 0.0F, 1.0F)};
      const bool is_finite =
          std::isfinite(point.x) && std::isfinite(point.y) && std::isfinite(point.score);
      answer.keypoints.push_back(is_finite ? point : KeyPoint{});
    }
  }

  /// Offsets come as probabilities; their log-odds, divided by 16, are shares of the input.
  static float Offset(float p) {
    constexpr float kEdge = 1e-7F;
    p = std::clamp(p, kEdge, 1 - kEdge);
    return std::log(p / (1 - p)) / 16;
  }

  int keypoints_;
  InputSize input_;
};

constexpr int kBodyPoints = 17;

struct Bone {
  int from, to;
};

// The order of PoseNet's displacement channels: a tree that grows from the nose.
constexpr std::array<Bone, kBodyPoints - 1> kBones = {{{0, 1},
                                                       {1, 3},
                                                       {0, 2},
                                                       {2, 4},
                                                       {0, 5},
                                                       {5, 7},
                                                       {7, 9},
                                                       {5, 11},
                                                       {11, 13},
                                                       {13, 15},
                                                       {0, 6},
                                                       {6, 8},
                                                       {8, 10},
                                                       {6, 12},
                                                       {12, 14},
                                                       {14, 16}}};

class PosenetDecoder final : public FamilyDecoder {
 public:
  /// `displacements` is -1 for a model that shows one person.
  PosenetDecoder(const Preset& preset, const ModelFacts& facts, InputSize input, int heatmaps,
                 int offsets, int displacements)
      : max_detections_(preset.max_detections), has_bones_(displacements >= 0) {
    const Shape& shape = facts.outputs[static_cast<size_t>(heatmaps)].shape;
    keypoints_ = static_cast<int>(shape[1]);
    stride_y_ = StrideOf(input.height, shape[2]);
    stride_x_ = StrideOf(input.width, shape[3]);
    if (has_bones_) classes_ = 1;
    Use(facts, heatmaps);
    Use(facts, offsets);
    if (has_bones_) Use(facts, displacements);
  }

 private:
  struct Root {
    int keypoint, y, x;
    float score;
  };

  /// PoseNet's cells lie on the input's first and last pixel: 353 pixels, 23 cells, stride 16.
  static float StrideOf(int size, int64_t cells) {
    return cells > 1 ? static_cast<float>(size - 1) / static_cast<float>(cells - 1)
                     : static_cast<float>(size);
  }

  void Run(std::span<const TensorView> in, float conf, float, Answer& answer) override {
    if (!has_bones_) {
      answer.kind = AnswerKind::kKeyPoints;
      for (int k = 0; k < keypoints_; ++k) {
        const Plane map = PlaneOf(in[0], k);
        const int peak = map.Peak();
        answer.keypoints.push_back(PointAt(in, k, peak / map.width, peak % map.width));
      }
      return;
    }
    answer.kind = AnswerKind::kDetections;
    FindRoots(in[0], conf);
    for (const Root& root : roots_) {
      if (answer.detections.size() >= static_cast<size_t>(max_detections_)) break;
      const KeyPoint point = PointAt(in, root.keypoint, root.y, root.x);
      if (IsTaken(answer, root.keypoint, point)) continue;
      Grow(in, root, point);
      Detection detection = Summarize(answer);
      if (detection.score >= conf && detection.x2 > detection.x1) {
        answer.detections.push_back(std::move(detection));
      }
    }
    std::stable_sort(answer.detections.begin(), answer.detections.end(),
                     [](const Detection& a, const Detection& b) { return a.score > b.score; });
  }

  KeyPoint PointAt(std::span<const TensorView> in, int k, int y, int x) const {
    const KeyPoint point{
        static_cast<float>(x) * stride_x_ + PlaneOf(in[1], keypoints_ + k).At(y, x),
        static_cast<float>(y) * stride_y_ + PlaneOf(in[1], k).At(y, x),
        Sigmoid(PlaneOf(in[0], k).At(y, x))};
    const bool is_finite =
        std::isfinite(point.x) && std::isfinite(point.y) && std::isfinite(point.score);
    return is_finite ? point : KeyPoint{};
  }

  /// The cells that beat their neighbours, best first.
  void FindRoots(const TensorView& heatmaps, float conf) {
    constexpr size_t kMaxRoots = 1000;
    roots_.clear();
    for (int k = 0; k < kBodyPoints; ++k) {
      const Plane map = PlaneOf(heatmaps, k);
      for (int y = 0; y < map.height; ++y) {
        for (int x = 0; x < map.width; ++x) {
          const float score = Sigmoid(map.At(y, x));
          if (score >= conf && IsPeak(map, y, x)) roots_.push_back({k, y, x, score});
        }
      }
    }
    std::stable_sort(roots_.begin(), roots_.end(),
                     [](const Root& a, const Root& b) { return a.score > b.score; });
    if (roots_.size() > kMaxRoots) roots_.resize(kMaxRoots);
  }

  static bool IsPeak(const Plane& map, int y, int x) {
    const float value = map.At(y, x);
    for (int v = std::max(y - 1, 0); v <= std::min(y + 1, map.height - 1); ++v) {
      for (int u = std::max(x - 1, 0); u <= std::min(x + 1, map.width - 1); ++u) {
        if (map.At(v, u) > value) return false;
      }
    }
    return true;
  }

  /// Whether a person found before has its key point `k` here.
  static bool IsTaken(const Answer& answer, int k, const KeyPoint& point) {
    constexpr float kRadius = 20;  // pixels of the input
    return std::any_of(answer.detections.begin(), answer.detections.end(), [&](const Detection& d) {
      const KeyPoint& other = d.keypoints[static_cast<size_t>(k)];
      const float dx = other.x - point.x;
      const float dy = other.y - point.y;
      return dx * dx + dy * dy <= kRadius * kRadius;
    });
  }

  /// Follows the bones from the root in both directions.
  void Grow(std::span<const TensorView> in, const Root& root, const KeyPoint& point) {
    std::array<bool, kBodyPoints> known{};
    pose_.assign(kBodyPoints, {});
    pose_[static_cast<size_t>(root.keypoint)] = point;
    known[static_cast<size_t>(root.keypoint)] = true;
    for (size_t b = kBones.size(); b-- > 0;) {
      const auto from = static_cast<size_t>(kBones[b].from);
      const auto to = static_cast<size_t>(kBones[b].to);
      if (known[to] && !known[from]) {
        pose_[from] = Follow(in, 2 * kBones.size() + b, pose_[to], kBones[b].from);
        known[from] = true;
      }
    }
    for (size_t b = 0; b < kBones.size(); ++b) {
      const auto from = static_cast<size_t>(kBones[b].from);
      const auto to = static_cast<size_t>(kBones[b].to);
      if (known[from] && !known[to]) {
        pose_[to] = Follow(in, b, pose_[from], kBones[b].to);
        known[to] = true;
      }
    }
  }

  int Nearest(float at, float stride, int cells) const {
    return static_cast<int>(
        std::clamp(std::round(at / stride), 0.0F, static_cast<float>(cells - 1)));
  }

  /// Channel `bone` of the displacements is the step in y, the one 16 further on that in x.
  KeyPoint Follow(std::span<const TensorView> in, size_t bone, const KeyPoint& start, int k) const {
    const Plane dy = PlaneOf(in[2], static_cast<int>(bone));
    const Plane dx = PlaneOf(in[2], static_cast<int>(bone + kBones.size()));
    int y = Nearest(start.y, stride_y_, dy.height);
    int x = Nearest(start.x, stride_x_, dy.width);
    KeyPoint point{start.x + dx.At(y, x), start.y + dy.At(y, x), 0};
    if (!std::isfinite(point.x) || !std::isfinite(point.y)) return {};
    // The end of a long bone is rough: let the offsets around it pull it in.
    constexpr int kRefinements = 2;
    for (int i = 0; i < kRefinements; ++i) {
      y = Nearest(point.y, stride_y_, dy.height);
      x = Nearest(point.x, stride_x_, dy.width);
      point = PointAt(in, k, y, x);
    }
    return point;
  }

  /// The person in `pose_`: a box around the points that count. The score is the mean over all
  /// points; those that another person has already add nothing.
  Detection Summarize(const Answer& answer) const {
    constexpr float kVisible = 0.3F;
    Detection person;
    person.x1 = person.y1 = INFINITY;
    person.x2 = person.y2 = -INFINITY;
    for (int k = 0; k < kBodyPoints; ++k) {
      const KeyPoint& point = pose_[static_cast<size_t>(k)];
      if (!IsTaken(answer, k, point)) person.score += point.score / kBodyPoints;
      if (point.score < kVisible) continue;
      person.x1 = std::min(person.x1, point.x);
      person.y1 = std::min(person.y1, point.y);
      person.x2 = std::max(person.x2, point.x);
      person.y2 = std::max(person.y2, point.y);
    }
    person.keypoints = pose_;
    return person;
  }

  int max_detections_;
  bool has_bones_;
  int keypoints_;
  float stride_y_;
  float stride_x_;
  std::vector<Root> roots_;
  std::vector<KeyPoint> pose_;
};

/// The first output [1,channels,height,width], each -1 for any number; -1 if there is none.
int FindPlanes(const ModelFacts& facts, int64_t channels, int64_t height, int64_t width) {
  for (size_t i = 0; i < facts.outputs.size(); ++i) {
    const Shape& s = facts.outputs[i].shape;
    if (s.size() == 4 && s[0] == 1 && s[1] > 0 && s[1] <= 4 * kMaxKeyPoints && s[2] > 1 &&
        s[2] <= kMaxMapSide && s[3] > 1 && s[3] <= kMaxMapSide &&
        (channels < 0 || s[1] == channels) && (height < 0 || s[2] == height) &&
        (width < 0 || s[3] == width)) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

}  // namespace

DecoderResult CreateHeatmaps(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  const int output = FindPlanes(facts, -1, -1, -1);
  if (!input || output < 0) {
    return Misfit(preset, facts, "an image input and an output [1,key points,H,W]");
  }
  return DecoderResult(std::make_unique<HeatmapDecoder>(facts, *input, output));
}

DecoderResult CreateOpenSeeFace(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  const int output = FindPlanes(facts, -1, -1, -1);
  if (!input || output < 0 || facts.outputs[static_cast<size_t>(output)].shape[1] % 3 != 0) {
    return Misfit(preset, facts, "an image input and an output [1,3*key points,H,W]");
  }
  return DecoderResult(std::make_unique<OpenSeeFaceDecoder>(facts, *input, output));
}

DecoderResult CreatePosenet(const Preset& preset, const ModelFacts& facts) {
  const std::optional<InputSize> input = FindInputSize(facts);
  const int heatmaps = FindPlanes(facts, -1, -1, -1);
  if (input && heatmaps >= 0) {
    const Shape& s = facts.outputs[static_cast<size_t>(heatmaps)].shape;
    const int offsets = FindPlanes(facts, 2 * s[1], s[2], s[3]);
    const int displacements =
        s[1] == kBodyPoints ? FindPlanes(facts, 4 * std::ssize(kBones), s[2], s[3]) : -1;
    if (offsets >= 0) {
      return DecoderResult(std::make_unique<PosenetDecoder>(preset, facts, *input, heatmaps,
                                                            offsets, displacements));
    }
  }
  return Misfit(preset, facts,
                "an image input, heat maps [1,K,H,W], offsets [1,2*K,H,W] and, for several people, "
                "displacements [1,64,H,W] with K = 17");
}

}  // namespace deltacnn
