#include "ops/winograd.h"

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "ops/conv_base.h"

namespace deltacnn {
namespace {

constexpr size_t kPositions = 16;  // of a transformed tile
constexpr size_t kTilePixels = 4;
// Tiles that are transformed together: two blocks of the GEMM.
constexpr size_t kTiles = 28;

// With fewer channels the transforms cost more than the products that they save.
constexpr int64_t kLeastChannels = 16;

/// G g G^T of a 3x3 filter, by position.
std::array<float, kPositions> TransformFilter(const float* g) {
  static constexpr double kG[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
  std::array<float, kPositions> transformed{};
  for (size_t i = 0; i < 4; ++i) {
    for (size_t j = 0; j < 4; ++j) {
      double sum = 0;
      for (size_t y = 0; y < 3; ++y)
        for (size_t x = 0; x < 3; ++x) sum += kG[i][y] * kG[j][x] * double{g[y * 3 + x]};
      transformed[i * 4 + j] = static_cast<float>(sum);
    }
  }
  return transformed;
}

class WinogradConv : public ConvBase {
 public:
  WinogradConv(const MakeContext& context, const ConvWindow& window)
      : ConvBase(context, window, kTiles * kTilePixels),
        channels_(static_cast<size_t>(in_.channels)) {
    const float* weights = context.in(1).constant->as<float>().data();
    const float* bias = context.Has(2) ? context.in(2).constant->as<float>().data() : nullptr;
    const auto outputs = static_cast<size_t>(out_.channels);
    std::vector<std::array<float, kPositions>> filters;
    for (size_t i = 0; i < outputs * channels_; ++i)
      filters.push_back(TransformFilter(weights + i * 9));
    weights_ = Pack(
        outputs, channels_ * kPositions, kernels_.panel,
        [&](size_t o, size_t k) { return filters[o * channels_ + k % channels_][k / channels_]; },
        [&](size_t o) { return bias != nullptr ? bias[o] : 0.0f; });
    no_bias_.assign(kernels_.panel, 0.0f);
    row_stride_ = TapOffset(1, 0);
  }

  bool ByTiles() const override { return true; }

  void Compute(const Work& work) const override {
    const Scratch scratch = Divide(work.scratch);
    auto* inputs = reinterpret_cast<float*>(work.scratch + scratch.bytes);
    Block block{.inputs = inputs,
                .products = inputs + kPositions * kTiles * channels_,
                .epilogue = Begin(work, scratch)};
    // Pixels of a tile that follow one another in the list are computed together; each tile's
    // result does not depend on that.
    int tile_row = -1;
    int tile_col = -1;
    for (const Span& span : work.spans) {
      for (int k = 0; k < span.count; ++k) {
        const int row = span.row & ~1;
        const int col = (span.col + k) & ~1;
        if (row != tile_row || col != tile_col) {
          if (block.tiles == kTiles) Flush(block);
          block.windows[block.tiles] = Window(work, row, col);
          block.wanted[block.tiles] = 0;
          ++block.tiles;
          tile_row = row;
          tile_col = col;
        }
        const int pixel = (span.row - row) * 2 + span.col + k - col;
        block.wanted[block.tiles - 1] |= static_cast<uint8_t>(1 << pixel);
        ++block.pixels;
      }
    }
    Flush(block);
    End(work, scratch);
  }

  size_t ScratchBytes() const override {
    return ConvBase::ScratchBytes() +
           kPositions * kTiles * (channels_ + kernels_.panel) * sizeof(float);
  }
  int64_t MacsPerPixel() const override { return in_.channels * out_.channels * 9; }
  size_t WeightBytes() const override { return weights_.Bytes(); }

 private:
  /// Tiles that wait, and where they will go.
  struct Block {
    float* inputs;    // transformed: [position][tile][channel]
    float* products;  // of one panel: [position][tile][output]
    kernels::Epilogue epilogue;
    size_t first = 0;  // pixel of the epilogue
    size_t tiles = 0;
    size_t pixels = 0;
    std::array<const float*, kTiles> windows{};
    std::array<uint8_t, kTiles> wanted{};
  };

  void Flush(Block& block) const {
    if (block.tiles == 0) return;
    const size_t panel = kernels_.panel;
    const size_t input_pitch = block.tiles * channels_;
    const size_t product_pitch = block.tiles * panel;
    kernels_.winograd_input({.windows = block.windows.data(),
                             .count = block.tiles,
                             .row_stride = row_stride_,
                             .col_stride = in_.col_stride,
                             .channels = channels_,
                             .out = block.inputs,
                             .out_pitch = input_pitch});
    std::array<const float*, kTiles> rows{};
    for (size_t i = 0; i < block.tiles; ++i) rows[i] = block.inputs + i * channels_;
    kernels::Epilogue& epilogue = block.epilogue;
    epilogue.channel = 0;
    for (size_t p = 0; p < weights_.panels; ++p) {
      epilogue.width = std::min(panel, weights_.outputs - p * panel);
      for (size_t position = 0; position < kPositions; ++position) {
        const auto offset = static_cast<ptrdiff_t>(position * input_pitch);
        kernels_.gemm(
            {.pixels = rows.data(),
             .count = block.tiles,
             .run_offset = &offset,
             .runs = 1,
             .run_length = channels_,
             .weights = weights_.weights.data() + (p * kPositions + position) * channels_ * panel,
             .bias = no_bias_.data(),
             .out = block.products + position * product_pitch,
             .out_pitch = panel,
             .columns = epilogue.width});
      }
      kernels_.winograd_output({.products = block.products,
                                .pitch = product_pitch,
                                .count = block.tiles,
                                .wanted = block.wanted.data(),
                                .bias = weights_.bias.data() + p * panel,
                                .first = block.first,
                                .epilogue = &epilogue});
      epilogue.channel += epilogue.width;
    }
    block.first += block.pixels;
    block.tiles = block.pixels = 0;
  }

  size_t channels_;
  ptrdiff_t row_stride_;
  PackedWeights weights_;  // [panel][position][channel][output]
  std::vector<float> no_bias_;
};

}  // namespace

bool UsesWinograd(const ConvWindow& window, const Shape& input, const Shape& output) {
  const bool plain = window.kernel == std::array<int64_t, 2>{3, 3} &&
                     window.stride == std::array<int64_t, 2>{1, 1} &&
                     window.dilation == std::array<int64_t, 2>{1, 1} && window.groups == 1;
  if (!plain || input.size() != 4) return false;
  // Rows of a batch's pictures follow one another; a tile lies in one picture.
  const bool whole = output[0] == 1 || output[2] % 2 == 0;
  return whole && input[1] >= kLeastChannels && output[1] >= kLeastChannels;
}

Result<KernelPtr> MakeWinograd(const MakeContext& context, const ConvWindow& window) {
  return KernelPtr(std::make_unique<WinogradConv>(context, window));
}

}  // namespace deltacnn
