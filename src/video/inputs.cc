#include "video/inputs.h"

#include <glob.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace deltacnn {
namespace {

namespace fs = std::filesystem;

std::string Lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// The run of digits at the start of `text`, which it is taken off; leading zeros do not count.
std::string_view TakeNumber(std::string_view& text) {
  const auto digits = std::ranges::find_if_not(text, IsDigit) - text.begin();
  std::string_view number = text.substr(0, static_cast<size_t>(digits));
  text.remove_prefix(number.size());
  number.remove_prefix(std::min(number.find_first_not_of('0'), number.size()));
  return number;
}

// Whether `a` comes before `b` where runs of digits are numbers: 2.png before 10.png.
bool NumbersInOrder(const std::string& a, const std::string& b) {
  std::string_view rest_a = a;
  std::string_view rest_b = b;
  while (!rest_a.empty() && !rest_b.empty()) {
    if (IsDigit(rest_a[0]) && IsDigit(rest_b[0])) {
      const std::string_view number_a = TakeNumber(rest_a);
      const std::string_view number_b = TakeNumber(rest_b);
      if (number_a.size() != number_b.size()) return number_a.size() < number_b.size();
      if (number_a != number_b) return number_a < number_b;
    } else {
      if (rest_a[0] != rest_b[0]) break;
      rest_a.remove_prefix(1);
      rest_b.remove_prefix(1);
    }
  }
  return rest_a != rest_b ? rest_a < rest_b : a < b;
}

Error CannotOpen(const std::string& input, const std::string& cause_and_remedy) {
  return {ErrorCode::kIo, "cannot open " + DisplayName(input) + ": " + cause_and_remedy};
}

Result<Inputs> ResolveUrl(const std::string& input, const std::string& scheme) {
  static constexpr std::array<std::string_view, 9> kLive = {"rtsp", "rtsps", "rtmp", "rtmps", "srt",
                                                            "udp",  "rtp",   "tcp",  "mmsh"};
  const bool live = std::ranges::find(kLive, scheme) != kLive.end();
  return Inputs{live ? InputKind::kNetwork : InputKind::kUrl, {input}};
}

Result<Inputs> ResolveDirectory(const std::string& input) {
  Inputs inputs;
  std::error_code error;
  for (fs::directory_iterator it(input, error), end; !error && it != end; it.increment(error)) {
    const std::string path = it->path().string();
    std::error_code ignored;
    if (IsImagePath(path) && it->is_regular_file(ignored)) inputs.paths.push_back(path);
  }
  if (error) return CannotOpen(input, error.message());
  if (inputs.paths.empty()) {
    return CannotOpen(input,
                      "the directory holds no images (png, jpg, bmp, ...); name a video "
                      "file or a directory of images");
  }
  std::ranges::sort(inputs.paths, NumbersInOrder);
  return inputs;
}

Result<Inputs> ResolveGlob(const std::string& input) {
  Inputs inputs;
  glob_t matches{};
  if (glob(input.c_str(), GLOB_NOSORT, nullptr, &matches) == 0) {
    for (size_t i = 0; i < matches.gl_pathc; ++i) {
      std::error_code ignored;
      if (!fs::is_directory(matches.gl_pathv[i], ignored)) {
        inputs.paths.emplace_back(matches.gl_pathv[i]);
      }
    }
  }
  globfree(&matches);
  if (inputs.paths.empty()) {
    return CannotOpen(input, "no file matches the pattern; check the path");
  }
  std::ranges::sort(inputs.paths, NumbersInOrder);
  return inputs;
}

}  // namespace

bool IsImagePath(const std::string& path) {
  static constexpr std::array<std::string_view, 12> kExtensions = {
      ".png",  ".jpg", ".jpeg", ".bmp", ".webp", ".tif",
      ".tiff", ".ppm", ".pgm",  ".pnm", ".tga",  ".jp2"};
  const std::string extension = Lower(fs::path(path).extension().string());
  return std::ranges::find(kExtensions, extension) != kExtensions.end();
}

std::string DisplayName(const std::string& input) {
  if (input == "-") return "standard input";
  std::string text = input;
  const size_t scheme_end = text.find("://");
  if (scheme_end != std::string::npos) {
    if (const size_t query = text.find('?'); query != std::string::npos) {
      text.replace(query, std::string::npos, "?***");
    }
    // A password may hold an unescaped '/' or '@': everything up to the last '@' goes.
    const size_t authority = scheme_end + 3;
    if (const size_t at = text.rfind('@'); at != std::string::npos && at >= authority) {
      text.replace(authority, at - authority, "***");
    }
  }
  // A message is one line, whatever the name.
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return "'" + text + "'";
}

Result<Inputs> ResolveInput(const std::string& input) {
  if (input.empty()) {
    return Error{ErrorCode::kUsage,
                 "the input's name is empty; name a video, an image directory, "
                 "a glob, an rtsp:// URL, /dev/videoN or -"};
  }
  if (input == "-") return Inputs{InputKind::kPipe, {input}};
  const size_t scheme_end = input.find("://");
  if (scheme_end != std::string::npos) return ResolveUrl(input, Lower(input.substr(0, scheme_end)));

  std::error_code error;
  const fs::file_status status = fs::status(input, error);
  if (input.starts_with("/dev/video")) {
    if (status.type() != fs::file_type::not_found) return Inputs{InputKind::kCamera, {input}};
    return CannotOpen(input,
                      "No such device; is the camera plugged in? 'ls /dev/video*' lists "
                      "those present");
  }
  if (status.type() == fs::file_type::not_found) {
    if (input.find_first_of("*?[") != std::string::npos) return ResolveGlob(input);
    return CannotOpen(input, "No such file or directory; check the path");
  }
  if (error) return CannotOpen(input, error.message());
  if (fs::is_directory(status)) return ResolveDirectory(input);
  if (fs::is_regular_file(status) && fs::file_size(input, error) == 0) {
    return CannotOpen(input, "the file is empty (0 bytes); record or copy it again");
  }
  return Inputs{InputKind::kFiles, {input}};
}

}  // namespace deltacnn
