#include "video/media.h"

extern "C" {
#include <libavdevice/avdevice.h>
#include <libavutil/pixdesc.h>
}

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

namespace deltacnn {
namespace {

constexpr double kDefaultFps = 25;
// Damage without a single frame in between after which a file counts as ended.
constexpr int kMaxErrorsInARow = 1000;

constexpr const char* kRawRemedy =
    "; for video without a header set VideoOptions::raw_format, width and height (--raw FORMAT "
    "--size WxH)";

void InitFfmpegOnce() {
  static std::once_flag once;
  std::call_once(once, [] {
    av_log_set_level(AV_LOG_QUIET);
    avdevice_register_all();
    avformat_network_init();
  });
}

double MsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

// FFmpeg's own reader of pipes blocks where no interrupt reaches it.
int ReadStandardInput(void* opaque, uint8_t* buffer, int size) {
  const auto* interrupt = static_cast<const Interrupt*>(opaque);
  constexpr int kPollMs = 50;
  for (;;) {
    if (interrupt->stopped()) return AVERROR_EXIT;
    pollfd input = {STDIN_FILENO, POLLIN, 0};
    const int ready = poll(&input, 1, kPollMs);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    const ssize_t bytes = read(STDIN_FILENO, buffer, static_cast<size_t>(size));
    if (bytes > 0) return static_cast<int>(bytes);
    if (bytes == 0) return AVERROR_EOF;
    if (errno != EINTR && errno != EAGAIN) return AVERROR(errno);
  }
}

// How the pictures are to be shown; null where the stream does not say.
const uint8_t* StreamMatrix(const AVStream& stream) {
#if LIBAVCODEC_VERSION_INT < AV_VERSION_INT(60, 30, 101)
  return av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, nullptr);
#else
  const AVPacketSideData* data =
      av_packet_side_data_get(stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data,
                              AV_PKT_DATA_DISPLAYMATRIX);
  return data == nullptr ? nullptr : data->data;
#endif
}

std::string Remedy(InputKind kind, int code) {
  switch (code) {
    case AVERROR_INVALIDDATA:
      return kind == InputKind::kPipe
                 ? std::string("; it is no video FFmpeg can read, or damaged") + kRawRemedy
                 : "; it is not a video FFmpeg can read, or damaged: try 'ffprobe' on it";
    case AVERROR(EINVAL):
      return kind == InputKind::kCamera ? "; it may not have that size or rate" : kRawRemedy;
    case AVERROR(ECONNREFUSED):
      return "; does the server run, and on that port?";
    case AVERROR_HTTP_UNAUTHORIZED:
    case AVERROR_HTTP_FORBIDDEN:
      return "; check user name and password";
    case AVERROR_HTTP_NOT_FOUND:
      return "; check the path behind the host name";
    case AVERROR(EIO):
      return "; check the host name, the network and the cable";
    case AVERROR(EACCES):
      return "; check the permissions";
    case AVERROR(EBUSY):
      return "; another program uses it";
    case AVERROR_PROTOCOL_NOT_FOUND:
      return "; this FFmpeg build does not know the protocol";
    default:
      return "";
  }
}

}  // namespace

void Interrupt::SetTimeout(double seconds) {
  constexpr double kLongest = 1e9;  // seconds; the clock overflows at ten times as many
  deadline_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                 std::chrono::duration<double>(std::min(seconds, kLongest)));
}

AVIOInterruptCB Interrupt::callback() {
  return {[](void* opaque) {
            const auto* interrupt = static_cast<const Interrupt*>(opaque);
            return interrupt->stopped() || interrupt->timed_out() ? 1 : 0;
          },
          this};
}

Media::Media(InputKind kind, const std::string& path, const VideoOptions& options)
    : kind_(kind),
      path_(path),
      options_(options),
      interrupt_(options.stop),
      can_be_lost_(kind != InputKind::kFiles && kind != InputKind::kPipe),
      packet_(av_packet_alloc()) {}

