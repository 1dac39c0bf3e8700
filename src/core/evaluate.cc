#include "core/evaluate.h"

#include "core/plan.h"
#include "deltacnn/stream.h"

namespace deltacnn {

Result<std::vector<Tensor>> Evaluate(const Node& node, std::span<const TensorPtr> inputs,
                                     int64_t opset, uint64_t max_bytes) {
  Graph graph;
  graph.opset = opset;
  Node copy = node;
  copy.guards.clear();  // whoever asks knows that it runs
  for (size_t i = 0; i < copy.inputs.size(); ++i) {
    if (copy.inputs[i] == kNoValue) continue;
    Value value;
    value.name = "input " + std::to_string(i);
    value.dtype = inputs[i]->dtype;
    value.dtype_known = true;
    value.shape = inputs[i]->shape;
    value.constant = inputs[i];
    copy.inputs[i] = graph.AddValue(std::move(value));
  }
  for (size_t o = 0; o < copy.outputs.size(); ++o) {
    if (copy.outputs[o] == kNoValue) continue;
    Value value;
    value.name = "output " + std::to_string(o);
    copy.outputs[o] = graph.AddValue(std::move(value));
    graph.outputs.push_back(copy.outputs[o]);
  }
  const std::vector<ValueId> outputs = copy.outputs;
  graph.nodes.push_back(std::move(copy));
  PlanOptions options;
  options.max_state_bytes = max_bytes;
  auto state = PlanGraph(std::move(graph), options, false);
  if (!state.ok()) return state.error();
  auto stream = Stream::Create(std::make_shared<const Plan>(std::move(*state)));
  if (!stream.ok()) return stream.error();
  if (auto report = stream->Step(); !report.ok()) return report.error();
  std::vector<Tensor> results(outputs.size());
  size_t next = 0;
  for (size_t o = 0; o < outputs.size(); ++o) {
    if (outputs[o] == kNoValue) continue;
    const TensorView view = stream->Output(next++);
    Tensor tensor(view.dtype, Shape(view.shape.begin(), view.shape.end()));
    const auto* bytes = static_cast<const std::byte*>(view.data);
    if (!tensor.bytes.empty()) tensor.bytes.assign(bytes, bytes + tensor.bytes.size());
    results[o] = std::move(tensor);
  }
  return results;
}

}  // namespace deltacnn
