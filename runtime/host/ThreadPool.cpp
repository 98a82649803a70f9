#include "runtime/host/ThreadPool.h"
#include "gmc/Error.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <dlfcn.h>
#include <mutex>
#include <pthread.h>
#include <vector>

namespace gmc::rt {
namespace {

/// Parts per thread: more than one, so that a thread that the machine takes away does not hold up the rest.
constexpr int64_t PartsPerThread = 4;

/// Stack of a pool thread. Bounded, because touched stack counts in VmHWM and an 8 MB default invites huge pages.
constexpr size_t StackBytes = 1 << 20;

struct Job {
  ThreadPool::Body body;
  void *context;
  int64_t extent, part;
  std::atomic<int64_t> next{0};

  void work() {
    for (int64_t begin; (begin = next.fetch_add(part, std::memory_order_relaxed)) < extent;)
      body(context, begin, std::min(extent, begin + part));
  }
};

void workOn(void *job) { static_cast<Job *>(job)->work(); }

} // namespace

struct ThreadPool::Impl {
  // libgomp's entry points; null in an own pool.
  void (*gompParallel)(void (*)(void *), void *, unsigned, unsigned) = nullptr;
  void (*gompSetThreads)(int) = nullptr;

  // The own pool: workers sleep until `generation` moves, work on `job`, and count themselves out.
  std::mutex mutex;
  std::condition_variable wake, done;
  Job *job = nullptr;
  uint64_t generation = 0;
  unsigned running = 0;
  bool stopping = false;
  std::vector<pthread_t> workers;

  bool loadGomp(unsigned threads) {
    setenv("OMP_STACKSIZE", "1M", /*overwrite=*/0);
    // libgomp spins for about a millisecond before it sleeps; decoding threads could use that core.
    if (!getenv("OMP_WAIT_POLICY"))
      setenv("GOMP_SPINCOUNT", "20000", /*overwrite=*/0);
    void *lib = dlopen("libgomp.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!lib)
      return false;
    gompParallel = reinterpret_cast<decltype(gompParallel)>(dlsym(lib, "GOMP_parallel"));
    gompSetThreads = reinterpret_cast<void (*)(int)>(dlsym(lib, "omp_set_num_threads"));
    auto setDynamic = reinterpret_cast<void (*)(int)>(dlsym(lib, "omp_set_dynamic"));
    if (!gompParallel || !gompSetThreads || !setDynamic) {
      gompParallel = nullptr;
      return false;
    }
    // Libraries that open parallel regions of their own get the plan's thread count, always.
    setDynamic(0);
    gompSetThreads(static_cast<int>(threads));
    return true;
  }

  static void *workerMain(void *self) {
    static_cast<Impl *>(self)->workerLoop();
    return nullptr;
  }

  void workerLoop() {
    uint64_t seen = 0;
    for (;;) {
      Job *current;
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return stopping || generation != seen; });
        if (stopping)
          return;
        seen = generation;
        current = job;
      }
      current->work();
      std::lock_guard lock(mutex);
      if (--running == 0)
        done.notify_one();
    }
  }

  void runOwn(Job &current) {
    {
      std::lock_guard lock(mutex);
      job = &current;
      running = static_cast<unsigned>(workers.size());
      ++generation;
    }
    wake.notify_all();
    current.work();
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return running == 0; });
  }
};

ThreadPool::ThreadPool(unsigned threads, Kind kind) : impl(std::make_unique<Impl>()), count(std::max(1u, threads)) {
  if (kind != Kind::Own && impl->loadGomp(count))
    return;
  if (kind == Kind::OpenMP)
    throw usageError("libgomp.so.1 is not installed: install the package libgomp1");
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, StackBytes);
  for (unsigned i = 1; i < count; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, &attributes, &Impl::workerMain, impl.get()))
      break; // fewer threads compute the same bits, only later
    impl->workers.push_back(thread);
  }
  pthread_attr_destroy(&attributes);
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(impl->mutex);
    impl->stopping = true;
  }
  impl->wake.notify_all();
  for (pthread_t thread : impl->workers)
    pthread_join(thread, nullptr);
}

void ThreadPool::setLibraryThreads(unsigned threads) {
  if (impl->gompParallel)
    impl->gompSetThreads(static_cast<int>(threads));
}

bool ThreadPool::usesOpenMP() const { return impl->gompParallel; }

void ThreadPool::parallelFor(int64_t extent, int64_t grain, Body body, void *context) {
  if (extent <= 0)
    return;
  grain = std::max<int64_t>(grain, 1);
  int64_t parts = std::min<int64_t>(extent / grain, count * PartsPerThread);
  if (count == 1 || parts <= 1) {
    body(context, 0, extent);
    return;
  }
  Job job{body, context, extent, (extent + parts - 1) / parts};
  if (impl->gompParallel)
    impl->gompParallel(&workOn, &job, static_cast<unsigned>(std::min<int64_t>(count, parts)), 0);
  else
    impl->runOwn(job);
}

} // namespace gmc::rt
