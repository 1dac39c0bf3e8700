// An MP4 file that plays up to its last second, however its writer ends.
#pragma once

#include <optional>
#include <string>

#include "deltacnn/result.h"
#include "video/ffmpeg.h"

namespace deltacnn {

/// One video stream in fragments of a second.
class Mp4File {
 public:
  explicit Mp4File(std::string path) : path_(std::move(path)) {}
  Mp4File(const Mp4File&) = delete;
  Mp4File& operator=(const Mp4File&) = delete;
  ~Mp4File();

  /// Replaces the file. An encoder without extradata has its headers in its packets; they are then
  /// taken from the first of them.
  Status Open(const AVCodecContext& encoder);
  /// Changes the packet's times and empties it.
  Status Write(AVPacket& packet, AVRational time_base, double fps);
  /// Ends the file; also after a failure, to free what the muxer holds.
  Status Close();

  /// Remembers that the file is done for.
  Error Fail(const std::string& what, int code);
  const std::optional<Error>& failure() const { return failure_; }
  /// Header written, trailer not yet.
  bool open() const { return open_; }

 private:
  std::string path_;
  AVFormatContext* format_ = nullptr;
  AVStream* stream_ = nullptr;
  bool open_ = false;
  std::optional<Error> failure_;
};

}  // namespace deltacnn
