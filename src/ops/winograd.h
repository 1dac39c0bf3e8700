// 3x3 convolution with stride 1 by Winograd's minimal filtering F(m x m, 3x3): m * m outputs for
// (m + 2)^2 products a channel pair instead of 9 * m * m (Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks", 2016, section 4).
#pragma once

#include "ops/conv_window.h"
#include "ops/op.h"

namespace deltacnn {

/// The side m of the tiles by which a convolution of these shapes is computed if it suits the
/// machine. 0: not this way.
int WinogradTile(const ConvWindow& window, const Shape& input, const Shape& output);

/// Whether all of the convolution is computed so on this machine: the bits of a pixel may not
/// depend on how many others are computed with it.
bool SuitsWinograd(const MakeContext& context, const ConvWindow& window);

Result<KernelPtr> MakeWinograd(const MakeContext& context, const ConvWindow& window);

}  // namespace deltacnn
