// QuantizeLinear and DequantizeLinear, whose scales are constants.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace deltacnn {

/// The numbers of a QuantizeLinear or DequantizeLinear: one for all elements, or one for each index
/// along an axis. An integer q stands for (q - zero_point) * scale.
struct Quantisation {
  std::vector<float> scale;
  std::vector<int32_t> zero_point;
  size_t axis = 0;  // if there are several

  bool operator==(const Quantisation& other) const {
    return scale == other.scale && zero_point == other.zero_point &&
           (scale.size() == 1 || axis == other.axis);
  }
};

/// Of a node that shape inference accepted.
Quantisation QuantisationOf(const Graph& graph, const Node& node);

/// The least and the largest integer of int8 or uint8.
struct IntegerRange {
  int32_t low, high;
};
IntegerRange RangeOf(DType dtype);

}  // namespace deltacnn
