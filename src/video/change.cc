// Which 8x8 blocks differ from the picture held.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <span>

#include "core/mask.h"
#include "deltacnn/video.h"
#include "video/noise.h"
#include "video/pixel_format.h"
#include "video/rows.h"

namespace deltacnn {
namespace {

constexpr int kBlock = BlockMap::kBlock;
constexpr int kSubBlock = 4;
constexpr int kRowAlignment = 64;

// The constants of this rule were compared with others: docs/experiments_policies.md.
constexpr int kNoiseRows = 4;  // noise is measured in one row of blocks of so many
// An I-frame moves every block a little, mostly by less than the tolerance. Where it moves them
// farther, the limit follows, and comes down over some frames: what has moved too far is taken over
// bit by bit.
constexpr float kPopFactor = 9.5F;
constexpr int kPopFrames = 4;

int RoundUp(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// The part of a plane that one block covers.
struct PlaneBlock {
  const uint8_t* frame = nullptr;
  uint8_t* held = nullptr;
  ptrdiff_t frame_stride = 0;
  ptrdiff_t held_stride = 0;
  int rows = 0;
  int bytes = 0;  // of each row
};

// For each interleaved component of a plane, in levels.
using Limits = std::array<float, 4>;

// Noise averages out of the signed mean of a sub-block, but so does texture that moves: the mean
// absolute difference, which noise fills to 3.2 of its mean's deviations, has a limit of its own.
constexpr float kTextureFactor = 1.5F;

int SignedSum(const PlaneBlock& block, int top, int left, int rows, int columns, int step) {
  int sum = 0;
  for (int y = top; y < top + rows; ++y) {
    const uint8_t* a = block.frame + y * block.frame_stride + left;
    const uint8_t* b = block.held + y * block.held_stride + left;
    for (int x = 0; x < columns * step; x += step) sum += a[x] - b[x];
  }
  return sum;
}

// Whether, in one of the 4x4 sub-blocks and one of the interleaved components, the mean difference
// exceeds the limit, or the mean absolute difference the limit for texture. kBytes: of a row of a
// whole block.
template <int kStep, int kBytes>
bool MeanExceeds(const PlaneBlock& block, const Limits& limits) {
  PlaneBlock whole = block;
  // A block cut by the picture's edge is completed with equal samples, which add nothing.
  std::array<uint8_t, kBlock * kBytes> frame_copy;
  std::array<uint8_t, kBlock * kBytes> held_copy;
  if (block.bytes < kBytes) {
    frame_copy.fill(0);
    held_copy.fill(0);
    for (int y = 0; y < block.rows; ++y) {
      std::memcpy(&frame_copy[y * kBytes], block.frame + y * block.frame_stride, block.bytes);
      std::memcpy(&held_copy[y * kBytes], block.held + y * block.held_stride, block.bytes);
    }
    whole = {frame_copy.data(), held_copy.data(), kBytes, kBytes, block.rows, kBytes};
  }
  for (int top = 0; top < block.rows; top += kSubBlock) {
    const int rows = std::min(kSubBlock, block.rows - top);
    std::array<uint16_t, kBytes> sums{};
    for (int y = top; y < top + rows; ++y) {
      const uint8_t* a = whole.frame + y * whole.frame_stride;
      const uint8_t* b = whole.held + y * whole.held_stride;
      for (int i = 0; i < kBytes; ++i) sums[i] += static_cast<uint16_t>(std::abs(a[i] - b[i]));
    }
    for (int left = 0; left < block.bytes; left += kSubBlock * kStep) {
      const int columns = std::min(kSubBlock, (block.bytes - left) / kStep);
      for (int c = 0; c < kStep; ++c) {
        const float limit = limits[c] * static_cast<float>(rows * columns);
        int sum = 0;
        for (int x = 0; x < kSubBlock; ++x) sum += sums[left + x * kStep + c];
        if (static_cast<float>(sum) <= limit) continue;  // the signed sum is not larger
        if (static_cast<float>(sum) > kTextureFactor * limit) return true;
        const int difference = SignedSum(whole, top, left + c, rows, columns, kStep);
        if (static_cast<float>(std::abs(difference)) > limit) return true;
      }
    }
  }
  return false;
}

bool MeanExceeds(const ComponentLayout& plane, const PlaneBlock& block, const Limits& limits) {
  switch (plane.step) {
    case 1:
      return plane.shift_x == 0 ? MeanExceeds<1, kBlock>(block, limits)
                                : MeanExceeds<1, kBlock / 2>(block, limits);
    case 2:
      return MeanExceeds<2, kBlock>(block, limits);
    case 3:
      return MeanExceeds<3, 3 * kBlock>(block, limits);
    default:
      return MeanExceeds<4, 4 * kBlock>(block, limits);
  }
}

// Sums of the differences in each column of four rows; the inner loop has a fixed length so that
// compilers vectorise it.
void SumColumns(const uint8_t* a, ptrdiff_t a_stride, const uint8_t* b, ptrdiff_t b_stride,
                std::span<int16_t> sums) {
  constexpr int kChunk = 16;
  const int bytes = static_cast<int>(sums.size());
  int i = 0;
  for (; i + kChunk <= bytes; i += kChunk) {
    std::array<int16_t, kChunk> chunk{};
    for (int y = 0; y < kSubBlock; ++y) {
      const uint8_t* a_row = a + y * a_stride + i;
      const uint8_t* b_row = b + y * b_stride + i;
      for (int j = 0; j < kChunk; ++j) chunk[j] += static_cast<int16_t>(a_row[j] - b_row[j]);
    }
    std::memcpy(&sums[i], chunk.data(), sizeof(chunk));
  }
  for (; i < bytes; ++i) {
    sums[i] = 0;
    for (int y = 0; y < kSubBlock; ++y) {
      sums[i] += static_cast<int16_t>(a[y * a_stride + i] - b[y * b_stride + i]);
    }
  }
}

bool SameLayout(const FrameView& a, const FrameView& b) {
  return a.width == b.width && a.height == b.height && a.format == b.format &&
         a.matrix == b.matrix && a.range == b.range;
}

}  // namespace

class ChangeDetector::Impl {
 public:
  explicit Impl(const ChangeOptions& options) : options_(options) {}

