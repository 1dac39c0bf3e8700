// FFmpeg's encoders, set up so that a picture in gives a packet out, and pictures as they want
// them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "deltacnn/frame.h"
#include "deltacnn/result.h"
#include "video/ffmpeg.h"

namespace deltacnn {

struct EncoderOptions {
  int width = 0;  // even, as height
  int height = 0;
  ColorMatrix matrix = ColorMatrix::kBt601;
  ColorRange range = ColorRange::kLimited;
  double fps = 25;
  int quality = 23;  // as x264's CRF
  int threads = 1;
  double pixel_aspect = 1;
  double keyframe_s = 1;  // longest time from one to the next
  /// Parameter sets go before every keyframe, so that a later encoder's may differ.
  bool headers_in_packets = false;
};

class Encoder {
 public:
  /// Ticks a second: whole numbers for the usual frame rates, and the most MPEG-4 allows is 65535.
  static constexpr int kTimeBase = 60000;

  /// The first of `names` that opens; messages start with `place`. kUnsupported where none does.
  static Result<Encoder> Open(std::span<const std::string> names, const EncoderOptions& options,
                              const std::string& place);

  /// Converts a frame into the next picture. A side that is one pixel too long is cut, one too
  /// short repeats its edge; other sizes are scaled. False where FFmpeg cannot.
  bool Fill(const FrameView& frame);
  /// Encodes the picture filled in, as Receive() tells. 0 or FFmpeg's code, as the next two.
  int Send(int64_t ticks, bool keyframe);
  /// Nothing more will be sent.
  int Drain() { return avcodec_send_frame(codec_.get(), nullptr); }
  int Receive(AVPacket* packet) { return avcodec_receive_packet(codec_.get(), packet); }

  const EncoderOptions& options() const { return options_; }
  const AVCodecContext& codec() const { return *codec_; }
  std::string name() const { return codec_->codec->name; }

 private:
  explicit Encoder(const EncoderOptions& options) : options_(options) {}
  int OpenCodec(const AVCodec* codec, AVPixelFormat format);
  int MakeSurfaces();
  void RepeatEdges(int width, int height);

  EncoderOptions options_;
  FfmpegPtr<AVCodecContext> codec_;
  FfmpegPtr<AVFrame> picture_;
  FfmpegPtr<SwsContext> scaler_;
};

/// Seconds as growing ticks from the first frame on.
class TickCounter {
 public:
  /// Nothing for what is no time.
  std::optional<int64_t> Next(double pts);

 private:
  std::optional<double> first_pts_;
  int64_t last_ = -1;
};

}  // namespace deltacnn
