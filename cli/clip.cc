#include "clip.h"

#include <fmt/format.h>

#include "terminal.h"
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
    std::vector<uint8_t>& pixels = clip.pixels_.emplace_back();
    clip.frames_.push_back((*frame)->CopyTo(pixels));
    bytes += pixels.size();
    if (progress.due()) progress.Show(fmt::format("reading frame {}", clip.frames_.size()));
  }
  if (clip.frames_.empty())
    return Error{ErrorCode::kUsage,
                 video.path + ": has no frame after those that --skip leaves out"};
  return clip;
}

}  // namespace deltacnn::cli
