// What all convolutions share: where the windows of the listed pixels lie, which pixels a change
// reaches, and the chain.
#pragma once

#include <array>
#include <vector>

#include "ops/chain.h"
#include "ops/conv_window.h"
#include "ops/op.h"

namespace deltacnn {

class ConvBase : public Kernel {
 public:
  /// `chunk`: most output pixels of one call.
  ConvBase(const MakeContext& context, const ConvWindow& window, int chunk);

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override;
  int ChunkPixels() const override { return static_cast<int>(chunk_); }
  bool takes_cutoff() const override { return true; }
  size_t ScratchBytes() const override { return Divide(nullptr).bytes; }
  bool MayOverwrite(size_t input) const override {
    return input >= first_operand_ && chain_.elementwise(input - first_operand_);
  }

 protected:
  /// Where a call keeps what it needs for its pixels.
  struct Scratch {
    const float** pixels;  // of the window's first pixel
    kernels::PixelRun* runs;
    float** targets;
    const float** operands;
    kernels::EpilogueStep* steps;
    float* block;  // results of chains that are no epilogue
    float* saved;  // by the chain
    size_t bytes;  // of all these; a multiple of 64
  };
  Scratch Divide(std::byte* scratch) const;

  /// Offset of a tap from the first pixel of the window, in floats.
  ptrdiff_t TapOffset(int64_t y, int64_t x) const {
    return y * window_.dilation[0] * row_stride_ + x * window_.dilation[1] * in_.col_stride;
  }
  /// The first pixel of the window of an output pixel.
  const float* Window(const Work& work, int row, int col) const {
    return reinterpret_cast<const float*>(work.buffers[in_.buffer]) + WindowOffset(row, col);
  }
  ptrdiff_t WindowOffset(int row, int col) const {
    return window_start_[static_cast<size_t>(row)] + col * Step();
  }
  /// Points at the first pixel of the window of every listed pixel; returns their number.
  size_t Windows(const Work& work, const float** pixels) const;
  /// The same, but of the first listed pixel alone if all windows are `step` apart; else that is 0.
  size_t Windows(const Work& work, const float** pixels, ptrdiff_t& step) const;
  /// The same for the first pixel of every span.
  void Runs(const Work& work, kernels::PixelRun* runs) const;
  /// Distance of the windows of adjacent output pixels, in floats.
  ptrdiff_t Step() const { return window_.stride[1] * in_.col_stride; }

  /// The epilogue for the work's pixels; channel and width are to be filled in. `adds`: the kernel
  /// takes an addend. It is the chain if
  /// all of that can be one. Else (and for a cutoff, which judges whole pixels) the results go to
  /// the block, and End runs the chain.
  kernels::Epilogue Begin(const Work& work, const Scratch& scratch, bool adds) const;
  void End(const Work& work, const Scratch& scratch) const;

  Placement in_, out_;
  const kernels::Table& kernels_;
  ConvWindow window_;
  Chain chain_;
  std::array<WindowMap, 2> map_;  // rows, columns

 private:
  /// A cutoff judges whole pixels, which the kernels do not have at once.
  bool StoresAtOnce(const Work& work) const { return chain_.fuses() && !(work.limits.cutoff > 0); }

  size_t chunk_;
  size_t first_operand_;
  int images_ = 1;  // whose rows follow one another
  int64_t row_stride_ = 0;
  std::vector<int64_t> window_start_;  // of every output row, at column 0
};

}  // namespace deltacnn
