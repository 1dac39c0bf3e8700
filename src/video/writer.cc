// H.264 into a fragmented MP4.
#include <array>
#include <optional>
#include <utility>

#include "deltacnn/video.h"
#include "video/encoder.h"
#include "video/ffmpeg.h"
#include "video/inputs.h"
#include "video/mp4_file.h"

namespace deltacnn {

class VideoWriter::Impl {
 public:
  Impl(const std::string& path, int width, int height, const WriterOptions& options)
      : path_(path),
        width_(width & ~1),
        height_(height & ~1),
        options_(options),
        packet_(av_packet_alloc()),
        file_(path) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { (void)Close(); }

  Status Start();
  Status Write(const FrameView& frame);
  Status Close();

 private:
  Status WritePackets();

  std::string path_;
  int width_;
  int height_;
  WriterOptions options_;
  std::optional<Encoder> encoder_;
  TickCounter ticks_;
  FfmpegPtr<AVPacket> packet_;
  Mp4File file_;
};

Status VideoWriter::Impl::Start() {
  static const std::array<std::string, 3> kEncoders = {"libx264", "libopenh264", "mpeg4"};
  auto encoder = Encoder::Open(kEncoders,
                               {.width = width_,
                                .height = height_,
                                .fps = options_.fps,
                                .quality = options_.quality,
                                .threads = options_.threads,
                                .pixel_aspect = options_.pixel_aspect},
                               "cannot write " + DisplayName(path_));
  if (!encoder.ok()) return encoder.error();
  encoder_ = std::move(*encoder);
  return file_.Open(encoder_->codec());
}

Status VideoWriter::Impl::Write(const FrameView& frame) {
  if (file_.failure()) return *file_.failure();
  if (!file_.open()) {
    return Error{ErrorCode::kUsage, "cannot write " + DisplayName(path_) + ": already closed"};
  }
  DELTACNN_RETURN_IF_ERROR(frame.Check());
  if (!encoder_->Fill(frame)) return file_.Fail("convert a frame for", AVERROR(EINVAL));
  const auto ticks = ticks_.Next(frame.pts);
  if (!ticks) {
    return Error{ErrorCode::kUsage, "cannot write " + DisplayName(path_) + ": time stamp " +
                                        std::to_string(frame.pts) + " s; give pts in seconds"};
  }
  const int code = encoder_->Send(*ticks, false);
  if (code < 0) return file_.Fail("encode a frame of", code);
  return WritePackets();
}

Status VideoWriter::Impl::WritePackets() {
  for (;;) {
    const int code = encoder_->Receive(packet_.get());
    if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return {};
    if (code < 0) return file_.Fail("encode a frame of", code);
    DELTACNN_RETURN_IF_ERROR(file_.Write(*packet_, encoder_->codec().time_base, options_.fps));
  }
}

Status VideoWriter::Impl::Close() {
  if (file_.open() && !file_.failure()) {
    encoder_->Drain();
    (void)WritePackets();
  }
  return file_.Close();
}

Result<VideoWriter> VideoWriter::Create(const std::string& path, int width, int height,
                                        const WriterOptions& options) {
  if (width < 2 || height < 2 || width > FrameView::kMaxSide || height > FrameView::kMaxSide ||
      !(options.fps > 0 && options.fps <= 1000) || options.quality < 1 || options.quality > 51 ||
      !ValidPixelAspect(options.pixel_aspect)) {
    return Error{ErrorCode::kUsage, "cannot write " + DisplayName(path) + ": a video of " +
                                        std::to_string(width) + "x" + std::to_string(height) +
                                        " at " + std::to_string(options.fps) + " fps, quality " +
                                        std::to_string(options.quality) + ", pixel aspect " +
                                        std::to_string(options.pixel_aspect) +
                                        "; sides must be at least 2, fps within (0, 1000], quality "
                                        "1 to 51, pixel aspect 1/16 to 16"};
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
