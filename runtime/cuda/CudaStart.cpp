// What a CudaDevice does once: find the device, load the code, allocate the arena, capture the graphs; and the way
// back.
#include "gmc/Error.h"
#include "runtime/cuda/CudaDevice.h"
#include "runtime/cuda/DeviceImage.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sched.h>

namespace gmc::rt {
namespace {

/// The code did not load because this driver cannot run it, not because something broke: another entry may do.
bool unsuitable(cuda::Result result) {
  return result == cuda::InvalidImage || result == cuda::NoBinaryForGpu || result == cuda::InvalidPtx ||
         result == cuda::JitCompilerNotFound || result == cuda::UnsupportedPtxVersion || result == cuda::JitDisabled;
}

/// Waiting by spinning answers at once, but takes a CPU that on a small machine the decoding threads need.
unsigned waitingFlags() {
  cpu_set_t cpus;
  return sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) >= 4 ? cuda::ScheduleSpin
                                                                                : cuda::ScheduleBlocking;
}

std::string uuidText(const cuda::Uuid &uuid) {
  std::string text;
  for (int i = 0; i < 16; ++i) {
    static constexpr char Digits[] = "0123456789abcdef";
    auto byte = static_cast<unsigned char>(uuid.bytes[i]);
    text += i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
    text += {Digits[byte >> 4], Digits[byte & 15]};
  }
  return text;
}

} // namespace

void CudaDevice::openDevice() {
  if (!deviceName.empty())
    return;
  std::string problem;
  driver = cuda::Driver::get(problem);
  if (!driver)
    throw usageError("this trainer needs an NVIDIA GPU: " + problem + ", or compile with --target=host");
  int count = 0;
  GMC_CUDA("counting devices", deviceGetCount, &count);
  if (index < 0 || index >= count) {
    const char *visible = std::getenv("CUDA_VISIBLE_DEVICES");
    throw usageError("--device=" + std::to_string(index) + ": the driver shows " + std::to_string(count) +
                     (count == 1 ? " device" : " devices") +
                     (visible ? " (CUDA_VISIBLE_DEVICES is '" + std::string(visible) + "')" : ""));
  }
  std::string place = "device " + std::to_string(index);
  char name[128] = {}, bus[32] = {};
  cuda::Uuid uuid{};
  GMC_CUDA(place, deviceGet, &device, index);
  GMC_CUDA(place, deviceGetName, name, sizeof name - 1, device);
  GMC_CUDA(place, deviceGetAttribute, &major, cuda::AttributeMajor, device);
  GMC_CUDA(place, deviceGetAttribute, &minor, cuda::AttributeMinor, device);
  GMC_CUDA(place, deviceGetPCIBusId, bus, sizeof bus, device);
  GMC_CUDA(place, deviceGetUuid, &uuid, device);
  nvml.select({uuidText(uuid), bus});
  deviceName = place + " (" + name + ", sm_" + std::to_string(10 * major + minor) + ")";
}

std::string CudaDevice::missing(const GmcModel &model) {
  std::string lines, problem;
  try {
    if (!cuda::Driver::get(problem))
      lines += problem + "\n";
    else if (openDevice(); runnableEntries(model, major, minor).empty())
      lines += "code for " + deviceName + ": " + wrongArchitecture(model, major, minor) + "\n";
  } catch (const Error &error) {
    lines += std::string(error.what()) + "\n";
  }
  if (!nvml.loaded())
    lines += "libnvidia-ml.so.1: not found or unusable; all memory used on the device counts as this trainer's\n";
  return lines;
}

std::string CudaDevice::describe() {
  try {
    openDevice();
  } catch (const Error &) {
    return ""; // missing() says why
  }
  return deviceName + ", driver for CUDA " + driver->version();
}

