// The video that `run --save` writes.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "deltacnn/post.h"
#include "deltacnn/result.h"
#include "deltacnn/stream.h"
#include "deltacnn/video.h"

namespace deltacnn::cli {

/// The current picture as 4 bytes a pixel (B, G, R, unused). Like a network's input it is kept from
/// frame to frame, and only what changed is converted.
class Canvas {
 public:
  Canvas();

  /// Brings the picture up to date; nothing that was drawn on it is left.
  Status Show(const FrameView& frame);
  /// Takes off what was drawn.
  void Clean() { drawn_on_ = clean_; }
  BgraPicture picture();

 private:
  void Resize(int width, int height);

  ChangeDetector changes_;
  Preprocessor convert_;
  ImageTarget target_;
  std::vector<float> levels_;    // B, G, R
  std::vector<uint64_t> marks_;  // pixels that changed
  std::vector<uint8_t> clean_;   // the picture without drawings
  std::vector<uint8_t> drawn_on_;
};

class AnnotatedVideo {
 public:
  static Result<AnnotatedVideo> Create(const std::string& path, int width, int height,
                                       const WriterOptions& options);

  /// `heat` may be empty.
  Status Write(const FrameView& frame, const Answer& answer, const Preset& preset,
               const HeatMap& heat, const StepReport& report);
  Status Close() { return writer_.Close(); }

 private:
  explicit AnnotatedVideo(VideoWriter writer) : writer_(std::move(writer)) {}

  VideoWriter writer_;
  Canvas canvas_;
};

}  // namespace deltacnn::cli
