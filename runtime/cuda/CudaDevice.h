// The cuda target: the arena is the one device allocation, kernels come from the trainer's own image, the driver is loaded by
// name. Host code only: nothing of a CUDA toolkit is needed to build it.
#ifndef GMC_CUDA_CUDADEVICE_H
#define GMC_CUDA_CUDADEVICE_H

#include "gmc/Device.h"
#include "gmc/DeviceImage.h"
#include "runtime/cuda/Driver.h"

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

namespace gmc::rt {

/// The entry of `model`'s image that a device of compute capability major.minor runs best: the highest cubin it can execute,
/// else the highest PTX it can compile. Null when there is none. Throws Error(ExitInternal) for a damaged image.
const GmcImageEntry *bestImageEntry(const GmcModel &model, int major, int minor);

class CudaDevice : public Device {
public:
  /// `index` counts the devices that the driver shows. Nothing is loaded before allocate() or missing().
  explicit CudaDevice(int index) : index(index) {}
  ~CudaDevice() override;

  void allocate(const GmcModel &model) override;
  /// Through pinned staging on a stream of its own; kernels submitted later wait for it, and it waits for those before.
  void write(uint64_t offset, const void *src, uint64_t bytes) override;
  void read(uint64_t offset, void *dst, uint64_t bytes) override;
  void *direct(uint64_t offset) override { return nullptr; }
  /// Whole loops and what lies between them are CUDA graphs, captured at start; other ranges are launched one by one.
  void runSteps(const GmcProgram &program, uint32_t first, uint32_t last) override;
  void synchronize() override;
  MemoryReport memory() override;
  void *allocateStaging(size_t bytes) override;
  void freeStaging(void *data, size_t bytes) override;
  std::string missing(const GmcModel &model) override;

private:
  static constexpr size_t PieceBytes = 1 << 20, Pieces = 4;

  void loadDriver();
  void checkRange(uint64_t offset, uint64_t bytes) const;
  void launchSteps(const GmcProgram &program, uint32_t first, uint32_t last);
  void capture(const GmcProgram &program, uint32_t first, uint32_t last);
  void waitForCopies();
  void sampleMemory();

  int index;
  const cuda::Driver *driver = nullptr;
  cuda::Nvml nvml;
  std::string pciBusId;
  cuda::DeviceId device = 0;
  cuda::Context context = nullptr;
  cuda::Module module = nullptr;
  cuda::Stream compute = nullptr, copies = nullptr;
  cuda::Event computed = nullptr, copied = nullptr;
  cuda::Event pieceDone[Pieces] = {};
  cuda::Address arena = 0;
  char *staging = nullptr;
  size_t piece = 0;
  bool copiesPending = false;
  uint64_t arenaBytes = 0, promised = 0, before = 0, peak = 0;
  bool fromNvml = false;
  std::map<const GmcLaunch *, cuda::Function> functions;
  std::map<std::tuple<const GmcProgram *, uint32_t, uint32_t>, cuda::GraphExec> graphs;
};

} // namespace gmc::rt

#endif
