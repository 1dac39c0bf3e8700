// The video that `run --save` writes.
#pragma once

#include <cstdint>
#include <optional>
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
  std::vector<float> levels_;     // B, G, R
  std::vector<uint64_t> marks_;   // pixels that changed
  std::vector<uint8_t> clean_;    // the picture without drawings
  std::vector<uint8_t> drawn_on_;
};

class AnnotatedVideo {
 public:
  struct Options {
    std::string path;
    double fps = 25;
    bool heatmap = false;
    int threads = 1;
  };

  explicit AnnotatedVideo(Options options) : options_(std::move(options)) {}

  /// `changed` are the blocks that the network was given anew. The first frame creates the file.
  Status Write(const FrameView& frame, const Answer& answer, const Preset& preset,
               const BlockMap& changed, const StepReport& report);
  Status Close();

 private:
  HeatMap HeatMapOf(const BlockMap& changed);

  Options options_;
  Canvas canvas_;
  std::vector<uint8_t> heat_cells_;
  std::optional<VideoWriter> writer_;
};

}  // namespace deltacnn::cli
