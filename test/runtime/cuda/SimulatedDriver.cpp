// The entry points of libcuda.so.1, see SimulatedDriver.h.
#include "SimulatedDriver.h"

#include <cstring>
#include <dlfcn.h>
#include <memory>

using namespace simcuda;

State &simcuda::state = *new State;

namespace {

thread_local Context current = nullptr;

void randomDelay() {
  static std::atomic<uint32_t> seed{1};
  uint32_t x = seed.fetch_add(0x9e3779b9u) * 2654435761u;
  std::this_thread::sleep_for(std::chrono::microseconds((x >> 16) % 300));
}

/// What most calls begin with. The lock is held on return.
#define ENTER()                                                                                                        \
  if (Result error = state.sticky)                                                                                     \
    return error;                                                                                                      \
  if (!current || !state.contextAlive)                                                                                 \
    return InvalidContext;                                                                                             \
  std::unique_lock lock(state.mutex)
#define KNOWN(set, handle)                                                                                             \
  if (!state.set.count(handle))                                                                                        \
  return InvalidHandle
#define NOT_CAPTURING(stream)                                                                                          \
  if (stream->capturing)                                                                                               \
  return CaptureUnsupported

void execute(const Launch &launch) {
  if (state.sticky)
    return;
  randomDelay();
  for (char *operand : launch.operands)
    if (std::lock_guard lock(state.mutex); !state.within(state.device, operand, 0)) {
      state.sticky = IllegalAddress;
      return;
    }
  if (is("SIMCUDA_FAULT", launch.function->name)) {
    state.sticky = IllegalAddress;
    return;
  }
  if (std::lock_guard lock(state.mutex); is("SIMCUDA_LOCAL", launch.function->name) && !state.localTaken) {
    state.localTaken = true;
    state.overhead += LocalBytes;
  }
  launch.function->fn(launch.operands.data(), 0, launch.blocks);
}

Result begin(unsigned) {
  if (!is("CUDA_MODULE_LOADING", "EAGER"))
    violation("cuInit without eager loading");
  const char *path = std::getenv("SIMCUDA_KERNELS");
  void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  auto *model = library ? static_cast<const GmcModel *>(dlsym(library, "gmc_model")) : nullptr;
  if (!model)
    violation("SIMCUDA_KERNELS: " + std::string(path ? dlerror() : "not set"));
  for (uint32_t p = 0; p < model->numPrograms; ++p)
    for (uint32_t s = 0; s < model->programs[p].numSteps; ++s)
      for (uint32_t l = 0; l < model->programs[p].steps[s].numLaunches; ++l) {
        const GmcLaunch &launch = model->programs[p].steps[s].launches[l];
        state.kernels[launch.name] = launch.fn;
      }
  state.initialized = true;
  return Success;
}

/// The kernels of PTX and the number of their parameters.
Result loadPtx(Module *module, const std::string &text) {
  auto loaded = std::make_unique<ModuleTag>();
  for (size_t at = text.find(".entry "); at != std::string::npos; at = text.find(".entry ", at)) {
    size_t open = text.find('(', at), close = text.find(')', open);
    std::string name = text.substr(at + 7, open - at - 7);
    unsigned parameters = 0;
    for (size_t p = text.find(".param", open); p < close; p = text.find(".param", p + 1))
      ++parameters;
    auto kernel = state.kernels.find(name);
    if (kernel == state.kernels.end())
      violation("kernel " + name + " is not in SIMCUDA_KERNELS");
    loaded->functions[name] = {name, kernel->second, parameters};
    at = close;
  }
  state.overhead += number("SIMCUDA_CODE", 3 * MiB);
  *module = loaded.release();
  state.modules.insert(*module);
  return Success;
}

} // namespace

