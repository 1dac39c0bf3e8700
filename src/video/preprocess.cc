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
#include "video/rows.h"

namespace deltacnn {
namespace {

constexpr int kBlock = BlockMap::kBlock;

// Input columns [begin, end), counted from where the picture begins.
struct Span {
  int begin = 0;
  int end = 0;
};

// The channels of a row, padded.
using LevelRow = std::array<std::vector<float>, 3>;

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

}  // namespace

class Preprocessor::Impl {
 public:
  explicit Impl(const InputSpec& spec) : spec_(spec) {}

  Result<int64_t> Apply(const FrameView& frame, const BlockMap& changed, const ImageTarget& target);
  void Reset() { valid_ = false; }

  PixelTransform transform;

 private:
  // A row of the source, converted; holds only what the spans of its version need.
  struct ConvertedRow {
    int source_y = -1;
    int64_t spans_version = -1;
    LevelRow levels;
  };

  Status Check(const FrameView& frame, const BlockMap& changed, const ImageTarget& target) const;
  void Configure(const FrameView& frame, const ImageTarget& target);
  void FillTarget(const ImageTarget& target) const;
  void FindSpans(const BlockMap& changed, int first_block_row, int second_block_row);
  Span SourceColumns(const Span& span) const;
  const LevelRow& Convert(const FrameView& frame, int source_y, const LevelRow* keep);
  const LevelRow& BlendRows(const FrameView& frame, const Tap& tap);
  template <int kChannels>
  int64_t WriteRow(const LevelRow& levels, int row, const ImageTarget& target);

  InputSpec spec_;
  bool valid_ = false;  // the target holds what the last frame gave
  uint64_t sequence_ = 0;
  FrameView picture_;  // geometry and colour of the configuration
  ImageTarget target_;
  ColorConverter color_;
  Geometry geometry_;
  // Of each input column, padded: the first of two source columns, and the weight of the second.
  std::vector<int32_t> first_columns_;
  std::vector<float> weights_;
  std::vector<Span> block_reach_;  // columns that touch each column of blocks
  std::vector<Span> spans_;        // columns to recompute in the current row
  int64_t spans_version_ = 0;
  std::array<ConvertedRow, 2> rows_;
  LevelRow blended_;
  LevelRow input_;  // at the columns of the input
};

Status Preprocessor::Impl::Check(const FrameView& frame, const BlockMap& changed,
                                 const ImageTarget& target) const {
  DELTACNN_RETURN_IF_ERROR(frame.Check());
  const int channels = spec_.color == InputSpec::Color::kGray ? 1 : 3;
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
    if (!std::isfinite(spec_.mean[c]) || !std::isfinite(spec_.std[c]) || spec_.std[c] == 0 ||
        !std::isfinite(spec_.pad_value)) {
      return Misuse("mean, std and pad_value must be finite, and std not 0");
    }
  }
  return {};
}

void Preprocessor::Impl::Configure(const FrameView& frame, const ImageTarget& target) {
  picture_ = frame;
  target_ = target;
  geometry_ = ComputeGeometry(spec_, frame.width, frame.height, target.width, target.height);
  transform = geometry_.transform();
  color_ = ColorConverter(frame, spec_.color);

  const std::vector<Tap>& taps = geometry_.x.taps;
  const auto used = static_cast<int>(taps.size());
  const size_t padded = taps.size() + rows::kPadding;
  first_columns_.assign(padded, 0);
  weights_.assign(padded, 0);
  for (int i = 0; i < used; ++i) {
    first_columns_[i] = taps[i].first;
    weights_[i] = taps[i].weight;
  }
  const auto allocate = [&](LevelRow& row, size_t width) {
    for (int c = 0; c < target.channels; ++c) row[c].assign(width + rows::kPadding, 0);
  };
  for (ConvertedRow& row : rows_) {
    row.source_y = -1;
    allocate(row.levels, frame.width);
  }
  allocate(blended_, frame.width);
  allocate(input_, taps.size());

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
        pixel[c * target.channel_stride] = (spec_.pad_value - spec_.mean[c]) / spec_.std[c];
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
  const uint64_t* first =
      &changed.bits[static_cast<size_t>(first_block_row) * changed.words_per_row];
  const uint64_t* second =
      &changed.bits[static_cast<size_t>(second_block_row) * changed.words_per_row];
  for (int word = 0; word < changed.words_per_row; ++word) {
    for (uint64_t bits = first[word] | second[word]; bits != 0; bits &= bits - 1) {
      const int column = word * 64 + std::countr_zero(bits);
      if (column >= changed.columns) break;
      const Span& reach = block_reach_[column];
      if (reach.begin >= reach.end) continue;
      if (!spans_.empty() && reach.begin <= spans_.back().end) {
        spans_.back().end = reach.end;
      } else {
        spans_.push_back(reach);
      }
    }
  }
}

