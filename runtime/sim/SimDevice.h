// The sim target: the kernels of cuda run on the CPU, on device memory of their own.
#ifndef GMC_SIM_SIMDEVICE_H
#define GMC_SIM_SIMDEVICE_H

#include "gmc/Device.h"
#include "runtime/host/ThreadPool.h"

#include <vector>

namespace gmc::rt {

/// Device memory is one allocation of the arena's size between two inaccessible regions; the trainer reaches it through
/// write and read only, as on a GPU. Launches run in submission order, their blocks on the pool. A kernel that leaves
/// the allocation ends the process with ExitInternal and the kernel's name; the front is exact to a page, the end to
/// the arena's alignment.
class SimDevice : public Device {
public:
  explicit SimDevice(unsigned threads);
  ~SimDevice() override;

  void allocate(const GmcModel &model) override;
  void write(uint64_t offset, const void *src, uint64_t bytes) override;
  void read(uint64_t offset, void *dst, uint64_t bytes) override;
  void *direct(uint64_t offset) override { return nullptr; }
  void runSteps(const GmcProgram &program, uint32_t first, uint32_t last) override;
  void synchronize() override {}
  MemoryReport memory() override;
  void *allocateStaging(size_t bytes) override;
  void freeStaging(void *data, size_t bytes) override;
  std::string missing(const GmcModel &model) override { return ""; }

private:
  void checkRange(uint64_t offset, uint64_t bytes) const;

  ThreadPool pool;
  char *mapping = nullptr, *arena = nullptr;
  uint64_t mappingBytes = 0, arenaBytes = 0, promised = 0;
};

} // namespace gmc::rt

#endif
