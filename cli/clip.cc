#include "clip.h"

#include <fmt/format.h>

#include <algorithm>

#include "terminal.h"
#include "video/pixel_format.h"
#include "video_input.h"

namespace deltacnn::cli {

Result<Clip> Clip::Read(const VideoArguments& video, int64_t skip, int64_t frames,
                        uint64_t most_bytes) {
  auto source = OpenVideo(video);
  if (!source.ok()) return source.error();
  Clip clip;
  Progress progress;
  uint64_t bytes = 0;
  while (std::ssize(clip.frames_) < frames && bytes < most_bytes && !Interrupted()) {
    const auto frame = source->Next();
    if (!frame.ok()) return frame.error();
    if (!*frame) break;
    if (skip-- > 0) continue;
    bytes += clip.Keep(**frame);
    if (progress.due()) progress.Show(fmt::format("reading frame {}", clip.frames_.size()));
  }
  if (clip.frames_.empty())
    return Error{ErrorCode::kUsage,
                 video.path + ": has no frame after those that --skip leaves out"};
  return clip;
}

/// Copies a frame; returns its bytes.
uint64_t Clip::Keep(const FrameView& frame) {
  const PixelLayout& layout = LayoutOf(frame.format);
  std::vector<uint8_t>& pixels = pixels_.emplace_back();
  FrameView kept = frame;
  kept.motion_vectors = {};
  kept.block_qp = {};
  std::array<size_t, 3> first{};
  for (int p = 0; p < layout.planes; ++p) {
    const ComponentLayout& plane = PlaneLayout(layout, p);
    const ptrdiff_t row_bytes = PlaneRowBytes(plane, frame.width);
    first[p] = pixels.size();
    kept.strides[p] = row_bytes;
    for (int y = 0; y < PlaneHeight(plane, frame.height); ++y) {
      const uint8_t* row = frame.planes[p] + y * frame.strides[p];
      pixels.insert(pixels.end(), row, row + row_bytes);
    }
  }
  for (int p = 0; p < layout.planes; ++p) kept.planes[p] = pixels.data() + first[p];
  frames_.push_back(kept);
  return pixels.size();
}

}  // namespace deltacnn::cli
