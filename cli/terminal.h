// The progress line, and signals that ask the program to end.
#pragma once

#include <atomic>
#include <chrono>
#include <string>

namespace deltacnn::cli {

/// Becomes true at SIGINT or SIGTERM, which are caught from the first call on; a second one of them
/// ends the program at once.
const std::atomic<bool>& Interrupted();

/// A line on stderr that is written over and over; nothing unless stderr is a terminal.
class Progress {
 public:
  Progress();
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// True ten times a second, on a terminal.
  bool due() const;
  void Show(const std::string& line);
  void Clear();

 private:
  bool terminal_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_;
};

class Stopwatch {
 public:
  double ms() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_)
        .count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace deltacnn::cli
