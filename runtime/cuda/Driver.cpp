#include "runtime/cuda/Driver.h"

#include <cstdlib>
#include <dlfcn.h>

namespace gmc::rt::cuda {

const Driver *Driver::get(std::string &problem) {
  static std::string why;
  static const Driver *loaded = []() -> const Driver * {
    // Kernels are loaded with their module, whatever the environment says: a kernel loaded at its first launch would
    // take device memory after the reserve has been measured.
    setenv("CUDA_MODULE_LOADING", "EAGER", /*overwrite=*/1);
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      const char *reason = dlerror();
      bool absent = !reason || std::string(reason).find("No such file") != std::string::npos;
      why = "libcuda.so.1: " + (absent ? std::string("not found") : std::string(reason)) + "; install NVIDIA's driver";
      return nullptr;
    }
    static Driver d;
    auto find = [&](auto &slot, const char *name) {
      slot = reinterpret_cast<std::decay_t<decltype(slot)>>(dlsym(library, name));
      if (!slot)
        why += (why.empty() ? "libcuda.so.1 is too old (470 or newer is needed), it lacks " : ", ") + std::string(name);
    };
#define GMC_CUDA_ENTRY(field, symbol, ...) find(d.field, #symbol);
#include "runtime/cuda/DriverEntries.def"
#undef GMC_CUDA_ENTRY
    if (!why.empty())
      return nullptr;
    if (Result result = d.init(0)) {
      why = "cuInit: " + d.text(result);
      if (const char *visible = std::getenv("CUDA_VISIBLE_DEVICES"); result == NoDevice && visible)
        why += " (CUDA_VISIBLE_DEVICES is '" + std::string(visible) + "')";
      return nullptr;
    }
    return &d;
  }();
  problem = why;
  return loaded;
}

std::string Driver::text(Result result) const {
  const char *name = nullptr, *meaning = nullptr;
  getErrorName(result, &name);
  getErrorString(result, &meaning);
  return (name ? name : "error " + std::to_string(result)) + (meaning ? std::string(", ") + meaning : "");
}

std::string Driver::version() const {
  int number = 0;
  return driverGetVersion(&number) ? "unknown"
                                   : std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

Error Driver::error(Result result, const char *call, const std::string &place) const {
  std::string message = std::string(call) + " (" + place + "): " + text(result);
  switch (result) {
  case OutOfMemory:
    return Error(ExitMemory, message);
  case InvalidValue:
  case InvalidContext:
  case InvalidHandle:
  case NotFound:
  case IllegalAddress:
  case LaunchOutOfResources:
  case Assert:
  case HardwareStackError:
  case IllegalInstruction:
  case MisalignedAddress:
  case InvalidAddressSpace:
  case InvalidPc:
  case LaunchFailed:
    return internalError(message);
  case LaunchTimeout:
    return usageError(message + ": a display's watchdog ended a kernel; use a device without a display");
  default:
    if (result >= CaptureUnsupported && result <= CaptureWrongThread)
      return internalError(message);
    return usageError(message);
  }
}

} // namespace gmc::rt::cuda
