#include "ops/conv_base.h"

#include "ops/scratch.h"

namespace deltacnn {

ConvBase::ConvBase(const MakeContext& context, const ConvWindow& window, int chunk)
    : in_(context.in(0)),
      out_(context.out(0)),
      kernels_(context.kernels),
      window_(window),
      chain_(context, context.node.inputs.size()),
      chunk_(static_cast<size_t>(chunk)),
      first_operand_(context.node.inputs.size()) {
  if (window.IsPixel()) {
    window_start_ = in_.row_offset;
    map_ = {WindowMap::Window(in_.grid.rows, in_.grid.rows, 1, 1, 1, 0),
            WindowMap::Window(in_.grid.cols, in_.grid.cols, 1, 1, 1, 0)};
    return;
  }
  const auto in_dims = SpatialDims(in_.shape);
  const auto out_dims = SpatialDims(out_.shape);
  for (size_t a = 0; a < 2; ++a) {
    map_[a] = WindowMap::Window(
        static_cast<int>(in_dims[a]), static_cast<int>(out_dims[a]),
        static_cast<int>(window.kernel[a]), static_cast<int>(window.stride[a]),
        static_cast<int>(window.dilation[a]), static_cast<int>(window.pad_before[a]));
  }
  images_ = static_cast<int>(out_.shape[0]);
  const bool two_d = in_.shape.size() == 4;
  row_stride_ = two_d ? in_.strides[2] : 0;
  const int64_t origin = in_.row_offset.empty() ? 0 : in_.row_offset[0];
  for (int64_t n = 0; n < out_.shape[0]; ++n) {
    for (int64_t y = 0; y < out_dims[0]; ++y) {
      window_start_.push_back(origin + n * in_.strides[0] +
                              (y * window.stride[0] - window.pad_before[0]) * row_stride_ -
                              window.pad_before[1] * in_.col_stride);
    }
  }
}

void ConvBase::Affected(std::span<const MaskView> inputs, const MaskView& out) const {
  if (inputs[0].words != nullptr) Affect(inputs[0], map_[0], map_[1], images_, out);
  chain_.Affect(inputs.subspan(first_operand_), out);
}

ConvBase::Scratch ConvBase::Divide(std::byte* scratch) const {
  const size_t results = chunk_ * static_cast<size_t>(out_.channels);
  ScratchDivider divider(scratch);
  return {.pixels = divider.Take<const float*>(chunk_),
          .runs = divider.Take<kernels::PixelRun>(chunk_),
          .targets = divider.Take<float*>(chunk_),
          .operands = divider.Take<const float*>(chunk_ * chain_.operands()),
          .steps = divider.Take<kernels::EpilogueStep>(chain_.steps()),
          .block = divider.Take<float>(results),
          .saved = divider.Take<float>(chain_.saves() ? results : 0),
          .bytes = divider.used()};
}

size_t ConvBase::Windows(const Work& work, const float** pixels) const {
  const ptrdiff_t step = Step();
  size_t n = 0;
  for (const Span& span : work.spans) {
    const float* pixel = Window(work, span.row, span.col);
    for (int k = 0; k < span.count; ++k, pixel += step) pixels[n++] = pixel;
  }
  return n;
}

void ConvBase::Runs(const Work& work, kernels::PixelRun* runs) const {
  for (const Span& span : work.spans)
    *runs++ = {Window(work, span.row, span.col), static_cast<size_t>(span.count)};
}

size_t ConvBase::Windows(const Work& work, const float** pixels, ptrdiff_t& step) const {
  step = EqualStep(work.spans, Step(), [this](int row, int col) { return WindowOffset(row, col); });
  if (step == 0) return Windows(work, pixels);
  const Span& first = work.spans.front();
  const Span& last = work.spans.back();
  *pixels = Window(work, first.row, first.col);
  return last.first - first.first + static_cast<size_t>(last.count);
}

kernels::Epilogue ConvBase::Begin(const Work& work, const Scratch& scratch, bool adds) const {
  kernels::Epilogue epilogue;
  if (chain_.fuses()) epilogue = chain_.Fused(work, adds, scratch.operands, scratch.steps);
  if (StoresAtOnce(work)) {
    chain_.SetTargets(work, scratch.targets, epilogue);
  } else {
    chain_.Prefetch(work);
    *scratch.targets = scratch.block;
    epilogue.targets = scratch.targets;
    epilogue.target_step = out_.channels;
  }
  return epilogue;
}

void ConvBase::End(const Work& work, const Scratch& scratch) const {
  if (StoresAtOnce(work)) return;
  const auto width = static_cast<size_t>(out_.channels);
  if (chain_.fuses()) {
    chain_.Store(work, work.spans, 0, width, width, scratch.block);
  } else {
    chain_.Finish(work, work.spans, 0, width, width, scratch.block, scratch.saved);
  }
}

}  // namespace deltacnn
