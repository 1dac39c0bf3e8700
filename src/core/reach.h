// The reach policy: where a layer may update, and what it still owes.
#pragma once

#include <span>
#include <vector>

#include "core/plan.h"
#include "deltacnn/stream.h"

namespace deltacnn {

/// Keeps, for every step of a plan, the pixels that a change reached but the policy left out (they
/// are owed) and those whose change it judged too generously (they are in doubt). Those owed are
/// computed once something changes near them, all of them when the refreshing band comes by, which
/// has gone over the whole picture within Policy::refresh steps. Where the policy tells strong
/// changes from weak ones, only strong ones reach beyond the cells that overlap a changed input
/// pixel.
class Reach {
 public:
  struct RowRange {
    int begin, end;
  };

  /// Every band costs the growth of what it changes, layer by layer, on top of its own pixels: few
  /// large ones cost less than many small ones.
  static constexpr int kStepsPerBand = 8;

  /// No effect (enabled() is false) unless the policy limits the reach and the plan has one image
  /// input. A band comes by every `steps_per_band` steps.
  Reach(const PlanState& plan, const Policy& policy, int steps_per_band = kStepsPerBand);

  bool enabled() const { return enabled_; }
  /// True if Limit wants to know what strong changes reach.
  bool judges() const { return judges_; }
  /// True if Limit has an effect on step `index`.
  bool limits(size_t index) const { return enabled_ && resolution_of_[index] >= 0; }

  /// Starts a step of the stream, dense or not: `input` is the mask of the image input.
  void Begin(const MaskView& input);
  /// The rows of `picture` whose band the next step catches up with; empty if it is not yet its
  /// turn.
  RowRange NextBand(const Grid& picture) const;
  /// Goes over to catching up with this step's band of the picture; false if none is due or there
  /// is nothing to do.
  bool BeginRefresh();
  bool refreshing() const { return refreshing_; }
  /// True if step `index` has left something out; while refreshing, if it has or doubts something
  /// in the band.
  bool Owes(size_t index) const;
  /// Cuts the affected pixels of a step down to those it may update, and adds those it owes there.
  /// `strong` holds those that a strong change reaches; without words unless judges().
  void Limit(size_t index, const MaskView& affected, const MaskView& strong);
  /// Takes down the pixels of a step that were computed and judged generously, as background;
  /// `changed` holds those of `computed` that have changed all the same.
  void Doubt(size_t index, std::span<const Span> computed, const MaskView& changed);
  /// Adds to the affected pixels of a step those that it owes or doubts in the band. Leaves none
  /// out: what the band catches up with goes on to the outputs at once, so that a turn settles
  /// everything.
  void Settle(size_t index, const MaskView& affected);
  /// Everything has been computed: nothing is owed or in doubt.
  void Forget();

 private:
  /// The cells of a grid over the picture, and which of them changes touch or reach.
  struct Resolution {
    Grid grid;
    int finer = -1;  // a resolution of which each cell here is a block; -1: of the input's pixels
    WindowMap block_rows, block_cols;
    WindowMap near_rows, near_cols;          // cells within reach
    std::vector<uint64_t> touched, reached;  // by a changed input pixel
    bool fresh = false;                      // both are those of the current step
  };

  Resolution MakeResolution(const Grid& input, const Grid& grid, int reach) const;
  void Refresh(Resolution& resolution);
  /// A band is one of `bands_` equal shares of a grid's rows.
  RowRange BandOf(int band, const Grid& grid) const;
  struct WordRange {
    size_t begin, end;
  };
  WordRange Band(size_t index) const;

  bool enabled_ = false;
  bool judges_ = false;
  int steps_per_band_ = 1;
  int steps_ = 0;  // since the last band
  int bands_ = 1;
  int band_ = 0;      // the last one's number
  bool due_ = false;  // in the current step
  bool refreshing_ = false;
  MaskView input_;
  std::vector<Resolution> resolutions_;
  std::vector<int> resolution_of_;                     // by step; -1: not limited
  std::vector<std::vector<uint64_t>> owed_, doubted_;  // by step
  std::vector<int64_t> owed_count_;
};

}  // namespace deltacnn
