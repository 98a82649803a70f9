// The host target: the arena is one anonymous mapping, kernels run on the pool.
#ifndef GMC_HOST_HOSTDEVICE_H
#define GMC_HOST_HOSTDEVICE_H

#include "gmc/Device.h"
#include "runtime/host/Libraries.h"
#include "runtime/host/ThreadPool.h"

#include <memory>
#include <vector>

namespace gmc::rt {

/// Peak resident bytes of this process as the kernel reports them (VmHWM), 0 where /proc is missing.
uint64_t peakResidentBytes();

class HostDevice : public Device {
public:
  /// `threads` is the plan's; see ThreadPool for `kind`.
  explicit HostDevice(unsigned threads, ThreadPool::Kind kind = ThreadPool::Kind::Auto);
  ~HostDevice() override;

  void allocate(const GmcModel &model) override;
  void write(uint64_t offset, const void *src, uint64_t bytes) override;
  void read(uint64_t offset, void *dst, uint64_t bytes) override;
  void *direct(uint64_t offset) override { return arena + offset; }
  void runSteps(const GmcProgram &program, uint32_t first, uint32_t last) override;
  void synchronize() override {}
  MemoryReport memory() override;
  void *allocateStaging(size_t bytes) override;
  void freeStaging(void *data, size_t bytes) override;
  std::string missing(const GmcModel &model) override;

private:
  void checkRange(uint64_t offset, uint64_t bytes) const;

  ThreadPool pool;
  std::unique_ptr<Libraries> libraries;
  char *arena = nullptr;
  char *mapping = nullptr;
  uint64_t arenaBytes = 0, mappingBytes = 0, promised = 0;
  std::vector<char *> operands; // of the step being run; sized once, for the widest step
};

} // namespace gmc::rt

#endif
