// 3x3 convolution with stride 1 by Winograd's minimal filtering F(2x2, 3x3): four outputs for 16
// products a channel pair instead of 36 (Lavin and Gray, "Fast Algorithms for Convolutional Neural
// Networks", 2016, section 4.1). Larger tiles need fewer products still, but lose more bits to
// rounding and waste more where few pixels changed.
#pragma once

#include "ops/conv_window.h"
#include "ops/op.h"

namespace deltacnn {

/// Whether a convolution of these shapes is computed this way, always: the bits of a pixel may not
/// depend on how many others are computed with it.
bool UsesWinograd(const ConvWindow& window, const Shape& input, const Shape& output);

Result<KernelPtr> MakeWinograd(const MakeContext& context, const ConvWindow& window);

}  // namespace deltacnn