Media::~Media() {
  // Saying good-bye to a server that is gone must not take long.
  if (can_be_lost_) interrupt_.SetTimeout(0.5);
  codec_.reset();
  avformat_close_input(&format_);
  if (pipe_ != nullptr) {
    av_freep(&pipe_->buffer);
    avio_context_free(&pipe_);
  }
}

Result<std::unique_ptr<Media>> Media::Open(InputKind kind, const std::string& path,
                                           const VideoOptions& options) {
  InitFfmpegOnce();
  std::unique_ptr<Media> media(new Media(kind, path, options));
  DELTACNN_RETURN_IF_ERROR(media->OpenInput());
  DELTACNN_RETURN_IF_ERROR(media->OpenDecoder());
  return media;
}

Error Media::Failure(const std::string& what, int code) const {
  const std::string start = what + " " + DisplayName(path_) + ": ";
  if (interrupt_.stopped()) return {ErrorCode::kIo, start + "interrupted"};
  if (interrupt_.timed_out()) {
    std::array<char, 32> seconds{};
    std::snprintf(seconds.data(), seconds.size(), "%g", options_.timeout_s);
    return {ErrorCode::kIo,
            start + "nothing came within " + seconds.data() + " s; " +
                (kind_ == InputKind::kCamera ? "is it in use, or does it need another size or rate?"
                                             : "check address, port and network")};
  }
  return {ErrorCode::kIo, start + FfmpegError(code) + Remedy(kind_, code)};
}

Status Media::OpenInput() {
  FfmpegOptions settings;
  decltype(av_find_input_format("")) demuxer = nullptr;
  std::string url = path_;
  format_ = avformat_alloc_context();
  format_->interrupt_callback = interrupt_.callback();

  const auto set_size = [&] {
    if (options_.width > 0 && options_.height > 0) {
      settings.Set("video_size",
                   std::to_string(options_.width) + "x" + std::to_string(options_.height));
    }
  };
  // Only what has no time stamps of its own knows this setting.
  if (options_.fps > 0) settings.Set("framerate", std::to_string(options_.fps));
  switch (kind_) {
    case InputKind::kFiles:
      url = "file:" + path_;
      // A '%' or '*' in the name of an existing file is no pattern.
      settings.Set("pattern_type", "none");
      break;
    case InputKind::kPipe: {
      constexpr int kBufferBytes = 1 << 16;
      pipe_ = avio_alloc_context(static_cast<unsigned char*>(av_malloc(kBufferBytes)), kBufferBytes,
                                 0, &interrupt_, ReadStandardInput, nullptr, nullptr);
      format_->pb = pipe_;
      format_->flags |= AVFMT_FLAG_CUSTOM_IO;  // it is not FFmpeg's to close
      break;
    }
    case InputKind::kNetwork:
      settings.Set("rtsp_transport", "tcp");
      settings.Set("allowed_media_types", "video");
      break;
    case InputKind::kCamera:
      demuxer = av_find_input_format("v4l2");
      if (demuxer == nullptr) {
        return Error{ErrorCode::kUnsupported,
                     "cannot open " + DisplayName(path_) + ": this FFmpeg build has no V4L2 input"};
      }
      // Its blocking reads would not see an interrupt.
      format_->flags |= AVFMT_FLAG_NONBLOCK;
      set_size();
      break;
    case InputKind::kUrl:
      break;
  }
  if (!options_.raw_format.empty() && kind_ != InputKind::kCamera) {
    if (options_.width < 1 || options_.height < 1 ||
        av_get_pix_fmt(options_.raw_format.c_str()) == AV_PIX_FMT_NONE) {
      return Error{ErrorCode::kUsage,
                   "raw video of format '" + options_.raw_format + "' and size " +
                       std::to_string(options_.width) + "x" + std::to_string(options_.height) +
                       ": give one of 'ffmpeg -pix_fmts' and the true width and height (--size)"};
    }
    demuxer = av_find_input_format("rawvideo");
    settings.Set("pixel_format", options_.raw_format);
    set_size();
  }

  if (can_be_lost_) interrupt_.SetTimeout(options_.timeout_s);
  // Frees format_ and sets it to null where it fails.
  if (const int code = avformat_open_input(&format_, url.c_str(), demuxer, settings.get());
      code < 0) {
    return Failure("cannot open", code);
  }
  if (std::strcmp(format_->iformat->name, "tty") == 0) {
    return Error{ErrorCode::kIo, "cannot open " + DisplayName(path_) +
                                     ": it is a text file; name a video or an image"};
  }
  if (IsImagePath(path_)) return {};  // its header says all
  if (can_be_lost_) interrupt_.SetTimeout(options_.timeout_s);
  if (const int code = avformat_find_stream_info(format_, nullptr); code < 0) {
    return Failure("cannot read", code);
  }
  return {};
}

