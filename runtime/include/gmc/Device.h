// What the main loop needs from a target. One implementation per target folder (host/, cuda/, sim/).
#ifndef GMC_DEVICE_H
#define GMC_DEVICE_H

#include "gmc/Abi.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gmc::rt {

/// Bytes the process was promised to stay in, bytes it used at most, and who says so: "VmHWM" (host, sim), on cuda
/// "NVML" (this process), "device-delta" (growth of the device's used memory) or "device-total" (all that is used on
/// the device).
struct MemoryReport {
  uint64_t promised = 0;
  uint64_t used = 0;
  std::string source;
  std::vector<std::pair<std::string, uint64_t>> parts = {}; ///< what the device held more after each part of the start
  std::string note = {};                                    ///< what else bears on the figure, e.g. other processes
};

/// The ranges of steps that a program is run in, in order: each loop, and what lies before, between and behind the
/// loops.
struct StepRange {
  uint32_t first, last; ///< both included
  uint32_t count;       ///< times in one run of the program
  bool loop;            ///< one micro-step
};

inline std::vector<StepRange> stepRanges(const GmcProgram &program) {
  std::vector<StepRange> ranges;
  uint32_t at = 0;
  for (uint32_t l = 0; l < program.numLoops; ++l) {
    const GmcLoop &loop = program.loops[l];
    if (loop.first > at)
      ranges.push_back({at, loop.first - 1, 1, false});
    ranges.push_back({loop.first, loop.last, loop.count, true});
    at = loop.last + 1;
  }
  if (at < program.numSteps)
    ranges.push_back({at, program.numSteps - 1, 1, false});
  return ranges;
}

class Device {
public:
  virtual ~Device() = default;

  /// Makes the one device allocation: `model.arenaBytes`, aligned to `model.alignment`, zeroed and resident. Called
  /// exactly once. Throws Error(ExitMemory) when the memory is not there.
  virtual void allocate(const GmcModel &model) = 0;

  /// Copies between host memory and arena bytes [offset, offset + bytes), after what was submitted before. `src` may be
  /// reused on return, unless it lies in memory of allocateStaging(): then after finishWrites(). `read` is complete on
  /// return.
  virtual void write(uint64_t offset, const void *src, uint64_t bytes) = 0;
  virtual void read(uint64_t offset, void *dst, uint64_t bytes) = 0;

  /// Returns when every source of write() may be reused; waits for no kernel submitted after the last write.
  virtual void finishWrites() {}

  /// The arena address of `offset` where the host can touch it directly, else null. Lets files be read straight
  /// into the arena.
  virtual void *direct(uint64_t offset) = 0;

  /// Executes (or submits) steps first..last, both included, in order.
  virtual void runSteps(const GmcProgram &program, uint32_t first, uint32_t last) = 0;

  /// As runSteps(), and waits; the microseconds that the device itself measured, where it can.
  virtual std::optional<double> timeSteps(const GmcProgram &program, uint32_t first, uint32_t last) {
    runSteps(program, first, last);
    synchronize();
    return std::nullopt;
  }

  /// Waits until everything submitted is complete; errors of asynchronous work surface here.
  virtual void synchronize() = 0;

  virtual MemoryReport memory() = 0;

  /// Host memory that transfers to the device are fast from (pinned on cuda), zeroed and resident.
  virtual void *allocateStaging(size_t bytes) = 0;
  virtual void freeStaging(void *data, size_t bytes) = 0;

  /// One line per thing this machine lacks for the model, empty when it can run. Does not allocate.
  virtual std::string missing(const GmcModel &model) = 0;

  /// The device in words, empty where there is nothing to say.
  virtual std::string describe() { return ""; }
};

/// The device for `model.target`. Throws Error(ExitUsage) when this build of the runtime has no such target.
/// `index` is `--device=N`.
std::unique_ptr<Device> createDevice(const GmcModel &model, int index);

} // namespace gmc::rt

#endif
