// One encode for the recording and the network.
#include <array>
#include <chrono>
#include <deque>
#include <span>
#include <utility>

#include "deltacnn/video.h"
#include "video/convert.h"
#include "video/encoder.h"
#include "video/ffmpeg.h"
#include "video/inputs.h"
#include "video/mp4_file.h"
#include "video/pixel_format.h"

namespace deltacnn {
namespace {

// Frames that may be on their way through encoder and decoder.
constexpr size_t kMostHeld = 250;

/// Adds the time until it goes away.
class Timer {
 public:
  explicit Timer(double& ms) : ms_(ms) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { ms_ += std::chrono::duration<double, std::milli>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;

  double& ms_;
  Clock::time_point start_ = Clock::now();
};

Status CheckEncoder(const std::string& name, const std::string& place) {
  const AVCodec* codec = avcodec_find_encoder_by_name(name.c_str());
  if (codec == nullptr) {
    return Error{ErrorCode::kUnsupported, place + ": this FFmpeg build has no encoder '" + name +
                                              "'; 'ffmpeg -encoders' lists those it has"};
  }
  if (codec->id != AV_CODEC_ID_H264) {
    return Error{
        ErrorCode::kUsage,
        place + ": '" + name + "' does not make H.264; name an encoder that does, such as libx264"};
  }
  return {};
}

}  // namespace

class VideoRecorder::Impl {
 public:
  Impl(const std::string& path, Reader reader, const RecorderOptions& options)
      : path_(path),
        reader_(std::move(reader)),
        options_(options),
        packet_(av_packet_alloc()),
        picture_(av_frame_alloc()),
        file_(path) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { (void)Close(); }

  Status Start();
  Result<std::optional<FrameView>> Next();
  Status Close();

  std::string encoder() const { return encoder_->name(); }

  double encode_ms = 0;
  double decode_ms = 0;

 private:
  // What packets do not carry.
  struct Sent {
    int64_t ticks = 0;
    double pts = 0;
    bool discontinuity = false;
    std::string file = {};
  };

  std::string place() const { return "cannot record " + DisplayName(path_); }
  Status Read();
  Status Open(const FrameView& frame);
  Status OpenDecoder();
  bool Fits(const FrameView& frame) const;
  Status Encode(const FrameView& frame);
  Status Decode();
  Result<FrameView> Describe();

