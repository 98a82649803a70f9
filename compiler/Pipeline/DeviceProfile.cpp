#include "compiler/Pipeline/DeviceProfile.h"
#include <algorithm>

namespace gmc {

/// Datasheet rates (fp32, dense bf16 or f16 on tensor cores) and bandwidth, scaled by the fraction that each class of
/// portable kernel reaches: measured on an H200 (docs/results), elsewhere expected.
static DeviceProfile gpu(const char *name, double teraflops, double tensorTeraflops, double gigabytes,
                         int64_t contextMiB) {
  double peak = teraflops * 1e12;
  DeviceProfile p;
  p.name = name;
  //                 Elementwise  Reduction    Matmul      Conv        Gather      Transpose
  p.flopsPerSecond = {peak * 0.25, peak * 0.1, peak * 0.6, peak * 0.4, peak * 0.1, peak * 0.1};
  p.halfFlopsPerSecond = p.flopsPerSecond;
  auto half = [&](CostClass kind) -> double & { return p.halfFlopsPerSecond[static_cast<size_t>(kind)]; };
  half(CostClass::Matmul) = std::min(tensorTeraflops * 1e12 * 0.5, peak * 2.5);
  half(CostClass::Conv) = std::min(tensorTeraflops * 1e12 * 0.25, peak);
  p.bytesPerSecond = gigabytes * 1e9 * 0.8;
  p.launchMicros = 3;
  p.contextBytes = contextMiB << 20;
  return p;
}

std::optional<DeviceProfile> deviceProfile(llvm::StringRef arch, int threads) {
  // Context sizes: an upper estimate until a device of the kind has been measured. sm_90: 526 MiB on an H200 with
  // driver 580.
  if (arch == "sm_75")
    return gpu("T4", 8.1, 65, 320, 372);
  if (arch == "sm_80")
    return gpu("A100", 19.5, 312, 1555, 480);
  if (arch == "sm_86")
    return gpu("RTX 3060", 12.7, 51, 360, 372);
  if (arch == "sm_89")
    return gpu("L4", 30.3, 121, 300, 450);
  if (arch == "sm_90")
    return gpu("H100", 66.9, 989, 3350, 544);
  if (arch == "sm_100")
    return gpu("B200", 75, 2250, 8000, 700);
  if (arch == "sm_120")
    return gpu("RTX 5090", 104.8, 209, 1792, 560);
  if (arch == "host") {
    DeviceProfile p;
    p.name = "host";
    double n = threads;
    p.flopsPerSecond = {4e9 * n, 4e9 * n, 30e9 * n, 35e9 * n, 1e9 * n, 1e9 * n};
    p.halfFlopsPerSecond = p.flopsPerSecond;
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
  const auto &rates = node.halves ? profile.halfFlopsPerSecond : profile.flopsPerSecond;
  double compute = node.flops / rates[static_cast<size_t>(node.costClass)];
  double memory = node.bytes / profile.bytesPerSecond;
  return profile.launchMicros + std::max(compute, memory) * 1e6;
}

} // namespace gmc
