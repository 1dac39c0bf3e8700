// Several nodes in the place of one.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace deltacnn {

using Attributes = std::map<std::string, Attribute>;

/// A value of which nothing is known before the shapes are inferred.
ValueId AddUnknown(Graph& graph, const std::string& name);

/// Makes the nodes that take the place of a lowered one. Their names extend that of the old node.
class Expansion {
 public:
  /// Appends to `nodes`, where `node` is no longer.
  Expansion(Graph& graph, const Node& node, std::vector<Node>& nodes)
      : graph_(graph), node_(node), nodes_(nodes) {}

  /// A value to be, of the old output's type.
  ValueId Value(const std::string& suffix, Shape shape);
  /// A node that gives some.
  void Append(const std::string& suffix, const std::string& op, std::vector<ValueId> inputs,
              std::vector<ValueId> outputs, Attributes attributes = {});
  /// A node that gives a new one.
  ValueId Add(const std::string& suffix, const std::string& op, std::vector<ValueId> inputs,
              Shape shape, Attributes attributes = {});
  /// A node that gives one as AddUnknown does.
  ValueId Unknown(const std::string& suffix, const std::string& op, std::vector<ValueId> inputs,
                  Attributes attributes = {});
  /// The node that gives the old one's output.
  void Finish(const std::string& op, std::vector<ValueId> inputs, Attributes attributes = {}) {
    Append("", op, std::move(inputs), {node_.outputs[0]}, std::move(attributes));
  }

 private:
  Graph& graph_;
  const Node& node_;
  std::vector<Node>& nodes_;
};

/// Replaces every node of this type by what `expand(node, nodes)` appends.
template <class Expand>
void ExpandNodes(Graph& graph, const std::string& op, Expand&& expand) {
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    if (node.op == op) {
      expand(std::as_const(node), nodes);
    } else {
      nodes.push_back(std::move(node));
    }
  }
  graph.nodes = std::move(nodes);
}

}  // namespace deltacnn
