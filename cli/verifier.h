// The comparison of a contender with dense runs, frame by frame.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "album.h"
#include "contender.h"
#include "deltacnn/post.h"
#include "report.h"
#include "timed_pipeline.h"

namespace deltacnn::cli {

/// Where an output of the contender first differed from the dense one.
struct FirstDifference {
  int64_t frame = 0;
  std::string output;
  double absolute = 0;
};

/// One frame, the first one included.
struct FrameRecord {
  int64_t number = 0;
  bool dense = false;  // the contender computed everything
  double changed = 0;  // share of the input
  double macs_share = 0;
  double step_ms = 0;
  double dense_ms = 0;
  double difference = 0;  // the largest of any output, as a share of its largest value
  int64_t objects = 0;    // of the dense run
  int64_t missed = 0;
  int64_t wrong = 0;  // objects of the contender that the dense run lacks
};

/// Sums over all frames but the first.
struct LayerRecord {
  int64_t computed = 0;  // pixels
  int64_t changed = 0;
};

class Verifier {
 public:
  /// `model` must outlive it. An object has a score of at least `object_score`.
  Verifier(const VisionModel& model, std::unique_ptr<Contender> contender, TimedPipeline dense,
           float object_score);

  /// Keeps pictures of some frames.
  void StartAlbum() { album_.emplace(model_.preset, agreement_.object_score()); }
  /// One more frame, the `number`-th of the video.
  Status Add(const FrameView& frame, int64_t number, double decode_ms);

  int64_t frames() const { return static_cast<int64_t>(records_.size()); }
  double macs_share() const { return macs_share_.Mean(); }
  const std::optional<FirstDifference>& first_difference() const { return first_difference_; }
  const std::vector<FrameRecord>& records() const { return records_; }
  const std::optional<Album>& album() const { return album_; }
  /// The part of verify's JSON that is measured.
  Json Report() const;

 private:
  Status StepDense();
  Status StepContender();
  /// The largest relative difference.
  double CompareOutputs(int64_t number);
  void CompareAnswers(FrameRecord& record);
  Json LayersJson() const;
  Json HundredsJson() const;

  const VisionModel& model_;
  std::unique_ptr<Contender> contender_;
  TimedPipeline dense_;
  StepReport report_;
  Answer dense_answer_;
  Answer answer_;

  std::vector<FrameRecord> records_;
  std::vector<LayerRecord> layers_;  // empty: the contender says nothing of its layers
  std::optional<Album> album_;
  double max_absolute_ = 0;
  double max_relative_ = 0;
  std::optional<FirstDifference> first_difference_;
  Agreement agreement_;
  Samples macs_share_;
  Samples input_changed_;
  Samples dense_ms_;
  Samples step_ms_;
  Samples decode_ms_;
  Samples feed_ms_;
};

}  // namespace deltacnn::cli