Span Preprocessor::Impl::SourceColumns(const Span& span) const {
  return {geometry_.x.taps[span.begin].first, geometry_.x.taps[span.end - 1].second + 1};
}

// Overwrites the row that is not `keep`, unless one of the two is what is asked for.
const LevelRow& Preprocessor::Impl::Convert(const FrameView& frame, int source_y,
                                            const LevelRow* keep) {
  for (const ConvertedRow& row : rows_) {
    if (row.source_y == source_y && row.spans_version == spans_version_) return row.levels;
  }
  ConvertedRow& row = keep == &rows_[0].levels ? rows_[1] : rows_[0];
  row.source_y = source_y;
  row.spans_version = spans_version_;
  std::array<float*, 3> levels{};
  for (size_t c = 0; c < levels.size(); ++c) levels[c] = row.levels[c].data();
  for (const Span& span : spans_) {
    const Span columns = SourceColumns(span);
    color_.Convert(frame, source_y, columns.begin, columns.end, levels);
  }
  return row.levels;
}

// Between rows first: that runs along the columns, and leaves half of the samples to gather.
const LevelRow& Preprocessor::Impl::BlendRows(const FrameView& frame, const Tap& tap) {
  const LevelRow& top = Convert(frame, tap.first, nullptr);
  if (!(tap.weight > 0)) return top;
  const LevelRow& bottom = Convert(frame, tap.second, &top);
  for (const Span& span : spans_) {
    const Span columns = SourceColumns(span);
    const auto count = static_cast<size_t>(columns.end - columns.begin);
    for (int c = 0; c < color_.channels(); ++c) {
      rows::Blend(&top[c][columns.begin], &bottom[c][columns.begin], tap.weight, count,
                  &blended_[c][columns.begin]);
    }
  }
  return blended_;
}

// Returns how many pixels it changed.
template <int kChannels>
int64_t Preprocessor::Impl::WriteRow(const LevelRow& levels, int row, const ImageTarget& target) {
  const int y = geometry_.y.begin + row;
  const ptrdiff_t channel_stride = target.channel_stride;
  uint64_t* marks = target.changed + static_cast<ptrdiff_t>(y) * target.words_per_row;
  int64_t changed = 0;
  for (const Span& span : spans_) {
    for (int c = 0; c < kChannels; ++c) {
      rows::Interpolate(levels[c].data(), &first_columns_[span.begin], &weights_[span.begin],
                        spec_.mean[c], spec_.std[c], static_cast<size_t>(span.end - span.begin),
                        &input_[c][span.begin]);
    }
    for (int x = span.begin; x < span.end;) {
      const int input_x = geometry_.x.begin + x;
      const int end = std::min(span.end, x + 64 - input_x % 64);  // of a word of marks
      float* pixel = target.Pixel(y, input_x);
      uint64_t bits = 0;  // of pixels that differ
      for (uint64_t bit = uint64_t{1} << (input_x % 64); x < end; ++x, bit <<= 1) {
        uint32_t differ = 0;
        for (int c = 0; c < kChannels; ++c) {
          float& stored = pixel[c * channel_stride];
          const float value = input_[c][x];
          differ |= std::bit_cast<uint32_t>(stored) ^ std::bit_cast<uint32_t>(value);
          stored = value;
        }
        if (differ != 0) bits |= bit;
        pixel += target.pixel_stride;
      }
      changed += std::popcount(bits);
      marks[input_x / 64] |= bits;
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
    const LevelRow& levels = BlendRows(frame, tap);
    count +=
        target.channels == 1 ? WriteRow<1>(levels, row, target) : WriteRow<3>(levels, row, target);
  }
  ++spans_version_;  // the next frame's samples are others
  sequence_ = changed.sequence;
  valid_ = true;
  return fresh ? static_cast<int64_t>(target.width) * target.height : count;
}

Preprocessor::Preprocessor(const InputSpec& spec) : impl_(std::make_unique<Impl>(spec)) {}
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
