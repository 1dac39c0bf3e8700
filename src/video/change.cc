// Which 8x8 blocks differ from the picture held.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "deltacnn/video.h"
#include "video/pixel_format.h"

namespace deltacnn {
namespace {

constexpr int kBlock = BlockMap::kBlock;
constexpr int kSubBlock = 4;
constexpr int kRowAlignment = 64;

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

// differ |= a ^ b. Inner loops of a fixed length, here and below, so that compilers vectorise them
// at -O2.
void AccumulateDifference(const uint8_t* __restrict a, const uint8_t* __restrict b, int bytes,
                          uint8_t* __restrict differ) {
  constexpr int kChunk = 32;
  int i = 0;
  for (; i + kChunk <= bytes; i += kChunk) {
    for (int j = 0; j < kChunk; ++j) differ[i + j] |= a[i + j] ^ b[i + j];
  }
  for (; i < bytes; ++i) differ[i] |= a[i] ^ b[i];
}

// Whether, in one of the 4x4 sub-blocks and one of the interleaved components, the mean absolute
// difference exceeds the tolerance. kBytes: of a row of a whole block.
template <int kStep, int kBytes>
bool MeanExceeds(const PlaneBlock& block, float tolerance) {
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
      const float limit = tolerance * static_cast<float>(rows * columns);
      for (int c = 0; c < kStep; ++c) {
        int sum = 0;
        for (int x = 0; x < kSubBlock; ++x) sum += sums[left + x * kStep + c];
        if (static_cast<float>(sum) > limit) return true;
      }
    }
  }
  return false;
}

bool MeanExceeds(const ComponentLayout& plane, const PlaneBlock& block, float tolerance) {
  switch (plane.step) {
    case 1:
      return plane.shift_x == 0 ? MeanExceeds<1, kBlock>(block, tolerance)
                                : MeanExceeds<1, kBlock / 2>(block, tolerance);
    case 2:
      return MeanExceeds<2, kBlock>(block, tolerance);
    case 3:
      return MeanExceeds<3, 3 * kBlock>(block, tolerance);
    default:
      return MeanExceeds<4, 4 * kBlock>(block, tolerance);
  }
}

// Whether any of `bytes` (a multiple of 4) bytes is set.
bool AnySet(const uint8_t* data, int bytes) {
  uint32_t any = 0;
  for (int i = 0; i < bytes; i += 4) {
    uint32_t word = 0;
    std::memcpy(&word, data + i, sizeof(word));
    any |= word;
  }
  return any != 0;
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
    uint8_t* differ = nullptr;  // for each byte of a row of blocks, the bits that differ in any row
  };

  void HoldAll(const FrameView& frame);
  void MarkDiffering(const FrameView& frame, int row);
  bool BlockChanged(const FrameView& frame, int row, int column) const;
  void CopyBlock(const FrameView& frame, int row, int column);
  PlaneBlock BlockOf(const FrameView& frame, int plane, int row, int column) const;

  ChangeOptions options_;
  std::vector<Plane> planes_;
  std::vector<uint8_t> pixels_;
  std::vector<uint8_t> differ_;
};

Status ChangeDetector::Impl::Update(const FrameView& frame) {
  DELTACNN_RETURN_IF_ERROR(frame.Check());
  ++changed.sequence;
  if (frame.discontinuity || !SameLayout(frame, held)) {
    HoldAll(frame);
  } else {
    changed.count = 0;
    std::ranges::fill(changed.bits, 0);
    for (int row = 0; row < changed.rows; ++row) {
      MarkDiffering(frame, row);
      for (int column = 0; column < changed.columns; ++column) {
        if (!BlockChanged(frame, row, column)) continue;
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
  // They describe the frame rather than the picture held, and belong to the decoder.
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
  size_t differ_bytes = 0;
  for (int p = 0; p < layout.planes; ++p) {
    Plane& plane = planes_[p];
    plane.layout = PlaneLayout(layout, p);
    plane.row_bytes = PlaneRowBytes(plane.layout, frame.width);
    plane.height = PlaneHeight(plane.layout, frame.height);
    plane.block_bytes = (kBlock >> plane.layout.shift_x) * plane.layout.step;
    plane.block_height = kBlock >> plane.layout.shift_y;
    plane.stride = RoundUp(plane.row_bytes, kRowAlignment);
    pixel_bytes += static_cast<size_t>(plane.stride) * plane.height;
    differ_bytes += static_cast<size_t>(plane.block_bytes) * changed.columns;
  }
  pixels_.resize(pixel_bytes);
  differ_.resize(differ_bytes);
  uint8_t* pixels = pixels_.data();
  uint8_t* differ = differ_.data();
  for (size_t p = 0; p < planes_.size(); ++p) {
    Plane& plane = planes_[p];
    plane.data = pixels;
    plane.differ = differ;
    pixels += plane.stride * plane.height;
    differ += static_cast<size_t>(plane.block_bytes) * changed.columns;
    for (int y = 0; y < plane.height; ++y) {
      std::memcpy(plane.data + y * plane.stride, frame.planes[p] + y * frame.strides[p],
                  plane.row_bytes);
    }
  }
}

// The cheap question, for a whole row of blocks: which bytes differ at all?
void ChangeDetector::Impl::MarkDiffering(const FrameView& frame, int row) {
  std::ranges::fill(differ_, uint8_t{0});
  for (size_t p = 0; p < planes_.size(); ++p) {
    const Plane& plane = planes_[p];
    const int top = row * plane.block_height;
    const int bottom = std::min(top + plane.block_height, plane.height);
    for (int y = top; y < bottom; ++y) {
      AccumulateDifference(frame.planes[p] + y * frame.strides[p], plane.data + y * plane.stride,
                           plane.row_bytes, plane.differ);
    }
  }
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
  for (size_t p = 0; p < planes_.size(); ++p) {
    const Plane& plane = planes_[p];
    if (!AnySet(plane.differ + column * plane.block_bytes, plane.block_bytes)) continue;
    if (!(options_.tolerance > 0)) return true;
    const PlaneBlock block = BlockOf(frame, static_cast<int>(p), row, column);
    if (MeanExceeds(plane.layout, block, options_.tolerance)) return true;
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
void ChangeDetector::Reset() { impl_->held = FrameView(); }
const FrameView& ChangeDetector::held() const { return impl_->held; }
const BlockMap& ChangeDetector::changed() const { return impl_->changed; }

}  // namespace deltacnn
