#include "terminal.h"

#include <fmt/core.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

namespace deltacnn::cli {
namespace {

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

}  // namespace

const std::atomic<bool>& Interrupted() {
  [[maybe_unused]] static const bool caught = Catch();
  return interrupted;
}

Progress::Progress() : terminal_(isatty(STDERR_FILENO) != 0) {}

bool Progress::due() const {
  return terminal_ && std::chrono::steady_clock::now() - last_ > std::chrono::milliseconds(100);
}

void Progress::Show(const std::string& line) {
  last_ = std::chrono::steady_clock::now();
  shown_ = true;
  fmt::print(stderr, "\r\x1b[K{}", line);
}

void Progress::Clear() {
  if (shown_) fmt::print(stderr, "\r\x1b[K");
  shown_ = false;
}

}  // namespace deltacnn::cli
