#include "runtime/cuda/Nvml.h"

#include <dlfcn.h>
#include <unistd.h>

namespace gmc::rt::cuda {

Nvml::Nvml() {
  void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return;
  auto find = [&](auto &slot, const char *name) {
    slot = reinterpret_cast<std::decay_t<decltype(slot)>>(dlsym(library, name));
    return slot != nullptr;
  };
  bool all = find(call.init, "nvmlInit_v2");
  all &= find(call.shutdown, "nvmlShutdown");
  all &= find(call.deviceByUuid, "nvmlDeviceGetHandleByUUID");
  all &= find(call.deviceByPci, "nvmlDeviceGetHandleByPciBusId_v2");
  all &= find(call.computeProcesses, "nvmlDeviceGetComputeRunningProcesses_v3");
  all &= find(call.memoryInfo, "nvmlDeviceGetMemoryInfo");
  ready = all && call.init() == 0;
}

Nvml::~Nvml() {
  if (ready)
    (void)call.shutdown();
}

void Nvml::select(const NvmlDeviceName &name) {
  device = nullptr;
  if (!ready)
    return;
  for (const char *kind : {"GPU-", "MIG-"})
    if (call.deviceByUuid((kind + name.uuid).c_str(), &device) == 0 && device)
      return;
  device = nullptr;
  if (call.deviceByPci(name.pciBusId.c_str(), &device) != 0)
    device = nullptr;
}

std::vector<Nvml::Process> Nvml::processes() const {
  if (!device)
    return {};
  std::vector<Process> found(1024);
  unsigned count = static_cast<unsigned>(found.size());
  if (call.computeProcesses(device, &count, found.data()) != 0 || count > found.size())
    return {};
  found.resize(count);
  return found;
}

std::optional<uint64_t> Nvml::processBytes(uint64_t atLeast) const {
  for (const Process &process : processes())
    if (process.pid == static_cast<unsigned>(getpid()) && process.usedBytes != ~0ull && process.usedBytes >= atLeast)
      return process.usedBytes;
  return std::nullopt;
}

std::optional<uint64_t> Nvml::deviceBytes() const {
  Memory memory{};
  if (!device || call.memoryInfo(device, &memory) != 0)
    return std::nullopt;
  return memory.used;
}

std::string Nvml::holders() const {
  std::string text;
  for (const Process &process : processes())
    if (process.pid != static_cast<unsigned>(getpid()))
      text += (text.empty() ? "process " : ", process ") + std::to_string(process.pid) + " holds " +
              (process.usedBytes == ~0ull ? "an unknown amount" : std::to_string(process.usedBytes >> 20) + " MiB");
  return text;
}

} // namespace gmc::rt::cuda
