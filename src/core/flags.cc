#include "core/flags.h"

#include <cstring>

namespace deltacnn {
namespace {

/// Bit i of the result is bit `bit` of flags[i], for `count` <= 64 flags. Reads up to 7 bytes more.
uint64_t Gather(const uint8_t* flags, int count, int bit) {
  uint64_t gathered = 0;
  for (int i = 0; i < count; i += 8) {
    uint64_t bytes = 0;
    std::memcpy(&bytes, flags + i, 8);
    // Byte k's bit meets the factor's bit 56 - 7k at bit 56 + k, and no other does.
    gathered |= (bytes >> bit & 0x0101010101010101) * 0x0102040810204080 >> 56 << i;
  }
  return count == 64 ? gathered : gathered & ((uint64_t{1} << count) - 1);
}

}  // namespace

int KeepFlagged(const Span& span, const uint8_t* flags, const MaskView& out,
                const MaskView& strong) {
  static_assert(kChanged == 1 && kStrong == 2);
  int changes = 0;
  ForEachWord(span.col, span.col + span.count, [&](int word, int shift, int count) {
    const uint64_t kept = Gather(flags, count, 0);
    out.row(span.row)[word] &= ~BitRange(shift, count) | kept << shift;
    if (strong.words != nullptr) strong.row(span.row)[word] |= Gather(flags, count, 1) << shift;
    changes += CountBits(kept);
    flags += count;
  });
  return changes;
}

}  // namespace deltacnn
