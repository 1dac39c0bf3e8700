// What graph passes must know about convolutions that pool.
#pragma once

namespace deltacnn {

/// The largest window of a pool that a PooledConv takes, along either axis.
inline constexpr int kMostPool = 3;

}  // namespace deltacnn
