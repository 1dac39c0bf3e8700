// How kernels divide the scratch memory of a call.
#pragma once

#include <cstddef>

namespace deltacnn {

/// Hands out pieces of a block of memory, each aligned to a cache line. Without a block it counts.
class ScratchDivider {
 public:
  explicit ScratchDivider(std::byte* block) : block_(block) {}

  template <class T>
  T* Take(size_t count) {
    std::byte* taken = block_ == nullptr ? nullptr : block_ + used_;
    used_ += (count * sizeof(T) + 63) / 64 * 64;
    return reinterpret_cast<T*>(taken);
  }
  size_t used() const { return used_; }

 private:
  std::byte* block_;
  size_t used_ = 0;
};

}  // namespace deltacnn
