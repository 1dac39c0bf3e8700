#include "ops/dilated_conv.h"

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <vector>

#include "ops/conv_base.h"
#include "ops/conv_gemm.h"

namespace deltacnn {
namespace {

constexpr int kSide = 8;                   // of the tiles, each of which needs taps of its own
constexpr int kChunk = 4 * kSide * kSide;  // so often are weights read

// The sums of a call go through memory; with fewer products than these, that would show.
constexpr int64_t kLeastChannels = 64;
// Share of the taps that are still computed above which all of them are.
constexpr double kMostTaps = 0.9;

/// By tiles of kSide outputs along an axis: the taps that read a pixel of the picture, a bit each.
std::vector<uint64_t> TapsOfTiles(const ConvWindow& window, size_t axis, int64_t inputs,
                                  int64_t outputs) {
  std::vector<uint64_t> taps(static_cast<size_t>((outputs + kSide - 1) / kSide), 0);
  for (int64_t i = 0; i < outputs; ++i) {
    for (int64_t tap = 0; tap < window.kernel[axis]; ++tap) {
      const int64_t at =
          i * window.stride[axis] + tap * window.dilation[axis] - window.pad_before[axis];
      if (at >= 0 && at < inputs) taps[static_cast<size_t>(i / kSide)] |= uint64_t{1} << tap;
    }
  }
  return taps;
}

/// The mean share of the taps along an axis that its tiles need.
double ShareOfTaps(const ConvWindow& window, size_t axis, int64_t inputs, int64_t outputs) {
  int64_t needed = 0;
  for (const uint64_t taps : TapsOfTiles(window, axis, inputs, outputs))
    needed += std::popcount(taps);
  const int64_t tiles = (outputs + kSide - 1) / kSide;
  return static_cast<double>(needed) / static_cast<double>(tiles * window.kernel[axis]);
}

class DilatedConv : public ConvBase {
 public:
  DilatedConv(const MakeContext& context, const ConvWindow& window)
      : ConvBase(context, window, kChunk), gemm_(context, window, 0) {
    const auto in = SpatialDims(in_.shape);
    const auto out = SpatialDims(out_.shape);
    const std::vector<uint64_t> rows = TapsOfTiles(window, 0, in[0], out[0]);
    const std::vector<uint64_t> cols = TapsOfTiles(window, 1, in[1], out[1]);
    tiles_per_row_ = cols.size();
    for (const uint64_t row : rows) {
      for (const uint64_t col : cols) {
        uint64_t taps = 0;
        for (int64_t y = 0; y < window.kernel[0]; ++y)
          if ((row >> y & 1) != 0) taps |= col << (y * window.kernel[1]);
        taps_.push_back(taps == 0 ? 1 : taps);  // one that reads zeros: sums must be written
      }
    }
  }

  int TileSide() const override { return kSide; }
  size_t ScratchBytes() const override {
    return ConvBase::ScratchBytes() + kChunk * kernels_.panel * sizeof(float);
  }

  void Compute(const Work& work) const override {
    const Scratch scratch = Divide(work.scratch);
    const size_t count = Windows(work, scratch.pixels);
    std::array<PixelPart, kChunk> parts;  // NOLINT: those that are used are set
    size_t used = 0;
    for (const Span& span : work.spans) {
      for (int done = 0, length = 0; done < span.count; done += length) {
        const int col = span.col + done;
        length = std::min(span.count - done, kSide - col % kSide);
        const uint64_t taps = TapsOf(span.row, col);
        if (used > 0 && parts[used - 1].taps == taps) {
          parts[used - 1].count += static_cast<size_t>(length);
        } else {
          const size_t first = span.first - work.spans.front().first + static_cast<size_t>(done);
          parts[used++] = {first, static_cast<size_t>(length), taps};
        }
      }
    }
    kernels::Epilogue epilogue = Begin(work, scratch, /*adds=*/true);
    auto* sums = reinterpret_cast<float*>(work.scratch + scratch.bytes);
    if (count > 0) gemm_.ComputeParts(scratch.pixels, {parts.data(), used}, epilogue, sums);
    End(work, scratch);
  }

  int64_t MacsPerPixel() const override { return gemm_.MacsPerPixel(); }
  size_t WeightBytes() const override { return gemm_.WeightBytes(); }

 private:
  uint64_t TapsOf(int row, int col) const {
    return taps_[static_cast<size_t>(row / kSide) * tiles_per_row_ +
                 static_cast<size_t>(col / kSide)];
  }

  ConvGemm gemm_;
  std::vector<uint64_t> taps_;  // of every tile, row by row
  size_t tiles_per_row_ = 0;
};

}  // namespace

bool SuitsDilated(const ConvWindow& window, const Shape& input, const Shape& output) {
  if (input.size() != 4 || output[0] != 1 || window.groups != 1 || input[1] < kLeastChannels ||
      window.kernel[0] * window.kernel[1] > 64 || window.dilation[1] == 1)
    return false;
  double share = 1;
  for (size_t a = 0; a < 2; ++a) share *= ShareOfTaps(window, a, input[a + 2], output[a + 2]);
  return share < kMostTaps;
}

Result<KernelPtr> MakeDilated(const MakeContext& context, const ConvWindow& window) {
  return KernelPtr(std::make_unique<DilatedConv>(context, window));
}

}  // namespace deltacnn
