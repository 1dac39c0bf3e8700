// H.264 into a fragmented MP4.
extern "C" {
#include <libavutil/opt.h>
}

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "deltacnn/video.h"
#include "video/ffmpeg.h"
#include "video/inputs.h"
#include "video/pixel_format.h"

namespace deltacnn {
namespace {

// Ticks a second: whole numbers for the usual frame rates, and the most MPEG-4 allows is 65535.
constexpr int kTimeBase = 60000;

}  // namespace

class VideoWriter::Impl {
 public:
  Impl(std::string path, int width, int height, const WriterOptions& options)
      : path_(std::move(path)),
        width_(width & ~1),
        height_(height & ~1),
        options_(options),
        picture_(av_frame_alloc()),
        packet_(av_packet_alloc()) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl();

  Status Start();
  Status Write(const FrameView& frame);
  Status Close();

 private:
  Status OpenEncoder();
  Status WritePackets();
  bool Scale(const FrameView& frame);
  /// Remembers that the file is done for.
  Error Fail(const std::string& what, int code);

  std::string path_;
  int width_;
  int height_;
  WriterOptions options_;
  AVFormatContext* format_ = nullptr;
  AVStream* stream_ = nullptr;
  FfmpegPtr<AVCodecContext> encoder_;
  FfmpegPtr<SwsContext> scaler_;
  FfmpegPtr<AVFrame> picture_;
  FfmpegPtr<AVPacket> packet_;
  std::optional<double> first_pts_;
  int64_t last_ticks_ = -1;
  bool open_ = false;  // header written, trailer not yet
  std::optional<Error> failure_;
};

VideoWriter::Impl::~Impl() {
  if (open_) (void)Close();
  if (format_ != nullptr) {
    avio_closep(&format_->pb);
    avformat_free_context(format_);
  }
}

Error VideoWriter::Impl::Fail(const std::string& what, int code) {
  failure_ = Error{ErrorCode::kIo, "cannot " + what + " " + DisplayName(path_) + ": " +
                                       FfmpegError(code) + "; check the path and the disk space"};
  return *failure_;
}

Status VideoWriter::Impl::OpenEncoder() {
  static constexpr std::array<const char*, 3> kEncoders = {"libx264", "libopenh264", "mpeg4"};
  for (const char* name : kEncoders) {
    const AVCodec* codec = avcodec_find_encoder_by_name(name);
    if (codec == nullptr) continue;
    encoder_.reset(avcodec_alloc_context3(codec));
    encoder_->width = width_;
    encoder_->height = height_;
    encoder_->pix_fmt = AV_PIX_FMT_YUV420P;
    encoder_->color_range = AVCOL_RANGE_MPEG;
    encoder_->colorspace = AVCOL_SPC_SMPTE170M;
    encoder_->time_base = {1, kTimeBase};
    encoder_->framerate = av_d2q(options_.fps, kTimeBase);
    encoder_->gop_size = std::max(1, static_cast<int>(std::lround(options_.fps)));
    encoder_->max_b_frames = 0;
    encoder_->thread_count = options_.threads;
    encoder_->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (codec->id == AV_CODEC_ID_MPEG4) {
      encoder_->flags |= AV_CODEC_FLAG_QSCALE;
      encoder_->global_quality = FF_QP2LAMBDA * std::clamp(options_.quality / 5, 1, 31);
    } else {
      // About what CRF 23 takes; only openh264 heeds it.
      constexpr double kBitsPerPixel = 0.1;
      encoder_->bit_rate = std::llround(kBitsPerPixel * width_ * height_ * options_.fps);
    }
    FfmpegOptions settings;
    if (codec->id == AV_CODEC_ID_H264) {
      settings.Set("preset", "veryfast");
      settings.Set("crf", std::to_string(options_.quality));
      settings.Set("tune", "zerolatency");  // a killed process loses no frames inside the encoder
    }
    if (avcodec_open2(encoder_.get(), codec, settings.get()) >= 0) return {};
  }
  return Error{ErrorCode::kUnsupported, "cannot write " + DisplayName(path_) +
                                            ": no encoder (libx264, libopenh264, mpeg4) "
                                            "of this FFmpeg build takes " +
                                            std::to_string(width_) + "x" + std::to_string(height_) +
                                            "; install an FFmpeg with libx264"};
}

Status VideoWriter::Impl::Start() {
  DELTACNN_RETURN_IF_ERROR(OpenEncoder());
  int code = avformat_alloc_output_context2(&format_, nullptr, "mp4", path_.c_str());
  if (code < 0) return Fail("write", code);
  stream_ = avformat_new_stream(format_, nullptr);
  stream_->time_base = encoder_->time_base;
  stream_->avg_frame_rate = encoder_->framerate;
  code = avcodec_parameters_from_context(stream_->codecpar, encoder_.get());
  if (code >= 0) code = avio_open(&format_->pb, ("file:" + path_).c_str(), AVIO_FLAG_WRITE);
  if (code < 0) return Fail("create", code);
  format_->flags |= AVFMT_FLAG_FLUSH_PACKETS;
  FfmpegOptions settings;
  settings.Set("movflags", "frag_keyframe+empty_moov+default_base_moof");
  code = avformat_write_header(format_, settings.get());
  if (code < 0) return Fail("write", code);
  open_ = true;

  picture_->format = encoder_->pix_fmt;
  picture_->width = width_;
  picture_->height = height_;
  code = av_frame_get_buffer(picture_.get(), 0);
  return code < 0 ? Status(Fail("write", code)) : Status();
}

bool VideoWriter::Impl::Scale(const FrameView& frame) {
  // A picture one larger than the video is cut, not scaled.
  const bool cut = (frame.width & ~1) == width_ && (frame.height & ~1) == height_;
  const int width = cut ? width_ : frame.width;
  const int height = cut ? height_ : frame.height;
  scaler_.reset(sws_getCachedContext(scaler_.release(), width, height, FfmpegFormat(frame), width_,
                                     height_, AV_PIX_FMT_YUV420P, SWS_BILINEAR | SWS_ACCURATE_RND,
                                     nullptr, nullptr, nullptr));
  if (scaler_ == nullptr) return false;
  const bool full = frame.range == ColorRange::kFull || LayoutOf(frame.format).rgb;
  sws_setColorspaceDetails(scaler_.get(), sws_getCoefficients(ColorSpace(frame.matrix)),
                           full ? 1 : 0, sws_getCoefficients(SWS_CS_ITU601), 0, 0, 1 << 16,
                           1 << 16);
  std::array<const uint8_t*, 4> planes{};
  std::array<int, 4> strides{};
  for (int p = 0; p < 3; ++p) {
    planes[p] = frame.planes[p];
    strides[p] = static_cast<int>(frame.strides[p]);
  }
  return sws_scale(scaler_.get(), planes.data(), strides.data(), 0, height, picture_->data,
                   picture_->linesize) == height_;
}

Status VideoWriter::Impl::Write(const FrameView& frame) {
  if (failure_) return *failure_;
  if (!open_) {
    return Error{ErrorCode::kUsage, "cannot write " + DisplayName(path_) + ": already closed"};
  }
  DELTACNN_RETURN_IF_ERROR(frame.Check());
  // The encoder may still read the last picture.
  const int writable = av_frame_make_writable(picture_.get());
  if (writable < 0) return Fail("write", writable);
  if (!Scale(frame)) return Fail("convert a frame for", AVERROR(EINVAL));
  const double seconds = frame.pts - first_pts_.value_or(frame.pts);
  constexpr double kLongest = 1e9;
  if (!(std::abs(seconds) < kLongest)) {
    return Error{ErrorCode::kUsage, "cannot write " + DisplayName(path_) + ": time stamp " +
                                        std::to_string(frame.pts) + " s; give pts in seconds"};
  }
  if (!first_pts_) first_pts_ = frame.pts;
  const int64_t ticks = std::llround(seconds * kTimeBase);
  last_ticks_ = std::max(ticks, last_ticks_ + 1);
  picture_->pts = last_ticks_;
  picture_->pict_type = AV_PICTURE_TYPE_NONE;
  const int code = avcodec_send_frame(encoder_.get(), picture_.get());
  if (code < 0) return Fail("encode a frame of", code);
  return WritePackets();
}

Status VideoWriter::Impl::WritePackets() {
  for (;;) {
    int code = avcodec_receive_packet(encoder_.get(), packet_.get());
    if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return {};
    if (code < 0) return Fail("encode a frame of", code);
    packet_->duration = std::llround(kTimeBase / options_.fps);
    av_packet_rescale_ts(packet_.get(), encoder_->time_base, stream_->time_base);
    packet_->stream_index = stream_->index;
    code = av_write_frame(format_, packet_.get());
    av_packet_unref(packet_.get());
    if (code >= 0) code = format_->pb->error;
    if (code < 0) return Fail("write", code);
  }
}

Status VideoWriter::Impl::Close() {
  if (!open_) return {};
  open_ = false;
  if (!failure_) {
    avcodec_send_frame(encoder_.get(), nullptr);
    (void)WritePackets();
  }
  // Also after a failure, to free what the muxer holds.
  const int code = av_write_trailer(format_);
  const int closed = avio_closep(&format_->pb);
  if (failure_) return *failure_;
  if (code < 0 || closed < 0) return Fail("write", code < 0 ? code : closed);
  return {};
}

Result<VideoWriter> VideoWriter::Create(const std::string& path, int width, int height,
                                        const WriterOptions& options) {
  if (width < 2 || height < 2 || width > FrameView::kMaxSide || height > FrameView::kMaxSide ||
      !(options.fps > 0 && options.fps <= 1000) || options.quality < 1 || options.quality > 51) {
    return Error{ErrorCode::kUsage, "cannot write " + DisplayName(path) + ": a video of " +
                                        std::to_string(width) + "x" + std::to_string(height) +
                                        " at " + std::to_string(options.fps) + " fps, quality " +
                                        std::to_string(options.quality) +
                                        "; sides must be at least 2, fps within (0, 1000], quality "
                                        "1 to 51"};
  }
  av_log_set_level(AV_LOG_QUIET);
  auto impl = std::make_unique<Impl>(path, width, height, options);
  DELTACNN_RETURN_IF_ERROR(impl->Start());
  return VideoWriter(std::move(impl));
}

VideoWriter::VideoWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
VideoWriter::VideoWriter(VideoWriter&&) noexcept = default;
VideoWriter& VideoWriter::operator=(VideoWriter&&) noexcept = default;
VideoWriter::~VideoWriter() = default;

Status VideoWriter::Write(const FrameView& frame) { return impl_->Write(frame); }
Status VideoWriter::Close() { return impl_->Close(); }

}  // namespace deltacnn
