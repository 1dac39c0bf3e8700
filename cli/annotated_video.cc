#include "annotated_video.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace deltacnn::cli {
namespace {

constexpr int kBgraBytes = 4;

}  // namespace

Canvas::Canvas()
    : convert_({.color = InputSpec::Color::kBgr,
                .std = {1, 1, 1},
                .resize = InputSpec::Resize::kStretch}) {}

void Canvas::Resize(int width, int height) {
  const size_t pixels = static_cast<size_t>(width) * static_cast<size_t>(height);
  target_.height = height;
  target_.width = width;
  target_.channels = 3;
  target_.pixel_stride = 3;
  target_.row_stride = ptrdiff_t{3} * width;
  target_.words_per_row = (width + 63) / 64;
  levels_.assign(3 * pixels, 0);
  marks_.assign(static_cast<size_t>(target_.words_per_row) * static_cast<size_t>(height), 0);
  clean_.assign(kBgraBytes * pixels, 0);
  target_.data = levels_.data();
  target_.changed = marks_.data();
  convert_.Reset();
}

Status Canvas::Show(const FrameView& frame) {
  if (frame.width != target_.width || frame.height != target_.height)
    Resize(frame.width, frame.height);
  DELTACNN_RETURN_IF_ERROR(changes_.Update(frame));
  const auto converted = convert_.Apply(changes_.held(), changes_.changed(), target_);
  if (!converted.ok()) return converted.error();
  for (int y = 0; y < target_.height; ++y) {
    for (int w = 0; w < target_.words_per_row; ++w) {
      uint64_t& word = marks_[static_cast<size_t>(y) * target_.words_per_row + w];
      for (; word != 0; word &= word - 1) {
        const int x = 64 * w + std::countr_zero(word);
        const float* from = target_.Pixel(y, x);
        uint8_t* to = &clean_[kBgraBytes * (static_cast<size_t>(y) * target_.width + x)];
        for (int c = 0; c < 3; ++c) to[c] = static_cast<uint8_t>(std::lround(from[c]));
      }
    }
  }
  Clean();
  return {};
}

BgraPicture Canvas::picture() {
  return {.data = drawn_on_.data(),
          .width = target_.width,
          .height = target_.height,
          .stride = ptrdiff_t{kBgraBytes} * target_.width};
}

Result<AnnotatedVideo> AnnotatedVideo::Create(const std::string& path, int width, int height,
                                              const WriterOptions& options) {
  auto writer = VideoWriter::Create(path, width, height, options);
  if (!writer.ok()) return writer.error();
  return AnnotatedVideo(std::move(*writer));
}

Status AnnotatedVideo::Write(const FrameView& frame, const Answer& answer, const Preset& preset,
                             const HeatMap& heat, const StepReport& report) {
  DELTACNN_RETURN_IF_ERROR(canvas_.Show(frame));
  AnnotateOptions annotate;
  annotate.status_line =
      fmt::format("work {:.1f} %{}", 100 * report.macs_share, report.dense ? " (dense)" : "");
  annotate.heat_map = heat;
  const BgraPicture picture = canvas_.picture();
  DELTACNN_RETURN_IF_ERROR(Annotate(picture, answer, preset, annotate));
  FrameView view = FrameView::Packed(PixelFormat::kBgra32, picture.width, picture.height,
                                     picture.data, picture.stride);
  view.pts = frame.pts;
  return writer_.Write(view);
}

}  // namespace deltacnn::cli
