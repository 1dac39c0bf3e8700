// Video in and out: sources, change detection against the picture held, preprocessing of what
// changed, a writer, a recorder.
//
//   auto source = VideoSource::Open("clip.mp4", {});
//   ChangeDetector changes;
//   Preprocessor preprocess({.color = InputSpec::Color::kBgr});
//   for (auto frame = source->Next(); frame.ok() && *frame; frame = source->Next()) {
//     if (!changes.Update(**frame).ok()) break;
//     if (!preprocess.Apply(changes.held(), changes.changed(), stream_input).ok()) break;
//     ...
//   }
//
// vision.h joins these with a network and its answers.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "deltacnn/frame.h"
#include "deltacnn/input.h"
#include "deltacnn/region.h"
#include "deltacnn/result.h"
#include "deltacnn/tensor.h"

namespace deltacnn {

struct VideoOptions {
  int decode_threads = 1;  // 0: as many as the machine has cores
  /// Fill FrameView::motion_vectors (H.264, MPEG-2, MPEG-4) and block_qp (those and VP9).
  bool export_hints = false;

  /// Headerless input ("-" or a file): FFmpeg's name of the pixel format, such as "yuv420p", with
  /// width and height. Empty: the container is detected.
  std::string raw_format = {};
  /// Of raw input; of a camera: the size to ask for, 0 for its own choice.
  int width = 0;
  int height = 0;
  /// Of raw input, images and streams without time stamps (0: 25); of a camera: the rate to ask
  /// for.
  double fps = 0;

  double timeout_s = 10;  // longest silence of a network peer or camera, connecting included
  /// A network stream that breaks is opened again after a delay that starts at `backoff_s`, doubles
  /// up to `max_backoff_s` and is shortened at random by up to a half.
  double backoff_s = 1;
  double max_backoff_s = 30;
  /// Failed attempts in a row before Next() gives up; -1: never, 0: no reconnecting.
  int max_reconnects = -1;
  /// Where set, told in one line, within Next(), that a network stream was lost and is being opened
  /// again, and that it is back.
  std::function<void(const std::string&)> on_event = {};

  /// Where set, becoming true ends every wait: Next() then reports the end of the stream. Must
  /// outlive the source.
  const std::atomic<bool>* stop = nullptr;
};

struct VideoInfo {
  int width = 0;
  int height = 0;
  double fps = 25;  // average; 25 if the input does not say
  /// Width of a pixel as it is to be shown by its height, within 1/16 to 16.
  double pixel_aspect = 1;
  int64_t frames = 0;  // as the container states it; 0 if unknown
  std::string codec;   // "h264", ...
  bool live = false;   // a camera or network stream: no end, frames come in real time
};

struct VideoStats {
  int64_t frames = 0;         // delivered
  int64_t decode_errors = 0;  // damaged packets, pictures and image files
  Error first_error;          // about the first of them; without a message while there is none
  int64_t reconnects = 0;     // successful ones
  /// Decoding and, where needed, converting the last frame, without waiting for input.
  double decode_ms = 0;
};

/// Decodes a file, a glob, a directory of images (sorted by name, numbers by value), "rtsp://...",
/// "/dev/videoN" or
/// "-" (standard input). Movable; used by one thread at a time. Turns FFmpeg's log off for
/// the whole process.
class VideoSource {
 public:
  /// Waits for the first frame. kIo where the input cannot be read or holds no frame that can be
  /// decoded, kUsage where the options contradict it, kUnsupported where this build of FFmpeg lacks
  /// the codec. User names, passwords and queries of URLs are left out of every message.
  static Result<VideoSource> Open(const std::string& input, const VideoOptions& options = {});

  VideoSource(VideoSource&&) noexcept;
  VideoSource& operator=(VideoSource&&) noexcept;
  ~VideoSource();

  /// The next frame, valid until the next call; nothing at the end. Time stamps count from the
  /// first frame and grow. Damaged packets are counted and skipped, and the frame after them is
  /// flagged as a discontinuity. An error if a camera or network stream is lost for good.
  Result<std::optional<FrameView>> Next();

