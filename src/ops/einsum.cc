#include "ops/einsum.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "ops/op.h"

namespace deltacnn {
namespace {

constexpr std::string_view kEllipsis = "...";
constexpr std::string_view kDigits = "0123456789";

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// False of anything but letters, each once, and an ellipsis.
bool IsTerm(std::string term) {
  if (const size_t dots = term.find(kEllipsis); dots != term.npos)
    term.erase(dots, kEllipsis.size());
  std::ranges::sort(term);
  return std::ranges::all_of(term, IsLetter) && std::ranges::adjacent_find(term) == term.end();
}

std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// The dimensions that the ellipsis of a term stands for.
size_t Unnamed(const std::string& term, size_t rank) {
  if (term.find(kEllipsis) == term.npos) return 0;
  return rank - std::min(rank, term.size() - kEllipsis.size());
}

/// `digits` in the place of the ellipsis.
void SpellOut(std::string& term, std::string_view digits) {
  if (const size_t dots = term.find(kEllipsis); dots != term.npos)
    term.replace(dots, kEllipsis.size(), digits);
}

/// Where the equation names no result: the ellipsis, then what is in one term only, sorted.
std::string ImplicitResult(const std::vector<std::string>& operands) {
  std::map<char, int> uses;
  for (const std::string& term : operands)
    for (const char c : term) ++uses[c];
  std::string out = uses.contains('.') ? std::string(kEllipsis) : "";
  for (const auto& [c, count] : uses)
    if (IsLetter(c) && count == 1) out += c;
  return out;
}

}  // namespace

std::optional<EinsumTerms> ReadEinsum(const Node& node, std::span<const size_t> ranks) {
  std::string equation = node.String("equation", "");
  std::erase(equation, ' ');
  const size_t arrow = equation.find("->");
  EinsumTerms terms{Split(equation.substr(0, arrow)), ""};
  auto& [operands, out] = terms;
  out = arrow == equation.npos ? ImplicitResult(operands) : equation.substr(arrow + 2);
  if (operands.size() != ranks.size() || operands.size() > 2) return std::nullopt;
  if (!std::ranges::all_of(operands, IsTerm) || !IsTerm(out)) return std::nullopt;
  size_t most = 0;
  for (size_t i = 0; i < operands.size(); ++i)
    most = std::max(most, Unnamed(operands[i], ranks[i]));
  if (most > kDigits.size()) return std::nullopt;
  std::string letters;
  for (size_t i = 0; i < operands.size(); ++i) {
    const size_t unnamed = Unnamed(operands[i], ranks[i]);
    SpellOut(operands[i], kDigits.substr(most - unnamed, unnamed));  // the last ones are the same
    letters += operands[i];
  }
  SpellOut(out, kDigits.substr(0, most));
  const bool known = out.find_first_not_of(letters) == out.npos;
  return known ? std::optional(terms) : std::nullopt;
}

Status InferEinsum(InferContext& context) {
  std::vector<size_t> ranks;
  for (size_t i = 0; i < context.node.inputs.size(); ++i) {
    if (!context.Has(i)) return context.Invalid("input " + std::to_string(i) + " is missing");
    if (context.dtype(i) != DType::kFloat32) {
      return context.Unsupported(std::string(NameOf(context.dtype(i))) +
                                 " input; float32 is supported");
    }
    ranks.push_back(context.rank(i));
  }
  const std::string equation = context.node.String("equation", "");
  const auto terms = ReadEinsum(context.node, ranks);
  if (!terms) {
    return context.Unsupported("equation '" + equation +
                               "' (supported: one or two operands, no letter twice in a term, "
                               "none in the result alone)");
  }
  std::map<char, int64_t> size;
  for (size_t i = 0; i < ranks.size(); ++i) {
    const std::string& term = terms->operands[i];
    const Shape& shape = context.shape(i);
    bool fits = shape.size() == term.size() && ElementCount(shape) > 0;
    for (size_t d = 0; fits && d < term.size(); ++d)
      fits = size.emplace(term[d], shape[d]).first->second == shape[d];
    if (!fits) {
      return context.Invalid("input " + ToString(shape) + " does not fit equation '" + equation +
                             "'");
    }
  }
  Shape out;
  for (const char c : terms->out) out.push_back(size[c]);
  context.SetOutput(0, DType::kFloat32, std::move(out));
  return {};
}

void LayoutEinsum(LayoutContext&) {}

Result<KernelPtr> MakeEinsum(const MakeContext& context) { return NeverPlanned(context); }

}  // namespace deltacnn
