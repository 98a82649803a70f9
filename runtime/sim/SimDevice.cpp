#include "runtime/sim/SimDevice.h"
#include "gmc/Error.h"
#include "runtime/host/HostDevice.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

namespace gmc::rt {
namespace {

/// Inaccessible bytes on each side of the arena: a wrong index lands in them unless it is off by more.
constexpr uint64_t GuardBytes = uint64_t(1) << 30;
constexpr uint64_t PageBytes = 4096;

uint64_t roundUp(uint64_t bytes, uint64_t to) { return (bytes + to - 1) / to * to; }

// What the handler of access errors may look at.
struct Watch {
  const char *begin, *end, *arena;
  const char *volatile kernel;
};
Watch watch{};

void onFault(int signal, siginfo_t *info, void *) {
  auto *at = static_cast<const char *>(info->si_addr);
  if (at >= watch.begin && at < watch.end) {
    char text[256];
    int n = std::snprintf(text, sizeof text,
                          "error: internal error: sim: kernel %s accesses byte %lld of the arena, outside it\n",
                          watch.kernel ? watch.kernel : "(none)", static_cast<long long>(at - watch.arena));
    (void)!::write(2, text, std::min<size_t>(static_cast<size_t>(n), sizeof text - 1));
    _exit(ExitInternal);
  }
  std::signal(signal, SIG_DFL); // another defect: the faulting instruction runs again and ends the process as usual
}

struct Part {
  GmcKernelFn fn;
  char *const *operands;
};

void runPart(void *context, int64_t begin, int64_t end) {
  auto *part = static_cast<Part *>(context);
  part->fn(part->operands, begin, end);
}

} // namespace

SimDevice::SimDevice(unsigned threads) : pool(threads) {}

SimDevice::~SimDevice() {
  if (mapping) {
    watch = {};
    munmap(mapping, mappingBytes);
  }
}

void SimDevice::allocate(const GmcModel &model) {
  if (arena)
    throw internalError("the arena is allocated twice");
  arenaBytes = model.arenaBytes;
  promised = model.budgetBytes;
  uint64_t used = roundUp(arenaBytes, std::max<uint64_t>(model.alignment, 64)), pages = roundUp(used, PageBytes);
  mappingBytes = 2 * GuardBytes + pages;
  void *data = mmap(nullptr, mappingBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    throw Error(ExitMemory, "cannot reserve addresses for an arena of " + std::to_string(arenaBytes) + " bytes");
  mapping = static_cast<char *>(data);
  if (pages && mprotect(mapping + GuardBytes, pages, PROT_READ | PROT_WRITE))
    throw Error(ExitMemory, "cannot allocate the arena of " + std::to_string(arenaBytes) +
                                " bytes: free memory on this machine or compile for a smaller --vram");
  arena = mapping + GuardBytes + (pages - used);
  std::memset(arena, 0, used);
  watch = {mapping, mapping + mappingBytes, arena, nullptr};
  struct sigaction action = {};
  action.sa_sigaction = onFault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);
}

void SimDevice::checkRange(uint64_t offset, uint64_t bytes) const {
  if (offset > arenaBytes || bytes > arenaBytes - offset)
    throw internalError("access to bytes " + std::to_string(offset) + " + " + std::to_string(bytes) +
                        " of an arena of " + std::to_string(arenaBytes));
}

void SimDevice::write(uint64_t offset, const void *src, uint64_t bytes) {
  checkRange(offset, bytes);
  std::memcpy(arena + offset, src, bytes);
}

void SimDevice::read(uint64_t offset, void *dst, uint64_t bytes) {
  checkRange(offset, bytes);
  std::memcpy(dst, arena + offset, bytes);
}

void SimDevice::runSteps(const GmcProgram &program, uint32_t first, uint32_t last) {
  std::vector<char *> operands;
  for (uint32_t s = first; s <= last; ++s) {
    const GmcStep &step = program.steps[s];
    if (step.library)
      throw internalError(std::string("step ") + step.op + " of '" + step.node + "' calls library " +
                          std::to_string(step.library) + ", which this runtime lacks");
    operands.clear();
    for (uint32_t i = 0; i < step.numOperands; ++i)
      operands.push_back(arena + step.operands[i]);
    for (uint32_t l = 0; l < step.numLaunches; ++l) {
      const GmcLaunch &launch = step.launches[l];
      Part part{launch.fn, operands.data()};
      watch.kernel = launch.name;
      pool.parallelFor(launch.extent, 1, &runPart, &part);
    }
  }
  watch.kernel = nullptr;
}

MemoryReport SimDevice::memory() { return {promised, peakResidentBytes(), "VmHWM"}; }

void *SimDevice::allocateStaging(size_t bytes) {
  void *data = mmap(nullptr, std::max<size_t>(bytes, 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED)
    throw Error(ExitMemory, "cannot allocate " + std::to_string(bytes) + " bytes for the input ring");
  std::memset(data, 0, bytes);
  return data;
}

void SimDevice::freeStaging(void *data, size_t bytes) {
  if (data)
    munmap(data, std::max<size_t>(bytes, 1));
}

} // namespace gmc::rt
