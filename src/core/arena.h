// Memory of a step that keeps nothing: values whose lifetimes do not meet share it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace deltacnn {

/// A buffer, from the step that first writes it to the last one that reads it.
struct Lifetime {
  uint64_t bytes = 0;
  int first = 0;
  int last = 0;
};

/// Where each buffer lies in the arena, in bytes. Never more in all than the sum of the sizes.
/// Largest buffers first, each at the lowest place that is free throughout its lifetime (Pisarchyk
/// and Lee, "Efficient memory management for deep neural net inference", 2020, section 5.2).
std::vector<uint64_t> PackLifetimes(std::span<const Lifetime> lifetimes);

}  // namespace deltacnn
