// Which device a model runs on: the one place that knows all targets.
#include "gmc/Error.h"
#include "runtime/host/HostDevice.h"

namespace gmc::rt {

std::unique_ptr<Device> createDevice(const GmcModel &model, int index) {
  if (model.target != GMC_TARGET_HOST)
    throw usageError("this executable holds no runtime for target " + std::to_string(model.target));
  if (index != 0)
    throw usageError("--device=" + std::to_string(index) + ": the host target has only device 0");
  return std::make_unique<HostDevice>(model.threads);
}

} // namespace gmc::rt
