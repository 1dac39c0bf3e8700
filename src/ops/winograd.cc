#include "ops/winograd.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <vector>

#include "ops/conv_base.h"
#include "ops/packed_weights.h"

namespace deltacnn {
namespace {

// With fewer channels the transforms cost more than the products that they save.
constexpr int64_t kLeastChannels = 16;
// Transformed weights are 16 / 9 times as many, and where little changes, a layer costs the reading
// of its weights: with more of them than this, that costs more than whole steps gain. With vectors
// of 16 floats sums take half the time, but reading takes as long.
constexpr int64_t kMostFilters = 256 * 256;
constexpr int64_t kMostFilters16 = 128 * 256;
// Tiles of 4x4 outputs need fewer products still, but a changed input reaches more outputs, and
// four times the weights are read: where tiles are small beside the picture.
constexpr int64_t kLeastSide4 = 96;
constexpr int64_t kLeastChannels4 = 32;
constexpr int64_t kMostFilters4 = 128 * 128;

// Tiles that are transformed together: enough to share the reading of the weights, few enough that
// all of them stay in the second-level cache.
constexpr size_t TilesAtOnce(size_t m) { return m == 4 ? 24 : 28; }
constexpr size_t kMostTiles = 28;

/// G of F(m, 3): one row a point of interpolation; see kernels/winograd-inl.h.
std::vector<std::array<double, 3>> FilterTransform(size_t m) {
  if (m == 2) return {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
  const double a = std::sqrt(0.5);
  const double b = std::sqrt(2.0);
  return {{1, 0, 0},
          {-1 / 1.5, -a / 1.5, -a * a / 1.5},
          {-1 / 1.5, a / 1.5, -a * a / 1.5},
          {1.0 / 6, b / 6, b * b / 6},
          {1.0 / 6, -b / 6, b * b / 6},
          {0, 0, 1}};
}

/// Which inputs decide the bits of an output of F(4, 3): more than its three taps, since what the
/// transforms add for others is subtracted again but for rounding. In F(2, 3) it is just the taps.
WindowMap Reads4(int64_t pad, int64_t inputs, int64_t outputs) {
  static constexpr int kFirst[] = {0, 1, 1, 1};  // from the tile's first input on
  static constexpr int kEnd[] = {5, 5, 5, 6};
  const auto inside = [&](int64_t i) {
    return static_cast<int>(std::clamp<int64_t>(i - pad, 0, inputs));
  };
  WindowMap map;
  for (int64_t o = 0; o < outputs; ++o) {
    map.first.push_back(inside(o / 4 * 4 + kFirst[o % 4]));
    map.last.push_back(inside(o / 4 * 4 + kEnd[o % 4]));
  }
  map.Invert(static_cast<int>(inputs));
  return map;
}

class WinogradConv : public ConvBase {
 public:
  WinogradConv(const MakeContext& context, const ConvWindow& window, size_t m)
      : ConvBase(context, window, static_cast<int>(TilesAtOnce(m) * m * m)),
        m_(m),
        positions_((m + 2) * (m + 2)),
        channels_(static_cast<size_t>(in_.channels)),
        row_stride_(TapOffset(1, 0)) {
    const float* bias = context.Has(2) ? context.in(2).constant->as<float>().data() : nullptr;
    const std::vector<float> filters = TransformFilters(context.in(1).constant->as<float>());
    weights_ = Pack(
        context, static_cast<size_t>(out_.channels), channels_ * positions_, /*rounds=*/false,
        [&](size_t o, size_t k) {
          return filters[(o * channels_ + k % channels_) * positions_ + k / channels_];
        },
        [&](size_t o) { return bias != nullptr ? bias[o] : 0.0f; });
    if (m_ == 4) {
      map_[0] = Reads4(window.pad_before[0], SpatialDims(in_.shape)[0], SpatialDims(out_.shape)[0]);
      map_[1] = Reads4(window.pad_before[1], SpatialDims(in_.shape)[1], SpatialDims(out_.shape)[1]);
    }
  }

  int TileSide() const override { return static_cast<int>(m_); }

  void Compute(const Work& work) const override {
    const Scratch scratch = Divide(work.scratch);
    auto* inputs = reinterpret_cast<float*>(work.scratch + scratch.bytes);
    Block block{.inputs = inputs,
                .products = inputs + positions_ * TilesAtOnce(m_) * channels_,
                .epilogue = Begin(work, scratch, /*adds=*/true)};
    // Pixels of a tile that follow one another in the list are computed together; each tile's
    // result does not depend on that.
    const int side = TileSide();
    int tile_row = -1;
    int tile_col = -1;
    for (const Span& span : work.spans) {
      const int row = span.row / side * side;
      for (int col = span.col; col < span.col + span.count; ++col) {
        const int left = col / side * side;
        if (row != tile_row || left != tile_col) {
          if (block.tiles == TilesAtOnce(m_)) Flush(block);
          block.windows[block.tiles] = Window(work, row, left);
          block.wanted[block.tiles] = 0;
          ++block.tiles;
          tile_row = row;
          tile_col = left;
        }
        const int pixel = (span.row - row) * side + col - left;
        block.wanted[block.tiles - 1] |= static_cast<uint16_t>(1 << pixel);
        ++block.pixels;
      }
    }
    Flush(block);
    End(work, scratch);
  }

  size_t ScratchBytes() const override {
    return ConvBase::ScratchBytes() +
           positions_ * TilesAtOnce(m_) * (channels_ + kernels_.panel) * sizeof(float);
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
    std::array<const float*, kMostTiles> windows{};
    std::array<uint16_t, kMostTiles> wanted{};
  };

  /// G g G^T of every 3x3 filter: [filter][position].
  std::vector<float> TransformFilters(std::span<const float> filters) const {
    const auto transform = FilterTransform(m_);
    std::vector<float> transformed;
    transformed.reserve(filters.size() / 9 * positions_);
    for (size_t f = 0; f < filters.size(); f += 9) {
      for (const auto& row : transform) {
        for (const auto& column : transform) {
          double sum = 0;
          for (size_t y = 0; y < 3; ++y)
            for (size_t x = 0; x < 3; ++x)
              sum += row[y] * column[x] * double{filters[f + y * 3 + x]};
          transformed.push_back(static_cast<float>(sum));
        }
      }
    }
    return transformed;
  }

  void Flush(Block& block) const {
    if (block.tiles == 0) return;
    const size_t panel = kernels_.panel;
    const size_t input_pitch = block.tiles * channels_;
    const size_t product_pitch = block.tiles * panel;
    kernels_.winograd_input({.m = m_,
                             .windows = block.windows.data(),
                             .count = block.tiles,
                             .row_stride = row_stride_,
                             .col_stride = in_.col_stride,
                             .channels = channels_,
                             .out = block.inputs,
                             .out_pitch = input_pitch});
    std::array<const float*, kMostTiles> rows{};
    for (size_t i = 0; i < block.tiles; ++i) rows[i] = block.inputs + i * channels_;
    kernels::Epilogue& epilogue = block.epilogue;
    epilogue.channel = 0;
    for (size_t p = 0; p < weights_.panels; ++p) {
      epilogue.width = std::min(panel, weights_.outputs - p * panel);
      for (size_t position = 0; position < positions_; ++position) {
        const auto offset = static_cast<ptrdiff_t>(position * input_pitch);
        kernels_.gemm({.pixels = rows.data(),
                       .count = block.tiles,
                       .run_offset = &offset,
                       .runs = 1,
                       .run_length = channels_,
                       .weights = weights_.Panel(p, position * channels_),
                       .bias = kNoBias.data(),
                       .out = block.products + position * product_pitch,
                       .out_pitch = panel,
                       .columns = epilogue.width});
      }
      kernels_.winograd_output({.m = m_,
                                .products = block.products,
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

  size_t m_;
  size_t positions_;  // of a transformed tile
  size_t channels_;
  ptrdiff_t row_stride_;
  PackedWeights weights_;  // [panel][position][channel][output]
};

}  // namespace

int WinogradTile(const ConvWindow& window, const Shape& input, const Shape& output) {
  const bool plain = window.kernel == std::array<int64_t, 2>{3, 3} &&
                     window.stride == std::array<int64_t, 2>{1, 1} &&
                     window.dilation == std::array<int64_t, 2>{1, 1} && window.groups == 1;
  if (!plain || input.size() != 4) return 0;
  const int64_t filters = input[1] * output[1];
  const int64_t channels = std::min(input[1], output[1]);
  if (channels < kLeastChannels || filters > kMostFilters) return 0;
  const bool large = std::min(output[2], output[3]) >= kLeastSide4;
  const int tile = large && channels >= kLeastChannels4 && filters <= kMostFilters4 ? 4 : 2;
  // Rows of a batch's pictures follow one another; a tile lies in one picture.
  return output[0] == 1 || output[2] % tile == 0 ? tile : 0;
}

bool SuitsWinograd(const MakeContext& context, const ConvWindow& window) {
  const Placement& in = context.in(0);
  const Placement& out = context.out(0);
  return WinogradTile(window, in.shape, out.shape) > 0 &&
         (context.kernels.dot_lanes < 16 || in.channels * out.channels <= kMostFilters16);
}

Result<KernelPtr> MakeWinograd(const MakeContext& context, const ConvWindow& window) {
  const int tile = WinogradTile(window, context.in(0).shape, context.out(0).shape);
  return KernelPtr(std::make_unique<WinogradConv>(context, window, static_cast<size_t>(tile)));
}

}  // namespace deltacnn
