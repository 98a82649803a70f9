// A CUDA driver and NVML that run on the CPU, for tests of runtime/cuda without a GPU. Built as one library that is
// loaded under both names. It keeps what the real ones promise and no more: streams are threads of their own with
// random delays, so that an order that nobody asked for does not happen; copies from pinned memory read it when they
// execute; device memory is not zeroed; errors of kernels are sticky; what a capturing stream forbids is refused; what
// is not freed is reported.
//
// Kernels come from the library in SIMCUDA_KERNELS: a model for sim, whose launches name functions. The number of a
// kernel's parameters comes from the PTX that the program loads.
//
//   SIMCUDA_SM=90            compute capability              SIMCUDA_TOTAL, _OTHERS, _CONTEXT, _CODE   bytes of memory
//   SIMCUDA_FAULT=KERNEL     it accesses a wrong address     SIMCUDA_LOCAL=KERNEL    it needs local memory
//   SIMCUDA_PTX=refuse       the PTX is too new              SIMCUDA_NVML=hidden     processes are not shown
#ifndef GMC_TEST_RUNTIME_CUDA_SIMULATEDDRIVER_H
#define GMC_TEST_RUNTIME_CUDA_SIMULATEDDRIVER_H

#include "gmc/Abi.h"
#include "runtime/cuda/Driver.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <unistd.h>
#include <vector>

namespace gmc::rt::cuda {
struct ContextTag {};
struct FunctionTag {
  std::string name;
  GmcKernelFn fn;
  unsigned parameters;
  int dynamicShared = 0;
};
struct ModuleTag {
  std::map<std::string, FunctionTag> functions;
};
struct EventTag {
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t recorded = 0, completed = 0;
  std::chrono::steady_clock::time_point time;
  void wait(uint64_t number) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return completed >= number; });
  }
};
struct Launch {
  Function function;
  unsigned blocks;
  std::vector<char *> operands;
};
struct GraphTag {
  std::vector<Launch> launches;
};
struct GraphExecTag {
  std::vector<Launch> launches;
};
struct StreamTag {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> queue;
  bool busy = false, stopping = false;
  Graph capturing = nullptr;
  std::thread thread{[this] { work(); }};

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return stopping || !queue.empty(); });
      if (queue.empty())
        return;
      auto task = std::move(queue.front());
      queue.pop_front();
      busy = true;
      lock.unlock();
      task();
      lock.lock();
      busy = false;
      changed.notify_all();
    }
  }
  void submit(std::function<void()> task) {
    {
      std::lock_guard lock(mutex);
      queue.push_back(std::move(task));
    }
    changed.notify_all();
  }
  void drain() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return queue.empty() && !busy; });
  }
};
} // namespace gmc::rt::cuda

namespace simcuda {

using namespace gmc::rt::cuda;

inline constexpr uint64_t MiB = 1 << 20, GraphBytes = 2 * MiB, LocalBytes = 16 * MiB;

inline uint64_t number(const char *name, uint64_t otherwise) {
  const char *text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}
inline bool is(const char *name, const std::string &value) {
  const char *text = std::getenv(name);
  return text && value == text;
}

struct State {
  std::mutex mutex;
  bool initialized = false, contextAlive = false;
  ContextTag context;
  std::atomic<Result> sticky{0};
  std::map<char *, uint64_t> device, host; ///< allocations
  unsigned deviceAllocations = 0;
  std::set<Stream> streams;
  std::set<Event> events;
  std::set<Module> modules;
  std::set<Graph> graphs;
  std::set<GraphExec> execs;
  uint64_t overhead = 0; ///< context, code, local memory, graphs
  bool localTaken = false;
  std::map<std::string, GmcKernelFn> kernels;

  uint64_t used() {
    uint64_t bytes = number("SIMCUDA_OTHERS", 0) + overhead;
    for (auto [_, size] : device)
      bytes += (size + 2 * MiB - 1) / (2 * MiB) * (2 * MiB);
    return bytes;
  }
  uint64_t own() { return used() - number("SIMCUDA_OTHERS", 0); }
  bool within(const std::map<char *, uint64_t> &allocations, const void *at, uint64_t bytes) {
    auto *begin = static_cast<char *>(const_cast<void *>(at));
    auto after = allocations.upper_bound(begin);
    return after != allocations.begin() && begin + bytes <= std::prev(after)->first + std::prev(after)->second;
  }
};
extern State &state; ///< never destroyed: a process may end while streams work and handles are open

[[noreturn]] inline void violation(const std::string &text) {
  std::fprintf(stderr, "simulated driver: %s\n", text.c_str());
  _exit(99);
}

} // namespace simcuda

#define SIM extern "C" __attribute__((visibility("default"))) gmc::rt::cuda::Result

#endif
