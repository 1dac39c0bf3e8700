// What the normalising operators have in common.
#pragma once

#include "ops/op.h"

namespace deltacnn {

/// Checks that the first `count` inputs are float32, and the first `required` of them there.
Status CheckFloats(const InferContext& context, size_t count, size_t required);

}  // namespace deltacnn
