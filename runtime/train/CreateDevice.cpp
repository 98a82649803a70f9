// Which device a model runs on: the one place that knows all targets, which every trainer holds.
#include "gmc/Error.h"
#include "runtime/cuda/CudaDevice.h"
#include "runtime/host/HostDevice.h"
#include "runtime/sim/SimDevice.h"

namespace gmc::rt {

std::unique_ptr<Device> createDevice(const GmcModel &model, int index) {
  if (model.target == GMC_TARGET_CUDA)
    return std::make_unique<CudaDevice>(index);
  if (model.target != GMC_TARGET_HOST && model.target != GMC_TARGET_SIM)
    throw usageError("this executable holds no runtime for target " + std::to_string(model.target));
  if (index != 0)
    throw usageError("--device=" + std::to_string(index) + ": this target has only device 0");
  if (model.target == GMC_TARGET_SIM)
    return std::make_unique<SimDevice>(model.threads);
  return std::make_unique<HostDevice>(model.threads);
}

} // namespace gmc::rt
