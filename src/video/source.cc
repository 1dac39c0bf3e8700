#include <algorithm>
#include <chrono>
#include <random>
#include <thread>
#include <utility>

#include "deltacnn/video.h"
#include "video/convert.h"
#include "video/ffmpeg.h"
#include "video/inputs.h"
#include "video/media.h"

namespace deltacnn {

using Clock = std::chrono::steady_clock;

// Plays the inputs one after the other, and a live one again and again.
class VideoSource::Impl {
 public:
  Impl(std::string input, Inputs inputs, const VideoOptions& options)
      : input_(std::move(input)),
        inputs_(std::move(inputs)),
        options_(options),
        picture_(av_frame_alloc()),
        random_(std::random_device{}()) {}

  /// Decodes the first frame, so that size and codec are known and an input without any frame is an
  /// error here.
  Status Start();
  Result<std::optional<FrameView>> Next();

  VideoInfo info;
  VideoStats stats;

 private:
  Result<std::optional<FrameView>> Decode();
  Status OpenNext();
  Result<bool> Reconnect(const Error& cause);
  Result<FrameView> Describe();
  double PtsOf(const AVFrame& picture);
  void CountErrors();
  Error NothingDecoded() const;
  void Tell(const std::string& event) const {
    if (options_.on_event) options_.on_event(event);
  }
  bool stopped() const { return options_.stop != nullptr && options_.stop->load(); }
  bool Pause(double seconds) const;

  std::string input_;
  Inputs inputs_;
  VideoOptions options_;
  size_t next_path_ = 0;
  std::unique_ptr<Media> media_;
  FfmpegPtr<AVFrame> picture_;
  FrameConverter converter_;
  std::optional<FrameView> first_;  // decoded by Start(), not yet delivered
  int64_t closed_media_errors_ = 0;
  bool discontinuity_ = true;
  std::minstd_rand random_;
  int failed_attempts_ = 0;
  Clock::time_point last_arrival_;

