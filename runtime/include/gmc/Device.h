// What the main loop needs from a target. One implementation per target folder (host/, cuda/, sim/).
#ifndef GMC_DEVICE_H
#define GMC_DEVICE_H

#include "gmc/Abi.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace gmc::rt {

/// Bytes the process was promised to stay in, bytes it used at most, and who says so: "VmHWM" (host, sim),
/// "NVML" or "device-delta" (cuda).
struct MemoryReport {
  uint64_t promised = 0;
  uint64_t used = 0;
  std::string source;
};

class Device {
public:
  virtual ~Device() = default;

  /// Makes the one device allocation: `model.arenaBytes`, aligned to `model.alignment`, zeroed and resident. Called
  /// exactly once. Throws Error(ExitMemory) when the memory is not there.
  virtual void allocate(const GmcModel &model) = 0;

  /// Copies between host memory and arena bytes [offset, offset + bytes). Both are complete on return from the
  /// host's view: `src` may be reused; `read` waits for everything that was submitted before.
  virtual void write(uint64_t offset, const void *src, uint64_t bytes) = 0;
  virtual void read(uint64_t offset, void *dst, uint64_t bytes) = 0;

  /// The arena address of `offset` where the host can touch it directly, else null. Lets files be read straight
  /// into the arena.
  virtual void *direct(uint64_t offset) = 0;

  /// Executes (or submits) steps first..last, both included, in order.
  virtual void runSteps(const GmcProgram &program, uint32_t first, uint32_t last) = 0;

  /// Waits until everything submitted is complete; errors of asynchronous work surface here.
  virtual void synchronize() = 0;

  virtual MemoryReport memory() = 0;

  /// Host memory that transfers to the device are fast from (pinned on cuda), zeroed and resident.
  virtual void *allocateStaging(size_t bytes) = 0;
  virtual void freeStaging(void *data, size_t bytes) = 0;

  /// One line per thing this machine lacks for the model, empty when it can run. Does not allocate.
  virtual std::string missing(const GmcModel &model) = 0;
};

/// The device for `model.target`. Throws Error(ExitUsage) when this build of the runtime has no such target.
/// `index` is `--device=N`.
std::unique_ptr<Device> createDevice(const GmcModel &model, int index);

} // namespace gmc::rt

#endif
