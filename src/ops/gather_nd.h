// GatherND with constant positions.
#pragma once

#include <optional>
#include <vector>

#include "graph/graph.h"

namespace deltacnn {

/// What GatherND picks of its data, seen as rows of what follows its first axes.
struct PickedRows {
  size_t axes = 0;            // of the data that count its rows
  std::vector<int64_t> rows;  // in the order of the result
};

/// The rows for these indices, of a rank that fits; nothing if one of them is out of range.
std::optional<PickedRows> FindPickedRows(const Shape& data, const Tensor& indices,
                                         int64_t batch_dims);

}  // namespace deltacnn
