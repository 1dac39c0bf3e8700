// What random networks are built with: chance, and values that later nodes may read.
#pragma once

#include <set>

#include "graph_maker.h"

namespace deltacnn::testing {

class RandomBuilder {
 protected:
  explicit RandomBuilder(uint32_t seed) : rng_(seed) {}

  size_t Pick(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(rng_); }
  int64_t Between(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng_);
  }
  bool Chance(int percent) { return Between(0, 99) < percent; }
  int64_t OneOf(const IntList& list) { return list[Pick(list.size())]; }
  std::string Name(const std::vector<std::string>& list) { return list[Pick(list.size())]; }
  const Shape& shape(ValueId id) const { return maker_.shape(id); }

  /// A random value, a late one more often than not; of the given rank unless it is 0.
  ValueId Any(size_t rank = 0) {
    for (int tries = 0; tries < 20; ++tries) {
      const size_t last = std::min<size_t>(pool_.size(), 4);
      const ValueId id =
          Chance(60) ? pool_[pool_.size() - 1 - Pick(last)] : pool_[Pick(pool_.size())];
      if (rank == 0 || shape(id).size() == rank) return id;
    }
    return kNoValue;
  }
  /// A random value like `id` but for one axis (any axis at all if it is the rank or more).
  ValueId Like(ValueId id, size_t free_axis) {
    std::vector<ValueId> fits;
    for (const ValueId other : pool_) {
      const Shape& a = shape(id);
      const Shape& b = shape(other);
      bool same = a.size() == b.size();
      for (size_t d = 0; same && d < a.size(); ++d) same = d == free_axis || a[d] == b[d];
      if (same) fits.push_back(other);
    }
    return fits[Pick(fits.size())];
  }

  /// Makes the results available to later nodes.
  std::vector<ValueId> Keep(const std::vector<ValueId>& results, const std::vector<ValueId>& from,
                            bool rough = false) {
    for (const ValueId in : from) rough = rough || rough_.contains(in);
    for (const ValueId id : results) {
      if (rough) rough_.insert(id);
      if (maker_.dtype(id) == DType::kFloat32 && shape(id).size() > 0) {
        pool_.push_back(id);
      } else {
        tails_.push_back(id);
      }
    }
    return results;
  }
  /// Adds a node over `x` and `more` (kNoValue as a result if that is impossible).
  ValueId Apply(const std::string& op, ValueId x, const std::vector<ValueId>& more = {},
                const Attributes& attributes = {}, bool rough = false) {
    std::vector<ValueId> inputs = {x};
    inputs.insert(inputs.end(), more.begin(), more.end());
    std::erase(inputs, kNoValue);
    std::vector<ValueId> from = inputs;
    inputs = {x};
    inputs.insert(inputs.end(), more.begin(), more.end());
    const auto ids = maker_.TryAdd(op, inputs, attributes);
    if (ids.empty()) return kNoValue;
    Keep(ids, from, rough);
    return ids[0];
  }
  ValueId Weights(Shape weights, float scale = 1) {
    return maker_.Constant(RandomTensor(rng_, std::move(weights), -scale, scale));
  }
  ValueId Scalar(float value) { return maker_.Constant(Floats({}, {value})); }
  ValueId Indices(const IntList& values) { return maker_.Constant(Ints(values)); }

  std::mt19937 rng_;
  GraphMaker maker_;
  std::vector<ValueId> pool_;   // float32 values that later nodes may read
  std::vector<ValueId> tails_;  // others
  std::set<ValueId> rough_;
};

}  // namespace deltacnn::testing
