// Executor: the threads that a stream computes on, if not its own.
#pragma once

#include <cstddef>
#include <memory>

namespace deltacnn {

/// Runs the parts of a layer. A stream whose program has a thread pool already, or pins threads to
/// cores, takes one of these (StreamOptions::executor) instead of starting threads of its own.
/// Streams that step at the same time must not share one, unless its Run may be called so.
class Executor {
 public:
  using Task = void (*)(const void* context, size_t task, int thread);

  virtual ~Executor() = default;
  /// How many calls may run at the same time: 1..1024, the same for the executor's life.
  virtual int threads() const = 0;
  /// Calls call(context, task, thread) once for every task in [0, tasks), in any order, and returns
  /// when all are done. `thread` is in [0, threads()); calls at the same time have different ones.
  /// Must not throw.
  virtual void Run(size_t tasks, Task call, const void* context) = 0;
};

/// What a stream computes on if it is given no executor: `threads` threads (clamped to 1..1024;
/// fewer where the system starts no more), the calling one included, that wait for some tens of
/// microseconds before they sleep. Streams of one program that take turns should share one: the
/// idle threads of several are in each other's way.
std::shared_ptr<Executor> MakeThreadPool(int threads);

}  // namespace deltacnn
