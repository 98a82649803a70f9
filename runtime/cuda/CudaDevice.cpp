#include "runtime/cuda/CudaDevice.h"
#include "gmc/Error.h"

#include <algorithm>
#include <cstring>

namespace gmc::rt {

//===- Steps ------------------------------------------------------------------------------------------------===//

static std::string stepName(const GmcProgram &program, uint32_t s) {
  const GmcStep &step = program.steps[s];
  return "step " + std::to_string(s) + " of '" + program.name + "', " + step.op +
         (*step.node ? std::string(" of '") + step.node + "'" : "");
}

void CudaDevice::launchSteps(const GmcProgram &program, uint32_t first, uint32_t last) {
  std::vector<cuda::Address> operands;
  std::vector<void *> parameters;
  for (uint32_t s = first; s <= last; ++s) {
    const GmcStep &step = program.steps[s];
    if (step.library)
      throw internalError(stepName(program, s) + " calls library " + std::to_string(step.library) +
                          ", which this runtime lacks");
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
      GMC_CUDA("kernel " + std::string(launch.name) + ", " + stepName(program, s), launchKernel, functions.at(&launch),
               static_cast<unsigned>(launch.extent), 1, 1, static_cast<unsigned>(launch.grain), 1, 1,
               static_cast<unsigned>(launch.shared), compute, parameters.data(), nullptr);
    }
  }
}

void CudaDevice::capture(const GmcProgram &program, uint32_t first, uint32_t last) {
  auto place = [&] {
    return "graph of steps " + std::to_string(first) + ".." + std::to_string(last) + " of '" + program.name + "'";
  };
  cuda::Graph graph = nullptr;
  GMC_CUDA(place(), streamBeginCapture, compute, cuda::CaptureThreadLocal);
  try {
    launchSteps(program, first, last);
  } catch (...) {
    (void)driver->streamEndCapture(compute, &graph);
    if (graph)
      (void)driver->graphDestroy(graph);
    throw;
  }
  GMC_CUDA(place(), streamEndCapture, compute, &graph);
  cuda::GraphExec exec = nullptr;
  cuda::Result result = driver->graphInstantiate(&exec, graph, 0);
  (void)driver->graphDestroy(graph);
  if (result)
    throw driver->error(result, cuda::symbol::graphInstantiate, place());
  graphs[{&program, first, last}] = exec;
  GMC_CUDA(place(), graphUpload, exec, compute);
}

void CudaDevice::runSteps(const GmcProgram &program, uint32_t first, uint32_t last) {
  GMC_CUDA("running steps", ctxSetCurrent, context);
  waitForCopies();
  lastProgram = &program;
  lastFirst = first;
  lastLast = last;
  auto graph = graphs.find({&program, first, last});
  if (graph != graphs.end())
    GMC_CUDA("launching " + lastSteps(), graphLaunch, graph->second, compute);
  else
    launchSteps(program, first, last);
  GMC_CUDA("after " + lastSteps(), eventRecord, computed, compute);
}

std::optional<double> CudaDevice::timeSteps(const GmcProgram &program, uint32_t first, uint32_t last) {
  GMC_CUDA("timing steps", ctxSetCurrent, context);
  waitForCopies();
  GMC_CUDA("timing steps", eventRecord, timeBegin, compute);
  runSteps(program, first, last);
  GMC_CUDA("timing steps", eventRecord, timeEnd, compute);
  synchronize();
  float milliseconds = 0;
  GMC_CUDA("timing steps", eventElapsedTime, &milliseconds, timeBegin, timeEnd);
  return milliseconds * 1e3;
}

std::string CudaDevice::lastSteps() const {
  if (!lastProgram)
    return "the start";
  if (lastFirst == lastLast)
    return stepName(*lastProgram, lastFirst);
  return "steps " + std::to_string(lastFirst) + ".." + std::to_string(lastLast) + " of '" + lastProgram->name +
         "' or those before (with --profile=FILE every step is awaited alone, and the one that fails is named)";
}

void CudaDevice::synchronize() {
  GMC_CUDA("waiting for the device", ctxSetCurrent, context);
  GMC_CUDA("waiting for copies, after " + lastSteps(), streamSynchronize, copies);
  GMC_CUDA("waiting for " + lastSteps(), streamSynchronize, compute);
}

//===- Copies -----------------------------------------------------------------------------------------------===//

void CudaDevice::checkRange(uint64_t offset, uint64_t bytes) const {
  if (offset > arenaBytes || bytes > arenaBytes - offset)
    throw internalError("access to bytes " + std::to_string(offset) + " + " + std::to_string(bytes) +
                        " of an arena of " + std::to_string(arenaBytes));
}

void CudaDevice::copyToDevice(uint64_t offset, const void *src, uint64_t bytes) {
  GMC_CUDA("writing arena bytes " + std::to_string(offset) + " + " + std::to_string(bytes), memcpyHtoDAsync,
           arena + offset, src, bytes, copies);
}

bool CudaDevice::inStaging(const void *data, uint64_t bytes) const {
  auto *begin = static_cast<const char *>(data);
  auto after = rings.upper_bound(begin);
  if (after == rings.begin())
    return false;
  auto &[ring, size] = *std::prev(after);
  return begin + bytes <= ring + size;
}

