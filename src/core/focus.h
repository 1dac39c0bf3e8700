// Where a stream's policy is strict: near what the network was last seen to find.
#pragma once

#include <span>
#include <vector>

#include "core/plan.h"
#include "core/reach.h"
#include "deltacnn/region.h"
#include "deltacnn/stream.h"

namespace deltacnn {

/// The pixels of every step's output that lie in the regions that the user named, or near them.
/// Elsewhere the limits of changes are Policy::background times as large.
class Focus {
 public:
  /// Regions are taken this much larger on every side, in input pixels: half a cell of a stride of
  /// 32, the coarsest one of most detectors, and room for objects to move within a frame.
  static constexpr float kMargin = 16;

  /// No effect unless the policy has a background and `reach` is enabled: without it nothing would
  /// catch up with what the larger limits leave out.
  Focus(const PlanState& plan, const Policy& policy, const Reach& reach);

  bool enabled() const { return !grid_of_.empty(); }
  void Set(std::span<const Region> regions);
  /// Where the next step is strict: what was named and its margin, and the band that is due.
  /// Valid until the next call.
  std::span<const Region> Strict(const Reach& reach);
  /// The whole picture again.
  void Forget() { set_ = false; }
  /// Valid until the next Set; without words if the limits are the same for all pixels of step
  /// `index`.
  MaskView Mask(size_t index);

 private:
  struct Cells {
    Grid grid;
    std::vector<uint64_t> words;
    bool fresh = false;  // those of the current regions
  };

  Grid input_;
  std::vector<int> grid_of_;  // by step, index into grids_; -1: always strict
  std::vector<Cells> grids_;
  std::vector<Region> regions_;  // with their margins
  std::vector<Region> strict_;
  bool set_ = false;
};

}  // namespace deltacnn
