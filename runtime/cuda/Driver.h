// The CUDA driver and NVML, loaded by name: a trainer starts on machines that have neither.
#ifndef GMC_CUDA_DRIVER_H
#define GMC_CUDA_DRIVER_H

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gmc::rt::cuda {

using Result = int; // CUresult, 0 is success
using DeviceId = int;
using Address = unsigned long long; // CUdeviceptr
using Context = struct ContextTag *;
using Module = struct ModuleTag *;
using Function = struct FunctionTag *;
using Stream = struct StreamTag *;
using Event = struct EventTag *;
using Graph = struct GraphTag *;
using GraphExec = struct GraphExecTag *;

/// Entry points of libcuda.so.1 that the runtime calls, with the prototypes of CUDA 12's cuda.h.
struct Driver {
  Result (*init)(unsigned flags);
  Result (*driverGetVersion)(int *version);
  Result (*deviceGetCount)(int *count);
  Result (*deviceGet)(DeviceId *device, int ordinal);
  Result (*deviceGetName)(char *name, int length, DeviceId device);
  Result (*deviceGetAttribute)(int *value, int attribute, DeviceId device);
  Result (*deviceGetPCIBusId)(char *id, int length, DeviceId device);
  Result (*primaryCtxRetain)(Context *context, DeviceId device);
  Result (*primaryCtxRelease)(DeviceId device);
  Result (*ctxSetCurrent)(Context context);
  Result (*memGetInfo)(size_t *free, size_t *total);
  Result (*memAlloc)(Address *address, size_t bytes);
  Result (*memFree)(Address address);
  Result (*memHostAlloc)(void **data, size_t bytes, unsigned flags);
  Result (*memFreeHost)(void *data);
  Result (*memsetD8Async)(Address address, unsigned char value, size_t bytes, Stream stream);
  Result (*memcpyHtoDAsync)(Address to, const void *from, size_t bytes, Stream stream);
  Result (*memcpyDtoHAsync)(void *to, Address from, size_t bytes, Stream stream);
  Result (*streamCreate)(Stream *stream, unsigned flags);
  Result (*streamDestroy)(Stream stream);
  Result (*streamSynchronize)(Stream stream);
  Result (*streamWaitEvent)(Stream stream, Event event, unsigned flags);
  Result (*eventCreate)(Event *event, unsigned flags);
  Result (*eventDestroy)(Event event);
  Result (*eventRecord)(Event event, Stream stream);
  Result (*eventSynchronize)(Event event);
  Result (*moduleLoadData)(Module *module, const void *image);
  Result (*moduleUnload)(Module module);
  Result (*moduleGetFunction)(Function *function, Module module, const char *name);
  Result (*launchKernel)(Function function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                         unsigned blockY, unsigned blockZ, unsigned sharedBytes, Stream stream, void **parameters,
                         void **extra);
  Result (*streamBeginCapture)(Stream stream, int mode);
  Result (*streamEndCapture)(Stream stream, Graph *graph);
  Result (*graphInstantiate)(GraphExec *exec, Graph graph, unsigned long long flags);
  Result (*graphUpload)(GraphExec exec, Stream stream);
  Result (*graphLaunch)(GraphExec exec, Stream stream);
  Result (*graphExecDestroy)(GraphExec exec);
  Result (*graphDestroy)(Graph graph);
  Result (*getErrorName)(Result result, const char **name);
  Result (*getErrorString)(Result result, const char **text);

  /// The loaded driver, initialized once; null when it is missing or unusable, and `problem` then says why.
  static const Driver *get(std::string &problem);

  /// Throws gmc::rt::Error for a result other than success: the call, what it was for, the driver's name and meaning of the
  /// error. Out of memory is ExitMemory, an error of a kernel ExitInternal, everything else ExitUsage.
  void check(Result result, const char *call, const std::string &place) const;
};

/// Device attributes (CUdevice_attribute).
enum { AttributeMajor = 75, AttributeMinor = 76 };

/// What NVML knows about the device at a PCI address. Every figure is missing where NVML is, or where it hides processes.
class Nvml {
public:
  Nvml();
  bool loaded() const { return handle; }
  /// Device memory of this process in bytes.
  std::optional<uint64_t> processBytes(const std::string &pciBusId) const;
  /// Used memory of the whole device in bytes.
  std::optional<uint64_t> deviceBytes(const std::string &pciBusId) const;
  /// "process 123 holds 4096 MiB, ..." for the device, empty when unknown.
  std::string holders(const std::string &pciBusId) const;

private:
  struct Process {
    unsigned pid;
    unsigned long long usedBytes;
    unsigned gpuInstance, computeInstance;
  };
  struct Memory {
    unsigned long long total, free, used;
  };
  void *deviceAt(const std::string &pciBusId) const;
  std::vector<Process> processes(const std::string &pciBusId) const;

  void *handle = nullptr;
  int (*deviceByPci)(const char *, void **) = nullptr;
  int (*computeProcesses)(void *, unsigned *, Process *) = nullptr;
  int (*memoryInfo)(void *, Memory *) = nullptr;
};

} // namespace gmc::rt::cuda

#endif