void CudaDevice::openContext() {
  // What the device holds before this process has a context: NVML alone can tell.
  if (auto used = nvml.deviceBytes())
    before = *used;
  else
    source = "device-total";
  (void)driver->primaryCtxSetFlags(device, waitingFlags()); // only a matter of speed
  GMC_CUDA(deviceName, primaryCtxRetain, &context, device);
  GMC_CUDA(deviceName, ctxSetCurrent, context);
  GMC_CUDA(deviceName, streamCreate, &compute, cuda::StreamNonBlocking);
  GMC_CUDA(deviceName, streamCreate, &copies, cuda::StreamNonBlocking);
  for (cuda::Event *event : {&computed, &copied, &ringRead, &pieceDone[0], &pieceDone[1], &pieceDone[2], &pieceDone[3]})
    GMC_CUDA(deviceName, eventCreate, event, cuda::EventNoTiming);
  for (cuda::Event *event : {&timeBegin, &timeEnd})
    GMC_CUDA(deviceName, eventCreate, event, cuda::EventDefault);
  void *pinned = nullptr;
  GMC_CUDA("pinned staging", memHostAlloc, &pinned, PieceBytes * Pieces, 0);
  staging = static_cast<char *>(pinned);
  markPart("context");
}

void CudaDevice::loadModule(const GmcModel &model) {
  std::string problems;
  for (const GmcImageEntry *entry : runnableEntries(model, major, minor)) {
    char log[4096] = {};
    int options[] = {cuda::JitErrorLog, cuda::JitErrorLogBytes};
    void *values[] = {log, reinterpret_cast<void *>(uintptr_t(sizeof log - 1))};
    cuda::Result result = driver->moduleLoadDataEx(
        &module, static_cast<const char *>(model.image) + entry->offset, 2, options, values);
    if (!result) {
      markPart("code");
      return;
    }
    module = nullptr;
    std::string place = "loading " + entryName(*entry) + " on " + deviceName;
    if (!unsuitable(result))
      throw driver->error(result, cuda::symbol::moduleLoadDataEx, *log ? place + ": " + log : place);
    problems += "\n  " + place + ": " + driver->text(result) + (*log ? std::string(": ") + log : "");
  }
  if (problems.empty())
    throw usageError("no code for " + deviceName + ": " + wrongArchitecture(model, major, minor));
  throw usageError("the driver, for CUDA " + driver->version() +
                   ", cannot run this trainer's code; install a newer one (580 is for CUDA 13.0):" + problems);
}

void CudaDevice::findFunctions(const GmcModel &model) {
  std::map<std::string, cuda::Function> byName;
  int sharedLimit = 0;
  GMC_CUDA(deviceName, deviceGetAttribute, &sharedLimit, cuda::AttributeSharedPerBlockOptin, device);
  for (uint32_t p = 0; p < model.numPrograms; ++p)
    for (uint32_t s = 0; s < model.programs[p].numSteps; ++s) {
      const GmcStep &step = model.programs[p].steps[s];
      for (uint32_t l = 0; l < step.numLaunches; ++l) {
        const GmcLaunch &launch = step.launches[l];
        std::string place = std::string("kernel ") + launch.name;
        cuda::Function &function = byName[launch.name];
        if (!function)
          GMC_CUDA(place, moduleGetFunction, &function, module, launch.name);
        functions[&launch] = function;
        int most = 0, fixed = 0, granted = 0;
        GMC_CUDA(place, funcGetAttribute, &most, cuda::FunctionMaxThreads, function);
        if (launch.grain < 1 || launch.grain > most)
          throw internalError(place + " has blocks of " + std::to_string(launch.grain) + " threads, " + deviceName +
                              " runs it with at most " + std::to_string(most));
        if (launch.shared <= 0)
          continue;
        GMC_CUDA(place, funcGetAttribute, &fixed, cuda::FunctionStaticShared, function);
        if (launch.shared + fixed > sharedLimit)
          throw internalError(place + " needs " + std::to_string(launch.shared + fixed) + " bytes of shared memory, " +
                              deviceName + " has " + std::to_string(sharedLimit) + " a block");
        // A block gets more than 48 KB only where it is asked for; launches of one kernel may ask for different
        // amounts.
        GMC_CUDA(place, funcGetAttribute, &granted, cuda::FunctionMaxDynamicShared, function);
        if (granted < launch.shared)
          GMC_CUDA(place, funcSetAttribute, function, cuda::FunctionMaxDynamicShared, static_cast<int>(launch.shared));
      }
    }
}

