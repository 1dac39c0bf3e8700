#include "core/arena.h"

#include <algorithm>
#include <numeric>

namespace deltacnn {

std::vector<uint64_t> PackLifetimes(std::span<const Lifetime> lifetimes) {
  std::vector<size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(
      order, [&](size_t a, size_t b) { return lifetimes[a].bytes > lifetimes[b].bytes; });
  std::vector<uint64_t> offset(lifetimes.size(), 0);
  std::vector<size_t> placed;  // by offset
  for (const size_t buffer : order) {
    const Lifetime& life = lifetimes[buffer];
    uint64_t lowest = 0;  // behind the neighbours seen so far
    for (const size_t other : placed) {
      if (lifetimes[other].last < life.first || life.last < lifetimes[other].first) continue;
      if (offset[other] >= lowest + life.bytes) break;
      lowest = std::max(lowest, offset[other] + lifetimes[other].bytes);
    }
    offset[buffer] = lowest;
    placed.insert(std::ranges::upper_bound(placed, lowest, {}, [&](size_t b) { return offset[b]; }),
                  buffer);
  }
  return offset;
}

}  // namespace deltacnn
