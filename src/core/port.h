// Row-major tensors at the border of a plan: copies in and out of the pixel layout.
#pragma once

#include "core/plan.h"

namespace deltacnn {

/// The port of a placed value; `buffer` is set to the value's own if that is row-major already.
Port MakePort(const PlanState& state, ValueId value, int mask);

/// Copies the listed pixels of a value into a row-major buffer. Has no output grid of its own: it
/// runs over the pixels of the value.
KernelPtr MakeExport(const Placement& value, const Port& port, const kernels::Table& kernels);

}  // namespace deltacnn
