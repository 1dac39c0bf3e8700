#include "video_input.h"

#include <cstdio>
#include <string>

#include "terminal.h"

namespace deltacnn::cli {
namespace {

Result<VideoOptions> OptionsOf(const VideoArguments& arguments) {
  VideoOptions options;
  options.stop = &Interrupted();
  options.on_event = [](const std::string& event) { Note("{}", event); };
  options.raw_format = arguments.raw_format;
  options.fps = arguments.fps;
  if (arguments.size.empty()) return options;
  int end = 0;
  const bool read =
      std::sscanf(arguments.size.c_str(), "%5dx%5d%n", &options.width, &options.height, &end) == 2;
  if (!read || static_cast<size_t>(end) != arguments.size.size() || options.width < 1 ||
      options.height < 1) {
    return Error{ErrorCode::kUsage,
                 "--size " + arguments.size + ": is no size; write WIDTHxHEIGHT, as 640x480"};
  }
  return options;
}

}  // namespace

Result<VideoSource> OpenVideo(const VideoArguments& arguments) {
  const auto options = OptionsOf(arguments);
  if (!options.ok()) return options.error();
  return VideoSource::Open(arguments.path, *options);
}

}  // namespace deltacnn::cli
