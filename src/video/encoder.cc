#include "video/encoder.h"

extern "C" {
#include <libavutil/hwcontext.h>
}

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "video/pixel_format.h"

namespace deltacnn {
namespace {

AVColorSpace TagOf(ColorMatrix matrix) {
  switch (matrix) {
    case ColorMatrix::kBt709:
      return AVCOL_SPC_BT709;
    case ColorMatrix::kBt2020:
      return AVCOL_SPC_BT2020_NCL;
    case ColorMatrix::kBt601:
      break;
  }
  return AVCOL_SPC_SMPTE170M;
}

// What CRF takes, roughly, for encoders that know bit rates only. Six levels of the quantiser are a
// factor of two.
int64_t BitRate(const EncoderOptions& options) {
  constexpr double kBitsPerPixel = 0.1;
  constexpr int kAtQuality = 23;
  return std::llround(kBitsPerPixel * std::exp2((kAtQuality - options.quality) / 6.0) *
                      options.width * options.height * options.fps);
}

}  // namespace

int Encoder::OpenCodec(const AVCodec* codec, AVPixelFormat format) {
  codec_.reset(avcodec_alloc_context3(codec));
  codec_->width = options_.width;
  codec_->height = options_.height;
  codec_->pix_fmt = format;
  codec_->color_range = options_.range == ColorRange::kFull ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
  codec_->colorspace = TagOf(options_.matrix);
  codec_->time_base = {1, kTimeBase};
  constexpr int kMaxTerm = 255;  // MPEG-4 has a byte for each
  codec_->sample_aspect_ratio = av_d2q(options_.pixel_aspect, kMaxTerm);
  codec_->framerate = av_d2q(options_.fps, kTimeBase);
  codec_->gop_size = std::max(1, static_cast<int>(std::lround(options_.fps * options_.keyframe_s)));
  codec_->max_b_frames = 0;
  codec_->thread_count = options_.threads;
  if (!options_.headers_in_packets) codec_->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  if (codec->id == AV_CODEC_ID_MPEG4) {
    codec_->flags |= AV_CODEC_FLAG_QSCALE;
    codec_->global_quality = FF_QP2LAMBDA * std::clamp(options_.quality / 5, 1, 31);
  } else {
    codec_->flags |= AV_CODEC_FLAG_LOW_DELAY;
    codec_->bit_rate = BitRate(options_);
  }
  if (format == AV_PIX_FMT_VAAPI) {
    if (const int code = MakeSurfaces(); code < 0) return code;
  }
  FfmpegOptions settings;
  if (std::strcmp(codec->name, "libx264") == 0) {
    settings.Set("preset", "veryfast");
    settings.Set("crf", std::to_string(options_.quality));
    settings.Set("tune", "zerolatency");  // a killed process loses no frames inside the encoder
  } else {
    // Hardware that has such a setting would hold frames back otherwise.
    settings.Set("async_depth", "1");
    settings.Set("zerolatency", "1");
  }
  return avcodec_open2(codec_.get(), codec, settings.get());
}

// VA-API encodes pictures in the GPU's memory only. The codec owns the pool of them.
int Encoder::MakeSurfaces() {
  AVBufferRef* device = nullptr;
  int code = av_hwdevice_ctx_create(&device, AV_HWDEVICE_TYPE_VAAPI, nullptr, nullptr, 0);
  if (code < 0) return code;
  codec_->hw_frames_ctx = av_hwframe_ctx_alloc(device);
  av_buffer_unref(&device);
  if (codec_->hw_frames_ctx == nullptr) return AVERROR(ENOMEM);
  auto* surfaces = reinterpret_cast<AVHWFramesContext*>(codec_->hw_frames_ctx->data);
  constexpr int kSurfaces = 8;  // the pool of some drivers cannot grow
  surfaces->format = AV_PIX_FMT_VAAPI;
  surfaces->sw_format = AV_PIX_FMT_NV12;
  surfaces->width = options_.width;
  surfaces->height = options_.height;
  surfaces->initial_pool_size = kSurfaces;
  return av_hwframe_ctx_init(codec_->hw_frames_ctx);
}

Result<Encoder> Encoder::Open(std::span<const std::string> names, const EncoderOptions& options,
                              const std::string& place) {
  // Most take planar pictures; some hardware takes NV12 only.
  static constexpr std::array kFormats = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_NV12};
  static constexpr std::array kSurfaces = {AV_PIX_FMT_VAAPI};
  Encoder encoder(options);
  std::string all;
  std::string causes;
  for (const std::string& name : names) {
    all += (all.empty() ? "" : ", ") + name;
    const AVCodec* codec = avcodec_find_encoder_by_name(name.c_str());
    if (codec == nullptr) continue;
    const bool vaapi = name.ends_with("_vaapi");
    int first_code = 0;
    for (const AVPixelFormat format : vaapi ? std::span<const AVPixelFormat>(kSurfaces)
                                            : std::span<const AVPixelFormat>(kFormats)) {
      int code = encoder.OpenCodec(codec, format);
      if (code >= 0) {
        encoder.picture_.reset(av_frame_alloc());
        encoder.picture_->format = vaapi ? AV_PIX_FMT_NV12 : format;
        encoder.picture_->width = options.width;
        encoder.picture_->height = options.height;
        code = av_frame_get_buffer(encoder.picture_.get(), 0);
      }
      if (code >= 0) return encoder;
      if (first_code == 0) first_code = code;
    }
    causes += (causes.empty() ? "" : ", ") + name + ": " + FfmpegError(first_code);
  }
  return Error{ErrorCode::kUnsupported,
               place + ": no encoder (" + all + ") of this FFmpeg build takes " +
                   std::to_string(options.width) + "x" + std::to_string(options.height) +
                   (causes.empty() ? "" : " (" + causes + ")") +
                   (names.size() == 1 ? "; is its device there and free?"
                                      : "; install an FFmpeg with libx264")};
}

