// Pointwise arithmetic: ONNX nodes -> chains, chains -> behind their producer.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "graph/expansion.h"
#include "graph/lower.h"

namespace deltacnn {
namespace {

using kernels::Binary;
using kernels::Unary;
using Kind = ChainStep::Kind;

struct UnaryRow {
  std::string_view op;
  Unary function;
  // Names of the attributes that become a and b, and their defaults.
  std::string_view a_name = {};
  float a = 0;
  std::string_view b_name = {};
  float b = 0;
};

constexpr std::array kUnaryRows = {
    UnaryRow{"Abs", Unary::kAbs},
    UnaryRow{"Ceil", Unary::kCeil},
    UnaryRow{"Cos", Unary::kCos},
    UnaryRow{"Elu", Unary::kElu, "alpha", 1.0f},
    UnaryRow{"Erf", Unary::kErf},
    UnaryRow{"Exp", Unary::kExp},
    UnaryRow{"Floor", Unary::kFloor},
    UnaryRow{"HardSigmoid", Unary::kHardSigmoid, "alpha", 0.2f, "beta", 0.5f},
    UnaryRow{"HardSwish", Unary::kHardSwish},
    UnaryRow{"LeakyRelu", Unary::kLeakyRelu, "alpha", 0.01f},
    UnaryRow{"Log", Unary::kLog},
    UnaryRow{"Mish", Unary::kMish},
    UnaryRow{"Neg", Unary::kNeg},
    UnaryRow{"Reciprocal", Unary::kReciprocal},
    UnaryRow{"Relu", Unary::kRelu},
    UnaryRow{"Round", Unary::kRound},
    UnaryRow{"Selu", Unary::kSelu, "alpha", 1.67326319f, "gamma", 1.05070102f},
    UnaryRow{"Sigmoid", Unary::kSigmoid},
    UnaryRow{"Sign", Unary::kSign},
    UnaryRow{"Sin", Unary::kSin},
    UnaryRow{"Softplus", Unary::kSoftplus},
    UnaryRow{"Softsign", Unary::kSoftsign},
    UnaryRow{"Sqrt", Unary::kSqrt},
    UnaryRow{"Tanh", Unary::kTanh},
};

struct BinaryRow {
  std::string_view op;
  Binary function;
  Binary swapped;  // the same with the arguments exchanged
};

constexpr std::array kBinaryRows = {
    BinaryRow{"Add", Binary::kAdd, Binary::kAdd},  BinaryRow{"Sub", Binary::kSub, Binary::kRsub},
    BinaryRow{"Mul", Binary::kMul, Binary::kMul},  BinaryRow{"Div", Binary::kDiv, Binary::kRdiv},
    BinaryRow{"Pow", Binary::kPow, Binary::kRpow}, BinaryRow{"Min", Binary::kMin, Binary::kMin},
    BinaryRow{"Max", Binary::kMax, Binary::kMax},  BinaryRow{"Sum", Binary::kAdd, Binary::kAdd},
    BinaryRow{"Mean", Binary::kAdd, Binary::kAdd},
};

ChainStep UnaryStep(Unary function, float a = 0, float b = 0) {
  return {.kind = Kind::kUnary, .unary = function, .a = a, .b = b};
}
ChainStep ScalarStep(Binary function, float y) {
  return {.kind = Kind::kScalar, .binary = function, .a = y};
}

std::optional<float> ConstantScalar(const Graph& graph, ValueId id) {
  const TensorPtr& constant = graph.Constant(id);
  if (constant == nullptr || constant->dtype != DType::kFloat32 || constant->elements() != 1)
    return std::nullopt;
  return constant->as<float>()[0];
}

/// Appends x = function(x, operand), as cheaply as the operand allows.
void AppendOperand(const Graph& graph, Node& node, Binary function, ValueId operand) {
  if (const auto scalar = ConstantScalar(graph, operand)) {
    if (function == Binary::kPow && *scalar == 2.0f) {
      node.chain.push_back({.kind = Kind::kSave});
      node.chain.push_back({.kind = Kind::kSaved, .binary = Binary::kMul});
    } else if (function == Binary::kPow && *scalar == 0.5f) {
      node.chain.push_back(UnaryStep(Unary::kSqrt));
    } else {
      node.chain.push_back(ScalarStep(function, *scalar));
    }
    return;
  }
  node.chain.push_back({.kind = Kind::kOperand,
                        .binary = function,
                        .operand = static_cast<int>(node.chain_inputs.size())});
  node.chain_inputs.push_back(operand);
}

bool LowerUnary(Node& node) {
  const auto* row = std::ranges::find(kUnaryRows, node.op, &UnaryRow::op);
  if (row == kUnaryRows.end()) {
    if (node.op == "Gelu") {
      node.chain = {UnaryStep(node.String("approximate", "none") == "tanh" ? Unary::kGeluTanh
                                                                           : Unary::kGelu)};
      return true;
    }
    if (node.op == "Celu") {
      const float alpha = node.Float("alpha", 1.0f);
      node.chain = {UnaryStep(Unary::kElu, 1.0f)};
      if (alpha != 1.0f) {
        node.chain = {ScalarStep(Binary::kDiv, alpha), node.chain[0],
                      ScalarStep(Binary::kMul, alpha)};
      }
      return true;
    }
    if (node.op == "Swish") {
      const float alpha = node.Float("alpha", 1.0f);
      if (alpha == 1.0f) {
        node.chain = {UnaryStep(Unary::kSilu)};
      } else {
        node.chain = {{.kind = Kind::kSave},
                      ScalarStep(Binary::kMul, alpha),
                      UnaryStep(Unary::kSigmoid),
                      {.kind = Kind::kSaved, .binary = Binary::kMul}};
      }
      return true;
    }
    return false;
  }
  const float a = row->a_name.empty() ? 0 : node.Float(std::string(row->a_name), row->a);
  const float b = row->b_name.empty() ? 0 : node.Float(std::string(row->b_name), row->b);
  node.chain = {UnaryStep(row->function, a, b)};
  return true;
}

void LowerClip(const Graph& graph, Node& node) {
  constexpr float kMax = std::numeric_limits<float>::max();
  const ValueId low_id = node.Input(1);
  const ValueId high_id = node.Input(2);
  node.inputs.resize(1);
  const auto bound = [&](ValueId id, const char* attribute,
                         float fallback) -> std::optional<float> {
    return id == kNoValue ? node.Float(attribute, fallback) : ConstantScalar(graph, id);
  };
  const auto low = bound(low_id, "min", -kMax);
  const auto high = bound(high_id, "max", kMax);
  if (low && high) {
    // A missing bound must not clamp an infinity to the largest finite number.
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    node.chain = {UnaryStep(Unary::kClip, *low == -kMax ? -kInfinity : *low,
                            *high == kMax ? kInfinity : *high)};
    return;
  }
  if (low_id != kNoValue) AppendOperand(graph, node, Binary::kMax, low_id);
  if (high_id != kNoValue) AppendOperand(graph, node, Binary::kMin, high_id);
}

/// The position of an operand of the output's full shape, one that is not a constant if there is
/// any; -1 if every operand is broadcast.
int FullOperand(const Graph& graph, const Node& node) {
  const Shape& shape = *At(graph, node.outputs[0]).shape;
  int best = -1;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (*At(graph, node.inputs[i]).shape != shape) continue;
    if (best < 0) best = static_cast<int>(i);
    if (graph.Constant(node.inputs[i]) == nullptr) return static_cast<int>(i);
  }
  return best;
}

// Saved value times sigmoid(...) and its relatives, as exporters spell them, and what they mean.
bool Near(float x, double y) { return std::abs(x - y) <= 1e-4 * std::abs(y); }

bool IsUnary(const ChainStep& s, Unary f) { return s.kind == Kind::kUnary && s.unary == f; }
bool IsScalar(const ChainStep& s, Binary f, double y) {
  return s.kind == Kind::kScalar && s.binary == f && Near(s.a, y);
}
bool IsSavedMul(const ChainStep& s) { return s.kind == Kind::kSaved && s.binary == Binary::kMul; }
bool IsThird(const ChainStep& s) {  // times 1/6
  return IsScalar(s, Binary::kDiv, 6) || IsScalar(s, Binary::kMul, 1.0 / 6);
}

/// The length of a spelled-out activation that starts at step i, and its name.
std::pair<size_t, Unary> Recognise(std::span<const ChainStep> s) {
  if (s.size() >= 3 && s[0].kind == Kind::kSave && IsSavedMul(s[2])) {
    if (IsUnary(s[1], Unary::kSigmoid)) return {3, Unary::kSilu};
    if (IsUnary(s[1], Unary::kHardSigmoid) && Near(s[1].a, 1.0 / 6) && Near(s[1].b, 0.5))
      return {3, Unary::kHardSwish};
  }
  if (s.size() >= 4 && s[0].kind == Kind::kSave && IsUnary(s[1], Unary::kSoftplus) &&
      IsUnary(s[2], Unary::kTanh) && IsSavedMul(s[3])) {
    return {4, Unary::kMish};
  }
  const auto relu6 = [](const ChainStep& step) {
    return IsUnary(step, Unary::kClip) && step.a == 0.0f && step.b == 6.0f;
  };
  if (s.size() >= 5 && s[0].kind == Kind::kSave && IsScalar(s[1], Binary::kAdd, 3) && relu6(s[2])) {
    if ((IsSavedMul(s[3]) && IsThird(s[4])) || (IsThird(s[3]) && IsSavedMul(s[4])))
      return {5, Unary::kHardSwish};
  }
  const double root_half = std::sqrt(0.5);
  if (s.size() >= 6 && s[0].kind == Kind::kSave &&
      (IsScalar(s[1], Binary::kMul, root_half) || IsScalar(s[1], Binary::kDiv, 1 / root_half)) &&
      IsUnary(s[2], Unary::kErf) && IsScalar(s[3], Binary::kAdd, 1) &&
      ((IsSavedMul(s[4]) && IsScalar(s[5], Binary::kMul, 0.5)) ||
       (IsScalar(s[4], Binary::kMul, 0.5) && IsSavedMul(s[5])))) {
    return {6, Unary::kGelu};
  }
  return {0, Unary::kRelu};
}

void Simplify(std::vector<ChainStep>& chain) {
  for (size_t i = 0; i < chain.size(); ++i) {
    const auto [length, function] = Recognise(std::span(chain).subspan(i));
    if (length == 0) continue;
    chain[i] = UnaryStep(function);
    chain.erase(chain.begin() + static_cast<ptrdiff_t>(i) + 1,
                chain.begin() + static_cast<ptrdiff_t>(i + length));
  }
}

bool HasSave(std::span<const ChainStep> chain) {
  return std::ranges::any_of(chain, [](const ChainStep& s) { return s.kind == Kind::kSave; });
}

/// What FuseChains does. From front to back, every pointwise node swallows the node that produces
/// its primary input, so that a whole run of them ends up behind the first one.
class ChainFusion {
 public:
  explicit ChainFusion(Graph& graph)
      : graph_(graph),
        uses_(CountUses(graph)),
        producer_(Producers(graph)),
        dead_(graph.nodes.size(), false) {}

