// What this core can do at best, and the clock that everything is measured with.
#pragma once

namespace deltacnn::bench {

/// Seconds for which this thread has had a core: others that use it too do not count.
double CpuSeconds();

/// Billions of float32 operations a second in multiply-adds of registers; the widest vectors that
/// the kernels have too. A multiply-add counts as two.
double PeakGflops();

}  // namespace deltacnn::bench