void CudaDevice::allocateArena(const GmcModel &model) {
  size_t free = 0, total = 0;
  GMC_CUDA(deviceName, memGetInfo, &free, &total);
  if (cuda::Result result = driver->memAlloc(&arena, std::max<uint64_t>(arenaBytes, 1))) {
    arena = 0;
    Error error =
        driver->error(result, cuda::symbol::memAlloc, "the arena of " + std::to_string(arenaBytes) + " bytes");
    if (error.code() != ExitMemory)
      throw error;
    std::string holders = nvml.holders();
    throw Error(ExitMemory, std::string(error.what()) + "; free on " + deviceName + ": " + std::to_string(free) +
                                " of " + std::to_string(total) + " bytes" + (holders.empty() ? "" : "; " + holders) +
                                ": free memory there, choose another --device, or compile for a smaller --vram");
  }
  if (arena % std::max<uint64_t>(model.alignment, 1))
    throw internalError("the arena is not aligned to " + std::to_string(model.alignment));
  markPart("arena");
}

/// The driver takes memory for the local variables of kernels when one is launched that needs more than those before:
/// the step with the greatest need is run once, on an arena of zeros.
void CudaDevice::settleLocalMemory(const GmcModel &model) {
  int most = 0;
  const GmcProgram *program = nullptr;
  uint32_t step = 0;
  for (uint32_t p = 0; p < model.numPrograms; ++p)
    for (uint32_t s = 0; s < model.programs[p].numSteps; ++s)
      for (uint32_t l = 0; l < model.programs[p].steps[s].numLaunches; ++l) {
        int bytes = 0;
        GMC_CUDA("local memory", funcGetAttribute, &bytes, cuda::FunctionLocalBytes,
                 functions.at(&model.programs[p].steps[s].launches[l]));
        if (bytes > most) {
          most = bytes;
          program = &model.programs[p];
          step = s;
        }
      }
  if (!program)
    return;
  runSteps(*program, step, step);
  synchronize();
}

void CudaDevice::allocate(const GmcModel &model) {
  if (context)
    throw internalError("the arena is allocated twice");
  promised = model.budgetBytes;
  arenaBytes = model.arenaBytes;
  openDevice();
  openContext();
  loadModule(model);
  findFunctions(model);
  allocateArena(model);
  auto zero = [&] {
    GMC_CUDA("zeroing the arena", memsetD8Async, arena, 0, std::max<uint64_t>(arenaBytes, 1), compute);
    GMC_CUDA("zeroing the arena", eventRecord, computed, compute);
    GMC_CUDA("zeroing the arena", streamSynchronize, compute);
  };
  zero();
  settleLocalMemory(model);
  zero();
  markPart("local");
  for (uint32_t p = 0; p < model.numPrograms; ++p)
    for (const StepRange &range : stepRanges(model.programs[p]))
      capture(model.programs[p], range.first, range.last);
  synchronize();
  markPart("graphs");
  lastProgram = nullptr;
}

CudaDevice::~CudaDevice() {
  if (!driver || !context)
    return;
  // Errors no longer matter: the process is about to end, or an error is on its way already.
  (void)driver->ctxSetCurrent(context);
  for (cuda::Stream stream : {compute, copies})
    if (stream)
      (void)driver->streamSynchronize(stream);
  for (auto &[_, exec] : graphs)
    (void)driver->graphExecDestroy(exec);
  for (cuda::Event event : {computed, copied, ringRead, timeBegin, timeEnd, pieceDone[0], pieceDone[1], pieceDone[2],
                            pieceDone[3]})
    if (event)
      (void)driver->eventDestroy(event);
  for (cuda::Stream stream : {compute, copies})
    if (stream)
      (void)driver->streamDestroy(stream);
  if (module)
    (void)driver->moduleUnload(module);
  for (auto &[ring, _] : rings)
    (void)driver->memFreeHost(const_cast<char *>(ring));
  if (staging)
    (void)driver->memFreeHost(staging);
  if (arena)
    (void)driver->memFree(arena);
  (void)driver->primaryCtxRelease(device);
}

} // namespace gmc::rt