  void Run() {
    for (Node& node : graph_.nodes) {
      if (node.op != "Pointwise") continue;
      TurnRound(node);
      JoinFactors(node);
      MoveBehindProducer(node);
      Simplify(node.chain);
    }
    EraseNodes(graph_, dead_);
    for (Node& node : graph_.nodes) Simplify(node.chain);
  }

 private:
  int ProducerOf(ValueId id) const { return producer_[static_cast<size_t>(id)]; }
  bool ReadOnce(ValueId id) const { return uses_[static_cast<size_t>(id)] == 1; }
  bool HasShapeOf(ValueId id, const Node& node) const {
    return At(graph_, id).shape == At(graph_, node.outputs[0]).shape;
  }

  /// Whether the node that produces `id` can take what `node` does into its chain.
  bool Fusable(ValueId id, const Node& node) const {
    const int p = ProducerOf(id);
    return p >= 0 && TakesChain(graph_.nodes[static_cast<size_t>(p)]) && ReadOnce(id) &&
           HasShapeOf(id, node);
  }

  static bool IsOneOperand(const Node& node) {
    return node.chain.size() == 1 && node.chain[0].kind == Kind::kOperand;
  }

  /// A single operand step can be turned round so that the operand's producer takes the chain.
  void TurnRound(Node& node) const {
    if (!IsOneOperand(node) || node.chain_inputs[0] == node.inputs[0]) return;
    const auto* row = std::ranges::find(kBinaryRows, node.chain[0].binary, &BinaryRow::function);
    const ValueId other = node.chain_inputs[0];
    const bool other_later = ProducerOf(other) > ProducerOf(node.inputs[0]);
    if (row == kBinaryRows.end() || !Fusable(other, node) ||
        (Fusable(node.inputs[0], node) && !other_later))
      return;
    std::swap(node.inputs[0], node.chain_inputs[0]);
    node.chain[0].binary = row->swapped;
  }

