// Convolution with a dilation so wide that many taps of many windows lie in the padding.
#pragma once

#include "ops/conv_window.h"
#include "ops/op.h"

namespace deltacnn {

/// Whether leaving such taps out is worth calls of the kernel for single taps.
bool SuitsDilated(const ConvWindow& window, const Shape& input, const Shape& output);

/// For convolutions that suit.
Result<KernelPtr> MakeDilated(const MakeContext& context, const ConvWindow& window);

}  // namespace deltacnn
