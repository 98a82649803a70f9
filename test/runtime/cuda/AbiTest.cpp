// What runtime/cuda declares of the driver and NVML against their own headers, where a toolkit has them: most of it
// when this file is compiled. The rest: the symbols are those that the toolkit's stub of the driver exports.
#include "runtime/cuda/Driver.h"
#include "runtime/cuda/Nvml.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <type_traits>

#ifdef GMC_CUDA_H
#include GMC_CUDA_H
#endif
#ifdef GMC_NVML_H
#include GMC_NVML_H
#endif

using namespace gmc::rt;

namespace {

/// Passed the same way: both pointers, both integers (or enumerations) of one size, both floating-point numbers of one
/// size.
template <typename A, typename B> constexpr bool samePassing() {
  constexpr bool integers = (std::is_integral_v<A> || std::is_enum_v<A>)&&(std::is_integral_v<B> || std::is_enum_v<B>);
  if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>) {
    using C = std::remove_cv_t<std::remove_pointer_t<A>>;
    using D = std::remove_cv_t<std::remove_pointer_t<B>>;
    if constexpr (std::is_void_v<C> || std::is_void_v<D> || (std::is_class_v<C> && std::is_class_v<D>))
      return true; // handles and structures; the sizes of structures are compared below
    else
      return std::is_const_v<std::remove_pointer_t<A>> == std::is_const_v<std::remove_pointer_t<B>> &&
             samePassing<C, D>();
  } else if constexpr (std::is_pointer_v<A> || std::is_pointer_v<B>) {
    return false;
  } else {
    return sizeof(A) == sizeof(B) && (integers || std::is_same_v<A, B>);
  }
}
template <typename F, typename G> struct SameAbi : std::false_type {};
template <typename R, typename... A, typename S, typename... B>
struct SameAbi<R (*)(A...), S (*)(B...)> {
  static constexpr bool matches() {
    if constexpr (sizeof...(A) == sizeof...(B))
      return samePassing<R, S>() && (samePassing<A, B>() && ...);
    else
      return false;
  }
  static constexpr bool value = matches();
};
static_assert(!SameAbi<int (*)(int), int (*)(size_t)>::value && !SameAbi<int (*)(int *), int (*)(size_t *)>::value &&
              !SameAbi<int (*)(int), int (*)(int, int)>::value && !SameAbi<int (*)(void *), int (*)(int)>::value);

