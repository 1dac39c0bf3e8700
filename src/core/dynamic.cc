#include "core/dynamic.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/evaluate.h"
#include "ops/op.h"

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
  const size_t bytes = tensor.bytes.size();
  values_.emplace(id, Kept{std::move(tensor), true});
  held_ += bytes;
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

TensorView DynamicValues::At(ValueId id) const {
  static const Tensor kNothing(DType::kFloat32, {0});
  const auto found = values_.find(id);
  return found == values_.end() ? kNothing : found->second.tensor;
}

Status DynamicValues::Run(const PlanState& plan) {
  const auto view = [&](ValueId id) {
    const TensorPtr& constant = plan.graph.Constant(id);
    return constant != nullptr ? TensorView(*constant) : At(id);
  };
  for (const Node& node : plan.dynamic) {
    const bool taken = std::ranges::all_of(node.guards, [&](const Guard& guard) {
      return IsTrue(view(guard.condition)) == guard.when;
    });
    if (!taken) {  // and what changes meanwhile, it does not see
      for (const ValueId out : node.outputs) Drop(out);
    } else if (node.op == "If") {
      Set(node.outputs[0], view(node.inputs[IsTrue(view(node.inputs[0])) ? 1 : 2]));
      if (held_ > plan.max_state_bytes) {
        return NodeError(ErrorCode::kLimit, node,
                         "the model needs more than " + std::to_string(plan.max_state_bytes >> 20) +
                             " MiB a stream (a smaller input shape needs less)");
      }
    } else {
      DELTACNN_RETURN_IF_ERROR(RunNode(plan, node));
    }
  }
  return {};
}

Status DynamicValues::RunNode(const PlanState& plan, const Node& node) {
  const auto is_new = [&](ValueId in) {
    const auto found = values_.find(in);
    return found != values_.end() && found->second.changed;
  };
  const auto is_missing = [&](ValueId out) { return out != kNoValue && !values_.contains(out); };
  if (std::ranges::none_of(node.inputs, is_new) && std::ranges::none_of(node.outputs, is_missing)) {
    for (const ValueId out : node.outputs)
      if (out != kNoValue) values_.at(out).changed = false;
    return {};
  }
  std::vector<TensorPtr> inputs;
  for (const ValueId id : node.inputs) {
    if (id == kNoValue || plan.graph.Constant(id) != nullptr) {
      inputs.push_back(id == kNoValue ? nullptr : plan.graph.Constant(id));
    } else {  // borrowed for the duration of the call
      inputs.emplace_back(TensorPtr(), &values_.at(id).tensor);
    }
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
