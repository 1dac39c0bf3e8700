#include "video/color.h"

#include <cstring>

#include "video/pixel_format.h"

namespace deltacnn {
namespace {

// One sample a pixel, `count` of them from pixel x on.
void LoadSamples(const ComponentLayout& component, const uint8_t* row, int x, int count,
                 uint8_t* samples) {
  const uint8_t* source = row + component.offset;
  if (component.step == 1 && component.shift_x == 0) {
    std::memcpy(samples, source + x, count);
  } else if (component.step == 1) {
    const int odd = x % 2;  // the second of a pair comes first
    if (odd != 0) samples[0] = source[x / 2];
    source += (x + odd) / 2;
    samples += odd;
    count -= odd;
    for (int i = 0; i < count / 2; ++i) samples[2 * i] = samples[2 * i + 1] = source[i];
    if (count % 2 != 0) samples[count - 1] = source[count / 2];
  } else {
    for (int i = 0; i < count; ++i)
      samples[i] = source[((x + i) >> component.shift_x) * component.step];
  }
}

}  // namespace

ColorConverter::ColorConverter(const FrameView& frame, InputSpec::Color order)
    : order_(order),
      rgb_(LayoutOf(frame.format).rgb),
      components_(LayoutOf(frame.format).components) {
  if (!rgb_ && order == InputSpec::Color::kGray) components_ = 1;
  for (int c = 0; c < components_; ++c) samples_[c].resize(frame.width + rows::kPadding);
  if (rgb_) return;

  double red = 0.299;
  double blue = 0.114;
  if (frame.matrix == ColorMatrix::kBt709) {
    red = 0.2126;
    blue = 0.0722;
  } else if (frame.matrix == ColorMatrix::kBt2020) {
    red = 0.2627;
    blue = 0.0593;
  }
  const double green = 1 - red - blue;
  const bool limited = frame.range == ColorRange::kLimited;
  const double chroma_scale = limited ? 255.0 / 224 : 1;
  yuv_.luma_scale = limited ? static_cast<float>(255.0 / 219) : 1;
  yuv_.luma_offset = limited ? 16 : 0;
  yuv_.red_v = static_cast<float>(2 * (1 - red) * chroma_scale);
  yuv_.blue_u = static_cast<float>(2 * (1 - blue) * chroma_scale);
  yuv_.green_u = static_cast<float>(2 * (1 - blue) * blue / green * chroma_scale);
  yuv_.green_v = static_cast<float>(2 * (1 - red) * red / green * chroma_scale);
}

void ColorConverter::Convert(const FrameView& frame, int y, int begin, int end,
                             const std::array<float*, 3>& levels) {
  const PixelLayout& layout = LayoutOf(frame.format);
  for (int c = 0; c < components_; ++c) {
    const ComponentLayout& component = layout.component[c];
    const uint8_t* row =
        frame.planes[component.plane] + (y >> component.shift_y) * frame.strides[component.plane];
    LoadSamples(component, row, begin, end - begin, samples_[c].data());
  }
  const auto count = static_cast<size_t>(end - begin);
  const uint8_t* first = samples_[0].data();
  const uint8_t* second = samples_[1].data();
  const uint8_t* third = samples_[2].data();
  const int red = order_ == InputSpec::Color::kBgr ? 2 : 0;  // where it goes
  const int blue = 2 - red;
  if (rgb_ && channels() == 1) {
    rows::RgbToGray(first, second, third, count, levels[0] + begin);
  } else if (rgb_) {
    rows::ToFloat(first, count, levels[red] + begin);
    rows::ToFloat(second, count, levels[1] + begin);
    rows::ToFloat(third, count, levels[blue] + begin);
  } else if (components_ == 3) {
    rows::YuvToRgb(yuv_, first, second, third, count, levels[red] + begin, levels[1] + begin,
                   levels[blue] + begin);
  } else {
    for (int c = 0; c < channels(); ++c) rows::LumaToGray(yuv_, first, count, levels[c] + begin);
  }
}

}  // namespace deltacnn
