#include <algorithm>

#include "ops/op.h"

namespace deltacnn {

// Declares the functions of every family; a family named by several rows is declared several times.
#define OP(type, family)               \
  Status Infer##family(InferContext&); \
  void Layout##family(LayoutContext&); \
  Result<KernelPtr> Make##family(const MakeContext&);
#include "ops/ops.inc"

std::span<const OpDef> AllOps() {
#define OP(type, family) OpDef{#type, false, Infer##family, Layout##family, Make##family},
#define INTERNAL_OP(type, family) OpDef{#type, true, Infer##family, Layout##family, Make##family},
  static constexpr OpDef kOps[] = {
#include "ops/ops.inc"
  };
  return kOps;
}

const OpDef* FindOp(std::string_view type) {
  const auto ops = AllOps();
  const auto it = std::ranges::find(ops, type, &OpDef::type);
  return it != ops.end() ? &*it : nullptr;
}

}  // namespace deltacnn
