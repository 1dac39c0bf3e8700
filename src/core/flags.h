// From the flags of computed pixels to masks.
#pragma once

#include <cstdint>

#include "core/mask.h"
#include "ops/op.h"

namespace deltacnn {

/// Clears the pixels of a span that have not changed, and adds the strong ones to `strong` if that
/// has words. `flags` are those of the span's pixels; up to 7 bytes behind them are read. Returns
/// how many have changed.
int KeepFlagged(const Span& span, const uint8_t* flags, const MaskView& out,
                const MaskView& strong);

}  // namespace deltacnn
