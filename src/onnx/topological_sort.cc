#include "onnx/topological_sort.h"

#include <functional>
#include <queue>
#include <utility>

#include "onnx/read_error.h"

namespace deltacnn::onnx {
namespace {

constexpr int32_t kNobody = -1;

/// Calls visit(id) for every value that must be there before the node.
template <class Visit>
void ForEachNeed(const Node& node, Visit&& visit) {
  for (const ValueId input : node.inputs)
    if (input != kNoValue) visit(input);
  for (const Guard& guard : node.guards) visit(guard.condition);
}

/// From a node that waits for others, goes back to a producer that waits too, again and again: the
/// first node met twice lies on a cycle.
size_t FindNodeOnCycle(const Graph& graph, const std::vector<int32_t>& producers,
                       const std::vector<int32_t>& pending) {
  size_t at = 0;
  while (pending[at] == 0) ++at;
  std::vector<bool> seen(graph.nodes.size());
  while (!seen[at]) {
    seen[at] = true;
    size_t before = at;
    ForEachNeed(graph.nodes[at], [&](ValueId need) {
      const int32_t producer = producers[static_cast<size_t>(need)];
      if (producer != kNobody && pending[static_cast<size_t>(producer)] > 0)
        before = static_cast<size_t>(producer);
    });
    at = before;
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
    ForEachNeed(graph->nodes[i], [&](ValueId need) {
      const int32_t producer = producers[static_cast<size_t>(need)];
      if (producer == kNobody) return;
      ++pending[i];
      consumers[static_cast<size_t>(producer)].push_back(static_cast<int32_t>(i));
    });
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