  std::string path_;
  Reader reader_;
  RecorderOptions options_;
  std::optional<Encoder> encoder_;
  FfmpegPtr<AVCodecContext> decoder_;
  FfmpegPtr<AVPacket> packet_;
  FfmpegPtr<AVFrame> picture_;
  FrameConverter converter_;
  TickCounter ticks_;
  std::deque<Sent> sent_;  // the oldest first
  Sent delivered_;
  std::optional<FrameView> pending_;  // read, not yet encoded
  std::optional<Error> lost_;         // the source; told when all before it is delivered
  int width_ = 0;                     // of the frames in the encoder
  int height_ = 0;
  bool discontinuity_ = true;
  Mp4File file_;
};

Status VideoRecorder::Impl::Start() {
  if (!options_.encoder.empty()) DELTACNN_RETURN_IF_ERROR(CheckEncoder(options_.encoder, place()));
  DELTACNN_RETURN_IF_ERROR(Read());
  if (!pending_) return Error{ErrorCode::kIo, place() + ": the source has no frame"};
  DELTACNN_RETURN_IF_ERROR(Open(*pending_));
  return file_.Open(encoder_->codec());
}

Status VideoRecorder::Impl::Read() {
  auto frame = reader_();
  if (!frame.ok()) return frame.error();
  pending_ = *frame;
  return pending_ ? pending_->Check() : Status();
}

Status VideoRecorder::Impl::Open(const FrameView& frame) {
  static const std::array<std::string, 4> kEncoders = {"libx264", "libopenh264", "h264_v4l2m2m",
                                                       "h264_vaapi"};
  const bool rgb = LayoutOf(frame.format).rgb;
  auto encoder =
      Encoder::Open(options_.encoder.empty() ? std::span<const std::string>(kEncoders)
                                             : std::span<const std::string>(&options_.encoder, 1),
                    {.width = (frame.width + 1) & ~1,
                     .height = (frame.height + 1) & ~1,
                     .matrix = rgb ? ColorMatrix::kBt601 : frame.matrix,
                     .range = rgb ? ColorRange::kLimited : frame.range,
                     .fps = options_.fps,
                     .quality = options_.quality,
                     .threads = options_.threads,
                     .pixel_aspect = options_.pixel_aspect,
                     .keyframe_s = options_.keyframe_s,
                     .headers_in_packets = true},
                    place());
  if (!encoder.ok()) return encoder.error();
  encoder_ = std::move(*encoder);
  width_ = frame.width;
  height_ = frame.height;
  discontinuity_ = true;
  return OpenDecoder();
}

Status VideoRecorder::Impl::OpenDecoder() {
  const AVCodec* codec = avcodec_find_decoder(AV_CODEC_ID_H264);
  int code = AVERROR_DECODER_NOT_FOUND;
  if (codec != nullptr) {
    decoder_.reset(avcodec_alloc_context3(codec));
    decoder_->flags |= AV_CODEC_FLAG_LOW_DELAY;
    decoder_->thread_count = options_.threads;
    decoder_->thread_type = FF_THREAD_SLICE;  // frame threads would delay
    decoder_->pkt_timebase = encoder_->codec().time_base;
    code = avcodec_open2(decoder_.get(), codec, nullptr);
  }
  if (code >= 0) return {};
  return Error{ErrorCode::kUnsupported, place() + ": no decoder for H.264 opens (" +
                                            FfmpegError(code) + "); install an FFmpeg with one"};
}

bool VideoRecorder::Impl::Fits(const FrameView& frame) const {
  if (frame.width != width_ || frame.height != height_) return false;
  const EncoderOptions& now = encoder_->options();
  if (LayoutOf(frame.format).rgb) {
    return now.matrix == ColorMatrix::kBt601 && now.range == ColorRange::kLimited;
  }
  return now.matrix == frame.matrix && now.range == frame.range;
}

Result<std::optional<FrameView>> VideoRecorder::Impl::Next() {
  using Frame = std::optional<FrameView>;
  if (file_.failure()) return *file_.failure();
  if (!file_.open()) return Error{ErrorCode::kUsage, place() + ": already closed"};
  encode_ms = 0;
  decode_ms = 0;
  // What comes out goes before what goes in, so that nothing is ever full.
  for (;;) {
    int code = 0;
    {
      const Timer timer(decode_ms);
      code = avcodec_receive_frame(decoder_.get(), picture_.get());
    }
    if (code == 0) {
      auto view = Describe();
      if (!view.ok()) return view.error();
      return Frame(*view);
    }
    if (code == AVERROR_EOF) {
      if (lost_) return *lost_;
      if (!pending_) return Frame();
      DELTACNN_RETURN_IF_ERROR(Open(*pending_));
    } else if (code != AVERROR(EAGAIN)) {
      discontinuity_ = true;
      continue;
    }

    {
      const Timer timer(encode_ms);
      code = encoder_->Receive(packet_.get());
    }
    if (code == 0) {
      DELTACNN_RETURN_IF_ERROR(Decode());
      continue;
    }
    if (code == AVERROR_EOF) {
      avcodec_send_packet(decoder_.get(), nullptr);
      continue;
    }
    if (code != AVERROR(EAGAIN)) return file_.Fail("encode a frame of", code);

    if (!pending_) {
      if (const Status read = Read(); !read.ok()) {
        lost_ = read.error();
        pending_.reset();
      }
    }
    if (!pending_ || !Fits(*pending_)) {
      encoder_->Drain();
      continue;
    }
    DELTACNN_RETURN_IF_ERROR(Encode(*std::exchange(pending_, std::nullopt)));
  }
}

Status VideoRecorder::Impl::Encode(const FrameView& frame) {
  const Timer timer(encode_ms);
  if (sent_.size() == kMostHeld) {
    return Error{ErrorCode::kIo, place() + ": " + std::to_string(kMostHeld) +
                                     " frames went into encoder " + encoder() +
                                     " and none came out; name another one"};
  }
  const auto ticks = ticks_.Next(frame.pts);
  if (!ticks) {
    return Error{ErrorCode::kUsage,
                 place() + ": time stamp " + std::to_string(frame.pts) + " s; give pts in seconds"};
  }
  if (!encoder_->Fill(frame)) return file_.Fail("convert a frame for", AVERROR(EINVAL));
  sent_.push_back({*ticks, frame.pts, frame.discontinuity, std::string(frame.file)});
  const int code = encoder_->Send(*ticks, frame.discontinuity);
  return code < 0 ? Status(file_.Fail("encode a frame of", code)) : Status();
}

// The packet received: to the decoder and into the file.
Status VideoRecorder::Impl::Decode() {
  {
    const Timer timer(decode_ms);
    // A packet without a picture, as some hardware makes of its headers, or a damaged one.
    if (avcodec_send_packet(decoder_.get(), packet_.get()) < 0) discontinuity_ = true;
  }
  const Timer timer(encode_ms);
  return file_.Write(*packet_, encoder_->codec().time_base, options_.fps);
}

Result<FrameView> VideoRecorder::Impl::Describe() {
  const Timer timer(decode_ms);
  auto view = converter_.Convert(*picture_);
  if (!view.ok()) return Error{view.error().code, place() + ": " + view.error().message};
  // Frames that the encoder left out are passed by.
  delivered_ = {};
  while (!sent_.empty() && sent_.front().ticks <= picture_->best_effort_timestamp) {
    delivered_ = std::move(sent_.front());
    discontinuity_ = discontinuity_ || delivered_.discontinuity;
    sent_.pop_front();
  }
  view->pts = delivered_.pts;
  view->file = delivered_.file;
  view->width = width_;
  view->height = height_;
  // Not every encoder writes them down.
  view->matrix = encoder_->options().matrix;
  view->range = encoder_->options().range;
  view->discontinuity = std::exchange(discontinuity_, false);
  return view;
}

Status VideoRecorder::Impl::Close() {
  if (file_.open() && !file_.failure()) {
    encoder_->Drain();
    while (encoder_->Receive(packet_.get()) == 0) {
      if (!file_.Write(*packet_, encoder_->codec().time_base, options_.fps).ok()) break;
    }
  }
  return file_.Close();
}

Result<VideoRecorder> VideoRecorder::Create(const std::string& path, Reader reader,
                                            const RecorderOptions& options) {
  if (reader == nullptr) {
    return Error{ErrorCode::kUsage,
                 "cannot record " + DisplayName(path) + ": there is no reader to take frames from"};
  }
  if (!(options.fps > 0 && options.fps <= 1000) || options.quality < 1 || options.quality > 51 ||
      !(options.keyframe_s > 0 && options.keyframe_s <= 1e6) ||
      !ValidPixelAspect(options.pixel_aspect)) {
    return Error{ErrorCode::kUsage, "cannot record " + DisplayName(path) + ": " +
                                        std::to_string(options.fps) + " fps, quality " +
                                        std::to_string(options.quality) + ", keyframes every " +
                                        std::to_string(options.keyframe_s) + " s, pixel aspect " +
                                        std::to_string(options.pixel_aspect) +
                                        "; fps must be within (0, 1000], quality 1 to 51, "
                                        "keyframes within (0, 1e6] s, pixel aspect 1/16 to 16"};
  }
  av_log_set_level(AV_LOG_QUIET);
  auto impl = std::make_unique<Impl>(path, std::move(reader), options);
  DELTACNN_RETURN_IF_ERROR(impl->Start());
  return VideoRecorder(std::move(impl));
}

VideoRecorder::VideoRecorder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
VideoRecorder::VideoRecorder(VideoRecorder&&) noexcept = default;
VideoRecorder& VideoRecorder::operator=(VideoRecorder&&) noexcept = default;
VideoRecorder::~VideoRecorder() = default;

Result<std::optional<FrameView>> VideoRecorder::Next() { return impl_->Next(); }
Status VideoRecorder::Close() { return impl_->Close(); }
std::string VideoRecorder::encoder() const { return impl_->encoder(); }
double VideoRecorder::encode_ms() const { return impl_->encode_ms; }
double VideoRecorder::decode_ms() const { return impl_->decode_ms; }

}  // namespace deltacnn