void CudaDevice::nextPiece() {
  GMC_CUDA("staging", eventRecord, pieceDone[piece], copies);
  piece = (piece + 1) % Pieces;
  pieceFill = 0;
  GMC_CUDA("waiting for staging, after " + lastSteps(), eventSynchronize,
           pieceDone[piece]); // complete if never recorded
}

void CudaDevice::write(uint64_t offset, const void *src, uint64_t bytes) {
  checkRange(offset, bytes);
  GMC_CUDA("writing the arena", ctxSetCurrent, context);
  if (!copiesPending)
    GMC_CUDA("ordering copies behind kernels", streamWaitEvent, copies, computed, 0);
  copiesPending = true;
  if (inStaging(src, bytes)) {
    copyToDevice(offset, src, bytes);
    ringPending = true;
    return;
  }
  for (uint64_t at = 0; at < bytes;) {
    if (pieceFill == PieceBytes)
      nextPiece();
    size_t n = std::min<uint64_t>(PieceBytes - pieceFill, bytes - at);
    char *data = staging + piece * PieceBytes + pieceFill;
    std::memcpy(data, static_cast<const char *>(src) + at, n);
    copyToDevice(offset + at, data, n);
    pieceFill = std::min(PieceBytes, (pieceFill + n + 63) / 64 * 64);
    at += n;
  }
}

void CudaDevice::finishWrites() {
  if (!ringPending)
    return;
  GMC_CUDA("waiting for copies from the ring", ctxSetCurrent, context);
  // Recorded here and not behind each copy: whatever lies between is small, and on the same stream.
  GMC_CUDA("waiting for copies from the ring", eventRecord, ringRead, copies);
  GMC_CUDA("waiting for copies from the ring, after " + lastSteps(), eventSynchronize, ringRead);
  ringPending = false;
}

void CudaDevice::waitForCopies() {
  if (!copiesPending)
    return;
  GMC_CUDA("ordering kernels behind copies", eventRecord, copied, copies);
  GMC_CUDA("ordering kernels behind copies", streamWaitEvent, compute, copied, 0);
  copiesPending = false;
}

void CudaDevice::read(uint64_t offset, void *dst, uint64_t bytes) {
  checkRange(offset, bytes);
  if (!bytes)
    return;
  auto place = [&] {
    return "reading arena bytes " + std::to_string(offset) + " + " + std::to_string(bytes) + ", after " + lastSteps();
  };
  GMC_CUDA(place(), ctxSetCurrent, context);
  waitForCopies();
  GMC_CUDA(place(), memcpyDtoHAsync, dst, arena + offset, bytes, compute);
  GMC_CUDA(place(), streamSynchronize, compute);
}

void *CudaDevice::allocateStaging(size_t bytes) {
  GMC_CUDA("input ring", ctxSetCurrent, context);
  void *data = nullptr;
  size_t size = std::max<size_t>(bytes, 1);
  GMC_CUDA("input ring of " + std::to_string(bytes) + " bytes of pinned host memory", memHostAlloc, &data, size, 0);
  std::memset(data, 0, size);
  rings[static_cast<const char *>(data)] = size;
  return data;
}

void CudaDevice::freeStaging(void *data, size_t) {
  if (!data || !rings.erase(static_cast<const char *>(data)))
    return;
  (void)driver->ctxSetCurrent(context);
  (void)driver->streamSynchronize(copies); // nothing may read what is freed
  (void)driver->memFreeHost(data);
}

//===- Memory -----------------------------------------------------------------------------------------------===//

uint64_t CudaDevice::deviceUsed() const {
  if (auto used = nvml.deviceBytes())
    return *used;
  size_t free = 0, total = 0;
  GMC_CUDA("measuring device memory", memGetInfo, &free, &total);
  return total - free;
}

void CudaDevice::markPart(const char *name) {
  uint64_t now = deviceUsed(), known = before;
  for (const auto &[_, bytes] : parts)
    known += bytes;
  parts.emplace_back(name, now > known ? now - known : 0);
}

void CudaDevice::sampleMemory() {
  if (auto own = nvml.processBytes(arenaBytes)) {
    if (std::strcmp(source, "NVML"))
      peak = 0;
    source = "NVML";
    peak = std::max(peak, *own);
    return;
  }
  if (!std::strcmp(source, "NVML"))
    return;
  uint64_t now = deviceUsed();
  peak = std::max(peak, now > before ? now - before : 0);
}

MemoryReport CudaDevice::memory() {
  if (!context)
    return {promised, 0, source, {}, ""};
  GMC_CUDA("measuring device memory", ctxSetCurrent, context);
  sampleMemory();
  std::string note, holders = nvml.holders();
  if (!std::strcmp(source, "device-total"))
    note = "NVML is missing, so all that is used on " + deviceName +
           " counts; it comes with the driver (containers: NVIDIA_DRIVER_CAPABILITIES=compute,utility)";
  else if (std::strcmp(source, "NVML"))
    note = "NVML hides processes here, so what others take on " + deviceName + " meanwhile counts too";
  if (!holders.empty())
    note += (note.empty() ? "" : "; ") + holders;
  return {promised, peak, source, parts, note};
}

} // namespace gmc::rt
