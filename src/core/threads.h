// A fixed pool of worker threads that runs one loop at a time. Every thread begins with its own
// share of the tasks: layer after layer, a core so finds most of what it reads in its own caches.
// (Where two cores have no cache in common, handing lines over costs more than small layers do.)
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include "deltacnn/executor.h"

namespace deltacnn {

class ThreadPool final : public Executor {
 public:
  /// `threads` in total, the calling one included; fewer where the system starts no more.
  explicit ThreadPool(int threads);
  ~ThreadPool() override;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const override { return static_cast<int>(workers_.size()) + 1; }
  void Run(size_t tasks, Task call, const void* context) override;

 private:
  /// The tasks of a thread that nobody has begun; alone in its cache line.
  struct alignas(64) Share {
    std::atomic<size_t> next{0};
    size_t end = 0;
  };

  void Work(int thread);
  void Loop(int thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};  // counts loops; a change starts the workers
  std::atomic<bool> stop_{false};
  std::atomic<int> running_{0};  // workers that have not finished the current loop
  std::vector<Share> shares_;    // by thread
  const void* context_ = nullptr;
  Task call_ = nullptr;
};

/// Calls body(task, thread) once for every task in [0, tasks); returns when all are done.
template <class Body>
void RunTasks(Executor& executor, size_t tasks, const Body& body) {
  executor.Run(
      tasks,
      [](const void* context, size_t task, int thread) {
        (*static_cast<const Body*>(context))(task, thread);
      },
      &body);
}

}  // namespace deltacnn
