#include "graph/expansion.h"

#include <utility>

#include "graph/lower.h"

namespace deltacnn {

ValueId AddUnknown(Graph& graph, const std::string& name) {
  Value value;
  value.name = name;
  return graph.AddValue(std::move(value));
}

ValueId Expansion::Value(const std::string& suffix, Shape shape) {
  return AddLike(graph_, node_.outputs[0], suffix, std::move(shape));
}

void Expansion::Append(const std::string& suffix, const std::string& op,
                       std::vector<ValueId> inputs, std::vector<ValueId> outputs,
                       Attributes attributes) {
  Node& node = nodes_.emplace_back();
  node.name = node_.name + suffix;
  node.op = op;
  node.inputs = std::move(inputs);
  node.outputs = std::move(outputs);
  node.attributes = std::move(attributes);
  node.guards = node_.guards;
}

ValueId Expansion::Add(const std::string& suffix, const std::string& op,
                       std::vector<ValueId> inputs, Shape shape, Attributes attributes) {
  const ValueId value = Value(suffix, std::move(shape));
  Append(suffix, op, std::move(inputs), {value}, std::move(attributes));
  return value;
}

ValueId Expansion::Unknown(const std::string& suffix, const std::string& op,
                           std::vector<ValueId> inputs, Attributes attributes) {
  const ValueId id = AddUnknown(graph_, node_.name + suffix);
  Append(suffix, op, std::move(inputs), {id}, std::move(attributes));
  return id;
}

}  // namespace deltacnn