  /// x * f(x): the operand is a chain over the primary input, or the other way round.
  void JoinFactors(Node& node) {
    if (!IsOneOperand(node)) return;
    for (int turn = 0; turn < 2; ++turn) {
      const ValueId x = turn == 0 ? node.chain_inputs[0] : node.inputs[0];
      const ValueId fx = turn == 0 ? node.inputs[0] : node.chain_inputs[0];
      const int p = ProducerOf(fx);
      if (p < 0 || !ReadOnce(fx) || !HasShapeOf(fx, node)) continue;
      const Node& inner = graph_.nodes[static_cast<size_t>(p)];
      if (inner.op != "Pointwise" || inner.inputs[0] != x || HasSave(inner.chain)) continue;
      Binary function = node.chain[0].binary;
      if (turn == 1) {
        const auto* row = std::ranges::find(kBinaryRows, function, &BinaryRow::function);
        if (row == kBinaryRows.end()) continue;
        function = row->swapped;
      }
      std::vector<ChainStep> chain = {{.kind = Kind::kSave}};
      chain.insert(chain.end(), inner.chain.begin(), inner.chain.end());
      chain.push_back({.kind = Kind::kSaved, .binary = function});
      node.inputs[0] = x;
      node.chain = std::move(chain);
      node.chain_inputs = inner.chain_inputs;
      --uses_[static_cast<size_t>(x)];  // the inner node's
      dead_[static_cast<size_t>(p)] = true;
      return;
    }
  }

