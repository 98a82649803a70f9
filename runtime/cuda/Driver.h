// The CUDA driver, loaded by name: a trainer starts on machines that have none.
#ifndef GMC_CUDA_DRIVER_H
#define GMC_CUDA_DRIVER_H

#include "gmc/Error.h"

#include <cstddef>
#include <cstdint>
#include <string>

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
struct Uuid {
  char bytes[16];
};

// Values of cuda.h, under the names they have there without the prefix; compared by the test cuda-abi.
enum : int {
  AttributeSharedPerBlockOptin = 97, AttributeMajor = 75, AttributeMinor = 76,
  FunctionMaxThreads = 0, FunctionStaticShared = 1, FunctionLocalBytes = 3, FunctionMaxDynamicShared = 8,
  JitErrorLog = 5, JitErrorLogBytes = 6,
  CaptureThreadLocal = 1
};
enum : unsigned { ScheduleSpin = 1, ScheduleBlocking = 4, StreamNonBlocking = 1, EventDefault = 0, EventNoTiming = 2 };
enum : Result {
  Success = 0, InvalidValue = 1, OutOfMemory = 2, NoDevice = 100, InvalidImage = 200, InvalidContext = 201,
  NoBinaryForGpu = 209, InvalidPtx = 218, JitCompilerNotFound = 221, UnsupportedPtxVersion = 222, JitDisabled = 223,
  InvalidHandle = 400, NotFound = 500, IllegalAddress = 700, LaunchOutOfResources = 701, LaunchTimeout = 702,
  Assert = 710, HardwareStackError = 714, IllegalInstruction = 715, MisalignedAddress = 716, InvalidAddressSpace = 717,
  InvalidPc = 718, LaunchFailed = 719, CaptureUnsupported = 900, CaptureWrongThread = 908
};

struct Driver {
#define GMC_CUDA_ENTRY(field, symbol, ...) Result (*field)(__VA_ARGS__);
#include "runtime/cuda/DriverEntries.def"
#undef GMC_CUDA_ENTRY

  /// The loaded driver, initialized once; null when it is missing or unusable, and `problem` then says why.
  static const Driver *get(std::string &problem);

  /// The error that a result other than success is: the call, what it was for, the driver's name and meaning of it.
  /// Out of memory is ExitMemory, a fault of a kernel or a wrong call ExitInternal, everything else ExitUsage.
  Error error(Result result, const char *call, const std::string &place) const;

  /// "CUDA_ERROR_NO_DEVICE, no CUDA-capable device is detected"
  std::string text(Result result) const;

  /// "13.0", the CUDA version that this driver supports.
  std::string version() const;
};

/// The exported symbol behind a field of Driver.
namespace symbol {
#define GMC_CUDA_ENTRY(field, symbol, ...) inline constexpr const char *field = #symbol;
#include "runtime/cuda/DriverEntries.def"
#undef GMC_CUDA_ENTRY
} // namespace symbol

} // namespace gmc::rt::cuda

/// Calls an entry point of `driver`. `place` is evaluated only for the error: these calls are on the way of every step.
#define GMC_CUDA(place, field, ...)                                                                                    \
  do {                                                                                                                 \
    if (::gmc::rt::cuda::Result gmcResult = driver->field(__VA_ARGS__))                                                \
      throw driver->error(gmcResult, ::gmc::rt::cuda::symbol::field, place);                                           \
  } while (0)

#endif
