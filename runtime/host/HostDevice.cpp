#include "runtime/host/HostDevice.h"
#include "gmc/Error.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sys/mman.h>

namespace gmc::rt {
namespace {

/// Anonymous zeroed memory with every page present: what is resident after start is all that will ever be.
char *mapResident(uint64_t bytes) {
  void *data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED)
    return nullptr;
  // Huge pages only ever cover whole aligned 2 MB pieces of the mapping, so this adds no byte to it.
  if (bytes >= (8u << 20))
    madvise(data, bytes, MADV_HUGEPAGE);
  for (uint64_t at = 0; at < bytes; at += 4096)
    static_cast<volatile char *>(data)[at] = 0;
  return static_cast<char *>(data);
}

struct LaunchContext {
  GmcKernelFn fn;
  char *const *operands;
};

void runPart(void *context, int64_t begin, int64_t end) {
  auto *launch = static_cast<LaunchContext *>(context);
  launch->fn(launch->operands, begin, end);
}

} // namespace

uint64_t peakResidentBytes() {
  FILE *status = fopen("/proc/self/status", "re");
  if (!status)
    return 0;
  char line[256];
  unsigned long long kib = 0;
  while (fgets(line, sizeof line, status))
    if (sscanf(line, "VmHWM: %llu kB", &kib) == 1)
      break;
  fclose(status);
  return kib * 1024;
}

HostDevice::HostDevice(unsigned threads, ThreadPool::Kind kind) : pool(threads, kind) {}

HostDevice::~HostDevice() {
  if (mapping)
    munmap(mapping, mappingBytes);
}

void HostDevice::allocate(const GmcModel &model) {
  if (arena)
    throw internalError("the arena is allocated twice");
  // What the libraries take for themselves comes before the arena: a plan that does not hold fails here.
  libraries = std::make_unique<Libraries>(model, pool);
  const std::string &notes = libraries->notes();
  for (size_t at = 0, end; at < notes.size(); at = end + 1) {
    end = notes.find('\n', at);
    fprintf(stderr, "note: %s\n", notes.substr(at, end - at).c_str());
  }
  arenaBytes = model.arenaBytes;
  promised = model.budgetBytes;
  // Pages are 4096-aligned already; more is asked for by no plan, but is granted.
  uint64_t alignment = std::max<uint64_t>(model.alignment, 64);
  mappingBytes = std::max<uint64_t>(arenaBytes, 1) + (alignment > 4096 ? alignment : 0);
  mapping = mapResident(mappingBytes);
  if (!mapping)
    throw Error(ExitMemory, "cannot allocate the arena of " + std::to_string(arenaBytes) +
                                " bytes: free memory on this machine or compile for a smaller --vram");
  arena = reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(mapping) + alignment - 1) / alignment * alignment);
  uint32_t widest = 1;
  for (uint32_t p = 0; p < model.numPrograms; ++p)
    for (uint32_t s = 0; s < model.programs[p].numSteps; ++s)
      widest = std::max(widest, model.programs[p].steps[s].numOperands);
  operands.resize(widest);
}

void HostDevice::checkRange(uint64_t offset, uint64_t bytes) const {
  if (offset > arenaBytes || bytes > arenaBytes - offset)
    throw internalError("access to bytes " + std::to_string(offset) + " + " + std::to_string(bytes) +
                        " of an arena of " + std::to_string(arenaBytes));
}

void HostDevice::write(uint64_t offset, const void *src, uint64_t bytes) {
  checkRange(offset, bytes);
  std::memcpy(arena + offset, src, bytes);
}

void HostDevice::read(uint64_t offset, void *dst, uint64_t bytes) {
  checkRange(offset, bytes);
  std::memcpy(dst, arena + offset, bytes);
}

void HostDevice::runSteps(const GmcProgram &program, uint32_t first, uint32_t last) {
  for (uint32_t s = first; s <= last; ++s) {
    const GmcStep &step = program.steps[s];
    for (uint32_t i = 0; i < step.numOperands; ++i)
      operands[i] = arena + step.operands[i];
    if (step.library && libraries->run(step, operands.data()))
      continue;
    for (uint32_t l = 0; l < step.numLaunches; ++l) {
      const GmcLaunch &launch = step.launches[l];
      LaunchContext context{launch.fn, operands.data()};
      pool.parallelFor(launch.extent, launch.grain, &runPart, &context);
    }
  }
}

MemoryReport HostDevice::memory() { return {promised, peakResidentBytes(), "VmHWM"}; }

void *HostDevice::allocateStaging(size_t bytes) {
  void *data = mapResident(bytes);
  if (!data)
    throw Error(ExitMemory, "cannot allocate " + std::to_string(bytes) + " bytes for the input ring");
  return data;
}

void HostDevice::freeStaging(void *data, size_t bytes) {
  if (data)
    munmap(data, bytes);
}

std::string HostDevice::missing(const GmcModel &model) {
  std::string lines;
  if (!pool.usesOpenMP() && pool.threads() > 1)
    lines += "libgomp.so.1 is not installed (package libgomp1); the runtime's own threads are used\n";
  try {
    lines += (libraries ? libraries->notes() : Libraries(model, pool).notes());
  } catch (const Error &error) {
    lines += std::string(error.what()) + "\n";
  }
  return lines;
}

} // namespace gmc::rt
