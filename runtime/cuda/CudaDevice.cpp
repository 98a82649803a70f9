#include "runtime/cuda/CudaDevice.h"
#include "gmc/Error.h"

#include <algorithm>
#include <cstring>

// Calls of the driver: the result is checked, and an error says which call failed where.
#define GMC_CUDA(place, call, ...) driver->check(driver->call(__VA_ARGS__), "cu:" #call, place)

namespace gmc::rt {

const GmcImageEntry *bestImageEntry(const GmcModel &model, int major, int minor) {
  auto *header = static_cast<const GmcImageHeader *>(model.image);
  if (!header || model.imageBytes < sizeof *header || header->magic != GMC_IMAGE_MAGIC ||
      header->version != GMC_IMAGE_VERSION ||
      model.imageBytes - sizeof *header < uint64_t(header->count) * sizeof(GmcImageEntry))
    throw internalError("the executable's device code is damaged");
  auto *entries = reinterpret_cast<const GmcImageEntry *>(header + 1);
  uint32_t sm = static_cast<uint32_t>(10 * major + minor);
  const GmcImageEntry *best = nullptr;
  for (uint32_t i = 0; i < header->count; ++i) {
    const GmcImageEntry &entry = entries[i];
    if (entry.offset > model.imageBytes || entry.size > model.imageBytes - entry.offset)
      throw internalError("the executable's device code is damaged");
    bool runs = entry.sm <= sm && (entry.kind == GMC_IMAGE_PTX || entry.sm / 10 == static_cast<uint32_t>(major));
    auto rank = [](const GmcImageEntry &e) { return std::pair(e.kind == GMC_IMAGE_CUBIN, e.sm); };
    if (runs && (!best || rank(entry) > rank(*best)))
      best = &entry;
  }
  return best;
}

static std::string archList(const GmcModel &model) {
  auto *header = static_cast<const GmcImageHeader *>(model.image);
  auto *entries = reinterpret_cast<const GmcImageEntry *>(header + 1);
  std::string text;
  for (uint32_t i = 0; i < header->count; ++i)
    text += (text.empty() ? "" : ", ") + std::string(entries[i].kind == GMC_IMAGE_PTX ? "PTX for sm_" : "sm_") +
            std::to_string(entries[i].sm);
  return text;
}

void CudaDevice::loadDriver() {
  std::string problem;
  driver = cuda::Driver::get(problem);
  if (!driver)
    throw usageError("this trainer needs an NVIDIA GPU: " + problem + ", or compile with --target=host");
}

std::string CudaDevice::missing(const GmcModel &model) {
  std::string lines, problem;
  const cuda::Driver *found = cuda::Driver::get(problem);
  if (!found)
    lines += problem + "\n";
  if (!nvml.loaded())
    lines += "libnvidia-ml.so.1: not found; memory is then reported as the growth of the whole device's\n";
  if (!found)
    return lines;
  int count = 0, major = 0, minor = 0;
  cuda::DeviceId id = 0;
  if (found->deviceGetCount(&count) || index >= count)
    return lines + "device " + std::to_string(index) + ": the driver shows " + std::to_string(count) + " devices\n";
  if (found->deviceGet(&id, index) || found->deviceGetAttribute(&major, cuda::AttributeMajor, id) ||
      found->deviceGetAttribute(&minor, cuda::AttributeMinor, id))
    return lines + "device " + std::to_string(index) + ": its compute capability cannot be read\n";
  if (!bestImageEntry(model, major, minor))
    lines += "code for sm_" + std::to_string(10 * major + minor) + ": this trainer holds " + archList(model) + "\n";
  return lines;
}

void CudaDevice::allocate(const GmcModel &model) {
  if (arena)
    throw internalError("the arena is allocated twice");
  loadDriver();
  int count = 0, major = 0, minor = 0;
  GMC_CUDA("counting devices", deviceGetCount, &count);
  if (index < 0 || index >= count)
    throw usageError("--device=" + std::to_string(index) + ": the driver shows " + std::to_string(count) + " devices");
  std::string place = "device " + std::to_string(index);
  GMC_CUDA(place, deviceGet, &device, index);
  GMC_CUDA(place, deviceGetAttribute, &major, cuda::AttributeMajor, device);
  GMC_CUDA(place, deviceGetAttribute, &minor, cuda::AttributeMinor, device);
  char bus[32] = {};
  GMC_CUDA(place, deviceGetPCIBusId, bus, sizeof bus, device);
  pciBusId = bus;
  const GmcImageEntry *entry = bestImageEntry(model, major, minor);
  if (!entry)
    throw usageError(place + " is sm_" + std::to_string(10 * major + minor) + ", this trainer holds " + archList(model) +
                     ": compile with --arch=sm_" + std::to_string(10 * major + minor));
  // What the device holds before this process has a context; NVML alone can tell.
  auto deviceBytes = nvml.deviceBytes(pciBusId);
  GMC_CUDA(place, primaryCtxRetain, &context, device);
  GMC_CUDA(place, ctxSetCurrent, context);
  size_t free = 0, total = 0;
  GMC_CUDA(place, memGetInfo, &free, &total);
  before = deviceBytes ? *deviceBytes : total - free;
  promised = model.budgetBytes;
  arenaBytes = model.arenaBytes;
  if (cuda::Result result = driver->memAlloc(&arena, std::max<uint64_t>(arenaBytes, 1))) {
    std::string holders = nvml.holders(pciBusId);
    try {
      driver->check(result, "cuMemAlloc", "the arena of " + std::to_string(arenaBytes) + " bytes");
    } catch (const Error &error) {
      throw Error(error.code(), std::string(error.what()) + "; free on " + place + ": " + std::to_string(free) + " of " +
                                    std::to_string(total) + " bytes" + (holders.empty() ? "" : "; " + holders) +
                                    ": free memory there or compile for a smaller --vram");
    }
  }
  if (arena % std::max<uint64_t>(model.alignment, 1))
    throw internalError("the arena is not aligned to " + std::to_string(model.alignment));
  constexpr unsigned NonBlocking = 1, NoTiming = 2;
  GMC_CUDA(place, streamCreate, &compute, NonBlocking);
  GMC_CUDA(place, streamCreate, &copies, NonBlocking);
  GMC_CUDA(place, eventCreate, &computed, NoTiming);
  GMC_CUDA(place, eventCreate, &copied, NoTiming);
  for (cuda::Event &event : pieceDone)
    GMC_CUDA(place, eventCreate, &event, NoTiming);
  void *pinned = nullptr;
  GMC_CUDA("pinned staging", memHostAlloc, &pinned, PieceBytes * Pieces, 0);
  staging = static_cast<char *>(pinned);
  GMC_CUDA("zeroing the arena", memsetD8Async, arena, 0, std::max<uint64_t>(arenaBytes, 1), compute);
  GMC_CUDA("zeroing the arena", streamSynchronize, compute);
  GMC_CUDA("zeroing the arena", eventRecord, computed, compute);
  GMC_CUDA("loading the kernels for sm_" + std::to_string(entry->sm), moduleLoadData, &module,
           static_cast<const char *>(model.image) + entry->offset);
  for (uint32_t p = 0; p < model.numPrograms; ++p)
    for (uint32_t s = 0; s < model.programs[p].numSteps; ++s) {
      const GmcStep &step = model.programs[p].steps[s];
      for (uint32_t l = 0; l < step.numLaunches; ++l)
        if (cuda::Function &function = functions[&step.launches[l]]; !function)
          GMC_CUDA(std::string("kernel ") + step.launches[l].name, moduleGetFunction, &function, module,
                   step.launches[l].name);
    }
  // The ranges that the executor asks for, see Executor::run.
  for (uint32_t p = 0; p < model.numPrograms; ++p) {
    const GmcProgram &program = model.programs[p];
    uint32_t at = 0;
    for (uint32_t l = 0; l < program.numLoops; ++l) {
      if (program.loops[l].first > at)
        capture(program, at, program.loops[l].first - 1);
      capture(program, program.loops[l].first, program.loops[l].last);
      at = program.loops[l].last + 1;
    }
    if (at < program.numSteps)
      capture(program, at, program.numSteps - 1);
  }
  synchronize();
}

CudaDevice::~CudaDevice() {
  if (!driver || !context)
    return;
  // Errors no longer matter: the process is about to end, or an error is on its way already.
  (void)driver->ctxSetCurrent(context);
  for (auto &[_, exec] : graphs)
    (void)driver->graphExecDestroy(exec);
  if (module)
    (void)driver->moduleUnload(module);
  for (cuda::Event event : {computed, copied, pieceDone[0], pieceDone[1], pieceDone[2], pieceDone[3]})
    if (event)
      (void)driver->eventDestroy(event);
  for (cuda::Stream stream : {compute, copies})
    if (stream)
      (void)driver->streamDestroy(stream);
  if (staging)
    (void)driver->memFreeHost(staging);
  if (arena)
    (void)driver->memFree(arena);
  (void)driver->primaryCtxRelease(device);
}

void CudaDevice::checkRange(uint64_t offset, uint64_t bytes) const {
  if (offset > arenaBytes || bytes > arenaBytes - offset)
    throw internalError("access to bytes " + std::to_string(offset) + " + " + std::to_string(bytes) +
                        " of an arena of " + std::to_string(arenaBytes));
}

void CudaDevice::write(uint64_t offset, const void *src, uint64_t bytes) {
  checkRange(offset, bytes);
  std::string place = "writing arena bytes " + std::to_string(offset) + " + " + std::to_string(bytes);
  GMC_CUDA(place, ctxSetCurrent, context);
  GMC_CUDA(place, streamWaitEvent, copies, computed, 0);
  for (uint64_t at = 0; at < bytes; at += PieceBytes) {
    size_t n = std::min<uint64_t>(PieceBytes, bytes - at);
    char *data = staging + piece * PieceBytes;
    GMC_CUDA(place, eventSynchronize, pieceDone[piece]); // an event never recorded is complete
    std::memcpy(data, static_cast<const char *>(src) + at, n);
    GMC_CUDA(place, memcpyHtoDAsync, arena + offset + at, data, n, copies);
    GMC_CUDA(place, eventRecord, pieceDone[piece], copies);
    piece = (piece + 1) % Pieces;
  }
  copiesPending = true;
}

void CudaDevice::waitForCopies() {
  if (!copiesPending)
    return;
  GMC_CUDA("ordering copies before kernels", eventRecord, copied, copies);
  GMC_CUDA("ordering copies before kernels", streamWaitEvent, compute, copied, 0);
  copiesPending = false;
}

void CudaDevice::read(uint64_t offset, void *dst, uint64_t bytes) {
  checkRange(offset, bytes);
  std::string place = "reading arena bytes " + std::to_string(offset) + " + " + std::to_string(bytes);
  GMC_CUDA(place, ctxSetCurrent, context);
  waitForCopies();
  GMC_CUDA(place, memcpyDtoHAsync, dst, arena + offset, bytes, compute);
  GMC_CUDA(place, streamSynchronize, compute);
}

void CudaDevice::launchSteps(const GmcProgram &program, uint32_t first, uint32_t last) {
  std::vector<cuda::Address> operands;
  std::vector<void *> parameters;
  for (uint32_t s = first; s <= last; ++s) {
    const GmcStep &step = program.steps[s];
    if (step.library)
      throw internalError(std::string("step ") + step.op + " of '" + step.node + "' calls library " +
                          std::to_string(step.library) + ", which this runtime lacks");
    operands.clear();
    parameters.clear();
    for (uint32_t i = 0; i < step.numOperands; ++i)
      operands.push_back(arena + step.operands[i]);
    for (cuda::Address &operand : operands)
      parameters.push_back(&operand);
    for (uint32_t l = 0; l < step.numLaunches; ++l) {
      const GmcLaunch &launch = step.launches[l];
      if (launch.extent <= 0)
        continue;
      GMC_CUDA(std::string("kernel ") + launch.name + ", " + step.op + " of '" + step.node + "'", launchKernel,
               functions.at(&launch), static_cast<unsigned>(launch.extent), 1, 1, static_cast<unsigned>(launch.grain), 1, 1,
               static_cast<unsigned>(launch.shared), compute, parameters.data(), nullptr);
    }
  }
}

void CudaDevice::capture(const GmcProgram &program, uint32_t first, uint32_t last) {
  std::string place = std::string("graph of steps ") + std::to_string(first) + ".." + std::to_string(last) + " of '" +
                      program.name + "'";
  constexpr int ThreadLocal = 1;
  cuda::Graph graph = nullptr;
  GMC_CUDA(place, streamBeginCapture, compute, ThreadLocal);
  try {
    launchSteps(program, first, last);
  } catch (...) {
    (void)driver->streamEndCapture(compute, &graph);
    if (graph)
      (void)driver->graphDestroy(graph);
    throw;
  }
  GMC_CUDA(place, streamEndCapture, compute, &graph);
  cuda::GraphExec exec = nullptr;
  cuda::Result result = driver->graphInstantiate(&exec, graph, 0);
  (void)driver->graphDestroy(graph);
  driver->check(result, "cuGraphInstantiateWithFlags", place);
  graphs[{&program, first, last}] = exec;
  GMC_CUDA(place, graphUpload, exec, compute);
}

void CudaDevice::runSteps(const GmcProgram &program, uint32_t first, uint32_t last) {
  GMC_CUDA("running steps", ctxSetCurrent, context);
  waitForCopies();
  auto graph = graphs.find({&program, first, last});
  if (graph != graphs.end())
    GMC_CUDA(std::string("steps ") + std::to_string(first) + ".." + std::to_string(last) + " of '" + program.name + "'",
             graphLaunch, graph->second, compute);
  else
    launchSteps(program, first, last);
  GMC_CUDA("running steps", eventRecord, computed, compute);
}

void CudaDevice::synchronize() {
  GMC_CUDA("waiting for the device", ctxSetCurrent, context);
  GMC_CUDA("waiting for copies to the device", streamSynchronize, copies);
  GMC_CUDA("waiting for kernels", streamSynchronize, compute);
}

void CudaDevice::sampleMemory() {
  if (auto own = nvml.processBytes(pciBusId)) {
    if (!fromNvml)
      peak = 0;
    fromNvml = true;
    peak = std::max(peak, *own);
    return;
  }
  if (fromNvml)
    return;
  uint64_t now = 0;
  if (auto used = nvml.deviceBytes(pciBusId)) {
    now = *used;
  } else {
    size_t free = 0, total = 0;
    GMC_CUDA("measuring device memory", memGetInfo, &free, &total);
    now = total - free;
  }
  peak = std::max(peak, now > before ? now - before : 0);
}

MemoryReport CudaDevice::memory() {
  if (!context)
    return {promised, 0, "device-delta"};
  GMC_CUDA("measuring device memory", ctxSetCurrent, context);
  sampleMemory();
  return {promised, peak, fromNvml ? "NVML" : "device-delta"};
}

void *CudaDevice::allocateStaging(size_t bytes) {
  GMC_CUDA("input ring", ctxSetCurrent, context);
  void *data = nullptr;
  GMC_CUDA("input ring of " + std::to_string(bytes) + " bytes", memHostAlloc, &data, std::max<size_t>(bytes, 1), 0);
  std::memset(data, 0, bytes);
  return data;
}

void CudaDevice::freeStaging(void *data, size_t bytes) {
  if (data && driver && context) {
    (void)driver->ctxSetCurrent(context);
    (void)driver->memFreeHost(data);
  }
}

} // namespace gmc::rt