  // Time stamps of successive media follow one another.
  bool new_media_ = true;
  double raw_origin_ = 0;
  double origin_ = 0;
  FrameView last_;  // geometry and pts; its planes are stale
};

Status VideoSource::Impl::Start() {
  if (inputs_.kind == InputKind::kNetwork || inputs_.kind == InputKind::kCamera) info.live = true;
  if (inputs_.paths.size() > 1) info.frames = static_cast<int64_t>(inputs_.paths.size());
  auto frame = Decode();
  if (!frame.ok()) return frame.error();
  if (!*frame) {
    if (stopped()) {
      return Error{ErrorCode::kIo, "cannot open " + DisplayName(input_) + ": interrupted"};
    }
    return NothingDecoded();
  }
  first_ = **frame;
  info.width = first_->width;
  info.height = first_->height;
  info.pixel_aspect = media_->pixel_aspect(picture_.get());
  return {};
}

Result<std::optional<FrameView>> VideoSource::Impl::Next() {
  auto frame =
      first_ ? Result<std::optional<FrameView>>(std::exchange(first_, std::nullopt)) : Decode();
  if (frame.ok() && *frame) ++stats.frames;
  return frame;
}

Result<std::optional<FrameView>> VideoSource::Impl::Decode() {
  using Frame = std::optional<FrameView>;
  const bool network = inputs_.kind == InputKind::kNetwork;
  while (!stopped()) {
    if (media_ == nullptr) {
      if (next_path_ == inputs_.paths.size()) return Frame();
      if (auto status = OpenNext(); !status.ok()) {
        if (inputs_.paths.size() == 1) return status.error();
        if (stats.decode_errors == 0) stats.first_error = status.error();
        ++closed_media_errors_;
        discontinuity_ = true;
      }
      CountErrors();
      continue;
    }

    const Media::Outcome outcome = media_->Next(picture_.get());
    CountErrors();
    if (media_->TakeDamaged()) discontinuity_ = true;
    if (outcome == Media::Outcome::kStopped) break;
    if (outcome == Media::Outcome::kFrame) {
      auto view = Describe();
      if (!view.ok()) return view.error();
      return Frame(*view);
    }

    const bool ended = outcome == Media::Outcome::kEnd;
    if (network && options_.max_reconnects != 0) {
      const Error cause =
          ended ? Error{ErrorCode::kIo, "lost " + DisplayName(input_) + ": the server ended it"}
                : media_->error();
      const auto again = Reconnect(cause);
      if (!again.ok()) return again.error();
      if (!*again) break;
      continue;
    }
    if (!ended) return media_->error();
    closed_media_errors_ += media_->decode_errors();
    media_.reset();
  }
  return Frame();
}

Status VideoSource::Impl::OpenNext() {
  const std::string& path = inputs_.paths[next_path_++];
  auto media = Media::Open(inputs_.kind, path, options_);
  if (!media.ok()) return media.error();
  media_ = std::move(*media);
  new_media_ = true;
  if (!IsImagePath(path)) discontinuity_ = true;
  info.fps = media_->fps();
  info.codec = media_->codec_name();
  if (inputs_.paths.size() == 1) info.frames = media_->frame_count();
  return {};
}

void VideoSource::Impl::CountErrors() {
  stats.decode_errors = closed_media_errors_ + (media_ ? media_->decode_errors() : 0);
  if (stats.decode_errors == 0 || !stats.first_error.message.empty()) return;
  stats.first_error = {ErrorCode::kIo, "cannot decode all of " +
                                           DisplayName(inputs_.paths[next_path_ - 1]) +
                                           ": it is damaged or cut off"};
}

// False where the wait was interrupted.
bool VideoSource::Impl::Pause(double seconds) const {
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (!stopped() && Clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return !stopped();
}

// False where the wait was interrupted, an error when the attempts are used up.
Result<bool> VideoSource::Impl::Reconnect(const Error& cause) {
  closed_media_errors_ += media_->decode_errors();
  media_.reset();
  discontinuity_ = true;
  if (failed_attempts_ == 0) Tell(cause.message + "; trying again");
  Error error = cause;
  for (;; ++failed_attempts_) {
    if (options_.max_reconnects > 0 && failed_attempts_ >= options_.max_reconnects) {
      error.message += "; gave up after " + std::to_string(failed_attempts_) + " attempts";
      return error;
    }
    double delay = options_.backoff_s;
    for (int i = 0; i < failed_attempts_ && delay < options_.max_backoff_s; ++i) delay *= 2;
    delay = std::min(delay, options_.max_backoff_s);
    if (!Pause(delay * std::uniform_real_distribution<>(0.5, 1.0)(random_))) return false;
    next_path_ = 0;
    const Status status = OpenNext();
    if (status.ok()) break;
    if (stopped()) return false;
    error = status.error();
  }
  // Only a frame shows that the connection is good.
  ++failed_attempts_;
  ++stats.reconnects;
  return true;
}

double VideoSource::Impl::PtsOf(const AVFrame& picture) {
  const auto now = Clock::now();
  const double interval = 1 / info.fps;
  const bool first_of_all = last_.width == 0;
  const double raw = picture.best_effort_timestamp == AV_NOPTS_VALUE
                         ? raw_origin_ + (last_.pts - origin_) + interval
                         : picture.best_effort_timestamp * media_->time_base();
  if (new_media_) {
    const std::chrono::duration<double> silence = now - last_arrival_;
    raw_origin_ = raw;
    origin_ = first_of_all ? 0 : last_.pts + (info.live ? silence.count() : interval);
    new_media_ = false;
  }
  last_arrival_ = now;
  double pts = origin_ + (raw - raw_origin_);
  if (!first_of_all && pts <= last_.pts) {
    // The clock of the input jumped back: count on from here.
    pts = last_.pts + interval;
    raw_origin_ = raw;
    origin_ = pts;
  }
  return pts;
}

Result<FrameView> VideoSource::Impl::Describe() {
  const auto start = Clock::now();
  auto view = converter_.Convert(*picture_, media_->orientation(*picture_));
  if (!view.ok()) {
    return Error{view.error().code,
                 "cannot use " + DisplayName(input_) + ": " + view.error().message};
  }
  stats.decode_ms =
      media_->decode_ms() + std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  view->pts = PtsOf(*picture_);
  view->discontinuity = discontinuity_ || view->width != last_.width ||
                        view->height != last_.height || view->format != last_.format;
  discontinuity_ = false;
  const std::string& path = inputs_.paths[next_path_ - 1];
  if (inputs_.kind == InputKind::kFiles && IsImagePath(path)) view->file = path;
  if (std::exchange(failed_attempts_, 0) > 0) Tell(DisplayName(input_) + " is back");
  last_ = *view;
  return view;
}

Error VideoSource::Impl::NothingDecoded() const {
  if (inputs_.paths.size() > 1) {
    return {stats.first_error.code, "cannot decode " + DisplayName(input_) + ": none of its " +
                                        std::to_string(inputs_.paths.size()) +
                                        " files; the first: " + stats.first_error.message};
  }
  return {ErrorCode::kIo, "cannot decode " + DisplayName(input_) + ": not one frame came out (" +
                              std::to_string(stats.decode_errors) +
                              " damaged packets); the file is damaged or cut off at its start"};
}

Result<VideoSource> VideoSource::Open(const std::string& input, const VideoOptions& options) {
  auto inputs = ResolveInput(input);
  if (!inputs.ok()) return inputs.error();
  auto impl = std::make_unique<Impl>(input, std::move(*inputs), options);
  DELTACNN_RETURN_IF_ERROR(impl->Start());
  return VideoSource(std::move(impl));
}

VideoSource::VideoSource(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
VideoSource::VideoSource(VideoSource&&) noexcept = default;
VideoSource& VideoSource::operator=(VideoSource&&) noexcept = default;
VideoSource::~VideoSource() = default;

Result<std::optional<FrameView>> VideoSource::Next() { return impl_->Next(); }
const VideoInfo& VideoSource::info() const { return impl_->info; }
const VideoStats& VideoSource::stats() const { return impl_->stats; }

}  // namespace deltacnn
