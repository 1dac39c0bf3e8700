// The video that a command line names.
#pragma once

#include "commands.h"
#include "deltacnn/result.h"
#include "deltacnn/video.h"

namespace deltacnn::cli {

/// An interrupt of the program ends it. kUsage if the size is none.
Result<VideoSource> OpenVideo(const VideoArguments& arguments);

}  // namespace deltacnn::cli
