// What the inference of several operators refuses.
#pragma once

#include "ops/op.h"

namespace deltacnn {

/// Checks that the first `count` inputs are float32, and the first `required` of them there.
Status CheckFloats(const InferContext& context, size_t count, size_t required);

/// Checks that the input is [N,C,...] with pixels.
Status CheckPicture(const InferContext& context);

/// Checks input and weights of a convolution, of which no channels are compared yet.
Status CheckConvInputs(const InferContext& context);

/// Checks the bias of a convolution with `channels` outputs, if it has one, and that it and the
/// weights are constants.
Status CheckConvConstants(InferContext& context, int64_t channels);

}  // namespace deltacnn