#ifdef GMC_CUDA_H
#define GMC_CUDA_ENTRY(field, symbol, ...)                                                                             \
  static_assert(SameAbi<decltype(cuda::Driver::field), decltype(&::symbol)>::value, #symbol " has other parameters");
#include "runtime/cuda/DriverEntries.def"
#undef GMC_CUDA_ENTRY

constexpr bool same(auto ours, auto theirs) { return static_cast<long long>(ours) == static_cast<long long>(theirs); }
static_assert(sizeof(cuda::Uuid) == sizeof(CUuuid) && sizeof(cuda::Address) == sizeof(CUdeviceptr));
static_assert(same(cuda::AttributeSharedPerBlockOptin, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN) &&
              same(cuda::AttributeMajor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) &&
              same(cuda::AttributeMinor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR) &&
              same(cuda::FunctionMaxThreads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK) &&
              same(cuda::FunctionStaticShared, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES) &&
              same(cuda::FunctionLocalBytes, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES) &&
              same(cuda::FunctionMaxDynamicShared, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES));
static_assert(same(cuda::JitErrorLog, CU_JIT_ERROR_LOG_BUFFER) &&
              same(cuda::JitErrorLogBytes, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) &&
              same(cuda::CaptureThreadLocal, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
static_assert(same(cuda::ScheduleSpin, CU_CTX_SCHED_SPIN) && same(cuda::ScheduleBlocking, CU_CTX_SCHED_BLOCKING_SYNC) &&
              same(cuda::StreamNonBlocking, CU_STREAM_NON_BLOCKING) && same(cuda::EventDefault, CU_EVENT_DEFAULT) &&
              same(cuda::EventNoTiming, CU_EVENT_DISABLE_TIMING));
static_assert(same(cuda::Success, CUDA_SUCCESS) && same(cuda::InvalidValue, CUDA_ERROR_INVALID_VALUE) &&
              same(cuda::OutOfMemory, CUDA_ERROR_OUT_OF_MEMORY) && same(cuda::NoDevice, CUDA_ERROR_NO_DEVICE) &&
              same(cuda::InvalidImage, CUDA_ERROR_INVALID_IMAGE) &&
              same(cuda::InvalidContext, CUDA_ERROR_INVALID_CONTEXT) &&
              same(cuda::NoBinaryForGpu, CUDA_ERROR_NO_BINARY_FOR_GPU) &&
              same(cuda::InvalidPtx, CUDA_ERROR_INVALID_PTX) &&
              same(cuda::JitCompilerNotFound, CUDA_ERROR_JIT_COMPILER_NOT_FOUND) &&
              same(cuda::UnsupportedPtxVersion, CUDA_ERROR_UNSUPPORTED_PTX_VERSION) &&
              same(cuda::JitDisabled, CUDA_ERROR_JIT_COMPILATION_DISABLED));
static_assert(same(cuda::InvalidHandle, CUDA_ERROR_INVALID_HANDLE) && same(cuda::NotFound, CUDA_ERROR_NOT_FOUND) &&
              same(cuda::IllegalAddress, CUDA_ERROR_ILLEGAL_ADDRESS) &&
              same(cuda::LaunchOutOfResources, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES) &&
              same(cuda::LaunchTimeout, CUDA_ERROR_LAUNCH_TIMEOUT) && same(cuda::Assert, CUDA_ERROR_ASSERT) &&
              same(cuda::HardwareStackError, CUDA_ERROR_HARDWARE_STACK_ERROR) &&
              same(cuda::IllegalInstruction, CUDA_ERROR_ILLEGAL_INSTRUCTION) &&
              same(cuda::MisalignedAddress, CUDA_ERROR_MISALIGNED_ADDRESS) &&
              same(cuda::InvalidAddressSpace, CUDA_ERROR_INVALID_ADDRESS_SPACE) &&
              same(cuda::InvalidPc, CUDA_ERROR_INVALID_PC) && same(cuda::LaunchFailed, CUDA_ERROR_LAUNCH_FAILED) &&
              same(cuda::CaptureUnsupported, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED) &&
              same(cuda::CaptureWrongThread, CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD));
#endif

TEST(CudaAbi, EveryEntryPointIsExported) {
#ifndef GMC_STUBS
  GTEST_SKIP() << "cuda.h is not here: the declarations of runtime/cuda/Driver.h were compared with nothing";
#else
  void *stub = dlopen(GMC_STUBS "/libcuda.so", RTLD_NOW | RTLD_LOCAL);
  if (!stub)
    GTEST_SKIP() << dlerror();
#define GMC_CUDA_ENTRY(field, exported, ...) EXPECT_TRUE(dlsym(stub, cuda::symbol::field)) << cuda::symbol::field;
#include "runtime/cuda/DriverEntries.def"
#undef GMC_CUDA_ENTRY
#endif
}

TEST(CudaAbi, Nvml) {
#ifndef GMC_NVML_H
  GTEST_SKIP() << "nvml.h is not here: the declarations of runtime/cuda/Nvml.h were compared with nothing";
#else
  static_assert(SameAbi<decltype(cuda::Nvml::Functions::init), decltype(&::nvmlInit_v2)>::value);
  static_assert(SameAbi<decltype(cuda::Nvml::Functions::shutdown), decltype(&::nvmlShutdown)>::value);
  static_assert(SameAbi<decltype(cuda::Nvml::Functions::deviceByUuid), decltype(&::nvmlDeviceGetHandleByUUID)>::value);
  static_assert(
      SameAbi<decltype(cuda::Nvml::Functions::deviceByPci), decltype(&::nvmlDeviceGetHandleByPciBusId_v2)>::value);
  static_assert(SameAbi<decltype(cuda::Nvml::Functions::computeProcesses),
                        decltype(&::nvmlDeviceGetComputeRunningProcesses_v3)>::value);
  static_assert(SameAbi<decltype(cuda::Nvml::Functions::memoryInfo), decltype(&::nvmlDeviceGetMemoryInfo)>::value);
  EXPECT_EQ(sizeof(cuda::Nvml::Process), sizeof(nvmlProcessInfo_t));
  EXPECT_EQ(offsetof(cuda::Nvml::Process, pid), offsetof(nvmlProcessInfo_t, pid));
  EXPECT_EQ(offsetof(cuda::Nvml::Process, usedBytes), offsetof(nvmlProcessInfo_t, usedGpuMemory));
  EXPECT_EQ(sizeof(cuda::Nvml::Memory), sizeof(nvmlMemory_t));
  EXPECT_EQ(offsetof(cuda::Nvml::Memory, used), offsetof(nvmlMemory_t, used));
#endif
}

} // namespace
