#include "core/port.h"

#include <algorithm>

#include "ops/placement.h"

namespace deltacnn {
namespace {

class ExportKernel : public Kernel {
 public:
  ExportKernel(const Placement& value, const Port& port, const kernels::Table& kernels)
      : value_(value), port_(port), kernels_(kernels), element_(SizeOf(value.dtype)) {
    const auto even = [](const std::vector<int64_t>& offsets) {
      for (size_t i = 2; i < offsets.size(); ++i)
        if (offsets[i] - offsets[i - 1] != offsets[1] - offsets[0]) return false;
      return true;
    };
    const bool planes = port_.channel.size() > 1 && port_.col.size() > 1 && even(port_.channel) &&
                        even(port_.col) && port_.col[1] - port_.col[0] == 1;
    if (planes && element_ == 4) plane_pitch_ = port_.channel[1] - port_.channel[0];
  }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    out.Or(inputs[0]);
  }

  void Compute(const Work& work) const override {
    switch (element_) {
      case 1:
        return Copy<uint8_t>(work);
      case 2:
        return Copy<uint16_t>(work);
      case 4:
        return Copy<uint32_t>(work);
      default:
        return Copy<uint64_t>(work);
    }
  }

 private:
  template <class T>
  void Copy(const Work& work) const {
    T* target = reinterpret_cast<T*>(work.buffers[port_.buffer]);
    const size_t channels = port_.channel.size();
    // Channel planes are far apart in the tensor: some pixels at once fill several cache lines in a
    // row of each, which is what the hardware foresees.
    constexpr int kPixels = 128;
    for (const Span& span : work.spans) {
      T* row = target + port_.row[static_cast<size_t>(span.row)];
      for (int begin = 0; begin < span.count; begin += kPixels) {
        const int count = std::min(kPixels, span.count - begin);
        const T* source = work.Pixel<T>(value_, span.row, span.col + begin);
        const int64_t* col = port_.col.data() + span.col + begin;
        if (plane_pitch_ != 0) {
          kernels_.transpose(source, value_.col_stride, static_cast<size_t>(count), channels,
                             row + *col, plane_pitch_);
          continue;
        }
        for (size_t c = 0; c < channels; ++c) {
          T* plane = row + port_.channel[c];
          for (int k = 0; k < count; ++k)
            plane[col[k]] = source[k * value_.col_stride + static_cast<int64_t>(c)];
        }
      }
    }
  }

  Placement value_;
  Port port_;
  const kernels::Table& kernels_;
  size_t element_;
  int64_t plane_pitch_ = 0;  // of planes of channels, the pixels of which are adjacent; else 0
};

}  // namespace

Port MakePort(const PlanState& state, ValueId id, int mask) {
  const Placement& p = state.placements[static_cast<size_t>(id)];
  Port port;
  port.info = {state.graph.values[static_cast<size_t>(id)].name, p.dtype, p.shape};
  port.value = id;
  port.mask = mask;
  std::vector<std::vector<int64_t>> offsets(p.shape.size());
  int64_t stride = 1;
  bool row_major = p.row_offset.empty() || p.row_offset[0] == 0;
  for (size_t a = p.shape.size(); a-- > 0;) {
    for (int64_t i = 0; i < p.shape[a]; ++i) offsets[a].push_back(i * stride);
    row_major = row_major && (p.shape[a] == 1 || p.strides[a] == stride);
    stride *= p.shape[a];
  }
  SplitOffsets split = SplitByLayout(p.shape, p.pixel_axes, offsets);
  port.row = std::move(split.row);
  port.col = std::move(split.col);
  port.channel = std::move(split.channel);
  if (row_major) port.buffer = p.buffer;
  return port;
}

KernelPtr MakeExport(const Placement& value, const Port& port, const kernels::Table& kernels) {
  return std::make_unique<ExportKernel>(value, port, kernels);
}

}  // namespace deltacnn