bool Encoder::Fill(const FrameView& frame) {
  // The encoder may still read the last picture.
  if (av_frame_make_writable(picture_.get()) < 0) return false;
  const bool near =
      std::abs(frame.width - options_.width) <= 1 && std::abs(frame.height - options_.height) <= 1;
  const int width = near ? std::min(frame.width, options_.width) : frame.width;
  const int height = near ? std::min(frame.height, options_.height) : frame.height;
  const int out_width = near ? width : options_.width;
  const int out_height = near ? height : options_.height;
  const bool full = frame.range == ColorRange::kFull || LayoutOf(frame.format).rgb;
  const bool out_full = options_.range == ColorRange::kFull;
  // The range as part of the format: planes that need no conversion are then copied.
  const bool planar = picture_->format == AV_PIX_FMT_YUV420P;
  const AVPixelFormat out_format = !planar    ? AV_PIX_FMT_NV12
                                   : out_full ? AV_PIX_FMT_YUVJ420P
                                              : AV_PIX_FMT_YUV420P;
  scaler_.reset(sws_getCachedContext(scaler_.release(), width, height, FfmpegFormat(frame),
                                     out_width, out_height, out_format,
                                     SWS_BILINEAR | SWS_ACCURATE_RND, nullptr, nullptr, nullptr));
  if (scaler_ == nullptr) return false;
  sws_setColorspaceDetails(scaler_.get(), sws_getCoefficients(ColorSpace(frame.matrix)),
                           full ? 1 : 0, sws_getCoefficients(ColorSpace(options_.matrix)),
                           out_full ? 1 : 0, 0, 1 << 16, 1 << 16);
  std::array<const uint8_t*, 4> planes{};
  std::array<int, 4> strides{};
  for (int p = 0; p < 3; ++p) {
    planes[p] = frame.planes[p];
    strides[p] = static_cast<int>(frame.strides[p]);
  }
  if (sws_scale(scaler_.get(), planes.data(), strides.data(), 0, height, picture_->data,
                picture_->linesize) != out_height) {
    return false;
  }
  RepeatEdges(out_width, out_height);
  return true;
}

// Chroma of odd sizes is complete: it is rounded up.
void Encoder::RepeatEdges(int width, int height) {
  uint8_t* luma = picture_->data[0];
  const ptrdiff_t stride = picture_->linesize[0];
  if (width < options_.width) {
    for (int y = 0; y < height; ++y) luma[y * stride + width] = luma[y * stride + width - 1];
  }
  if (height < options_.height) {
    std::memcpy(luma + height * stride, luma + (height - 1) * stride,
                static_cast<size_t>(options_.width));
  }
}

int Encoder::Send(int64_t ticks, bool keyframe) {
  picture_->pts = ticks;
  picture_->pict_type = keyframe ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
  if (codec_->hw_frames_ctx == nullptr) return avcodec_send_frame(codec_.get(), picture_.get());
  const FfmpegPtr<AVFrame> surface(av_frame_alloc());
  int code = av_hwframe_get_buffer(codec_->hw_frames_ctx, surface.get(), 0);
  if (code >= 0) code = av_hwframe_transfer_data(surface.get(), picture_.get(), 0);
  if (code >= 0) code = av_frame_copy_props(surface.get(), picture_.get());
  return code < 0 ? code : avcodec_send_frame(codec_.get(), surface.get());
}

std::optional<int64_t> TickCounter::Next(double pts) {
  const double seconds = pts - first_pts_.value_or(pts);
  constexpr double kLongest = 1e9;
  if (!(std::abs(seconds) < kLongest)) return std::nullopt;
  if (!first_pts_) first_pts_ = pts;
  last_ = std::max<int64_t>(std::llround(seconds * Encoder::kTimeBase), last_ + 1);
  return last_;
}

}  // namespace deltacnn
