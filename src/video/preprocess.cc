// From the picture held to the network's input, for the changed blocks only.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "deltacnn/video.h"
#include "video/color.h"
#include "video/pixel_format.h"
#include "video/resize.h"

namespace deltacnn {
namespace {

constexpr int kBlock = BlockMap::kBlock;

// Input columns [begin, end), counted from where the picture begins.
struct Span {
  int begin = 0;
  int end = 0;
};

bool SameTarget(const ImageTarget& a, const ImageTarget& b) {
  return a.data == b.data && a.height == b.height && a.width == b.width &&
         a.channels == b.channels && a.row_stride == b.row_stride &&
         a.pixel_stride == b.pixel_stride && a.channel_stride == b.channel_stride;
}

bool SamePicture(const FrameView& a, const FrameView& b) {
  return a.format == b.format && a.matrix == b.matrix && a.range == b.range && a.width == b.width &&
         a.height == b.height;
}

Error Misuse(const std::string& cause_and_remedy) {
  return {ErrorCode::kUsage, "preprocessing: " + cause_and_remedy};
}

// As in color.cc, __restrict and the fixed length are what makes compilers vectorise these at -O2.

void Interpolate(const float* __restrict first, const float* __restrict second,
                 const float* __restrict weight, float* __restrict result) {
  for (int i = 0; i < kColorChunk; ++i) {
    result[i] = first[i] + (second[i] - first[i]) * weight[i];
  }
}

void Normalize(const float* __restrict top, const float* __restrict bottom, float weight,
               float mean, float deviation, float* __restrict result) {
  for (int i = 0; i < kColorChunk; ++i) {
    result[i] = (top[i] + (bottom[i] - top[i]) * weight - mean) / deviation;
  }
}

}  // namespace

class Preprocessor::Impl {
 public:
  explicit Impl(const PreprocessOptions& options) : options_(options) {}

  Result<int64_t> Apply(const FrameView& frame, const BlockMap& changed, const ImageTarget& target);
  void Reset() { valid_ = false; }

  PixelTransform transform;

 private:
  // Where the two samples of each input column lie in a row of a component's plane; padded to whole
  // chunks.
  struct ColumnOffsets {
    std::vector<int> first;
    std::vector<int> second;
  };
  // A row of the source, converted and resampled to the input's columns; holds only the spans of
  // its version.
  struct ResampledRow {
    int source_y = -1;
    int64_t spans_version = -1;
    std::array<std::vector<float>, 3> channels;
  };

  Status Check(const FrameView& frame, const BlockMap& changed, const ImageTarget& target) const;
  void Configure(const FrameView& frame, const ImageTarget& target);
  void FillTarget(const ImageTarget& target) const;
  void FindSpans(const BlockMap& changed, int first_block_row, int second_block_row);
  const ResampledRow& Resample(const FrameView& frame, int source_y, const ResampledRow* keep);
  int64_t WriteRow(const ResampledRow& top, const ResampledRow& bottom, int row,
                   const ImageTarget& target) const;

