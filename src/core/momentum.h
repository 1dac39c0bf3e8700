// When a stream stops keeping what it computes.
#pragma once

#include <algorithm>

namespace deltacnn {

/// Keeping every layer's output pays if later steps reuse it. While everything changes (a moving
/// camera) it only costs memory traffic: such steps run densely in a small arena that stays in
/// cache and keep nothing. The first calmer step is dense again and keeps its state.
///
/// Counts work, not time, so that what a stream answers never depends on the machine's load.
class Momentum {
 public:
  enum class Mode {
    kIncremental,
    kDense,        // every pixel, into the state
    kPassThrough,  // every pixel, into the arena
  };

  /// How to run a step in which this share of the input pixels changed. `all`: there is no state
  /// to build on.
  Mode Next(bool all, double input_changed) {
    const bool calm = input_changed * busy_rate_ < kCalm;
    if (busy_steps_ >= kBusySteps && (all || !calm)) {
      passing_ = true;
      return Mode::kPassThrough;
    }
    const bool dense = all || passing_;
    if (passing_) busy_steps_ = 0;
    passing_ = false;
    return dense ? Mode::kDense : Mode::kIncremental;
  }

  /// What a step that kept its state has cost, against one that keeps nothing.
  void Record(double input_changed, double cost) {
    if (cost < kBusy) {
      busy_steps_ = 0;
      return;
    }
    busy_rate_ = cost / std::max(input_changed, 1e-9);
    ++busy_steps_;
  }

 private:
  // Somewhat before they are equal: the next step may well cost more than this one.
  static constexpr double kBusy = 0.9;
  // One dense step (the first, a scene cut, a lost packet) says nothing about the next.
  static constexpr int kBusySteps = 2;
  static constexpr double kCalm = 0.75;  // and below which a step is worth keeping again

  int busy_steps_ = 0;    // in a row
  double busy_rate_ = 0;  // cost of the last of them for each share of the input that changed
  bool passing_ = false;
};

}  // namespace deltacnn
