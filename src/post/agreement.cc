#include <algorithm>
#include <cmath>

#include "deltacnn/post.h"

namespace deltacnn {
namespace {

bool HasPartner(const Detection& object, const std::vector<Detection>& others, float score,
                float iou) {
  return std::any_of(others.begin(), others.end(), [&](const Detection& other) {
    return other.class_id == object.class_id && other.score >= score &&
           BoxIou(object, other) >= iou;
  });
}

/// The larger side of the box around the points.
float Extent(const std::vector<KeyPoint>& points) {
  if (points.empty()) return 0;
  const auto by_x = std::minmax_element(points.begin(), points.end(),
                                        [](const auto& a, const auto& b) { return a.x < b.x; });
  const auto by_y = std::minmax_element(points.begin(), points.end(),
                                        [](const auto& a, const auto& b) { return a.y < b.y; });
  return std::max(by_x.second->x - by_x.first->x, by_y.second->y - by_y.first->y);
}

}  // namespace

void Agreement::Add(const Answer& dense, const Answer& incremental) {
  ++frames_;
  switch (dense.kind) {
    case AnswerKind::kNone:
      break;
    case AnswerKind::kDetections:
      has_objects_ = true;
      AddObjects(dense.detections, incremental.detections, recall50_, recall75_);
      AddObjects(incremental.detections, dense.detections, precision50_, precision75_);
      break;
    case AnswerKind::kClassification:
      has_topk_ = true;
      ++top1_.total;
      if (!dense.topk.empty() && !incremental.topk.empty() &&
          dense.topk.front().class_id == incremental.topk.front().class_id) {
        ++top1_.hits;
      }
      break;
    case AnswerKind::kSegmentation: {
      has_map_ = true;
      const std::vector<uint8_t>& a = dense.class_map.classes;
      const std::vector<uint8_t>& b = incremental.class_map.classes;
      pixels_.total += std::ssize(a);
      for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) pixels_.hits += a[i] == b[i];
      break;
    }
    case AnswerKind::kKeyPoints: {
      has_keypoints_ = true;
      const float reach = 0.05F * Extent(dense.keypoints);
      for (size_t i = 0; i < dense.keypoints.size(); ++i) {
        const KeyPoint& a = dense.keypoints[i];
        if (!(a.score >= object_score_)) continue;
        ++keypoints_.total;
        if (i >= incremental.keypoints.size()) continue;
        const KeyPoint& b = incremental.keypoints[i];
        keypoints_.hits += std::hypot(a.x - b.x, a.y - b.y) <= reach;
      }
      break;
    }
  }
}

void Agreement::AddObjects(const std::vector<Detection>& objects,
                           const std::vector<Detection>& others, Share& at50, Share& at75) const {
  for (const Detection& object : objects) {
    if (!(object.score >= object_score_)) continue;
    ++at50.total;
    ++at75.total;
    at50.hits += HasPartner(object, others, partner_score(), 0.5F);
    at75.hits += HasPartner(object, others, partner_score(), 0.75F);
  }
}

Agreement::Summary Agreement::Summarize() const {
  const auto share = [](bool present, const Share& of) -> std::optional<double> {
    if (!present) return std::nullopt;
    return of.total == 0 ? 1.0 : static_cast<double>(of.hits) / static_cast<double>(of.total);
  };
  Summary summary;
  summary.frames = frames_;
  summary.objects = recall50_.total;
  summary.recall50 = share(has_objects_, recall50_);
  summary.precision50 = share(has_objects_, precision50_);
  summary.recall75 = share(has_objects_, recall75_);
  summary.precision75 = share(has_objects_, precision75_);
  summary.same_top1 = share(has_topk_, top1_);
  summary.pixels = share(has_map_, pixels_);
  summary.keypoints = share(has_keypoints_, keypoints_);
  return summary;
}

}  // namespace deltacnn