  const VideoInfo& info() const;
  const VideoStats& stats() const;

 private:
  class Impl;
  explicit VideoSource(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// One bit for each block of 8x8 luma pixels; blocks at the right and bottom edge may be cut.
struct BlockMap {
  static constexpr int kBlock = 8;

  int columns = 0;
  int rows = 0;
  int words_per_row = 0;
  std::vector<uint64_t> bits;  // `words_per_row` words a row, bit x % 64 of word x / 64
  int64_t count = 0;           // bits set
  uint64_t sequence = 0;       // grows by one with every map of a ChangeDetector

  bool Test(int row, int column) const {
    return (bits[static_cast<size_t>(row) * words_per_row + column / 64] >> (column % 64) & 1) != 0;
  }
  void Set(int row, int column) {
    bits[static_cast<size_t>(row) * words_per_row + column / 64] |= uint64_t{1} << (column % 64);
  }
};

struct ChangeOptions {
  /// Levels of 255. At 0 a block has changed if any of its samples differs. Above, if in a 4x4
  /// sub-block of a component (luma and chroma each at its own resolution) the mean difference
  /// exceeds it, or the mean absolute difference one and a half of it.
  float tolerance = 0;
  /// A tolerance above 0 rises up to here with the noise of the source, measured for each
  /// component (white noise of sigma 7 needs about 12), and for a few frames where the codec's
  /// I-frames differ from the frames before by more than noise. Not above `tolerance`: it never
  /// rises.
  float max_tolerance = 12;
  /// Outside of the regions that SetFocus names, `tolerance` is this many times as large, and what
  /// noise adds to it remains. From 1 on; of no effect at a tolerance of 0.
  float background = 1;
};

/// Compares each frame, block by block, with the picture held. A changed block is copied into it,
/// any other keeps its old pixels: change too slow to see from frame to frame adds up until it
/// counts.
class ChangeDetector {
 public:
  explicit ChangeDetector(const ChangeOptions& options = {});
  ~ChangeDetector();
  ChangeDetector(ChangeDetector&&) noexcept;
  ChangeDetector& operator=(ChangeDetector&&) noexcept;

  /// Updates held() and changed(). Every block counts as changed in the first frame, after Reset(),
  /// at a discontinuity, and when size, format or colour description differ from the last frame.
  Status Update(const FrameView& frame);
  /// Names the regions in which the next frame is compared strictly, in place of those named
  /// before, in coordinates that `to_source` takes to pixels of the frame (Stream::focus() and
  /// Preprocessor::transform()). Until the first call, and after Reset() or when size or format
  /// change, the whole picture counts as named. A change elsewhere that is below the larger
  /// tolerance is taken up once it is named, so name every part from time to time.
  void SetFocus(std::span<const Region> regions, const PixelTransform& to_source);
  /// Forgets the picture held, and what SetFocus named.
  void Reset();

  /// The picture to work on, with the time stamp and type of the last frame; valid until the next
  /// Update().
  const FrameView& held() const;
  const BlockMap& changed() const;
  /// Standard deviation of the noise of a sample of luma, or of the noisiest of R, G and B, in
  /// levels; 0 where it is not measured. Noise that a codec has smeared or removed counts less.
  float noise() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Turns the picture held into the network's input: to RGB (chroma repeated, not interpolated;
/// fractions kept, clamped to 0..255), bilinear with half-pixel centres and no antialiasing (as
/// cv2.INTER_LINEAR), normalised. An input pixel is computed from its four source pixels alone, so
/// its bits do not depend on what else changed. Serves one target; keep one for each stream.
class Preprocessor {
 public:
  explicit Preprocessor(const InputSpec& spec = {});
  ~Preprocessor();
  Preprocessor(Preprocessor&&) noexcept;
  Preprocessor& operator=(Preprocessor&&) noexcept;

  /// Recomputes the input pixels that a changed block reaches, and marks those whose value differs
  /// from the one stored; returns how many. Everything is recomputed and marked the first time,
  /// after Reset(), at a discontinuity, and when the geometry or colour description of picture or
  /// target changes; recomputed if maps in between were not applied. kUsage for a frame, map or
  /// target that do not fit together, or a specification out of range.
  Result<int64_t> Apply(const FrameView& frame, const BlockMap& changed, const ImageTarget& target);
  /// The target's stored pixels can no longer be trusted.
  void Reset();

  /// From input coordinates to those of the last applied frame.
  const PixelTransform& transform() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

struct WriterOptions {
  double fps = 25;   // nominal rate; time stamps come from the frames
  int quality = 23;  // 1 (best) to 51, as x264's CRF
  int threads = 1;
  double pixel_aspect = 1;  // as VideoInfo's
};

/// Writes H.264 (or, where FFmpeg has no such encoder, MPEG-4) into an MP4 of one-second fragments,
/// so that a process killed at any moment leaves a file that plays up to its last second.
class VideoWriter {
 public:
  /// Replaces the file at `path`. An odd last column or row of the picture is cut off.
  static Result<VideoWriter> Create(const std::string& path, int width, int height,
                                    const WriterOptions& options = {});

  VideoWriter(VideoWriter&&) noexcept;
  VideoWriter& operator=(VideoWriter&&) noexcept;
  ~VideoWriter();  // closes, ignoring errors

  /// A frame in any format; one of another size is scaled. Shown from frame.pts on; time stamps
  /// that do not grow are moved just behind the last one.
  Status Write(const FrameView& frame);
  /// Writes what the encoder still holds and ends the file. Nothing may be written afterwards.
  Status Close();

 private:
  class Impl;
  explicit VideoWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct RecorderOptions {
  /// FFmpeg's name of an H.264 encoder. Empty: the first of libx264, libopenh264, h264_v4l2m2m and
  /// h264_vaapi that opens.
  std::string encoder = {};
  double fps = 25;         // nominal rate; time stamps come from the frames
  int quality = 23;        // 1 (best) to 51, as x264's CRF
  double keyframe_s = 10;  // longest time from one keyframe to the next
  int threads = 1;
  double pixel_aspect = 1;  // as VideoInfo's
};

/// Encodes the frames of a source into an MP4, fragmented as VideoWriter's, and delivers them as a
/// player of that file sees them: one encode serves the recording and the network, and what the
/// encoder drops, such as noise, changes nothing.
class VideoRecorder {
 public:
  /// The next frame of the source, as VideoSource::Next(); nothing at the end.
  using Reader = std::function<Result<std::optional<FrameView>>()>;

  /// Replaces the file at `path` and reads the first frame, which tells the size. kUsage or
  /// kUnsupported where the encoder cannot be had, kIo where the file cannot be written.
  static Result<VideoRecorder> Create(const std::string& path, Reader reader,
                                      const RecorderOptions& options = {});

  VideoRecorder(VideoRecorder&&) noexcept;
  VideoRecorder& operator=(VideoRecorder&&) noexcept;
  ~VideoRecorder();  // closes, ignoring errors

  /// The next frame, decoded from what was recorded, valid until the next call; nothing at the end.
  /// Size, time stamp, file and discontinuity are those of the source's frame (an odd size is
  /// recorded as the next even one). Reads as many frames as the encoder needs, one with all but
  /// some hardware. A discontinuity starts with a keyframe; a new size or colour description ends
  /// the encoder and opens another, whose pictures follow in the same file.
  Result<std::optional<FrameView>> Next();
  /// Writes what the encoder still holds and ends the file. Nothing may be read afterwards.
  Status Close();

  /// FFmpeg's name of the encoder in use.
  std::string encoder() const;
  /// Time of the last frame, without waiting for the source: converting, encoding and writing, and
  /// decoding.
  double encode_ms() const;
  double decode_ms() const;

 private:
  class Impl;
  explicit VideoRecorder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A frame as a JPEG file, scaled down to `max_width` if it is wider. `quality` as in
/// WriterOptions.
Result<std::vector<uint8_t>> EncodeJpeg(const FrameView& frame, int max_width, int quality = 20);

}  // namespace deltacnn