SIM cuInit(unsigned flags) { return begin(flags); }
SIM cuDriverGetVersion(int *version) { return *version = 13000, Success; }
SIM cuGetErrorName(Result result, const char **name) {
  *name = result == IllegalAddress         ? "CUDA_ERROR_ILLEGAL_ADDRESS"
          : result == OutOfMemory          ? "CUDA_ERROR_OUT_OF_MEMORY"
          : result == UnsupportedPtxVersion ? "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"
          : result == NoBinaryForGpu       ? "CUDA_ERROR_NO_BINARY_FOR_GPU"
                                           : "CUDA_ERROR_OF_THE_SIMULATED_DRIVER";
  return Success;
}
SIM cuGetErrorString(Result result, const char **text) { return *text = "as simulated", Success; }
SIM cuDeviceGetCount(int *count) { return *count = 1, Success; }
SIM cuDeviceGet(DeviceId *device, int) { return *device = 0, Success; }
SIM cuDeviceGetName(char *name, int length, DeviceId) { return std::snprintf(name, length, "Simulated GPU"), Success; }
SIM cuDeviceGetUuid_v2(Uuid *uuid, DeviceId) {
  for (int i = 0; i < 16; ++i)
    uuid->bytes[i] = static_cast<char>(0xa0 + i);
  return Success;
}
SIM cuDeviceGetAttribute(int *value, int attribute, DeviceId) {
  int sm = static_cast<int>(number("SIMCUDA_SM", 90));
  switch (attribute) {
  case AttributeMajor: return *value = sm / 10, Success;
  case AttributeMinor: return *value = sm % 10, Success;
  case AttributeSharedPerBlockOptin: return *value = 232448, Success;
  default: return InvalidValue;
  }
}
SIM cuDeviceGetPCIBusId(char *id, int length, DeviceId) { return std::snprintf(id, length, "0000:01:00.0"), Success; }
SIM cuDevicePrimaryCtxSetFlags_v2(DeviceId, unsigned) { return Success; }
SIM cuDevicePrimaryCtxRetain(Context *context, DeviceId) {
  state.contextAlive = true;
  state.overhead += number("SIMCUDA_CONTEXT", 300 * MiB);
  return *context = &state.context, Success;
}
SIM cuDevicePrimaryCtxRelease_v2(DeviceId) {
  if (!state.sticky) {
    size_t left = state.device.size() + state.host.size() + state.streams.size() + state.events.size() +
                  state.modules.size() + state.graphs.size() + state.execs.size();
    if (left)
      violation(std::to_string(left) + " handles or allocations are left when the context is released");
    if (state.deviceAllocations > 1)
      violation(std::to_string(state.deviceAllocations) + " device allocations");
  }
  state.contextAlive = false;
  return state.sticky;
}
SIM cuCtxSetCurrent(Context context) { return current = context, state.sticky; }
SIM cuMemGetInfo_v2(size_t *free, size_t *total) {
  ENTER();
  *total = number("SIMCUDA_TOTAL", 8000 * MiB);
  *free = *total - std::min<uint64_t>(*total, state.used());
  return Success;
}
SIM cuMemAlloc_v2(Address *address, size_t bytes) {
  ENTER();
  for (Stream stream : state.streams)
    NOT_CAPTURING(stream);
  if (state.used() + bytes > number("SIMCUDA_TOTAL", 8000 * MiB))
    return OutOfMemory;
  auto *data = static_cast<char *>(std::aligned_alloc(512, (bytes + 511) / 512 * 512));
  std::memset(data, 0xcb, bytes);
  state.device[data] = bytes;
  ++state.deviceAllocations;
  return *address = reinterpret_cast<Address>(data), Success;
}
SIM cuMemFree_v2(Address address) {
  ENTER();
  auto *data = reinterpret_cast<char *>(address);
  if (!state.device.erase(data))
    return InvalidValue;
  std::free(data);
  return Success;
}
SIM cuMemHostAlloc(void **data, size_t bytes, unsigned) {
  ENTER();
  *data = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  state.host[static_cast<char *>(*data)] = bytes;
  return Success;
}
SIM cuMemFreeHost(void *data) {
  ENTER();
  if (!state.host.erase(static_cast<char *>(data)))
    return InvalidValue;
  std::memset(data, 0xee, 64); // a copy that still reads it copies nonsense
  std::free(data);
  return Success;
}
SIM cuMemsetD8Async(Address address, unsigned char value, size_t bytes, Stream stream) {
  ENTER();
  KNOWN(streams, stream);
  NOT_CAPTURING(stream);
  if (!state.within(state.device, reinterpret_cast<char *>(address), bytes))
    return InvalidValue;
  stream->submit([=] { std::memset(reinterpret_cast<char *>(address), value, bytes); });
  return Success;
}
SIM cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, Stream stream) {
  ENTER();
  KNOWN(streams, stream);
  NOT_CAPTURING(stream);
  if (!state.within(state.device, reinterpret_cast<char *>(to), bytes))
    return InvalidValue;
  bool pinned = state.within(state.host, from, bytes);
  std::shared_ptr<std::vector<char>> copy;
  if (!pinned)
    copy =
        std::make_shared<std::vector<char>>(static_cast<const char *>(from), static_cast<const char *>(from) + bytes);
  stream->submit([=] {
    randomDelay();
    std::memcpy(reinterpret_cast<char *>(to), pinned ? from : copy->data(), bytes);
  });
  return Success;
}
SIM cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, Stream stream) {
  ENTER();
  KNOWN(streams, stream);
  NOT_CAPTURING(stream);
  if (!state.within(state.device, reinterpret_cast<char *>(from), bytes))
    return InvalidValue;
  stream->submit([=] {
    randomDelay();
    std::memcpy(to, reinterpret_cast<char *>(from), bytes);
  });
  return Success;
}
SIM cuStreamCreate(Stream *stream, unsigned flags) {
  ENTER();
  if (flags != StreamNonBlocking)
    return InvalidValue;
  return state.streams.insert(*stream = new StreamTag).second ? Success : InvalidValue;
}
SIM cuStreamDestroy_v2(Stream stream) {
  ENTER();
  KNOWN(streams, stream);
  state.streams.erase(stream);
  lock.unlock();
  {
    std::lock_guard own(stream->mutex);
    stream->stopping = true;
  }
  stream->changed.notify_all();
  stream->thread.join();
  delete stream;
  return Success;
}
SIM cuStreamSynchronize(Stream stream) {
  ENTER();
  KNOWN(streams, stream);
  NOT_CAPTURING(stream);
  lock.unlock();
  stream->drain();
  return state.sticky;
}
SIM cuStreamWaitEvent(Stream stream, Event event, unsigned) {
  ENTER();
  KNOWN(streams, stream);
  KNOWN(events, event);
  NOT_CAPTURING(stream);
  std::lock_guard own(event->mutex);
  stream->submit([=, number = event->recorded] { event->wait(number); });
  return Success;
}
SIM cuEventCreate(Event *event, unsigned) {
  ENTER();
  return state.events.insert(*event = new EventTag).second ? Success : InvalidValue;
}
SIM cuEventDestroy_v2(Event event) {
  ENTER();
  KNOWN(events, event);
  state.events.erase(event);
  delete event;
  return Success;
}
SIM cuEventRecord(Event event, Stream stream) {
  ENTER();
  KNOWN(streams, stream);
  KNOWN(events, event);
  NOT_CAPTURING(stream);
  uint64_t number;
  {
    std::lock_guard own(event->mutex);
    number = ++event->recorded;
  }
  stream->submit([=] {
    {
      std::lock_guard own(event->mutex);
      event->completed = number;
      event->time = std::chrono::steady_clock::now();
    }
    event->changed.notify_all();
  });
  return Success;
}
SIM cuEventSynchronize(Event event) {
  ENTER();
  KNOWN(events, event);
  lock.unlock();
  uint64_t number;
  {
    std::lock_guard own(event->mutex);
    number = event->recorded;
  }
  event->wait(number);
  return state.sticky;
}
SIM cuEventElapsedTime(float *milliseconds, Event first, Event second) {
  *milliseconds = std::chrono::duration<float, std::milli>(second->time - first->time).count();
  return state.sticky;
}
SIM cuModuleLoadDataEx(Module *module, const void *image, unsigned count, int *options, void **values) {
  ENTER();
  if (reinterpret_cast<uintptr_t>(image) % 64)
    violation("device code is not aligned");
  if (!std::memcmp(image, "\x7f" "ELF", 4))
    return NoBinaryForGpu; // a simulated device runs no machine code
  if (is("SIMCUDA_PTX", "refuse")) {
    for (unsigned i = 0; i < count; ++i)
      if (options[i] == JitErrorLog)
        std::strcpy(static_cast<char *>(values[i]), "ptxas: unsupported .version");
    return UnsupportedPtxVersion;
  }
  return loadPtx(module, static_cast<const char *>(image));
}
SIM cuModuleUnload(Module module) {
  ENTER();
  KNOWN(modules, module);
  state.modules.erase(module);
  delete module;
  return Success;
}
SIM cuModuleGetFunction(Function *function, Module module, const char *name) {
  ENTER();
  KNOWN(modules, module);
  auto found = module->functions.find(name);
  if (found == module->functions.end())
    return NotFound;
  return *function = &found->second, Success;
}
SIM cuFuncGetAttribute(int *value, int attribute, Function function) {
  switch (attribute) {
  case FunctionMaxThreads: return *value = 1024, Success;
  case FunctionStaticShared: return *value = 0, Success;
  case FunctionLocalBytes: return *value = is("SIMCUDA_LOCAL", function->name) ? 4096 : 0, Success;
  case FunctionMaxDynamicShared: return *value = std::max(function->dynamicShared, 48 << 10), Success;
  default: return InvalidValue;
  }
}
SIM cuFuncSetAttribute(Function function, int attribute, int value) {
  return attribute == FunctionMaxDynamicShared ? (function->dynamicShared = value, Success) : InvalidValue;
}
SIM cuLaunchKernel(Function function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY,
                   unsigned blockZ, unsigned shared, Stream stream, void **parameters, void **) {
  ENTER();
  KNOWN(streams, stream);
  if (!gridX || gridX > 0x7fffffffu || gridY * gridZ * blockY * blockZ != 1 || !blockX || blockX > 1024 ||
      shared > static_cast<unsigned>(std::max(function->dynamicShared, 48 << 10)))
    return InvalidValue;
  Launch launch{function, gridX, {}};
  for (unsigned i = 0; i < function->parameters; ++i)
    launch.operands.push_back(reinterpret_cast<char *>(*static_cast<Address *>(parameters[i])));
  if (stream->capturing)
    stream->capturing->launches.push_back(std::move(launch));
  else
    stream->submit([launch] { execute(launch); });
  return Success;
}
SIM cuStreamBeginCapture_v2(Stream stream, int mode) {
  ENTER();
  KNOWN(streams, stream);
  NOT_CAPTURING(stream);
  if (mode != CaptureThreadLocal)
    return InvalidValue;
  return state.graphs.insert(stream->capturing = new GraphTag).second ? Success : InvalidValue;
}
SIM cuStreamEndCapture(Stream stream, Graph *graph) {
  ENTER();
  KNOWN(streams, stream);
  *graph = stream->capturing;
  stream->capturing = nullptr;
  return *graph ? Success : InvalidValue;
}
SIM cuGraphInstantiateWithFlags(GraphExec *exec, Graph graph, unsigned long long) {
  ENTER();
  KNOWN(graphs, graph);
  *exec = new GraphExecTag{graph->launches};
  state.execs.insert(*exec);
  state.overhead += GraphBytes;
  return Success;
}
SIM cuGraphUpload(GraphExec exec, Stream stream) {
  ENTER();
  KNOWN(execs, exec);
  KNOWN(streams, stream);
  return Success;
}
SIM cuGraphLaunch(GraphExec exec, Stream stream) {
  ENTER();
  KNOWN(execs, exec);
  KNOWN(streams, stream);
  NOT_CAPTURING(stream);
  stream->submit([launches = exec->launches] {
    for (const Launch &launch : launches)
      execute(launch);
  });
  return Success;
}
SIM cuGraphExecDestroy(GraphExec exec) {
  ENTER();
  KNOWN(execs, exec);
  state.execs.erase(exec);
  delete exec;
  return Success;
}
SIM cuGraphDestroy(Graph graph) {
  ENTER();
  KNOWN(graphs, graph);
  state.graphs.erase(graph);
  delete graph;
  return Success;
}
