#include "core/dynamic.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "core/evaluate.h"

namespace deltacnn {
namespace {

bool Same(const Tensor& a, const TensorView& b) {
  return a.dtype == b.dtype && std::ranges::equal(a.shape, b.shape) &&
         (a.bytes.empty() || std::memcmp(a.bytes.data(), b.data, a.bytes.size()) == 0);
}

bool IsTrue(const TensorView& condition) {
  return ElementCount(condition.shape) > 0 &&
         *static_cast<const std::byte*>(condition.data) != std::byte{0};
}

}  // namespace

void DynamicValues::Set(ValueId id, const TensorView& view) {
  if (const auto found = values_.find(id); found != values_.end()) {
    found->second.changed = !Same(found->second.tensor, view);
    if (!found->second.changed) return;
  }
  Tensor tensor(view.dtype, Shape(view.shape.begin(), view.shape.end()));
  if (!tensor.bytes.empty()) std::memcpy(tensor.bytes.data(), view.data, tensor.bytes.size());
  Keep(id, std::move(tensor));
}

void DynamicValues::Keep(ValueId id, Tensor tensor) {
  Drop(id);
  held_ += tensor.bytes.size();
  values_.emplace(id, Kept{std::move(tensor), true});
}

void DynamicValues::Drop(ValueId id) {
  const auto found = values_.find(id);
  if (found == values_.end()) return;
  held_ -= found->second.tensor.bytes.size();
  values_.erase(found);
}

void DynamicValues::Forget() {
  values_.clear();
  held_ = 0;
}

Status DynamicValues::Run(const PlanState& plan) {
  Status status = RunNodes(plan);
  // Nodes behind the one that failed have not seen what changed.
  if (!status.ok()) Forget();
  return status;
}

Status DynamicValues::RunNodes(const PlanState& plan) {
  const auto is_true = [&](ValueId id) {
    const TensorPtr& constant = plan.graph.Constant(id);
    return IsTrue(constant != nullptr ? TensorView(*constant) : At(id));
  };
  for (const Node& node : plan.dynamic) {
    const bool taken = std::ranges::all_of(
        node.guards, [&](const Guard& guard) { return is_true(guard.condition) == guard.when; });
    if (!taken) {  // and what changes meanwhile, it does not see
      for (const ValueId out : node.outputs) Drop(out);
      continue;
    }
    if (node.op == "If") {
      Node chosen = node;
      chosen.op = "Identity";
      chosen.inputs = {node.inputs[is_true(node.inputs[0]) ? 1 : 2]};
      const auto condition = values_.find(node.inputs[0]);
      if (condition != values_.end() && condition->second.changed) Drop(node.outputs[0]);
      DELTACNN_RETURN_IF_ERROR(RunNode(plan, chosen));
    } else {
      DELTACNN_RETURN_IF_ERROR(RunNode(plan, node));
    }
  }
  return {};
}

Status DynamicValues::RunNode(const PlanState& plan, const Node& node) {
  bool changed = std::ranges::any_of(
      node.outputs, [&](ValueId id) { return id != kNoValue && !values_.contains(id); });
  std::vector<TensorPtr> inputs;
  for (const ValueId id : node.inputs) {
    if (id == kNoValue || plan.graph.Constant(id) != nullptr) {
      inputs.push_back(id == kNoValue ? nullptr : plan.graph.Constant(id));
      continue;
    }
    const Kept& kept = values_.at(id);
    changed = changed || kept.changed;
    inputs.emplace_back(TensorPtr(), &kept.tensor);  // borrowed for the duration of the call
  }
  if (!changed) {
    for (const ValueId id : node.outputs)
      if (id != kNoValue) values_.at(id).changed = false;
    return {};
  }
  auto outputs = Evaluate(node, inputs, plan.graph.opset,
                          plan.max_state_bytes - std::min(held_, plan.max_state_bytes));
  if (!outputs.ok()) return outputs.error();
  for (size_t o = 0; o < node.outputs.size(); ++o) {
    const ValueId id = node.outputs[o];
    if (id == kNoValue) continue;
    const auto found = values_.find(id);
    if (found != values_.end() && Same(found->second.tensor, (*outputs)[o])) {
      found->second.changed = false;
    } else {
      Keep(id, std::move((*outputs)[o]));
    }
  }
  return {};
}

}  // namespace deltacnn
