// How much of the dense run's answers a policy keeps, over a clip.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "clip.h"
#include "deltacnn/post.h"
#include "report.h"
#include "timed_pipeline.h"

namespace deltacnn::cli {

/// What a policy kept and cost on the frames of one side.
struct Score {
  int64_t frames = 0;
  double macs_share = 0;
  Agreement::Summary answers;
  double deviation = 0;  // of the outputs, mean over the frames
  double agreement = 1;  // what a target is about
};

struct Trial {
  Score tuning;
  Score held_out;
  int64_t stretches = 0;      // that it went through
  bool complete = true;       // false: given up, being below the target for certain
  bool reached = false;       // complete, and both sides reach the target
  double macs_share() const;  // of all frames
};

/// Cuts a clip into equal stretches, even ones to tune on and odd ones held out, runs the model
/// densely once and keeps what it said.
///
/// The agreement of a policy is the lowest of the shares that Agreement has for the model, those at
/// IoU 0.75 with half their loss. Where there is no decoder, or hardly an object to judge by, it is
/// at most 1 - deviation: the relative L2 distance of an output from the dense one, mean over the
/// frames, of the worst output.
class Judge {
 public:
  static constexpr size_t kFewestFrames = 8;
  /// With fewer objects than this in the clip, a single one would decide.
  static constexpr int64_t kFewObjects = 50;

  /// `clip` holds at least kFewestFrames. An object has a score of at least `object_score`.
  static Result<Judge> Create(const VisionModel& model, const Clip& clip,
                              std::shared_ptr<Executor> executor, float object_score);

  /// Runs the policy over the whole clip. Gives up as soon as `target` is out of reach, or at the
  /// end of a stretch with less than what `target` allows twice.
  Result<Trial> Try(const VideoPolicy& policy, double target) const;

  int64_t objects() const { return objects_[0] + objects_[1]; }
  /// True if the outputs themselves must be close.
  bool by_outputs() const { return by_outputs_; }
  bool has_decoder() const { return model_.preset.decoder != DecoderKind::kNone; }

 private:
  /// What the dense run said of a frame.
  struct Truth {
    Answer answer;
    std::vector<std::vector<float>> outputs;  // a part of each float output
  };
  /// Sums over the frames of a side.
  struct Sums {
    Agreement agreement;
    Samples macs;
    Samples deviation;
  };

  Judge(const VisionModel& model, const Clip& clip, std::shared_ptr<Executor> executor,
        float object_score);
  Status RunDense();
  Status CompareFrame(size_t frame, TimedPipeline& pipeline, Sums& sums) const;
  Score ScoreOf(const Sums& sums) const;
  bool IsHopeless(const Sums& sums, size_t side, double target) const;
  size_t SideOf(size_t frame) const { return frame / stretch_ % 2; }

  const VisionModel& model_;
  const Clip& clip_;
  std::shared_ptr<Executor> executor_;
  Agreement agreement_;  // of no frames: what that of each side starts as
  size_t stretch_;       // frames
  bool by_outputs_ = false;
  std::vector<Truth> truth_;             // by frame of the clip
  std::array<int64_t, 2> objects_ = {};  // by side; the first frame counts on none
  std::array<int64_t, 2> frames_ = {};
};

}  // namespace deltacnn::cli
