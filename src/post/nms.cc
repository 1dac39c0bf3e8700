#include <algorithm>

#include "post/decoder.h"

namespace deltacnn {
namespace {

// Suppression compares all pairs: bounds the time of a frame whose every cell fires.
constexpr size_t kMaxCandidates = 4096;

template <class Box>
float Iou(const Box& a, const Box& b) {
  const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (!(width > 0) || !(height > 0)) return 0;
  const float both = width * height;
  const float either = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - both;
  return either > 0 ? both / either : 0;
}

}  // namespace

float BoxIou(const Detection& a, const Detection& b) { return Iou(a, b); }

void AddCandidate(const Candidate& candidate, std::vector<Candidate>& candidates) {
  if (std::isfinite(candidate.x1) && std::isfinite(candidate.y1) && std::isfinite(candidate.x2) &&
      std::isfinite(candidate.y2) && std::isfinite(candidate.score)) {
    candidates.push_back(candidate);
  }
}

void KeepBest(size_t count, std::vector<Candidate>& candidates) {
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.score != b.score ? a.score > b.score : a.row < b.row;
  };
  if (candidates.size() > count) {
    const auto end = candidates.begin() + static_cast<ptrdiff_t>(count);
    std::nth_element(candidates.begin(), end, candidates.end(), better);
    candidates.erase(end, candidates.end());
  }
  std::sort(candidates.begin(), candidates.end(), better);
}

void Suppress(float iou, int max_detections, std::vector<Candidate>& candidates) {
  KeepBest(kMaxCandidates, candidates);
  size_t kept = 0;
  for (size_t i = 0; i < candidates.size() && kept < static_cast<size_t>(max_detections); ++i) {
    const Candidate candidate = candidates[i];
    const bool hidden =
        std::any_of(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(kept),
                    [&](const Candidate& better) {
                      return better.class_id == candidate.class_id && Iou(better, candidate) > iou;
                    });
    if (!hidden) candidates[kept++] = candidate;
  }
  candidates.resize(kept);
}

void ToDetections(std::span<const Candidate> candidates, Answer& answer) {
  answer.kind = AnswerKind::kDetections;
  answer.detections.resize(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& c = candidates[i];
    Detection& detection = answer.detections[i];
    detection.class_id = c.class_id;
    detection.score = c.score;
    detection.x1 = c.x1;
    detection.y1 = c.y1;
    detection.x2 = c.x2;
    detection.y2 = c.y2;
  }
}

}  // namespace deltacnn
