#include "terminal.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

namespace deltacnn::cli {
namespace {

constexpr const char* kClearLine = "\r\x1b[K";

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may only touch such");

void OnSignal(int /*number*/) { interrupted = true; }

bool Catch() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  // No SA_RESTART: a wait for input ends, too.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  return sigaction(SIGINT, &action, nullptr) == 0 && sigaction(SIGTERM, &action, nullptr) == 0;
}

int result_error = 0;     // errno
bool line_shown = false;  // the progress line

/// Errors are of no interest.
void WriteToStderr(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

}  // namespace

const std::atomic<bool>& Interrupted() {
  [[maybe_unused]] static const bool caught = Catch();
  return interrupted;
}

void WriteResult(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) < text.size() && result_error == 0)
    result_error = errno;
}

int FinishResults() {
  if (std::fflush(stdout) != 0 && result_error == 0) result_error = errno;
  return result_error;
}

void WriteNote(std::string_view line) {
  WriteToStderr(fmt::format("{}{}\n", std::exchange(line_shown, false) ? kClearLine : "", line));
}

Progress::Progress() : terminal_(isatty(STDERR_FILENO) != 0) {}

bool Progress::due() const {
  return terminal_ && std::chrono::steady_clock::now() - last_ > std::chrono::milliseconds(100);
}

void Progress::Show(const std::string& line) {
  last_ = std::chrono::steady_clock::now();
  line_shown = true;
  WriteToStderr(fmt::format("{}{}", kClearLine, line));
}

void Progress::Clear() {
  if (std::exchange(line_shown, false)) WriteToStderr(kClearLine);
}

}  // namespace deltacnn::cli
