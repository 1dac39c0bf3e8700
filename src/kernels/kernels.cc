#include "kernels/kernels.h"

#include <algorithm>
#include <cctype>
#include <string_view>

// Vectors of unknown size cannot be kept in arrays (SVE); the others add nothing for float kernels.
#define HWY_DISABLED_TARGETS \
  (HWY_AVX3_DL | HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
// Compiles this file once per target that the compiler can build for.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/kernels.cc"
// clang-format off: the order matters
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include "kernels/depthwise-inl.h"
#include "kernels/dot-inl.h"
#include "kernels/gemm-inl.h"
#include "kernels/pointwise-inl.h"
#include "kernels/pool-inl.h"
#include "kernels/transpose-inl.h"
#include "kernels/winograd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace deltacnn::kernels::HWY_NAMESPACE {

const Table* GetTable() {
  static const Table table = {
      .name = hwy::TargetName(HWY_TARGET),
      .panel = kPanel,
      .dot_lanes = kLanes,
      .gemm = Gemm,
      .dot = Dot,
      .depthwise = Depthwise,
      .winograd_input = WinogradInput,
      .winograd_output = WinogradOutput,
      .unary = ApplyUnary,
      .binary = BinaryElements,
      .binary_scalar = BinaryUniform,
      .store_changed = StoreChanged,
      .store_pixels = StorePixels,
      .store_stronger = StoreStronger,
      .transpose = Transpose,
      .accumulate = Accumulate,
      .interpolate = Interpolate,
      .pool = Pool,
  };
  return &table;
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace deltacnn::kernels {

namespace {

std::vector<const Table*> FindAvailable() {
  struct Target {
    int64_t bit;
    const Table* (*get_table)();  // null if not in HWY_TARGETS
  };
  const Target targets[] = {
      {HWY_AVX3, HWY_CHOOSE_AVX3(GetTable)},
      {HWY_AVX2, HWY_CHOOSE_AVX2(GetTable)},
      {HWY_SSE4, HWY_CHOOSE_SSE4(GetTable)},
      {HWY_NEON, HWY_CHOOSE_NEON(GetTable)},
      {HWY_EMU128 | HWY_SCALAR, HWY_CHOOSE_FALLBACK(GetTable)},
  };
  std::vector<const Table*> available;
  for (const Target& target : targets) {
    const bool usable = (HWY_TARGETS & HWY_SUPPORTED_TARGETS & target.bit) != 0;
    if (usable && target.get_table != nullptr) {
      available.push_back(target.get_table());
    }
  }
  return available;
}

}  // namespace

const std::vector<const Table*>& Available() {
  static const std::vector<const Table*> available = FindAvailable();
  return available;
}

const Table* Find(const std::string& name) {
  if (name.empty()) return Available().front();
  const auto same_letter = [](unsigned char a, unsigned char b) {
    return std::tolower(a) == std::tolower(b);
  };
  for (const Table* table : Available()) {
    const std::string_view candidate = table->name;
    if (std::equal(name.begin(), name.end(), candidate.begin(), candidate.end(), same_letter)) {
      return table;
    }
  }
  return nullptr;
}

}  // namespace deltacnn::kernels
#endif  // HWY_ONCE
