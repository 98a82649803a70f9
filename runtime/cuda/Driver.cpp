#include "runtime/cuda/Driver.h"
#include "gmc/Error.h"

#include <cstdlib>
#include <dlfcn.h>
#include <unistd.h>

namespace gmc::rt::cuda {

const Driver *Driver::get(std::string &problem) {
  static std::string why;
  static const Driver *loaded = []() -> const Driver * {
    // Kernels are loaded with their module: capturing a graph must not load anything, and the reserve is measured before
    // training.
    setenv("CUDA_MODULE_LOADING", "EAGER", /*overwrite=*/0);
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      why = "libcuda.so.1: not found; install NVIDIA's driver";
      return nullptr;
    }
    static Driver d;
    auto find = [&](auto &slot, const char *name) {
      slot = reinterpret_cast<std::decay_t<decltype(slot)>>(dlsym(library, name));
      if (!slot)
        why += (why.empty() ? "libcuda.so.1 is too old, it lacks " : ", ") + std::string(name);
    };
    find(d.init, "cuInit");
    find(d.driverGetVersion, "cuDriverGetVersion");
    find(d.deviceGetCount, "cuDeviceGetCount");
    find(d.deviceGet, "cuDeviceGet");
    find(d.deviceGetName, "cuDeviceGetName");
    find(d.deviceGetAttribute, "cuDeviceGetAttribute");
    find(d.deviceGetPCIBusId, "cuDeviceGetPCIBusId");
    find(d.primaryCtxRetain, "cuDevicePrimaryCtxRetain");
    find(d.primaryCtxRelease, "cuDevicePrimaryCtxRelease_v2");
    find(d.ctxSetCurrent, "cuCtxSetCurrent");
    find(d.memGetInfo, "cuMemGetInfo_v2");
    find(d.memAlloc, "cuMemAlloc_v2");
    find(d.memFree, "cuMemFree_v2");
    find(d.memHostAlloc, "cuMemHostAlloc");
    find(d.memFreeHost, "cuMemFreeHost");
    find(d.memsetD8Async, "cuMemsetD8Async");
    find(d.memcpyHtoDAsync, "cuMemcpyHtoDAsync_v2");
    find(d.memcpyDtoHAsync, "cuMemcpyDtoHAsync_v2");
    find(d.streamCreate, "cuStreamCreate");
    find(d.streamDestroy, "cuStreamDestroy_v2");
    find(d.streamSynchronize, "cuStreamSynchronize");
    find(d.streamWaitEvent, "cuStreamWaitEvent");
    find(d.eventCreate, "cuEventCreate");
    find(d.eventDestroy, "cuEventDestroy_v2");
    find(d.eventRecord, "cuEventRecord");
    find(d.eventSynchronize, "cuEventSynchronize");
    find(d.moduleLoadData, "cuModuleLoadData");
    find(d.moduleUnload, "cuModuleUnload");
    find(d.moduleGetFunction, "cuModuleGetFunction");
    find(d.launchKernel, "cuLaunchKernel");
    find(d.streamBeginCapture, "cuStreamBeginCapture_v2");
    find(d.streamEndCapture, "cuStreamEndCapture");
    find(d.graphInstantiate, "cuGraphInstantiateWithFlags");
    find(d.graphUpload, "cuGraphUpload");
    find(d.graphLaunch, "cuGraphLaunch");
    find(d.graphExecDestroy, "cuGraphExecDestroy");
    find(d.graphDestroy, "cuGraphDestroy");
    find(d.getErrorName, "cuGetErrorName");
    find(d.getErrorString, "cuGetErrorString");
    if (!why.empty())
      return nullptr;
    if (Result result = d.init(0)) {
      const char *name = nullptr, *text = nullptr;
      d.getErrorName(result, &name);
      d.getErrorString(result, &text);
      why = "cuInit: " + std::string(name ? name : "error " + std::to_string(result)) + (text ? ", " : "") +
            (text ? text : "");
      return nullptr;
    }
    return &d;
  }();
  problem = why;
  return loaded;
}

void Driver::check(Result result, const char *call, const std::string &place) const {
  if (!result)
    return;
  constexpr Result OutOfMemory = 2, FirstLaunchError = 700;
  const char *name = nullptr, *text = nullptr;
  getErrorName(result, &name);
  getErrorString(result, &text);
  std::string message = std::string(call) + " (" + place + "): " + (name ? name : "error " + std::to_string(result)) +
                        (text ? std::string(", ") + text : "");
  if (result == OutOfMemory)
    throw Error(ExitMemory, message);
  if (result >= FirstLaunchError)
    throw internalError(message);
  throw usageError(message);
}

Nvml::Nvml() {
  handle = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    return;
  auto init = reinterpret_cast<int (*)()>(dlsym(handle, "nvmlInit_v2"));
  deviceByPci = reinterpret_cast<decltype(deviceByPci)>(dlsym(handle, "nvmlDeviceGetHandleByPciBusId_v2"));
  computeProcesses =
      reinterpret_cast<decltype(computeProcesses)>(dlsym(handle, "nvmlDeviceGetComputeRunningProcesses_v3"));
  memoryInfo = reinterpret_cast<decltype(memoryInfo)>(dlsym(handle, "nvmlDeviceGetMemoryInfo"));
  if (!init || !deviceByPci || init() != 0)
    handle = nullptr;
}

void *Nvml::deviceAt(const std::string &pciBusId) const {
  void *device = nullptr;
  return handle && deviceByPci(pciBusId.c_str(), &device) == 0 ? device : nullptr;
}

std::vector<Nvml::Process> Nvml::processes(const std::string &pciBusId) const {
  void *device = deviceAt(pciBusId);
  if (!device || !computeProcesses)
    return {};
  std::vector<Process> found(256);
  unsigned count = static_cast<unsigned>(found.size());
  if (computeProcesses(device, &count, found.data()) != 0)
    return {};
  found.resize(count);
  return found;
}

std::optional<uint64_t> Nvml::processBytes(const std::string &pciBusId) const {
  for (const Process &process : processes(pciBusId))
    if (process.pid == static_cast<unsigned>(getpid()) && process.usedBytes != ~0ull)
      return process.usedBytes;
  return std::nullopt;
}

std::optional<uint64_t> Nvml::deviceBytes(const std::string &pciBusId) const {
  void *device = deviceAt(pciBusId);
  Memory memory{};
  if (!device || !memoryInfo || memoryInfo(device, &memory) != 0)
    return std::nullopt;
  return memory.used;
}

std::string Nvml::holders(const std::string &pciBusId) const {
  std::string text;
  for (const Process &process : processes(pciBusId))
    if (process.pid != static_cast<unsigned>(getpid()))
      text += (text.empty() ? "process " : ", process ") + std::to_string(process.pid) + " holds " +
              (process.usedBytes == ~0ull ? "an unknown amount" : std::to_string(process.usedBytes >> 20) + " MiB");
  return text;
}

} // namespace gmc::rt::cuda
