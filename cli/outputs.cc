#include "outputs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "terminal.h"
#include "video/inputs.h"

namespace deltacnn::cli {
namespace {

namespace fs = std::filesystem;

bool IsFile(const Output& output) {
  return !output.path.empty() && (output.kind != Output::Kind::kText || output.path != "-");
}

std::string NameOf(const Output& output) { return output.option + " " + output.path; }

/// Whether both name one file, which need not be there yet. Two outputs may go to /dev/null.
bool IsSameFile(const std::string& a, const std::string& b) {
  std::error_code error;
  if (fs::exists(a, error)) return fs::equivalent(a, b, error) && !fs::is_character_file(a, error);
  return fs::weakly_canonical(fs::absolute(a, error), error) ==
         fs::weakly_canonical(fs::absolute(b, error), error);
}

Status CheckName(const Output& output) {
  if (output.path == "-") {
    return Error{ErrorCode::kUsage,
                 NameOf(output) + ": does not go to standard output; name a file to write"};
  }
  if (output.kind != Output::Kind::kVideo) return {};
  std::string extension = fs::path(output.path).extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](unsigned char c) { return std::tolower(c); });
  constexpr std::array<std::string_view, 4> kMp4 = {"", ".mp4", ".m4v", ".mov"};
  if (std::ranges::find(kMp4, extension) != kMp4.end()) return {};
  return Error{ErrorCode::kUsage, NameOf(output) + ": only MP4 is written, not " + extension +
                                      "; name a file that ends in .mp4"};
}

/// Opens the file for writing and leaves it as it was.
Status TryToWrite(const Output& output) {
  struct stat status = {};
  const bool exists = stat(output.path.c_str(), &status) == 0;
  // The reader of a pipe would take the trial for the end.
  if (exists && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) return {};
  const int file = open(output.path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) return CannotWrite(output);
  close(file);
  std::error_code error;
  if (!exists) fs::remove(fs::canonical(output.path, error), error);
  return {};
}

}  // namespace

std::vector<std::string> InputsOf(const ModelArguments& model, const VideoArguments& video,
                                  std::vector<std::string> others) {
  std::vector<std::string> inputs = std::move(others);
  inputs.push_back(model.path);
  inputs.push_back(fs::path(model.path).replace_extension(".json").string());  // see FindPreset
  inputs.push_back(video.path == "-" ? "/dev/stdin" : video.path);
  if (const auto parts = ResolveInput(video.path); parts.ok())
    inputs.insert(inputs.end(), parts->paths.begin(), parts->paths.end());
  return inputs;
}

Status CheckOutputs(const std::vector<Output>& outputs, const std::vector<std::string>& inputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Output& output = outputs[i];
    if (!IsFile(output)) continue;
    DELTACNN_RETURN_IF_ERROR(CheckName(output));
    std::error_code error;
    for (const std::string& input : inputs) {
      if (fs::equivalent(output.path, input, error)) {
        return Error{ErrorCode::kUsage,
                     NameOf(output) + ": is an input; name another file to write"};
      }
    }
    for (const Output& other : std::span(outputs).first(i)) {
      if (IsFile(other) && IsSameFile(output.path, other.path)) {
        return Error{ErrorCode::kUsage, NameOf(other) + " and " + NameOf(output) +
                                            ": are one file; give each output its own"};
      }
    }
  }
  for (const Output& output : outputs)
    if (IsFile(output)) DELTACNN_RETURN_IF_ERROR(TryToWrite(output));
  return {};
}

Error CannotWrite(const Output& output) {
  return {ErrorCode::kIo, NameOf(output) + ": cannot be written (" + std::strerror(errno) +
                              "); is there space and a folder?"};
}

Status WriteText(const Output& output, const std::string& text) {
  if (!IsFile(output)) {
    WriteResult(text);
    return {};
  }
  std::FILE* file = std::fopen(output.path.c_str(), "w");
  if (file == nullptr) return CannotWrite(output);
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool flushed = std::fflush(file) == 0;
  const Status status = written && flushed ? Status() : CannotWrite(output);
  std::fclose(file);
  return status;
}

}  // namespace deltacnn::cli
