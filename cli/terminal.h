// What the terminal sees: results, notes, the progress line; and signals that ask the program to
// end.
#pragma once

#include <fmt/core.h>

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

namespace deltacnn::cli {

/// Becomes true at SIGINT or SIGTERM, which are caught from the first call on; a second one of them
/// ends the program at once.
const std::atomic<bool>& Interrupted();

/// See Say and Note.
void WriteResult(std::string_view text);
void WriteNote(std::string_view line);

/// Text on stdout. What does not get there shows in FinishResults().
template <class... T>
void Say(fmt::format_string<T...> format, T&&... arguments) {
  WriteResult(fmt::format(format, std::forward<T>(arguments)...));
}
/// Returns the system's reason why results did not reach stdout; 0: all did.
int FinishResults();

/// A line on stderr. Lost where it cannot be written: a full disk under the log must not end a run.
template <class... T>
void Note(fmt::format_string<T...> format, T&&... arguments) {
  WriteNote(fmt::format(format, std::forward<T>(arguments)...));
}

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