Status Media::OpenDecoder() {
  const std::string place = "cannot decode " + DisplayName(path_) + ": ";
  if (interrupt_.stopped()) return Failure("cannot read", AVERROR_EXIT);
  const int index = av_find_best_stream(format_, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  if (index < 0 || (format_->streams[index]->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0) {
    return Error{ErrorCode::kIo, place + "it has no video stream (" + format_->iformat->name +
                                     "); name a file with video"};
  }
  for (unsigned i = 0; i < format_->nb_streams; ++i) {
    if (static_cast<int>(i) != index) format_->streams[i]->discard = AVDISCARD_ALL;
  }
  stream_ = format_->streams[index];
  const AVCodecParameters* parameters = stream_->codecpar;
  const AVCodec* decoder = avcodec_find_decoder(parameters->codec_id);
  if (decoder == nullptr) {
    if (parameters->codec_id == AV_CODEC_ID_NONE && parameters->codec_tag == 0) {
      return Error{ErrorCode::kIo, place +
                                       "its video stream names no codec; the file is truncated or "
                                       "damaged: copy or record it again"};
    }
    std::array<char, AV_FOURCC_MAX_STRING_SIZE> tag{};
    av_fourcc_make_string(tag.data(), parameters->codec_tag);
    const std::string name = parameters->codec_id == AV_CODEC_ID_NONE
                                 ? "unknown codec with tag '" + std::string(tag.data()) + "'"
                                 : "codec " + std::string(avcodec_get_name(parameters->codec_id));
    return Error{ErrorCode::kUnsupported, place + name + " has no decoder in this FFmpeg build; " +
                                              "convert the video, e.g. to H.264"};
  }
  codec_.reset(avcodec_alloc_context3(decoder));
  int code = avcodec_parameters_to_context(codec_.get(), parameters);
  if (code >= 0) {
    codec_->pkt_timebase = stream_->time_base;
    codec_->thread_count = options_.decode_threads;
    // Frame threads delay every frame by one per thread.
    const bool live = kind_ == InputKind::kNetwork || kind_ == InputKind::kCamera;
    codec_->thread_type = live ? FF_THREAD_SLICE : FF_THREAD_SLICE | FF_THREAD_FRAME;
    if (options_.export_hints) {
      codec_->export_side_data |= AV_CODEC_EXPORT_DATA_MVS | AV_CODEC_EXPORT_DATA_VIDEO_ENC_PARAMS;
    }
    code = avcodec_open2(codec_.get(), decoder, nullptr);
  }
  if (code < 0) {
    return Error{
        ErrorCode::kIo,
        place + "the " + decoder->name + " decoder refuses it (" + FfmpegError(code) + ")" +
            (parameters->codec_id == AV_CODEC_ID_RAWVIDEO ? kRawRemedy
                                                          : "; the file's header may be damaged")};
  }
  const double rate = av_q2d(av_guess_frame_rate(format_, format_->streams[index], nullptr));
  const bool own_rate = IsImagePath(path_) || !std::isfinite(rate) || rate <= 0;
  fps_ = own_rate ? (options_.fps > 0 ? options_.fps : kDefaultFps) : rate;
  return {};
}

Orientation Media::orientation(const AVFrame& frame) const {
  const AVFrameSideData* of_frame = av_frame_get_side_data(&frame, AV_FRAME_DATA_DISPLAYMATRIX);
  const uint8_t* matrix = of_frame != nullptr ? of_frame->data : StreamMatrix(*stream_);
  if (matrix == nullptr) return {};
  return OrientationOf(reinterpret_cast<const int32_t*>(matrix));
}

double Media::pixel_aspect(AVFrame* frame) const {
  const AVRational aspect =
      av_guess_sample_aspect_ratio(format_, format_->streams[stream_->index], frame);
  if (aspect.num <= 0 || aspect.den <= 0) return 1;
  const double value = orientation(*frame).transpose ? 1 / av_q2d(aspect) : av_q2d(aspect);
  return std::clamp(value, 1 / kMaxPixelAspect, kMaxPixelAspect);
}

void Media::CountError() {
  ++decode_errors_;
  ++errors_in_a_row_;
  damaged_ = true;
}

// 0, or FFmpeg's code. A device that has nothing yet is waited for.
int Media::ReadPacket() {
  if (can_be_lost_) interrupt_.SetTimeout(options_.timeout_s);
  for (;;) {
    const int code = av_read_frame(format_, packet_.get());
    if (interrupt_.stopped()) return AVERROR_EXIT;
    if (code != AVERROR(EAGAIN)) return code;
    if (interrupt_.timed_out()) return AVERROR(ETIMEDOUT);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

Media::Outcome Media::Next(AVFrame* frame) {
  using Clock = std::chrono::steady_clock;
  decode_ms_ = 0;
  while (errors_in_a_row_ < kMaxErrorsInARow) {
    auto start = Clock::now();
    int code = avcodec_receive_frame(codec_.get(), frame);
    decode_ms_ += MsSince(start);
    if (code == 0) {
      const bool concealed =
          frame->decode_error_flags != 0 || (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0;
      if (concealed) CountError();
      errors_in_a_row_ = 0;
      return Outcome::kFrame;
    }
    if (code == AVERROR_EOF) return Outcome::kEnd;
    if (code != AVERROR(EAGAIN)) {
      CountError();
      continue;
    }

    code = ReadPacket();
    if (interrupt_.stopped()) return Outcome::kStopped;
    if (code == AVERROR_EOF && !interrupt_.timed_out()) {
      avcodec_send_packet(codec_.get(), nullptr);  // now it hands out what it still holds
      continue;
    }
    if (code < 0) {
      if (can_be_lost_) {
        error_ = Failure("lost", code);
        return Outcome::kLost;
      }
      if (kind_ == InputKind::kPipe && !began_ && std::strstr(format_->iformat->name, "mp4")) {
        error_ = {ErrorCode::kIo, "cannot read " + DisplayName(path_) +
                                      ": its index is at the end, behind the pictures; give the "
                                      "file instead of a pipe, or make it with -movflags "
                                      "+faststart"};
        return Outcome::kLost;
      }
      CountError();
      continue;
    }
    began_ = true;
    if (packet_->stream_index == stream_->index) {
      start = Clock::now();
      // What is marked may be whole, as the last packet before a jump in MPEG-TS: the decoder sees.
      const bool corrupt = (packet_->flags & AV_PKT_FLAG_CORRUPT) != 0;
      const bool refused = avcodec_send_packet(codec_.get(), packet_.get()) < 0;
      if (corrupt || refused) CountError();
      decode_ms_ += MsSince(start);
    }
    av_packet_unref(packet_.get());
  }
  return Outcome::kEnd;
}

}  // namespace deltacnn
