// Values whose shapes only the data of a step tell, and the nodes that give them.
#pragma once

#include <map>

#include "core/plan.h"
#include "deltacnn/tensor.h"

namespace deltacnn {

/// Kept from step to step: a node runs anew if one of its inputs has other bits than in the step
/// before.
class DynamicValues {
 public:
  /// What a step of the plan gives. All of them are set before every Run.
  void Set(ValueId id, const TensorView& view);
  /// Runs PlanState::dynamic in order, each node planned for the shapes of its inputs; those in
  /// branches that the data do not take are left out.
  Status Run(const PlanState& plan);
  /// No elements if there is no such value, as before the first step or after one that failed.
  TensorView At(ValueId id) const;
  /// After a step that failed: nodes behind the failure have not seen what changed.
  void Forget();

 private:
  struct Kept {
    Tensor tensor;
    bool changed = true;  // since the step before
  };

  Status RunNode(const PlanState& plan, const Node& node);
  void Keep(ValueId id, Tensor tensor);
  void Drop(ValueId id);

  std::map<ValueId, Kept> values_;
  uint64_t held_ = 0;  // bytes in them
};

}  // namespace deltacnn
