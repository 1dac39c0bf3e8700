#include "onnx/topological_sort.h"

#include <functional>
#include <queue>
#include <utility>

#include "onnx/read_error.h"

namespace deltacnn::onnx {
namespace {

constexpr int32_t kNobody = -1;

/// From a node that waits for others, goes back to a producer that waits too, again and again: the
/// first node met twice lies on a cycle.
size_t FindNodeOnCycle(const Graph& graph, const std::vector<int32_t>& producers,
                       const std::vector<int32_t>& pending) {
  size_t at = 0;
  while (pending[at] == 0) ++at;
  std::vector<bool> seen(graph.nodes.size());
  while (!seen[at]) {
    seen[at] = true;
    for (const ValueId input : graph.nodes[at].inputs) {
      const int32_t producer = input == kNoValue ? kNobody : producers[static_cast<size_t>(input)];
      if (producer != kNobody && pending[static_cast<size_t>(producer)] > 0) {
        at = static_cast<size_t>(producer);
        break;
      }
    }
  }
  return at;
}

}  // namespace

void SortNodes(Graph* graph) {
  const size_t count = graph->nodes.size();
  std::vector<int32_t> producers(graph->values.size(), kNobody);
  for (size_t i = 0; i < count; ++i) {
    for (const ValueId output : graph->nodes[i].outputs) {
      if (output != kNoValue) producers[static_cast<size_t>(output)] = static_cast<int32_t>(i);
    }
  }

  std::vector<int32_t> pending(count);  // inputs whose producer has no place in the order yet
  std::vector<std::vector<int32_t>> consumers(count);
  for (size_t i = 0; i < count; ++i) {
    for (const ValueId input : graph->nodes[i].inputs) {
      const int32_t producer = input == kNoValue ? kNobody : producers[static_cast<size_t>(input)];
      if (producer == kNobody) continue;
      ++pending[i];
      consumers[static_cast<size_t>(producer)].push_back(static_cast<int32_t>(i));
    }
  }

  std::priority_queue<int32_t, std::vector<int32_t>, std::greater<>> ready;
  for (size_t i = 0; i < count; ++i) {
    if (pending[i] == 0) ready.push(static_cast<int32_t>(i));
  }
  std::vector<Node> sorted;
  sorted.reserve(count);
  while (!ready.empty()) {
    const auto next = static_cast<size_t>(ready.top());
    ready.pop();
    for (const int32_t consumer : consumers[next]) {
      if (--pending[static_cast<size_t>(consumer)] == 0) ready.push(consumer);
    }
    sorted.push_back(std::move(graph->nodes[next]));
  }
  if (sorted.size() < count) {
    const Node& node = graph->nodes[FindNodeOnCycle(*graph, producers, pending)];
    throw Invalid(Describe(node) + " depends on its own output: the graph has a cycle");
  }
  graph->nodes = std::move(sorted);
}

}  // namespace deltacnn::onnx
