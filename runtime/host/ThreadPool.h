// The one pool of compute threads.
//
// oneDNN, when it is loaded, brings libgomp.so.1 and its threads; a second pool beside it would double both the
// stacks and the runnable threads. So the pool is libgomp's, reached by name, and a std::thread pool stands in where
// the machine has none.
#ifndef GMC_HOST_THREADPOOL_H
#define GMC_HOST_THREADPOOL_H

#include <cstdint>
#include <memory>

namespace gmc::rt {

class ThreadPool {
public:
  enum class Kind { Auto, OpenMP, Own };

  /// A pool of `threads` >= 1 threads, the calling thread being one of them. `Auto` takes OpenMP when libgomp.so.1
  /// loads; `OpenMP` throws Error(ExitUsage) when it does not.
  explicit ThreadPool(unsigned threads, Kind kind = Kind::Auto);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  using Body = void (*)(void *context, int64_t begin, int64_t end);

  /// Calls body on disjoint parts covering [0, extent), concurrently; returns when all are done. No part is smaller
  /// than `grain` but the last. Which thread gets which part is not fixed: bodies must not depend on it.
  void parallelFor(int64_t extent, int64_t grain, Body body, void *context);

  unsigned threads() const { return count; }
  /// Threads of the parallel regions that libraries open on the calling thread: the pool's unless said otherwise.
  void setLibraryThreads(unsigned threads);
  bool usesOpenMP() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
  unsigned count;
};

} // namespace gmc::rt

#endif
