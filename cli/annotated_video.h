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
                                       const WriterOptions& options, bool heatmap);

  /// `changed` are the blocks that the network was given anew.
  Status Write(const FrameView& frame, const Answer& answer, const Preset& preset,
               const BlockMap& changed, const StepReport& report);
  Status Close() { return writer_.Close(); }

 private:
  AnnotatedVideo(VideoWriter writer, bool heatmap)
      : writer_(std::move(writer)), heatmap_(heatmap) {}
  HeatMap HeatMapOf(const BlockMap& changed);

  VideoWriter writer_;
  bool heatmap_;
  Canvas canvas_;
  std::vector<uint8_t> heat_cells_;
};

}  // namespace deltacnn::cli
