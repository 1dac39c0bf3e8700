// One opened container, stream or device with its decoder.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "deltacnn/result.h"
#include "deltacnn/video.h"
#include "video/ffmpeg.h"
#include "video/inputs.h"
#include "video/orientation.h"

namespace deltacnn {

/// Breaks FFmpeg's blocking calls. FFmpeg keeps its address.
class Interrupt {
 public:
  explicit Interrupt(const std::atomic<bool>* stop) : stop_(stop) {}

  void SetTimeout(double seconds);
  bool stopped() const { return stop_ != nullptr && stop_->load(std::memory_order_relaxed); }
  bool timed_out() const { return Clock::now() >= deadline_; }
  AVIOInterruptCB callback();

 private:
  using Clock = std::chrono::steady_clock;

  const std::atomic<bool>* stop_;
  Clock::time_point deadline_ = Clock::time_point::max();
};

class Media {
 public:
  /// `path` is one of the inputs' paths.
  static Result<std::unique_ptr<Media>> Open(InputKind kind, const std::string& path,
                                             const VideoOptions& options);
  Media(const Media&) = delete;
  Media& operator=(const Media&) = delete;
  ~Media();

  enum class Outcome : uint8_t {
    kFrame,
    kEnd,
    kLost,     // the connection or device failed; error() says how
    kStopped,  // by VideoOptions::stop
  };
  /// Decodes up to the next frame. With kFrame, `frame` refers to it.
  Outcome Next(AVFrame* frame);

  /// Packets and pictures found damaged so far.
  int64_t decode_errors() const { return decode_errors_; }
  /// Whether damage was met between the last two frames, or in the last one. Cleared by reading.
  bool TakeDamaged() { return std::exchange(damaged_, false); }
  /// Time the decoder took for the last frame.
  double decode_ms() const { return decode_ms_; }
  const Error& error() const { return error_; }

  double time_base() const { return av_q2d(stream_->time_base); }
  double fps() const { return fps_; }
  /// As the frame says itself or else its stream.
  Orientation orientation(const AVFrame& frame) const;
  /// Of the frame turned upright.
  double pixel_aspect(AVFrame* frame) const;
  int64_t frame_count() const { return stream_->nb_frames; }
  std::string codec_name() const { return avcodec_get_name(codec_->codec_id); }

 private:
  Media(InputKind kind, const std::string& path, const VideoOptions& options);
  Status OpenInput();
  Status OpenDecoder();
  int ReadPacket();
  void CountError();
  Error Failure(const std::string& what, int code) const;

  InputKind kind_;
  std::string path_;
  VideoOptions options_;
  Interrupt interrupt_;
  bool can_be_lost_;  // a network peer or device: silence and read errors mean it is gone
  AVFormatContext* format_ = nullptr;
  AVIOContext* pipe_ = nullptr;  // reads standard input
  const AVStream* stream_ = nullptr;
  FfmpegPtr<AVCodecContext> codec_;
  FfmpegPtr<AVPacket> packet_;
  bool began_ = false;  // a packet was read
  bool damaged_ = false;
  int64_t decode_errors_ = 0;
  int errors_in_a_row_ = 0;
  double decode_ms_ = 0;
  double fps_ = 0;
  Error error_;
};

}  // namespace deltacnn
