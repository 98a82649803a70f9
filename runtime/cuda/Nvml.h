// NVML, loaded by name: what a user sees of a device's memory from outside.
#ifndef GMC_CUDA_NVML_H
#define GMC_CUDA_NVML_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gmc::rt::cuda {

/// The device that the driver calls by another number: NVML knows neither CUDA_VISIBLE_DEVICES nor the driver's order,
/// so it is found by its UUID (a MIG instance has one of its own), else by its PCI address.
struct NvmlDeviceName {
  std::string uuid;     ///< "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
  std::string pciBusId; ///< "0000:01:00.0"
};

/// Every figure is missing where NVML is, or where it hides processes (containers).
class Nvml {
public:
  Nvml();
  ~Nvml();
  Nvml(const Nvml &) = delete;
  Nvml &operator=(const Nvml &) = delete;

  bool loaded() const { return ready; }
  void select(const NvmlDeviceName &name);

  /// Device memory of this process in bytes. A container's process numbers are its own: a figure below `atLeast`, which
  /// this process is known to hold, is another process's.
  std::optional<uint64_t> processBytes(uint64_t atLeast) const;
  /// Used memory of the whole device in bytes.
  std::optional<uint64_t> deviceBytes() const;
  /// "process 123 holds 4096 MiB, ..." of the others on the device, empty when unknown.
  std::string holders() const;

  // As in nvml.h; compared by the test cuda-abi.
  struct Process {
    unsigned pid;
    unsigned long long usedBytes; ///< all ones: not available
    unsigned gpuInstance, computeInstance;
  };
  struct Memory {
    unsigned long long total, free, used;
  };
  struct Functions {
    int (*init)();
    int (*shutdown)();
    int (*deviceByUuid)(const char *, void **);
    int (*deviceByPci)(const char *, void **);
    int (*computeProcesses)(void *, unsigned *, Process *);
    int (*memoryInfo)(void *, Memory *);
  };

private:
  std::vector<Process> processes() const;

  Functions call{};
  bool ready = false;
  void *device = nullptr;
};

} // namespace gmc::rt::cuda

#endif
