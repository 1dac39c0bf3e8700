// Zeroed, aligned memory for state; in huge pages where the system has them.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace deltacnn {

struct FreeBytes {
  void operator()(std::byte* bytes) const { std::free(bytes); }
};
using Bytes = std::unique_ptr<std::byte, FreeBytes>;

/// Throws std::bad_alloc.
inline Bytes AllocateZeroed(size_t size) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t alignment = size >= kHugePage ? kHugePage : 64;
  const size_t rounded = (size / alignment + 1) * alignment;
  auto* bytes = static_cast<std::byte*>(std::aligned_alloc(alignment, rounded));
  if (bytes == nullptr) throw std::bad_alloc();
#if defined(__linux__)
  // State is walked row by row: with small pages address translation costs 5-10 % of a dense step.
  if (alignment == kHugePage) madvise(bytes, rounded, MADV_HUGEPAGE);
#endif
  std::memset(bytes, 0, rounded);
  return Bytes(bytes);
}

}  // namespace deltacnn
