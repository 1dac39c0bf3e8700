// The graph of a model as the importer delivers it and the passes rewrite it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "deltacnn/tensor.h"
#include "kernels/kernels.h"

namespace deltacnn {

using ValueId = int32_t;
inline constexpr ValueId kNoValue = -1;  // an optional input or output that is absent

using TensorPtr = std::shared_ptr<const Tensor>;

/// The text without line breaks and other control characters: names and attributes come from files
/// and end up in one-line messages, tables and terminals.
std::string OneLine(std::string text);

/// The elements of an int64 or int32 tensor.
std::vector<int64_t> IntsOf(const Tensor& tensor);

/// The axis counted from the front of a tensor of this rank, where `axis` may be counted from its
/// back; it is in range.
inline size_t FromFront(int64_t axis, size_t rank) {
  return static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis);
}

/// A node attribute. `SubgraphMarker` records that a subgraph was present, which only an If may
/// have. Its copy constructor keeps libstdc++ (12) from taking the variant for one that is never
/// without a value: it would then destroy one whose copy has failed for lack of memory, and crash.
struct SubgraphMarker {
  SubgraphMarker() = default;
  SubgraphMarker(const SubgraphMarker& /*other*/) {}
  SubgraphMarker& operator=(const SubgraphMarker&) = default;
};
using Attribute =
    std::variant<int64_t, float, std::string, std::vector<int64_t>, std::vector<float>,
                 std::vector<std::string>, TensorPtr, SubgraphMarker>;

/// One step of a pointwise chain, applied to every element x.
struct ChainStep {
  enum class Kind : uint8_t {
    kUnary,    // x = unary(x; a, b)
    kScalar,   // x = binary(x, a)
    kOperand,  // x = binary(x, element of Node::chain_inputs[operand])
    kSave,     // saved = x
    kSaved,    // x = binary(x, saved)
  };
  Kind kind = Kind::kUnary;
  kernels::Unary unary{};
  kernels::Binary binary{};
  float a = 0;
  float b = 0;
  int operand = -1;
};

/// A tensor that flows between nodes, or a constant.
struct Value {
  std::string name;
  DType dtype = DType::kFloat32;
  bool dtype_known = false;
  std::optional<Shape> shape;  // -1: unknown dimension; nullopt: unknown rank
  TensorPtr constant;          // set for initializers and folded values
};

/// A node of a branch runs only if `condition`, a single bool, is `when`.
struct Guard {
  ValueId condition = kNoValue;
  bool when = true;
};

struct Node {
  std::string name;              // never empty: "<op>_<index>" where the file has none
  std::string op;                // ONNX operator type, e.g. "Conv"
  std::string domain;            // "" for ai.onnx
  std::vector<ValueId> inputs;   // kNoValue where an optional input is absent
  std::vector<ValueId> outputs;  // kNoValue where an optional output is absent
  std::map<std::string, Attribute> attributes;
  std::vector<Guard> guards;  // one for each If around it, the outermost first
  // Set by the passes: pointwise work that was fused behind this node, and its further operands.
  std::vector<ChainStep> chain;
  std::vector<ValueId> chain_inputs;
  std::vector<ChainStep> inner_chain;  // of a SeparableConv or PooledConv: between its parts

  int64_t Int(const std::string& key, int64_t fallback) const;
  float Float(const std::string& key, float fallback) const;
  std::string String(const std::string& key, const std::string& fallback) const;
  std::vector<int64_t> Ints(const std::string& key) const;  // empty if absent
  std::vector<float> Floats(const std::string& key) const;  // empty if absent
  TensorPtr TensorAttribute(const std::string& key) const;  // null if absent
  bool Has(const std::string& key) const { return attributes.contains(key); }
  ValueId Input(size_t i) const { return i < inputs.size() ? inputs[i] : kNoValue; }
};

/// Invariants after import: calls of functions and the branches of If nodes lie spelled out among
/// the other nodes; an If has three inputs, the condition and what each branch gives. Nodes are in
/// topological order, every value id is valid, every value is produced at most once, every node
/// input is a graph input, a constant or an earlier node's output. What no output needs is left
/// out.
struct Graph {
  int64_t opset = 0;  // of the default domain
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<ValueId> inputs;  // without the initializers that old files list as inputs too
  std::vector<ValueId> outputs;
  std::map<std::string, std::string> metadata;  // ONNX metadata_props

  ValueId AddValue(Value value);
  const TensorPtr& Constant(ValueId id) const { return values[static_cast<size_t>(id)].constant; }
};

}  // namespace deltacnn
