// Where in the picture a step worked.
#pragma once

#include <span>
#include <vector>

#include "core/plan.h"
#include "deltacnn/stream.h"
#include "ops/op.h"

namespace deltacnn {

/// Adds up the computed pixels of all layers over the cells of the input picture. Costs nothing
/// until it is switched on.
class WorkLog {
 public:
  /// kUnsupported unless the plan's one input is a picture.
  Status SwitchOn(const PlanState& plan);
  bool on() const { return map_.rows > 0; }

  /// Starts a step. A dense one does everything everywhere.
  void Begin(bool dense);
  /// Step `index` of the plan has computed these pixels.
  void Add(size_t index, const Grid& grid, std::span<const Span> computed);

  const WorkMap& map() const { return map_; }

 private:
  WorkMap map_;
  float cell_rows_ = 1;  // the input's height and width in cells: the last may be cut
  float cell_cols_ = 1;
  std::vector<float> weight_;  // by step: its part of the multiply-adds; 0: not a picture
  bool dense_ = false;
};

}  // namespace deltacnn
