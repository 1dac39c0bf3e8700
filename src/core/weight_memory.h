// Memory for the weights of a plan, one layer's behind the other's: steps read them in this order.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "core/memory.h"

namespace deltacnn {

class WeightMemory {
 public:
  /// `expected`: bytes that will be taken, about.
  explicit WeightMemory(size_t expected) : block_bytes_(std::clamp(expected, kLeast, kMost)) {}

  /// `count` zeros at the start of a cache line, as long as this object lives. Throws
  /// std::bad_alloc.
  template <class T>
  std::span<T> Take(size_t count) {
    return {reinterpret_cast<T*>(TakeBytes(count * sizeof(T))), count};
  }

 private:
  // Room for some layers of any network; two huge pages, of which AllocateZeroed leaves a byte.
  static constexpr size_t kLeast = 1 << 12;
  static constexpr size_t kMost = (size_t{4} << 20) - 1;

  std::byte* TakeBytes(size_t size) {
    size = (size + 63) / 64 * 64;
    if (size > left_) {
      const size_t bytes = std::max(size, block_bytes_);
      blocks_.push_back(AllocateZeroed(bytes));
      next_ = blocks_.back().get();
      left_ = bytes;
    }
    std::byte* taken = next_;
    next_ += size;
    left_ -= size;
    return taken;
  }

  size_t block_bytes_;
  std::vector<Bytes> blocks_;
  std::byte* next_ = nullptr;
  size_t left_ = 0;
};

}  // namespace deltacnn
