// Chosen channels of one or more images side by side, such as a shuffle passes on
// (graph/lower_shuffles.cc). Attributes: for every output channel, the number of the input and its
// channel there.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "ops/store.h"

namespace deltacnn {
namespace {

/// Copies `kCount` floats of each of `pixels` pixels.
template <size_t kCount>
void CopyPixels(const float* from, ptrdiff_t from_step, float* to, ptrdiff_t to_step, int pixels) {
  for (int k = 0; k < pixels; ++k, from += from_step, to += to_step)
    std::memcpy(to, from, kCount * sizeof(float));
}

// By the logarithm of the count.
constexpr std::array kCopies = {CopyPixels<1>, CopyPixels<2>, CopyPixels<4>, CopyPixels<8>,
                                CopyPixels<16>};
constexpr size_t kLargest = size_t{1} << (kCopies.size() - 1);

class CollectChannels : public Kernel {
 public:
  explicit CollectChannels(const MakeContext& context)
      : out_(context.out(0)), kernels_(context.kernels) {
    for (size_t i = 0; i < context.node.inputs.size(); ++i) inputs_.push_back(context.in(i));
    const std::vector<int64_t> sources = context.node.Ints("sources");
    const std::vector<int64_t> channels = context.node.Ints("channels");
    for (size_t c = 0; c < channels.size();) {
      size_t adjacent = 1;
      while (c + adjacent < channels.size() && sources[c + adjacent] == sources[c] &&
             channels[c + adjacent] == channels[c] + static_cast<int64_t>(adjacent))
        ++adjacent;
      const size_t count = std::min(std::bit_floor(adjacent), kLargest);
      pieces_.push_back(
          {static_cast<size_t>(sources[c]), static_cast<ptrdiff_t>(channels[c]), c, count});
      c += count;
    }
  }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    for (const MaskView& in : inputs)
      if (in.words != nullptr) out.Or(in);
  }

  void Compute(const Work& work) const override {
    auto* block = reinterpret_cast<float*>(work.scratch);
    for (const Span& span : work.spans) {
      if (!work.compare) {
        Copy(work, span, work.Pixel<float>(out_, span.row, span.col), out_.col_stride);
        continue;
      }
      Copy(work, span, block, out_.channels);
      StorePixels(kernels_, work, out_, span, block, out_.channels);
    }
  }

  int ChunkPixels() const override { return kChunk; }
  size_t ScratchBytes() const override {
    return static_cast<size_t>(kChunk) * static_cast<size_t>(out_.channels) * sizeof(float);
  }

 private:
  // What is collected for so many pixels stays in the first-level cache.
  static constexpr int kChunk = 56;

  struct Piece {  // `count` (of kCopies) output channels from `to` on are adjacent in an input
    size_t input;
    ptrdiff_t from;
    size_t to, count;
  };

  void Copy(const Work& work, const Span& span, float* to, ptrdiff_t to_step) const {
    for (const Piece& piece : pieces_) {
      const Placement& in = inputs_[piece.input];
      const float* from = work.Pixel<float>(in, span.row, span.col) + piece.from;
      kCopies[std::countr_zero(piece.count)](from, in.col_stride, to + piece.to, to_step,
                                             span.count);
    }
  }

  std::vector<Placement> inputs_;
  Placement out_;
  const kernels::Table& kernels_;
  std::vector<Piece> pieces_;
};

}  // namespace

Status InferCollect(InferContext& context) {
  Shape out = context.shape(0);
  out[1] = static_cast<int64_t>(context.node.Ints("channels").size());
  context.SetOutput(0, DType::kFloat32, std::move(out));
  return {};
}

void LayoutCollect(LayoutContext& context) {
  std::ranges::fill(context.input_axes, SpatialAxes(4));
  context.output_axes[0] = SpatialAxes(4);
}

Result<KernelPtr> MakeCollect(const MakeContext& context) {
  return KernelPtr(std::make_unique<CollectChannels>(context));
}

}  // namespace deltacnn
