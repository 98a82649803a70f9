// The device code that a trainer holds, and which of it runs on a device.
#ifndef GMC_CUDA_DEVICEIMAGE_H
#define GMC_CUDA_DEVICEIMAGE_H

#include "gmc/Abi.h"
#include "gmc/DeviceImage.h"

#include <string>
#include <vector>

namespace gmc::rt {

/// The entries of `model`'s image that a device of compute capability major.minor can run, best first: cubins of its
/// major version and at most its minor, then PTX of at most its version, higher versions first. Throws
/// Error(ExitInternal) for a damaged image.
std::vector<const GmcImageEntry *> runnableEntries(const GmcModel &model, int major, int minor);

/// "sm_90" or "PTX for sm_75"
std::string entryName(const GmcImageEntry &entry);

/// "this trainer holds sm_90, PTX for sm_90; compile with --arch=sm_80" for a device that none of it runs on.
std::string wrongArchitecture(const GmcModel &model, int major, int minor);

} // namespace gmc::rt

#endif
