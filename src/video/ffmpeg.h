// FFmpeg's objects with owners, and its errors as text.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
}

#include <array>
#include <memory>
#include <string>

#include "deltacnn/frame.h"

namespace deltacnn {

struct FfmpegDeleter {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
  void operator()(AVCodecContext* context) const { avcodec_free_context(&context); }
  void operator()(SwsContext* context) const { sws_freeContext(context); }
};
template <class T>
using FfmpegPtr = std::unique_ptr<T, FfmpegDeleter>;

/// Options for avformat_open_input and its like.
class FfmpegOptions {
 public:
  FfmpegOptions() = default;
  FfmpegOptions(const FfmpegOptions&) = delete;
  FfmpegOptions& operator=(const FfmpegOptions&) = delete;
  ~FfmpegOptions() { av_dict_free(&dictionary_); }

  void Set(const char* key, const std::string& value) {
    av_dict_set(&dictionary_, key, value.c_str(), 0);
  }
  AVDictionary** get() { return &dictionary_; }

 private:
  AVDictionary* dictionary_ = nullptr;
};

/// What is farther from square than this, or its inverse, is a mistake.
constexpr double kMaxPixelAspect = 16;

inline bool ValidPixelAspect(double aspect) {
  return aspect >= 1 / kMaxPixelAspect && aspect <= kMaxPixelAspect;
}

inline std::string FfmpegError(int code) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(code, text.data(), text.size());
  return text.data();
}

inline AVPixelFormat FfmpegFormat(const FrameView& frame) {
  const bool full = frame.range == ColorRange::kFull;
  switch (frame.format) {
    case PixelFormat::kI420:
      return full ? AV_PIX_FMT_YUVJ420P : AV_PIX_FMT_YUV420P;
    case PixelFormat::kI422:
      return full ? AV_PIX_FMT_YUVJ422P : AV_PIX_FMT_YUV422P;
    case PixelFormat::kI444:
      return full ? AV_PIX_FMT_YUVJ444P : AV_PIX_FMT_YUV444P;
    case PixelFormat::kNv12:
      return AV_PIX_FMT_NV12;
    case PixelFormat::kGray8:
      return AV_PIX_FMT_GRAY8;
    case PixelFormat::kRgb24:
      return AV_PIX_FMT_RGB24;
    case PixelFormat::kBgr24:
      return AV_PIX_FMT_BGR24;
    case PixelFormat::kRgba32:
      return AV_PIX_FMT_RGB0;
    case PixelFormat::kBgra32:
      return AV_PIX_FMT_BGR0;
  }
  return AV_PIX_FMT_NONE;
}

inline int ColorSpace(ColorMatrix matrix) {
  switch (matrix) {
    case ColorMatrix::kBt709:
      return SWS_CS_ITU709;
    case ColorMatrix::kBt2020:
      return SWS_CS_BT2020;
    case ColorMatrix::kBt601:
      break;
  }
  return SWS_CS_ITU601;
}

}  // namespace deltacnn
