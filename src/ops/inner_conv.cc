#include "ops/inner_conv.h"

namespace deltacnn {

InnerConv::InnerConv(const MakeContext& context, const ConvWindow& window) {
  window.groups > 1 ? void(depthwise_.emplace(context, window, 1))
                    : void(gemm_.emplace(context, window, 0));
  for (const ChainStep& step : context.node.inner_chain) {
    if (steps_.empty() && TakeRectifier(step, rectifier_)) continue;
    steps_.push_back(MakeEpilogueStep(step));
  }
}

kernels::Epilogue InnerConv::Functions() const {
  kernels::Epilogue epilogue = rectifier_;
  epilogue.steps = steps_.data();
  epilogue.step_count = steps_.size();
  return epilogue;
}

}  // namespace deltacnn
