// Clips made with the ffmpeg program, in a directory that goes away.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace deltacnn {

class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "deltacnn-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(std::string_view name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

inline bool RunShell(const std::string& command) { return std::system(command.c_str()) == 0; }

inline bool Ffmpeg(const std::string& arguments) {
  return RunShell("ffmpeg -v quiet -nostdin -y " + arguments + " > /dev/null 2>&1");
}

inline bool HaveFfmpegProgram() {
  static const bool have = RunShell("ffmpeg -version > /dev/null 2>&1");
  return have;
}

inline std::vector<uint8_t> ReadBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void WriteBytes(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

#define DELTACNN_NEEDS_FFMPEG() \
  if (!HaveFfmpegProgram()) GTEST_SKIP() << "the ffmpeg program is not installed"

}  // namespace deltacnn
