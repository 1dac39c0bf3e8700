// A frame as a JPEG file in memory.
#include <algorithm>
#include <cmath>

#include "deltacnn/video.h"
#include "video/ffmpeg.h"
#include "video/pixel_format.h"

namespace deltacnn {
namespace {

Error Failed(int code) {
  return {ErrorCode::kIo, "cannot encode a picture as JPEG: " + FfmpegError(code) +
                              "; is this build of FFmpeg complete?"};
}

/// The frame as full-range I420 of the size of `picture`.
int Scale(const FrameView& frame, AVFrame& picture) {
  const FfmpegPtr<SwsContext> scaler(sws_getContext(
      frame.width, frame.height, FfmpegFormat(frame), picture.width, picture.height,
      static_cast<AVPixelFormat>(picture.format), SWS_AREA, nullptr, nullptr, nullptr));
  if (scaler == nullptr) return AVERROR(ENOMEM);
  const bool full = frame.range == ColorRange::kFull || LayoutOf(frame.format).rgb;
  sws_setColorspaceDetails(scaler.get(), sws_getCoefficients(ColorSpace(frame.matrix)),
                           full ? 1 : 0, sws_getCoefficients(SWS_CS_ITU601), 1, 0, 1 << 16,
                           1 << 16);
  const int allocated = av_frame_get_buffer(&picture, 0);
  if (allocated < 0) return allocated;
  std::array<int, 4> strides{};
  std::array<const uint8_t*, 4> planes{};
  for (size_t p = 0; p < frame.planes.size(); ++p) {
    planes[p] = frame.planes[p];
    strides[p] = static_cast<int>(frame.strides[p]);
  }
  return sws_scale(scaler.get(), planes.data(), strides.data(), 0, frame.height, picture.data,
                   picture.linesize);
}

}  // namespace

Result<std::vector<uint8_t>> EncodeJpeg(const FrameView& frame, int max_width, int quality) {
  DELTACNN_RETURN_IF_ERROR(frame.Check());
  av_log_set_level(AV_LOG_QUIET);
  const double scale = std::min(1.0, static_cast<double>(std::max(max_width, 1)) / frame.width);
  const FfmpegPtr<AVFrame> picture(av_frame_alloc());
  const FfmpegPtr<AVPacket> packet(av_packet_alloc());
  const AVCodec* codec = avcodec_find_encoder(AV_CODEC_ID_MJPEG);
  if (codec == nullptr) return Failed(AVERROR_ENCODER_NOT_FOUND);
  const FfmpegPtr<AVCodecContext> encoder(avcodec_alloc_context3(codec));
  if (picture == nullptr || packet == nullptr || encoder == nullptr) return Failed(AVERROR(ENOMEM));
  picture->format = AV_PIX_FMT_YUVJ420P;
  picture->width = std::max(1, static_cast<int>(std::lround(scale * frame.width)));
  picture->height = std::max(1, static_cast<int>(std::lround(scale * frame.height)));
  encoder->pix_fmt = AV_PIX_FMT_YUVJ420P;
  encoder->color_range = AVCOL_RANGE_JPEG;
  encoder->width = picture->width;
  encoder->height = picture->height;
  encoder->time_base = {1, 1};
  encoder->flags |= AV_CODEC_FLAG_QSCALE;
  encoder->global_quality = FF_QP2LAMBDA * std::clamp(quality / 5, 1, 31);
  picture->quality = encoder->global_quality;
  int code = Scale(frame, *picture);
  if (code >= 0) code = avcodec_open2(encoder.get(), codec, nullptr);
  if (code >= 0) code = avcodec_send_frame(encoder.get(), picture.get());
  if (code >= 0) code = avcodec_receive_packet(encoder.get(), packet.get());
  if (code < 0) return Failed(code);
  return std::vector<uint8_t>(packet->data, packet->data + packet->size);
}

}  // namespace deltacnn
