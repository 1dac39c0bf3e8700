// Stream: the cached activations of one camera, and the step that brings them up to date.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "deltacnn/executor.h"
#include "deltacnn/model.h"
#include "deltacnn/region.h"
#include "deltacnn/result.h"
#include "deltacnn/tensor.h"

namespace deltacnn {

/// What a stream may give up for speed. By default nothing: every output has the bits of a dense
/// step. The numbers of "balanced" and "fast" are those of VideoPolicy::Find (vision.h).
///
/// A cell of a layer is one pixel of its output. Whatever is left out stays marked or is compared
/// again with the value last propagated, so nothing drifts: see docs/policies.md for what the
/// numbers mean and cost.
struct Policy {
  /// A layer updates only cells that overlap a changed input pixel or lie at most this many cells
  /// of their own from one that does. Negative: no limit. Takes effect for models with one image
  /// input.
  int reach = -1;
  /// A pixel of a layer keeps its stored values unless the root mean square over the channels of
  /// their change, each channel in units of its own standard deviation over the picture, exceeds
  /// this (0.1: a tenth of what the layer varies by). 0: every changed bit counts, as it does in
  /// the last layers, behind which there is nothing to save.
  float cutoff = 0;
  /// Only changes above this, in the units of `cutoff`, spread as far as `reach` says; weaker ones
  /// update the cells that overlap a changed input pixel and no others. 0..1; of no effect unless
  /// larger than a `cutoff` above 0, and with a `reach`.
  float strong = 0;
  /// Outside of the regions that Stream::SetFocus names, `cutoff` and `strong` are this many times
  /// as large. 1 (the same everywhere) to 1000; of no effect without `reach` and SetFocus.
  float background = 1;
  /// What `reach`, `strong` and `background` have left out is caught up with within this many
  /// steps: in bands of the picture, one every 8 steps (under a budget, one every step); what that
  /// changes goes on without a limit, so nothing waits longer. At least 1; of no effect without
  /// `reach`.
  int refresh = 32;
};

struct StreamOptions {
  int threads = 1;  // 1..1024; results do not depend on it
  /// Where the stream computes; null: on `threads` threads of its own, the calling one included.
  std::shared_ptr<Executor> executor = nullptr;
  Policy policy = {};
  bool time_layers = false;  // fill in LayerWork::ms, for profiles
  /// What a step after the first may take, in milliseconds; 0: as long as it needs. What does not
  /// fit waits, in tiles of the input: the largest changes go first, but a tile that has waited for
  /// 8 steps goes before all that have not, and every step takes up at least one. Until nothing
  /// waits (StepReport::pending is 0) the outputs mix old and new; they then depend on the clock,
  /// afterwards no more. Takes effect for models with one input.
  double budget_ms = 0;
};

/// What a step did.
struct StepReport {
  /// Every pixel was computed: in the first step, after Reset, and where that is faster because
  /// nearly everything changes.
  bool dense = false;
  double macs_share = 0;     // multiply-adds done / multiply-adds of a dense step
  double input_changed = 0;  // share of the input pixels that changed and were taken up
  double pending = 0;        // share that changed and waits, under StreamOptions::budget_ms
};

/// What the last step did in one layer of the plan (same order as Plan::layers()). A pixel that a
/// change and then the refresh reached counts twice, also in the shares of the work.
struct LayerWork {
  int64_t computed = 0;  // output pixels computed
  int64_t changed = 0;   // output pixels whose bits changed
  double ms = 0;         // 0 unless StreamOptions::time_layers
};

/// Where the last step worked, in cells of the image input; those at the right and bottom edge may
/// be cut. Layers whose output is no picture (behind a global pool, say) do not count.
struct WorkMap {
  static constexpr int kCell = 8;  // input pixels on either side

  int rows = 0;
  int columns = 0;
  std::vector<float> share;  // row-major: multiply-adds done there / those of a dense step
};

/// The mutable state of one video stream. Movable; not thread-safe by itself.
/// After the first step nothing is allocated, unless output shapes depend on the data.
class Stream {
 public:
  /// Allocates Plan::state_bytes() bytes, and lists and masks of a few per cent of that. kUsage
  /// without a plan and for options out of range, kLimit where there is no memory.
  static Result<Stream> Create(std::shared_ptr<const Plan> plan, const StreamOptions& options = {});
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  ~Stream();

  const Plan& plan() const;

  /// Copies a whole tensor into input `index` and marks the pixels whose bits differ. kUsage for
  /// an index, type or shape that is not the plan's.
  Status SetInput(size_t index, const TensorView& tensor);

  /// The window onto input `index` for writers that know what changed: write pixels, mark them,
  /// Step(). Valid as long as the stream is (moved or not). kUsage for an index that is not,
  /// kUnsupported unless it is a float32 image: [1,C,H,W], or [1,H,W,C] as the plan stores it.
  Result<ImageTarget> Image(size_t index);

  /// Brings all outputs up to date with the inputs. The first step computes everything. Fails only
  /// where shapes depend on the data: kLimit for memory, or the error of a node that cannot run.
  Result<StepReport> Step();

  /// Output `index`, row-major; valid until the next Step, Reset or move, and meaningful after the
  /// first Step. One whose shape depends on the data has no elements before that and after a Step
  /// that failed, nor has one with an index that is not.
  TensorView Output(size_t index) const;

  /// Names the regions of the image input where objects are or seem to be, in place of those named
  /// before: the next steps give up more elsewhere, as Policy::background says. Any number of them,
  /// in any order; until the first call, and after Reset, the whole picture counts as named. An
  /// object that appears elsewhere needs a larger change to be seen at once; a smaller one is seen
  /// within Policy::refresh steps. Decoder::regions() gives them from the last step's outputs.
  void SetFocus(std::span<const Region> regions);
  /// Where the next step is strict: the regions of SetFocus with a margin around them and, when its
  /// turn comes, the part of the picture that the step catches up with; everything where nothing is
  /// named, or the policy has no background. For ChangeDetector::SetFocus. Valid until the next
  /// call.
  std::span<const Region> focus();

  /// Forgets what was computed and the focus: the next step is dense.
  void Reset();

  const std::vector<LayerWork>& work() const;

  /// Keeps work_map() up to date from the next step on, which costs a little time.
  /// kUnsupported unless the model has one input, an image of batch 1.
  Status TrackWorkMap();
  const WorkMap& work_map() const;  // no rows unless tracked

 private:
  struct State;
  explicit Stream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace deltacnn
