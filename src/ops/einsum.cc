#include "ops/einsum.h"

#include <algorithm>
#include <map>

#include "ops/op.h"

namespace deltacnn {

std::optional<EinsumTerms> ReadEinsum(const Node& node) {
  std::string equation = node.String("equation", "");
  std::erase(equation, ' ');
  const size_t comma = equation.find(',');
  const size_t arrow = equation.find("->");
  if (comma == equation.npos || arrow == equation.npos || arrow < comma) return std::nullopt;
  const EinsumTerms terms{equation.substr(0, comma), equation.substr(comma + 1, arrow - comma - 1),
                          equation.substr(arrow + 2)};
  std::map<char, int> uses;
  for (std::string term : {terms.a, terms.b, terms.out}) {
    std::ranges::sort(term);
    if (std::ranges::adjacent_find(term) != term.end()) return std::nullopt;
    for (const char c : term) ++uses[c];
  }
  for (const auto& [c, count] : uses) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter || count < 2) return std::nullopt;
  }
  return terms;
}

Status InferEinsum(InferContext& context) {
  const auto terms = ReadEinsum(context.node);
  if (!terms) {
    return context.Unsupported(
        "equation '" + context.node.String("equation", "") +
        "' (supported: two operands, no letter twice in a term, each in two terms at least)");
  }
  std::map<char, int64_t> size;
  for (size_t i = 0; i < 2; ++i) {
    if (!context.Has(i) || context.node.inputs.size() != 2)
      return context.Invalid("it has not the two inputs of its equation");
    if (context.dtype(i) != DType::kFloat32) {
      return context.Unsupported(std::string(NameOf(context.dtype(i))) +
                                 " input; float32 is supported");
    }
    const std::string& term = i == 0 ? terms->a : terms->b;
    const Shape& shape = context.shape(i);
    bool fits = shape.size() == term.size() && ElementCount(shape) > 0;
    for (size_t d = 0; fits && d < term.size(); ++d)
      fits = size.emplace(term[d], shape[d]).first->second == shape[d];
    if (!fits) return context.Invalid("input " + ToString(shape) + " does not fit '" + term + "'");
  }
  Shape out;
  for (const char c : terms->out) out.push_back(size[c]);
  context.SetOutput(0, DType::kFloat32, std::move(out));
  return {};
}

void LayoutEinsum(LayoutContext&) {}

Result<KernelPtr> MakeEinsum(const MakeContext& context) { return NeverPlanned(context); }

}  // namespace deltacnn
