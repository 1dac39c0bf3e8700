// What the kernel tests share: one run per instruction set, random numbers, comparison of bits.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace deltacnn::kernels {

/// A test that runs once for every table of this machine.
class KernelTest : public testing::TestWithParam<const Table*> {
 protected:
  const Table& table() const { return *GetParam(); }

  /// Uniform in [low, high].
  size_t Size(size_t low, size_t high) {
    return std::uniform_int_distribution<size_t>(low, high)(random_);
  }
  /// Uniform in [-1, 1).
  std::vector<float> Floats(size_t n) {
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    std::vector<float> values(n);
    for (float& value : values) value = uniform(random_);
    return values;
  }
  /// Integers so small that any sum of a few thousand products is exact.
  std::vector<float> SmallIntegers(size_t n) {
    std::uniform_int_distribution<int> uniform(-8, 8);
    std::vector<float> values(n);
    for (float& value : values) value = static_cast<float>(uniform(random_));
    return values;
  }

  std::mt19937 random_{12345};
};

inline std::string NameOfTable(const testing::TestParamInfo<const Table*>& info) {
  return info.param->name;
}

/// Runs a fixture derived from KernelTest for every table.
#define DELTACNN_FOR_EVERY_TABLE(fixture) \
  INSTANTIATE_TEST_SUITE_P(, fixture, testing::ValuesIn(Available()), NameOfTable)

inline uint32_t Bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

inline float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

/// Index of the first element that differs in any bit, or `n`.
inline size_t FirstDifference(const float* a, const float* b, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    if (Bits(a[i]) != Bits(b[i])) return i;
  }
  return n;
}

}  // namespace deltacnn::kernels
