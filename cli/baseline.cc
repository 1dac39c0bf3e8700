#include "baseline.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "video/pixel_format.h"

namespace deltacnn::cli {
namespace {

/// Runs densely now and then.
class Sparing : public Contender {
 public:
  explicit Sparing(TimedPipeline dense) : dense_(std::move(dense)) {}

  Result<StepReport> Step() override {
    if (!runs_) return StepReport{.input_changed = changed_};
    auto report = dense_.Step();
    if (report.ok()) report->input_changed = changed_;
    return report;
  }
  double feed_ms() const override { return runs_ ? dense_.feed_ms() : 0; }
  double step_ms() const override { return runs_ ? dense_.step_ms() : 0; }

 protected:
  /// The network will see this picture.
  Status FeedDense(const FrameView& picture) {
    dense_.Reset();
    return dense_.Feed(picture);
  }

  TimedPipeline dense_;
  bool runs_ = false;  // on the last frame
  double changed_ = 0;
};

class Skip final : public Sparing {
 public:
  Skip(TimedPipeline dense, int every) : Sparing(std::move(dense)), every_(every) {}

  Status Feed(const FrameView& frame) override {
    if (frame.discontinuity) frames_ = 0;
    runs_ = frames_++ % every_ == 0;
    changed_ = runs_ ? 1 : 0;
    return runs_ ? FeedDense(frame) : Status();
  }

  Status Decode(float conf, float iou, Answer& answer) override {
    if (runs_) DELTACNN_RETURN_IF_ERROR(dense_.Decode(conf, iou, held_));
    answer = held_;
    return {};
  }

  const Stream* outputs() const override { return dense_.outputs(); }

 private:
  int every_;
  int64_t frames_ = 0;
  Answer held_;
};

/// A part of a picture.
struct Crop {
  int x = 0;
  int y = 0;
  int width = 0;
  int height = 0;

  bool Holds(const Detection& box) const {
    const float centre_x = (box.x1 + box.x2) / 2 - static_cast<float>(x);
    const float centre_y = (box.y1 + box.y2) / 2 - static_cast<float>(y);
    return centre_x >= 0 && centre_x < static_cast<float>(width) && centre_y >= 0 &&
           centre_y < static_cast<float>(height);
  }
};

/// The changed blocks' bounding box, in pixels.
Crop Bounds(const BlockMap& changed) {
  int left = changed.columns;
  int right = 0;
  int top = changed.rows;
  int bottom = 0;
  for (int row = 0; row < changed.rows; ++row) {
    for (int column = 0; column < changed.columns; ++column) {
      if (!changed.Test(row, column)) continue;
      left = std::min(left, column);
      right = std::max(right, column + 1);
      top = std::min(top, row);
      bottom = std::max(bottom, row + 1);
    }
  }
  constexpr int kBlock = BlockMap::kBlock;
  return {left * kBlock, top * kBlock, (right - left) * kBlock, (bottom - top) * kBlock};
}

/// A square with some room around the bounds, as far as the picture goes. Its corner is even: that
/// is where chroma samples lie.
Crop Square(const Crop& bounds, int width, int height) {
  constexpr double kRoom = 1.25;
  constexpr int kSmallest = 320;  // networks do badly on less context
  const int side =
      std::max(kSmallest, static_cast<int>(kRoom * std::max(bounds.width, bounds.height)));
  Crop region{.width = std::min(side, width), .height = std::min(side, height)};
  region.x = std::clamp(bounds.x + (bounds.width - side) / 2, 0, width - region.width) & ~1;
  region.y = std::clamp(bounds.y + (bounds.height - side) / 2, 0, height - region.height) & ~1;
  return region;
}

/// The region as a picture of its own.
FrameView Cut(const FrameView& frame, const Crop& region) {
  FrameView part = frame;
  const PixelLayout& layout = LayoutOf(frame.format);
  for (int p = 0; p < layout.planes; ++p) {
    const ComponentLayout& plane = PlaneLayout(layout, p);
    part.planes[p] += (region.y >> plane.shift_y) * frame.strides[p] +
                      ptrdiff_t{region.x >> plane.shift_x} * plane.step;
  }
  part.width = region.width;
  part.height = region.height;
  return part;
}

void Move(Detection& box, int x, int y) {
  const auto dx = static_cast<float>(x);
  const auto dy = static_cast<float>(y);
  box.x1 += dx;
  box.x2 += dx;
  box.y1 += dy;
  box.y2 += dy;
  for (KeyPoint& point : box.keypoints) {
    point.x += dx;
    point.y += dy;
  }
  box.mask.x += x;
  box.mask.y += y;
}

class MotionRegion final : public Sparing {
 public:
  MotionRegion(TimedPipeline dense, float tolerance)
      : Sparing(std::move(dense)), changes_({.tolerance = tolerance}) {}

