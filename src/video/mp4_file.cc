#include "video/mp4_file.h"

#include <cmath>

#include "video/inputs.h"

namespace deltacnn {

Mp4File::~Mp4File() {
  if (open_) (void)Close();
  if (format_ != nullptr) {
    avio_closep(&format_->pb);
    avformat_free_context(format_);
  }
}

Error Mp4File::Fail(const std::string& what, int code) {
  failure_ = Error{ErrorCode::kIo, "cannot " + what + " " + DisplayName(path_) + ": " +
                                       FfmpegError(code) + "; check the path and the disk space"};
  return *failure_;
}

Status Mp4File::Open(const AVCodecContext& encoder) {
  int code = avformat_alloc_output_context2(&format_, nullptr, "mp4", path_.c_str());
  if (code < 0) return Fail("write", code);
  stream_ = avformat_new_stream(format_, nullptr);
  stream_->time_base = encoder.time_base;
  stream_->avg_frame_rate = encoder.framerate;
  stream_->sample_aspect_ratio = encoder.sample_aspect_ratio;
  code = avcodec_parameters_from_context(stream_->codecpar, &encoder);
  if (code >= 0) code = avio_open(&format_->pb, ("file:" + path_).c_str(), AVIO_FLAG_WRITE);
  if (code < 0) return Fail("create", code);
  format_->flags |= AVFMT_FLAG_FLUSH_PACKETS;
  FfmpegOptions settings;
  std::string flags = "frag_keyframe+empty_moov+default_base_moof";
  if (encoder.extradata_size == 0) flags += "+delay_moov";
  settings.Set("movflags", flags);
  settings.Set("frag_duration", "1000000");
  code = avformat_write_header(format_, settings.get());
  if (code < 0) return Fail("write", code);
  open_ = true;
  return {};
}

Status Mp4File::Write(AVPacket& packet, AVRational time_base, double fps) {
  packet.duration = std::llround(time_base.den / (time_base.num * fps));
  av_packet_rescale_ts(&packet, time_base, stream_->time_base);
  packet.stream_index = stream_->index;
  int code = av_write_frame(format_, &packet);
  av_packet_unref(&packet);
  if (code >= 0) code = format_->pb->error;
  return code < 0 ? Status(Fail("write", code)) : Status();
}

Status Mp4File::Close() {
  if (!open_) return {};
  open_ = false;
  const int code = av_write_trailer(format_);
  const int closed = avio_closep(&format_->pb);
  if (failure_) return *failure_;
  if (code < 0 || closed < 0) return Fail("write", code < 0 ? code : closed);
  return {};
}

}  // namespace deltacnn
