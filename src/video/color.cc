#include "video/color.h"

#include "video/pixel_format.h"

namespace deltacnn {
namespace {

constexpr float kRedWeight = 0.299F;  // of luma, BT.601
constexpr float kGreenWeight = 0.587F;
constexpr float kBlueWeight = 0.114F;

float Clamp(float level) {
  level = level > 0 ? level : 0;
  return level < 255 ? level : 255;
}

// Compilers heed __restrict on parameters only, and vectorise these loops at -O2 thanks to it.

void RgbToGray(const float* __restrict red, const float* __restrict green,
               const float* __restrict blue, float* __restrict gray) {
  for (int i = 0; i < kColorChunk; ++i) {
    gray[i] = kRedWeight * red[i] + kGreenWeight * green[i] + kBlueWeight * blue[i];
  }
}

void LumaToGray(const YuvCoefficients& k, const float* __restrict luma, float* __restrict gray) {
  const float scale = k.luma_scale;
  const float offset = k.luma_offset;
  for (int i = 0; i < kColorChunk; ++i) gray[i] = Clamp((luma[i] - offset) * scale);
}

void YuvToRgb(YuvCoefficients k, const float* __restrict luma, const float* __restrict chroma_u,
              const float* __restrict chroma_v, float* __restrict red, float* __restrict green,
              float* __restrict blue) {
  for (int i = 0; i < kColorChunk; ++i) {
    const float y = (luma[i] - k.luma_offset) * k.luma_scale;
    const float u = chroma_u[i] - 128;
    const float v = chroma_v[i] - 128;
    red[i] = Clamp(y + k.red_v * v);
    green[i] = Clamp(y - k.green_u * u - k.green_v * v);
    blue[i] = Clamp(y + k.blue_u * u);
  }
}

}  // namespace

ColorConverter::ColorConverter(PixelFormat format, ColorMatrix matrix, ColorRange range,
                               ChannelOrder order)
    : order_(order), rgb_(LayoutOf(format).rgb), components_(LayoutOf(format).components) {
  if (rgb_) return;
  if (order == ChannelOrder::kGray) components_ = 1;

  double red = 0.299;
  double blue = 0.114;
  if (matrix == ColorMatrix::kBt709) {
    red = 0.2126;
    blue = 0.0722;
  } else if (matrix == ColorMatrix::kBt2020) {
    red = 0.2627;
    blue = 0.0593;
  }
  const double green = 1 - red - blue;
  const bool limited = range == ColorRange::kLimited;
  const double chroma_scale = limited ? 255.0 / 224 : 1;
  yuv_.luma_scale = limited ? static_cast<float>(255.0 / 219) : 1;
  yuv_.luma_offset = limited ? 16 : 0;
  yuv_.red_v = static_cast<float>(2 * (1 - red) * chroma_scale);
  yuv_.blue_u = static_cast<float>(2 * (1 - blue) * chroma_scale);
  yuv_.green_u = static_cast<float>(2 * (1 - blue) * blue / green * chroma_scale);
  yuv_.green_v = static_cast<float>(2 * (1 - red) * red / green * chroma_scale);
}

void ColorConverter::Convert(const std::array<LevelChunk, 3>& samples,
                             std::array<LevelChunk, 3>& levels) const {
  const int first = order_ == ChannelOrder::kBgr ? 2 : 0;  // where red goes
  if (rgb_ && order_ == ChannelOrder::kGray) {
    RgbToGray(samples[0].data(), samples[1].data(), samples[2].data(), levels[0].data());
  } else if (rgb_) {
    levels[first] = samples[0];
    levels[1] = samples[1];
    levels[2 - first] = samples[2];
  } else if (components_ == 3) {
    YuvToRgb(yuv_, samples[0].data(), samples[1].data(), samples[2].data(), levels[first].data(),
             levels[1].data(), levels[2 - first].data());
  } else {
    LumaToGray(yuv_, samples[0].data(), levels[0].data());
    for (int c = 1; c < channels(); ++c) levels[c] = levels[0];
  }
}

}  // namespace deltacnn
