#include "ops/runs.h"

#include <cmath>

namespace deltacnn {

RunKernel::RunKernel(const Placement& in, const Grid& out) : in_(in), out_grid_(out) {
  run_ = in.grid.pixels() / std::max<int64_t>(out.pixels(), 1);
  const double root = std::sqrt(static_cast<double>(run_));
  lanes_ = std::min(run_, std::max<int64_t>(8, std::llround(root)));
  // About 64k elements a call, so that long runs spread over threads.
  const int64_t elements = std::max<int64_t>(run_ * in.channels, 1);
  chunk_ = static_cast<int>(std::clamp<int64_t>(65536 / elements, 1, 256));
}

void RunKernel::Affected(std::span<const MaskView> inputs, const MaskView& out) const {
  for (const MaskView& parameter : inputs.subspan(1)) {
    if (parameter.words != nullptr && !parameter.Empty()) return out.Fill();
  }
  const MaskView& in = inputs[0];
  for (int row = 0; row < in.grid.rows; ++row) {
    ForEachRun(in.row(row), in.grid.cols, [&](int begin, int end) {
      const int64_t first = in.grid.cols * int64_t{row};
      for (int64_t i = (first + begin) / run_; i <= (first + end - 1) / run_; ++i)
        out.Set(out.grid.Bit(i / out.grid.cols, i % out.grid.cols));
    });
  }
}

}  // namespace deltacnn