  PreprocessOptions options_;
  bool valid_ = false;  // the target holds what the last frame gave
  uint64_t sequence_ = 0;
  FrameView picture_;  // geometry and colour of the configuration
  ImageTarget target_;
  ColorConverter color_;
  Geometry geometry_;
  std::array<ColumnOffsets, 3> offsets_;
  std::vector<float> weights_;     // of the second sample of each column; padded
  bool between_ = false;           // any of them is not 0
  std::vector<Span> block_reach_;  // columns that touch each column of blocks
  std::vector<Span> spans_;        // columns to recompute in the current row
  int64_t spans_version_ = 0;
  std::array<ResampledRow, 2> rows_;
};

Status Preprocessor::Impl::Check(const FrameView& frame, const BlockMap& changed,
                                 const ImageTarget& target) const {
  DELTACNN_RETURN_IF_ERROR(frame.Check());
  const int channels = options_.order == ChannelOrder::kGray ? 1 : 3;
  if (target.channels != channels) {
    return Misuse("the input has " + std::to_string(target.channels) + " channels, the order " +
                  (channels == 1 ? "gray needs 1" : "RGB or BGR needs 3") +
                  "; choose another order");
  }
  if (target.data == nullptr || target.changed == nullptr || target.width < 1 ||
      target.height < 1 || target.words_per_row < (target.width + 63) / 64) {
    return Misuse("the target is incomplete; take it from the stream whose input it is");
  }
  const int columns = (frame.width + kBlock - 1) / kBlock;
  const int rows = (frame.height + kBlock - 1) / kBlock;
  if (changed.columns != columns || changed.rows != rows ||
      changed.words_per_row < (columns + 63) / 64 ||
      changed.bits.size() < static_cast<size_t>(changed.words_per_row) * rows) {
    return Misuse("the block map is not that of a frame of " + std::to_string(frame.width) + "x" +
                  std::to_string(frame.height) + "; take both from one ChangeDetector");
  }
  for (int c = 0; c < channels; ++c) {
    if (!std::isfinite(options_.mean[c]) || !std::isfinite(options_.deviation[c]) ||
        options_.deviation[c] == 0 || !std::isfinite(options_.pad)) {
      return Misuse("mean, deviation and pad must be finite, and the deviation not 0");
    }
  }
  return {};
}

void Preprocessor::Impl::Configure(const FrameView& frame, const ImageTarget& target) {
  picture_ = frame;
  target_ = target;
  geometry_ = ComputeGeometry(options_, frame.width, frame.height, target.width, target.height);
  transform = geometry_.transform();
  color_ = ColorConverter(frame.format, frame.matrix, frame.range, options_.order);

  const std::vector<Tap>& taps = geometry_.x.taps;
  const auto used = static_cast<int>(taps.size());
  const size_t padded = taps.size() + kColorChunk;
  weights_.assign(padded, 0);
  for (int i = 0; i < used; ++i) weights_[i] = taps[i].weight;
  between_ = std::ranges::any_of(weights_, [](float weight) { return weight > 0; });
  for (int c = 0; c < color_.components(); ++c) {
    const ComponentLayout& component = LayoutOf(frame.format).component[c];
    const auto offset = [&](int x) {
      return (x >> component.shift_x) * component.step + component.offset;
    };
    offsets_[c].first.assign(padded, component.offset);
    offsets_[c].second.assign(padded, component.offset);
    for (int i = 0; i < used; ++i) {
      offsets_[c].first[i] = offset(taps[i].first);
      offsets_[c].second[i] = offset(taps[i].second);
    }
  }
  for (ResampledRow& row : rows_) {
    for (int c = 0; c < target.channels; ++c) row.channels[c].assign(padded, 0);
  }

  block_reach_.assign((frame.width + kBlock - 1) / kBlock, {used, 0});
  for (int i = 0; i < used; ++i) {
    for (const int x : {taps[i].first, taps[i].second}) {
      Span& reach = block_reach_[x / kBlock];
      reach.begin = std::min(reach.begin, i);
      reach.end = std::max(reach.end, i + 1);
    }
  }
  spans_.clear();
  spans_.reserve(block_reach_.size());
}

// Every pixel gets the padding and its mark; the picture then overwrites its part.
void Preprocessor::Impl::FillTarget(const ImageTarget& target) const {
  for (int y = 0; y < target.height; ++y) {
    for (int x = 0; x < target.width; ++x) {
      float* pixel = target.Pixel(y, x);
      for (int c = 0; c < target.channels; ++c) {
        pixel[c * target.channel_stride] =
            (options_.pad - options_.mean[c]) / options_.deviation[c];
      }
      target.Mark(y, x);
    }
  }
}

// The columns whose samples lie in a changed block of one of two rows of blocks.
void Preprocessor::Impl::FindSpans(const BlockMap& changed, int first_block_row,
                                   int second_block_row) {
  spans_.clear();
  ++spans_version_;
  for (int column = 0; column < changed.columns; ++column) {
    if (!changed.Test(first_block_row, column) && !changed.Test(second_block_row, column)) continue;
    const Span& reach = block_reach_[column];
    if (reach.begin >= reach.end) continue;
    if (!spans_.empty() && reach.begin <= spans_.back().end) {
      spans_.back().end = reach.end;
    } else {
      spans_.push_back(reach);
    }
  }
}

// Overwrites the row that is not `keep`, unless one of the two is what is asked for.
const Preprocessor::Impl::ResampledRow& Preprocessor::Impl::Resample(const FrameView& frame,
                                                                     int source_y,
                                                                     const ResampledRow* keep) {
  for (const ResampledRow& row : rows_) {
    if (row.source_y == source_y && row.spans_version == spans_version_) return row;
  }
  ResampledRow& row = keep == &rows_[0] ? rows_[1] : rows_[0];
  row.source_y = source_y;
  row.spans_version = spans_version_;

  const PixelLayout& layout = LayoutOf(frame.format);
  std::array<const uint8_t*, 3> sources{};
  for (int c = 0; c < color_.components(); ++c) {
    const ComponentLayout& component = layout.component[c];
    sources[c] = frame.planes[component.plane] +
                 (source_y >> component.shift_y) * frame.strides[component.plane];
  }
  std::array<LevelChunk, 3> samples;
  std::array<LevelChunk, 3> first;
  std::array<LevelChunk, 3> second;
  for (const Span& span : spans_) {
    // The last chunk may run over the span's end; what it writes there is either rewritten or not
    // read.
    for (int x = span.begin; x < span.end; x += kColorChunk) {
      for (int c = 0; c < color_.components(); ++c) {
        const int* offset = &offsets_[c].first[x];
        for (int i = 0; i < kColorChunk; ++i) samples[c][i] = sources[c][offset[i]];
      }
      color_.Convert(samples, first);
      if (!between_) {
        for (int c = 0; c < color_.channels(); ++c)
          std::ranges::copy(first[c], &row.channels[c][x]);
        continue;
      }
      for (int c = 0; c < color_.components(); ++c) {
        const int* offset = &offsets_[c].second[x];
        for (int i = 0; i < kColorChunk; ++i) samples[c][i] = sources[c][offset[i]];
      }
      color_.Convert(samples, second);
      for (int c = 0; c < color_.channels(); ++c) {
        Interpolate(first[c].data(), second[c].data(), &weights_[x], &row.channels[c][x]);
      }
    }
  }
  return row;
}

// Returns how many pixels it changed.
int64_t Preprocessor::Impl::WriteRow(const ResampledRow& top, const ResampledRow& bottom, int row,
                                     const ImageTarget& target) const {
  const float weight = geometry_.y.taps[row].weight;
  const int y = geometry_.y.begin + row;
  int64_t changed = 0;
  std::array<LevelChunk, 3> values;
  for (const Span& span : spans_) {
    for (int x = span.begin; x < span.end; x += kColorChunk) {
      for (int c = 0; c < target.channels; ++c) {
        Normalize(&top.channels[c][x], &bottom.channels[c][x], weight, options_.mean[c],
                  options_.deviation[c], values[c].data());
      }
      const int count = std::min(kColorChunk, span.end - x);
      const int input_x = geometry_.x.begin + x;
      float* pixel = target.Pixel(y, input_x);
      uint64_t bits = 0;  // of pixels that differ
      for (int i = 0; i < count; ++i, pixel += target.pixel_stride) {
        uint32_t differ = 0;
        for (int c = 0; c < target.channels; ++c) {
          float& stored = pixel[c * target.channel_stride];
          differ |= std::bit_cast<uint32_t>(stored) ^ std::bit_cast<uint32_t>(values[c][i]);
          stored = values[c][i];
        }
        bits |= uint64_t{differ != 0} << i;
      }
      changed += std::popcount(bits);
      uint64_t* marks = target.changed + static_cast<ptrdiff_t>(y) * target.words_per_row;
      const int shift = input_x % 64;
      marks[input_x / 64] |= bits << shift;
      if (shift + count > 64) marks[input_x / 64 + 1] |= bits >> (64 - shift);
    }
  }
  return changed;
}

Result<int64_t> Preprocessor::Impl::Apply(const FrameView& frame, const BlockMap& changed,
                                          const ImageTarget& target) {
  DELTACNN_RETURN_IF_ERROR(Check(frame, changed, target));
  const bool configured = SamePicture(frame, picture_) && SameTarget(target, target_);
  if (!configured) Configure(frame, target);
  const bool fresh = !configured || !valid_ || frame.discontinuity;
  // The map speaks of the changes since the map before it only.
  const bool everything =
      fresh || (changed.sequence != sequence_ + 1 && changed.sequence != sequence_);
  if (fresh) FillTarget(target);

  int64_t count = 0;
  int last_first = -1;
  int last_second = -1;
  if (everything) {
    spans_.assign(1, {0, static_cast<int>(geometry_.x.taps.size())});
    ++spans_version_;
  }
  for (int row = 0; row < static_cast<int>(geometry_.y.taps.size()); ++row) {
    const Tap& tap = geometry_.y.taps[row];
    const int first = tap.first / kBlock;
    const int second = tap.second / kBlock;
    if (!everything && (first != last_first || second != last_second)) {
      FindSpans(changed, first, second);
      last_first = first;
      last_second = second;
    }
    if (spans_.empty()) continue;
    const ResampledRow& top = Resample(frame, tap.first, nullptr);
    const ResampledRow& bottom = Resample(frame, tap.second, &top);
    count += WriteRow(top, bottom, row, target);
  }
  ++spans_version_;  // the next frame's samples are others
  sequence_ = changed.sequence;
  valid_ = true;
  return fresh ? static_cast<int64_t>(target.width) * target.height : count;
}

Preprocessor::Preprocessor(const PreprocessOptions& options)
    : impl_(std::make_unique<Impl>(options)) {}
Preprocessor::~Preprocessor() = default;
Preprocessor::Preprocessor(Preprocessor&&) noexcept = default;
Preprocessor& Preprocessor::operator=(Preprocessor&&) noexcept = default;

Result<int64_t> Preprocessor::Apply(const FrameView& frame, const BlockMap& changed,
                                    const ImageTarget& target) {
  return impl_->Apply(frame, changed, target);
}
void Preprocessor::Reset() { impl_->Reset(); }
const PixelTransform& Preprocessor::transform() const { return impl_->transform; }

}  // namespace deltacnn
