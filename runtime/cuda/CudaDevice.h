// The cuda target: the arena is the one device allocation, kernels come from the trainer's own image, the driver is
// loaded by name. Host code only: nothing of a CUDA toolkit is needed to build it.
#ifndef GMC_CUDA_CUDADEVICE_H
#define GMC_CUDA_CUDADEVICE_H

#include "gmc/Device.h"
#include "runtime/cuda/Driver.h"
#include "runtime/cuda/Nvml.h"

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

namespace gmc::rt {

class CudaDevice : public Device {
public:
  /// `index` counts the devices that the driver shows. Nothing is loaded before allocate(), missing() or describe().
  explicit CudaDevice(int index) : index(index) {}
  ~CudaDevice() override;

  /// Everything that takes device memory happens here, so that memory() tells right after it what training will take:
  /// context, code (loaded eagerly), local memory of the kernels, arena, graphs.
  void allocate(const GmcModel &model) override;
  /// On a stream of its own; kernels submitted later wait for it, and it waits for those before. From memory of
  /// allocateStaging() directly, from elsewhere through pinned staging.
  void write(uint64_t offset, const void *src, uint64_t bytes) override;
  void read(uint64_t offset, void *dst, uint64_t bytes) override;
  void finishWrites() override;
  void *direct(uint64_t) override { return nullptr; }
  /// The ranges of stepRanges() are CUDA graphs, captured at start; others are launched one by one.
  void runSteps(const GmcProgram &program, uint32_t first, uint32_t last) override;
  std::optional<double> timeSteps(const GmcProgram &program, uint32_t first, uint32_t last) override;
  void synchronize() override;
  MemoryReport memory() override;
  void *allocateStaging(size_t bytes) override;
  void freeStaging(void *data, size_t bytes) override;
  std::string missing(const GmcModel &model) override;
  std::string describe() override;

private:
  static constexpr size_t PieceBytes = 1 << 20, Pieces = 4;

  void openDevice();
  void openContext();
  void loadModule(const GmcModel &model);
  void findFunctions(const GmcModel &model);
  void allocateArena(const GmcModel &model);
  void settleLocalMemory(const GmcModel &model);
  void checkRange(uint64_t offset, uint64_t bytes) const;
  void launchSteps(const GmcProgram &program, uint32_t first, uint32_t last);
  void capture(const GmcProgram &program, uint32_t first, uint32_t last);
  void copyToDevice(uint64_t offset, const void *src, uint64_t bytes);
  void nextPiece();
  bool inStaging(const void *data, uint64_t bytes) const;
  void waitForCopies();
  uint64_t deviceUsed() const;
  void markPart(const char *name);
  void sampleMemory();
  std::string lastSteps() const;

  int index;
  const cuda::Driver *driver = nullptr;
  cuda::Nvml nvml;
  cuda::DeviceId device = 0;
  int major = 0, minor = 0;
  std::string deviceName; ///< "device 0 (NVIDIA H100 80GB HBM3, sm_90)"
  cuda::Context context = nullptr;
  cuda::Module module = nullptr;
  cuda::Stream compute = nullptr, copies = nullptr;
  cuda::Event computed = nullptr, copied = nullptr, ringRead = nullptr, timeBegin = nullptr, timeEnd = nullptr;
  cuda::Event pieceDone[Pieces] = {};
  cuda::Address arena = 0;
  uint64_t arenaBytes = 0;

  char *staging = nullptr;
  size_t piece = 0, pieceFill = 0;
  bool copiesPending = false; ///< copies that no kernel waits for yet
  bool ringPending = false;   ///< copies from the rings that finishWrites() has not awaited
  std::map<const char *, size_t> rings;

  uint64_t promised = 0, before = 0, peak = 0;
  const char *source = "device-delta";
  std::vector<std::pair<std::string, uint64_t>> parts;

  std::map<const GmcLaunch *, cuda::Function> functions;
  std::map<std::tuple<const GmcProgram *, uint32_t, uint32_t>, cuda::GraphExec> graphs;
  const GmcProgram *lastProgram = nullptr; ///< what was submitted last, for the message of an error that shows up later
  uint32_t lastFirst = 0, lastLast = 0;
};

} // namespace gmc::rt

#endif
