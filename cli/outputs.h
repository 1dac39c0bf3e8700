// The files that a command line asks to write.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "commands.h"
#include "deltacnn/result.h"

namespace deltacnn::cli {

struct Output {
  enum class Kind : uint8_t {
    kText,   // "-" is stdout
    kFile,   // not for stdout
    kVideo,  // an MP4 file
  };

  std::string option;
  std::string path;  // empty: not asked for
  Kind kind = Kind::kText;
};

/// The files of a model, those of a video, and `others`; what is no file does no harm.
std::vector<std::string> InputsOf(const ModelArguments& model, const VideoArguments& video = {},
                                  std::vector<std::string> others = {});

/// Checks the outputs before the work starts, and leaves their files as they are. kUsage where one
/// would replace an input or another output or has a name for something else, kIo where it cannot
/// be written.
Status CheckOutputs(const std::vector<Output>& outputs, const std::vector<std::string>& inputs);

/// "--json FILE: cannot be written ...", with the reason in errno.
Error CannotWrite(const Output& output);
/// Replaces the file by `text`.
Status WriteText(const Output& output, const std::string& text);

}  // namespace deltacnn::cli