  Status Feed(const FrameView& frame) override {
    DELTACNN_RETURN_IF_ERROR(changes_.Update(frame));
    const BlockMap& changed = changes_.changed();
    changed_ = static_cast<double>(changed.count) /
               static_cast<double>(int64_t{changed.rows} * changed.columns);
    runs_ = changed.count > 0;
    if (!runs_) return {};
    region_ = Square(Bounds(changed), frame.width, frame.height);
    return FeedDense(Cut(frame, region_));
  }

  Status Decode(float conf, float iou, Answer& answer) override {
    if (runs_) DELTACNN_RETURN_IF_ERROR(Merge(conf, iou));
    answer = held_;
    return {};
  }

  const Stream* outputs() const override { return nullptr; }  // those of a part say nothing

 private:
  /// Replaces what is held of the region by what the network sees there now.
  Status Merge(float conf, float iou) {
    DELTACNN_RETURN_IF_ERROR(dense_.Decode(conf, iou, seen_));
    for (Detection& box : seen_.detections) Move(box, region_.x, region_.y);
    held_.kind = seen_.kind;
    std::erase_if(held_.detections, [&](const Detection& box) {
      return region_.Holds(box) || std::ranges::any_of(seen_.detections, [&](const auto& other) {
               return other.class_id == box.class_id && BoxIou(other, box) > iou;
             });
    });
    held_.detections.insert(held_.detections.end(), seen_.detections.begin(),
                            seen_.detections.end());
    std::ranges::stable_sort(held_.detections, std::ranges::greater(), &Detection::score);
    return {};
  }

  ChangeDetector changes_;
  Crop region_;
  Answer seen_;
  Answer held_;
};

/// N of "skip:N"; nothing if that is not what the name says.
std::optional<int> ParseSkip(std::string_view name) {
  constexpr std::string_view kPrefix = "skip:";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  int every = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), every);
  if (error != std::errc() || end != name.data() + name.size() || every < 1) return std::nullopt;
  return every;
}

bool DetectsObjects(DecoderKind kind) {
  switch (kind) {
    case DecoderKind::kNone:
    case DecoderKind::kClassification:
    case DecoderKind::kSegmentation:
    case DecoderKind::kHeatmaps:
    case DecoderKind::kOpenSeeFace:
      return false;
    default:
      return true;
  }
}

}  // namespace

Result<std::unique_ptr<Contender>> MakeBaseline(const std::string& name, const VisionModel& model,
                                                float tolerance,
                                                std::shared_ptr<Executor> executor) {
  const auto every = ParseSkip(name);
  if (!every && name != "region")
    return Error{ErrorCode::kUsage, "--baseline " + name + ": neither skip:N (N >= 1) nor region"};
  if (!every && !DetectsObjects(model.preset.decoder)) {
    return Error{ErrorCode::kUnsupported,
                 "--baseline region: this model detects no objects; skip:N takes any"};
  }
  auto dense = TimedPipeline::Create(model, VideoPolicy{}, std::move(executor));
  if (!dense.ok()) return dense.error();
  std::unique_ptr<Contender> baseline;
  if (every) {
    baseline = std::make_unique<Skip>(std::move(*dense), *every);
  } else {
    baseline = std::make_unique<MotionRegion>(std::move(*dense), tolerance);
  }
  return baseline;
}

}  // namespace deltacnn::cli