  Status Update(const FrameView& frame);
  void SetFocus(std::span<const Region> regions, const PixelTransform& to_source);
  float noise() const;

  FrameView held;
  BlockMap changed;

 private:
  // A plane of the picture held.
  struct Plane {
    ComponentLayout layout;
    uint8_t* data = nullptr;
    ptrdiff_t stride = 0;
    int row_bytes = 0;
    int height = 0;
    int block_bytes = 0;  // of a row of a whole block
    int block_height = 0;
    // Of each interleaved component:
    std::array<NoiseMeter, 4> noise;
    std::array<NoiseMeter, 4> pops;  // of I-frames
    Limits limits{};
  };

  void HoldAll(const FrameView& frame);
  void SetLimits(const FrameView& frame);
  void MeasureNoise(const FrameView& frame, int plane, std::array<NoiseMeter, 4>& meters);
  bool FindCandidates(const FrameView& frame, int row);
  bool BlockChanged(const FrameView& frame, int row, int column) const;
  void CopyBlock(const FrameView& frame, int row, int column);
  PlaneBlock BlockOf(const FrameView& frame, int plane, int row, int column) const;

  ChangeOptions options_;
  std::vector<Plane> planes_;
  std::vector<uint8_t> pixels_;
  // For each block of a row: a bit for every plane that may have changed there.
  std::vector<uint8_t> candidates_;
  std::vector<int16_t> column_sums_;
  std::vector<uint8_t> large_;  // differences in a row of sub-blocks
  BlockMap focus_;              // blocks that SetFocus named; without bits: all
  float noise_factor_ = 0;      // how many deviations of a sub-block's mean are no change yet
  int since_intra_ = kPopFrames;
};

Status ChangeDetector::Impl::Update(const FrameView& frame) {
  DELTACNN_RETURN_IF_ERROR(frame.Check());
  ++changed.sequence;
  if (frame.discontinuity || !SameLayout(frame, held)) {
    HoldAll(frame);
  } else {
    changed.count = 0;
    std::ranges::fill(changed.bits, 0);
    SetLimits(frame);
    for (int row = 0; row < changed.rows; ++row) {
      if (!FindCandidates(frame, row)) continue;
      for (int column = 0; column < changed.columns; ++column) {
        if (candidates_[column] == 0 || !BlockChanged(frame, row, column)) continue;
        CopyBlock(frame, row, column);
        changed.Set(row, column);
        ++changed.count;
      }
    }
  }
  held = frame;
  for (size_t p = 0; p < planes_.size(); ++p) {
    held.planes[p] = planes_[p].data;
    held.strides[p] = planes_[p].stride;
  }
  // They describe the frame rather than the picture held, and belong to the source.
  held.file = {};
  held.motion_vectors = {};
  held.block_qp = {};
  return {};
}

void ChangeDetector::Impl::HoldAll(const FrameView& frame) {
  const PixelLayout& layout = LayoutOf(frame.format);
  changed.columns = (frame.width + kBlock - 1) / kBlock;
  changed.rows = (frame.height + kBlock - 1) / kBlock;
  changed.words_per_row = (changed.columns + 63) / 64;
  changed.count = static_cast<int64_t>(changed.columns) * changed.rows;
  changed.bits.assign(static_cast<size_t>(changed.words_per_row) * changed.rows, 0);
  for (int row = 0; row < changed.rows; ++row) {
    for (int column = 0; column < changed.columns; ++column) changed.Set(row, column);
  }

  planes_.assign(layout.planes, {});
  size_t pixel_bytes = 0;
  size_t samples = 0;
  for (int p = 0; p < layout.planes; ++p) {
    Plane& plane = planes_[p];
    plane.layout = PlaneLayout(layout, p);
    plane.row_bytes = PlaneRowBytes(plane.layout, frame.width);
    plane.height = PlaneHeight(plane.layout, frame.height);
    plane.block_bytes = (kBlock >> plane.layout.shift_x) * plane.layout.step;
    plane.block_height = kBlock >> plane.layout.shift_y;
    plane.stride = RoundUp(plane.row_bytes, kRowAlignment);
    pixel_bytes += static_cast<size_t>(plane.stride) * plane.height;
    samples += static_cast<size_t>(plane.row_bytes) * plane.height;
  }
  // The largest of N normal deviations is about sqrt(2 ln N): noise alone changes a block in one
  // frame of several, however many blocks a frame has.
  noise_factor_ = std::sqrt(2 * std::log(static_cast<float>(samples) / (kSubBlock * kSubBlock)));
  pixels_.resize(pixel_bytes);
  candidates_.resize(changed.columns);
  focus_ = {};
  const size_t longest_row = std::ranges::max(planes_, {}, &Plane::row_bytes).row_bytes;
  column_sums_.resize(longest_row + 4 * rows::kPadding);
  large_.resize(longest_row / (8 * kSubBlock) + 1);
  since_intra_ = kPopFrames;
  uint8_t* pixels = pixels_.data();
  for (size_t p = 0; p < planes_.size(); ++p) {
    Plane& plane = planes_[p];
    plane.data = pixels;
    pixels += plane.stride * plane.height;
    for (int y = 0; y < plane.height; ++y) {
      std::memcpy(plane.data + y * plane.stride, frame.planes[p] + y * frame.strides[p],
                  plane.row_bytes);
    }
  }
}

void ChangeDetector::Impl::SetFocus(std::span<const Region> regions,
                                    const PixelTransform& to_source) {
  if (planes_.empty()) return;
  focus_.columns = changed.columns;
  focus_.rows = changed.rows;
  focus_.words_per_row = changed.words_per_row;
  focus_.bits.assign(changed.bits.size(), 0);
  const MaskView mask{focus_.bits.data(), {focus_.rows, focus_.columns}};
  const auto block = [](double pixel, int count) {
    return std::clamp(pixel / kBlock, 0.0, static_cast<double>(count));
  };
  for (const Region& region : regions) {
    const double left = block(to_source.SourceX(region.x1), focus_.columns);
    const double right = block(to_source.SourceX(region.x2), focus_.columns);
    const double top = block(to_source.SourceY(region.y1), focus_.rows);
    const double bottom = block(to_source.SourceY(region.y2), focus_.rows);
    if (!(left < right && top < bottom)) continue;  // one may be no number
    const auto end = static_cast<int>(std::ceil(right));
    for (int row = static_cast<int>(top); row < bottom; ++row)
      mask.SetRange(row, static_cast<int>(left), end);
  }
}

// What the tolerance is in this frame.
void ChangeDetector::Impl::SetLimits(const FrameView& frame) {
  for (Plane& plane : planes_) plane.limits.fill(options_.tolerance);
  if (!(options_.tolerance > 0) || options_.max_tolerance <= options_.tolerance) return;
  // Where all frames are I-frames, as in MJPEG and images, none of them differs from the others.
  const bool intra = frame.type == FrameType::kI && held.type != FrameType::kI;
  since_intra_ = intra ? 0 : std::min(since_intra_ + 1, kPopFrames);
  const float share = 1 - static_cast<float>(since_intra_) / kPopFrames;
  for (size_t p = 0; p < planes_.size(); ++p) {
    Plane& plane = planes_[p];
    MeasureNoise(frame, static_cast<int>(p), intra ? plane.pops : plane.noise);
    for (int c = 0; c < plane.layout.step; ++c) {
      const auto at_most = [&](float level) { return std::min(level, options_.max_tolerance); };
      const float noise = at_most(noise_factor_ * plane.noise[c].mean_deviation());
      const float pop = at_most(kPopFactor * plane.pops[c].mean_deviation());
      float& limit = plane.limits[c];
      limit = std::max(limit, noise);
      limit += share * std::max(0.0F, pop - limit);
    }
  }
}

// A share of the rows is enough, others in every frame.
void ChangeDetector::Impl::MeasureNoise(const FrameView& frame, int plane_index,
                                        std::array<NoiseMeter, 4>& meters) {
  const Plane& plane = planes_[plane_index];
  const std::span sums(column_sums_.data(), plane.row_bytes);
  const int first = static_cast<int>(changed.sequence % kNoiseRows) * plane.block_height;
  for (int row = first; row < plane.height; row += kNoiseRows * plane.block_height) {
    const int bottom = std::min(row + plane.block_height, plane.height);
    for (int top = row; top + kSubBlock <= bottom; top += kSubBlock) {
      SumColumns(frame.planes[plane_index] + top * frame.strides[plane_index],
                 frame.strides[plane_index], plane.data + top * plane.stride, plane.stride, sums);
      for (int c = 0; c < plane.layout.step; ++c) {
        meters[c].Add(sums.subspan(c), plane.layout.step);
      }
    }
  }
  for (int c = 0; c < plane.layout.step; ++c) meters[c].EndFrame();
}

float ChangeDetector::Impl::noise() const {
  if (planes_.empty()) return 0;
  const std::array<NoiseMeter, 4>& meters = planes_[0].noise;
  return std::ranges::max(meters, {}, &NoiseMeter::sigma).sigma();
}

// The cheap question, for a whole row of blocks: where does the mean absolute difference exceed the
// smallest limit? Nowhere else does one of the means that are compared.
bool ChangeDetector::Impl::FindCandidates(const FrameView& frame, int row) {
  bool any = false;
  for (size_t p = 0; p < planes_.size(); ++p) {
    const Plane& plane = planes_[p];
    const int bottom = std::min((row + 1) * plane.block_height, plane.height);
    const float limit =
        *std::min_element(plane.limits.begin(), plane.limits.begin() + plane.layout.step);
    for (int top = row * plane.block_height; top < bottom; top += kSubBlock) {
      const rows::PlanePair pair = {.a = frame.planes[p] + top * frame.strides[p],
                                    .b = plane.data + top * plane.stride,
                                    .a_stride = frame.strides[p],
                                    .b_stride = plane.stride};
      if (!rows::FindLargeDifferences(pair, std::min(kSubBlock, bottom - top), plane.row_bytes,
                                      plane.layout.step, limit, column_sums_.data(),
                                      large_.data())) {
        continue;
      }
      if (!any) std::ranges::fill(candidates_, uint8_t{0});
      any = true;
      const int sub_blocks = (kBlock >> plane.layout.shift_x) / kSubBlock;  // of a block: 1 or 2
      const int mask = (1 << sub_blocks) - 1;
      for (int column = 0; column < changed.columns; ++column) {
        const int first = column * sub_blocks;
        if ((large_[first / 8] >> first % 8 & mask) != 0) candidates_[column] |= 1 << p;
      }
    }
  }
  return any;
}

PlaneBlock ChangeDetector::Impl::BlockOf(const FrameView& frame, int plane_index, int row,
                                         int column) const {
  const Plane& plane = planes_[plane_index];
  const int y = row * plane.block_height;
  const int x = column * plane.block_bytes;
  return {.frame = frame.planes[plane_index] + y * frame.strides[plane_index] + x,
          .held = plane.data + y * plane.stride + x,
          .frame_stride = frame.strides[plane_index],
          .held_stride = plane.stride,
          .rows = std::min(plane.block_height, plane.height - y),
          .bytes = std::min(plane.block_bytes, plane.row_bytes - x)};
}

bool ChangeDetector::Impl::BlockChanged(const FrameView& frame, int row, int column) const {
  const bool background = !focus_.bits.empty() && !focus_.Test(row, column);
  // A multiple of the tolerance alone: that noise raises the limit is no reason to raise it more.
  const float surplus =
      background ? options_.tolerance * (std::max(1.0F, options_.background) - 1) : 0;
  for (size_t p = 0; p < planes_.size(); ++p) {
    const Plane& plane = planes_[p];
    if ((candidates_[column] >> p & 1) == 0) continue;
    if (!(options_.tolerance > 0)) return true;
    const PlaneBlock block = BlockOf(frame, static_cast<int>(p), row, column);
    Limits limits = plane.limits;
    for (float& limit : limits) limit += surplus;
    if (MeanExceeds(plane.layout, block, limits)) return true;
  }
  return false;
}

void ChangeDetector::Impl::CopyBlock(const FrameView& frame, int row, int column) {
  for (size_t p = 0; p < planes_.size(); ++p) {
    const PlaneBlock block = BlockOf(frame, static_cast<int>(p), row, column);
    for (int y = 0; y < block.rows; ++y) {
      std::memcpy(block.held + y * block.held_stride, block.frame + y * block.frame_stride,
                  block.bytes);
    }
  }
}

ChangeDetector::ChangeDetector(const ChangeOptions& options)
    : impl_(std::make_unique<Impl>(options)) {}
ChangeDetector::~ChangeDetector() = default;
ChangeDetector::ChangeDetector(ChangeDetector&&) noexcept = default;
ChangeDetector& ChangeDetector::operator=(ChangeDetector&&) noexcept = default;

Status ChangeDetector::Update(const FrameView& frame) { return impl_->Update(frame); }
void ChangeDetector::SetFocus(std::span<const Region> regions, const PixelTransform& to_source) {
  impl_->SetFocus(regions, to_source);
}
void ChangeDetector::Reset() { impl_->held = FrameView(); }
const FrameView& ChangeDetector::held() const { return impl_->held; }
const BlockMap& ChangeDetector::changed() const { return impl_->changed; }
float ChangeDetector::noise() const { return impl_->noise(); }

}  // namespace deltacnn
