// The network source against a real RTSP server on loopback, which dies, freezes and comes back.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "deltacnn/video.h"

namespace deltacnn {
namespace {

using std::chrono::milliseconds;

std::string FreePort() {
  const int probe = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(probe, reinterpret_cast<sockaddr*>(&address), size), 0);
  getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size);
  close(probe);
  return std::to_string(ntohs(address.sin_port));
}

class Server {
 public:
  Server() = default;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() { Kill(); }

  // False where the machine has no RTSP server.
  bool Start(const std::string& port, std::vector<std::string> options = {}) {
    std::vector<std::string> words = {
        "/usr/bin/python3", DELTACNN_SOURCE_DIR "/tests/video/rtsp_server.py", "--port", port};
    words.insert(words.end(), options.begin(), options.end());
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);

    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return false;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    const int failed =
        posix_spawn(&process_, words[0].c_str(), &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    char byte = 0;
    while (failed == 0 && byte != '\n' && read(ends[0], &byte, 1) == 1) {
    }
    const bool ready = byte == '\n';  // it has said so
    close(ends[0]);
    if (failed != 0) process_ = 0;
    if (!ready) Kill();
    return ready;
  }
  void Signal(int signal) const { kill(process_, signal); }
  void Kill() {
    if (process_ == 0) return;
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
    process_ = 0;
  }

 private:
  pid_t process_ = 0;
};

class Rtsp : public testing::Test {
 protected:
  void SetUp() override {
    if (!server_.Start(port_)) {
      GTEST_SKIP() << "no RTSP server: install gir1.2-gst-rtsp-server-1.0, python3-gi and the "
                      "GStreamer plugins";
    }
  }
  std::string Url(const std::string& user = "") const {
    return "rtsp://" + user + "127.0.0.1:" + port_ + "/cam";
  }

  const std::string port_ = FreePort();
  Server server_;
  const VideoOptions options_ = {.timeout_s = 5, .backoff_s = 0.1, .max_backoff_s = 0.4};
};

// The next frame, which must come.
FrameView Frame(VideoSource& source) {
  auto frame = source.Next();
  EXPECT_TRUE(frame.ok()) << frame.error().message;
  EXPECT_TRUE(frame.ok() && *frame);
  return frame.ok() && *frame ? **frame : FrameView();
}

TEST_F(Rtsp, ComesBackAfterTheServerDied) {
  auto source = VideoSource::Open(Url(), options_);
  ASSERT_TRUE(source.ok()) << source.error().message;
  EXPECT_TRUE(source->info().live);
  double pts = -1;
  for (int i = 0; i < 10; ++i) {
    const FrameView frame = Frame(*source);
    EXPECT_EQ(frame.discontinuity, i == 0);
    EXPECT_EQ(frame.width, 160);
    EXPECT_GT(frame.pts, pts);
    pts = frame.pts;
  }

  server_.Kill();
  std::thread restart([&] {
    std::this_thread::sleep_for(milliseconds(500));
    EXPECT_TRUE(server_.Start(port_, {"--width", "192", "--height", "112"}));
  });
  // What was under way when the server died may still arrive.
  FrameView frame = Frame(*source);
  for (int i = 0; i < 50 && frame.width == 160; ++i) frame = Frame(*source);
  restart.join();
  EXPECT_EQ(frame.width, 192);
  EXPECT_TRUE(frame.discontinuity);
  EXPECT_GE(frame.pts, pts + 0.4);
  EXPECT_EQ(source->stats().reconnects, 1);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(Frame(*source).discontinuity);
}

TEST_F(Rtsp, ComesBackAfterTheServerFroze) {
  VideoOptions options = options_;
  options.timeout_s = 1;
  auto source = VideoSource::Open(Url(), options);
  ASSERT_TRUE(source.ok()) << source.error().message;
  EXPECT_TRUE(Frame(*source).discontinuity);
  EXPECT_FALSE(Frame(*source).discontinuity);
  server_.Signal(SIGSTOP);
  std::thread thaw([&] {
    std::this_thread::sleep_for(milliseconds(1800));
    server_.Signal(SIGCONT);
  });
  int frames = 0;
  while (frames < 200 && !Frame(*source).discontinuity) ++frames;
  thaw.join();
  EXPECT_LT(frames, 200);
  EXPECT_GE(source->stats().reconnects, 1);
}

TEST_F(Rtsp, GivesUpWhenToldTo) {
  VideoOptions options = options_;
  options.max_reconnects = 2;
  auto source = VideoSource::Open(Url(), options);
  ASSERT_TRUE(source.ok()) << source.error().message;
  (void)Frame(*source);
  server_.Kill();
  for (int i = 0; i < 100; ++i) {
    auto frame = source->Next();
    if (frame.ok()) continue;
    EXPECT_NE(frame.error().message.find("gave up after 2 attempts"), std::string::npos)
        << frame.error().message;
    EXPECT_EQ(source->stats().reconnects, 0);
    return;
  }
  FAIL() << "no error";
}

TEST_F(Rtsp, AnInterruptEndsTheWaitForTheServer) {
  std::atomic<bool> stop = false;
  VideoOptions options = options_;
  options.backoff_s = 1000;
  options.max_backoff_s = 1000;
  options.stop = &stop;
  auto source = VideoSource::Open(Url(), options);
  ASSERT_TRUE(source.ok()) << source.error().message;
  (void)Frame(*source);
  server_.Kill();
  std::thread stopper([&] {
    std::this_thread::sleep_for(milliseconds(300));
    stop = true;
  });
  auto frame = source->Next();
  for (int i = 0; i < 100 && frame.ok() && *frame; ++i) frame = source->Next();
  stopper.join();
  ASSERT_TRUE(frame.ok()) << frame.error().message;
  EXPECT_FALSE(frame->has_value());
}

TEST_F(Rtsp, AWrongPasswordIsNamedButNotShown) {
  server_.Kill();
  ASSERT_TRUE(server_.Start(port_, {"--user", "bob", "--password", "right"}));
  EXPECT_TRUE(VideoSource::Open(Url("bob:right@"), options_).ok());
  const auto source = VideoSource::Open(Url("bob:wr0ng@"), options_);
  ASSERT_FALSE(source.ok());
  EXPECT_NE(source.error().message.find("check user name and password"), std::string::npos)
      << source.error().message;
  EXPECT_EQ(source.error().message.find("wr0ng"), std::string::npos);
}

}  // namespace
}  // namespace deltacnn
