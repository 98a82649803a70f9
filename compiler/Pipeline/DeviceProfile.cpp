#include "compiler/Pipeline/DeviceProfile.h"
#include <algorithm>

namespace gmc {

/// Datasheet fp32 rate and bandwidth scaled by the fraction that each class of portable kernel is expected to reach.
static DeviceProfile gpu(const char *name, double teraflops, double gigabytes, int64_t contextMiB) {
  double peak = teraflops * 1e12;
  DeviceProfile p;
  p.name = name;
  //                 Elementwise  Reduction    Matmul      Conv        Gather      Transpose
  p.flopsPerSecond = {peak * 0.25, peak * 0.1, peak * 0.6, peak * 0.5, peak * 0.1, peak * 0.1};
  p.bytesPerSecond = gigabytes * 1e9 * 0.8;
  p.launchMicros = 3;
  p.contextBytes = contextMiB << 20;
  return p;
}

std::optional<DeviceProfile> deviceProfile(llvm::StringRef arch, int threads) {
  // Context sizes: an upper estimate until a device of the kind has been measured. sm_90: 526 MiB on an H200 with driver 580.
  if (arch == "sm_75")
    return gpu("T4", 8.1, 320, 372);
  if (arch == "sm_80")
    return gpu("A100", 19.5, 1555, 480);
  if (arch == "sm_86")
    return gpu("RTX 3060", 12.7, 360, 372);
  if (arch == "sm_89")
    return gpu("L4", 30.3, 300, 450);
  if (arch == "sm_90")
    return gpu("H100", 66.9, 3350, 544);
  if (arch == "sm_100")
    return gpu("B200", 75, 8000, 700);
  if (arch == "sm_120")
    return gpu("RTX 5090", 104.8, 1792, 560);
  if (arch == "host") {
    DeviceProfile p;
    p.name = "host";
    double n = threads;
    p.flopsPerSecond = {4e9 * n, 4e9 * n, 30e9 * n, 35e9 * n, 1e9 * n, 1e9 * n};
    p.bytesPerSecond = 15e9;
    p.launchMicros = 1;
    // Measured by bench-libraries beside the portable kernels.
    p.library = {.flopsPerSecond = 210e9 * n, .copyBytesPerSecond = 40e9 * n, .tapsPerSecond = 12e9 * n,
                 .normBytesPerSecond = 6e9};
    return p;
  }
  return std::nullopt;
}

double predictMicros(const DeviceProfile &profile, const KernelNode &node) {
  if (node.library)
    return node.library->micros;
  double compute = node.flops / profile.flopsPerSecond[static_cast<size_t>(node.costClass)];
  double memory = node.bytes / profile.bytesPerSecond;
  return profile.launchMicros + std::max(compute, memory) * 1e6;
}

} // namespace gmc