  void MoveBehindProducer(Node& node) {
    const ValueId x = node.inputs[0];
    if (!Fusable(x, node) || std::ranges::find(node.chain_inputs, x) != node.chain_inputs.end())
      return;
    const auto p = static_cast<size_t>(ProducerOf(x));
    Node merged = std::move(graph_.nodes[p]);  // dead: nothing else reads it
    if (merged.op == "Pointwise") merged.name = node.name;
    merged.outputs = node.outputs;
    const int shift = static_cast<int>(merged.chain_inputs.size());
    for (ChainStep step : node.chain) {
      if (step.kind == Kind::kOperand) step.operand += shift;
      merged.chain.push_back(step);
    }
    merged.chain_inputs.insert(merged.chain_inputs.end(), node.chain_inputs.begin(),
                               node.chain_inputs.end());
    node = std::move(merged);
    dead_[p] = true;
  }

  Graph& graph_;
  std::vector<int> uses_;
  std::vector<int> producer_;
  std::vector<bool> dead_;
};

}  // namespace

bool TakesChain(const Node& node) {
  return node.op == "Conv" || node.op == "ConvTranspose" || node.op == "Linear" ||
         node.op == "Pointwise";
}

void LowerArithmetic(Graph& graph) {
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    const auto* row = std::ranges::find(kBinaryRows, node.op, &BinaryRow::op);
    const bool is_binary = row != kBinaryRows.end() || node.op == "PRelu";
    const bool is_unary =
        std::ranges::find(kUnaryRows, node.op, &UnaryRow::op) != kUnaryRows.end() ||
        node.op == "Celu" || node.op == "Gelu" || node.op == "Swish" || node.op == "Clip";
    if (!is_binary && !is_unary) {
      nodes.push_back(std::move(node));
      continue;
    }
    if (At(graph, node.outputs[0]).dtype != DType::kFloat32 ||
        At(graph, node.inputs[0]).dtype != DType::kFloat32) {
      node.attributes["function"] = node.op;
      node.op = "TypedArithmetic";
      nodes.push_back(std::move(node));
      continue;
    }
    if (node.op == "Clip") {
      LowerClip(graph, node);
    } else if (node.op == "PRelu") {
      const ValueId slope = node.inputs[1];
      node.inputs.resize(1);
      AppendOperand(graph, node, Binary::kPrelu, slope);
    } else if (is_unary) {
      LowerUnary(node);
    } else {
      Expansion parts(graph, node, nodes);
      if (node.op == "Pow" && At(graph, node.inputs[1]).dtype != DType::kFloat32) {
        constexpr int64_t kFloat = 1;  // TensorProto.FLOAT
        node.inputs[1] = parts.Add(".exponent", "Cast", {node.inputs[1]},
                                   *At(graph, node.inputs[1]).shape, {{"to", kFloat}});
      }
      std::vector<ValueId> operands = node.inputs;
      int full = FullOperand(graph, node);
      if (full < 0) {
        const Shape shape = *At(graph, node.outputs[0]).shape;
        Tensor target(DType::kInt64, {static_cast<int64_t>(shape.size())});
        std::ranges::copy(shape, target.as<int64_t>().begin());
        const ValueId shape_id = AddConstant(graph, node.name + ".shape", std::move(target));
        operands[0] = parts.Add(".expanded", "Expand", {operands[0], shape_id}, shape);
        full = 0;
      }
      // Sums and extrema commute; of the others only the two-operand forms exist.
      node.inputs = {operands[static_cast<size_t>(full)]};
      for (size_t i = 0; i < operands.size(); ++i) {
        if (static_cast<int>(i) == full) continue;
        AppendOperand(graph, node, full == 0 ? row->function : row->swapped, operands[i]);
      }
      if (node.op == "Mean")
        node.chain.push_back(ScalarStep(Binary::kDiv, static_cast<float>(operands.size())));
    }
    node.op = "Pointwise";
    node.inputs.resize(1);  // what a unary operator has more than it should
    node.attributes.clear();
    nodes.push_back(std::move(node));
  }
  graph.nodes = std::move(nodes);
}

void FuseChains(Graph& graph) { ChainFusion(graph).Run(); }

}  // namespace deltacnn
