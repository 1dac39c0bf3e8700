#include "core/threads.h"

#include <algorithm>
#include <cstdint>
#include <exception>

namespace deltacnn {
namespace {

// A worker spins this often before it sleeps: layers of one step follow each other within
// microseconds, frames within milliseconds.
constexpr int kSpins = 4000;

inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

std::shared_ptr<Executor> MakeThreadPool(int threads) {
  return std::make_shared<ThreadPool>(std::clamp(threads, 1, 1024));
}

ThreadPool::ThreadPool(int threads) : shares_(static_cast<size_t>(threads)) {
  workers_.reserve(static_cast<size_t>(threads) - 1);
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { Loop(i); });
  } catch (const std::exception&) {  // the system gives no more: those there are share the work
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    ++generation_;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Run(size_t tasks, Task call, const void* context) {
  if (workers_.empty() || tasks < 2) {
    for (size_t task = 0; task < tasks; ++task) call(context, task, 0);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    const auto count = static_cast<size_t>(threads());
    for (size_t i = 0; i < count; ++i) {
      shares_[i].next = tasks * i / count;
      shares_[i].end = tasks * (i + 1) / count;
    }
    context_ = context;
    call_ = call;
    running_ = static_cast<int>(workers_.size());
    ++generation_;
  }
  wake_.notify_all();
  Work(0);
  for (int spins = 0; running_.load(std::memory_order_acquire) > 0; ++spins) {
    if (spins < kSpins) {
      Pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::Work(int thread) {
  // Its own share, then what the others have left.
  const auto count = static_cast<size_t>(threads());
  for (size_t i = 0; i < count; ++i) {
    Share& share = shares_[(static_cast<size_t>(thread) + i) % count];
    for (size_t task; (task = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;)
      call_(context_, task, thread);
  }
}

void ThreadPool::Loop(int thread) {
  uint64_t seen = 0;
  while (true) {
    for (int spins = 0; spins < kSpins && generation_.load(std::memory_order_acquire) == seen;
         ++spins) {
      Pause();
    }
    if (generation_.load(std::memory_order_acquire) == seen) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load() != seen; });
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_) return;
    Work(thread);
    running_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace deltacnn
