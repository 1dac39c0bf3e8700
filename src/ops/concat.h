// What layout selection must know about concatenation.
#pragma once

#include "ops/op.h"

namespace deltacnn {

/// The axis of a Concat node, counted from the front.
size_t ConcatAxis(const Node& node, size_t rank);

}  // namespace deltacnn
