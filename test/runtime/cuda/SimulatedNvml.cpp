// The entry points of libnvidia-ml.so.1, see SimulatedDriver.h.
#include "SimulatedDriver.h"
#include "runtime/cuda/Nvml.h"

using namespace simcuda;

SIM nvmlInit_v2() { return 0; }
SIM nvmlShutdown() { return 0; }
SIM nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
  return std::string(uuid) == "GPU-a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf" ? (*device = &state, 0) : 6;
}
SIM nvmlDeviceGetHandleByPciBusId_v2(const char *, void **) {
  return violation("found by the PCI address, not the UUID"), 6;
}
SIM nvmlDeviceGetMemoryInfo(void *, Nvml::Memory *memory) {
  std::lock_guard lock(state.mutex);
  memory->total = number("SIMCUDA_TOTAL", 8000 * MiB);
  memory->used = state.used();
  memory->free = memory->total - memory->used;
  return 0;
}
SIM nvmlDeviceGetComputeRunningProcesses_v3(void *, unsigned *count, Nvml::Process *processes) {
  std::lock_guard lock(state.mutex);
  unsigned n = 0;
  if (!is("SIMCUDA_NVML", "hidden")) {
    if (uint64_t others = number("SIMCUDA_OTHERS", 0))
      processes[n++] = {1, others, ~0u, ~0u};
    if (state.contextAlive)
      processes[n++] = {static_cast<unsigned>(getpid()), state.own(), ~0u, ~0u};
  }
  return *count = n, 0;
}
