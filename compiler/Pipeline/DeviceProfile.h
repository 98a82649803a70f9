//===- DeviceProfile.h - what a device can do, for predicting step times ----------------------*- C++ -*-===//
#ifndef GMC_COMPILER_PIPELINE_DEVICEPROFILE_H
#define GMC_COMPILER_PIPELINE_DEVICEPROFILE_H

#include "compiler/Pipeline/KernelGraph.h"
#include <array>
#include <optional>
#include <string>

namespace gmc {

/// A roofline per op class: time = launch + max(flops / rate, bytes / bandwidth). Rates are what portable kernels
/// reach, not datasheet peaks.
struct DeviceProfile {
  std::string name;                       ///< "host", "RTX 3060", ...
  std::array<double, 6> flopsPerSecond{}, halfFlopsPerSecond{}; ///< by CostClass, of operands in fp32; in bf16 or f16
  double bytesPerSecond = 0;
  double launchMicros = 0;
  /// Of a library of kernels.
  struct Library {
    double flopsPerSecond = 0;     ///< matrix products and convolutions
    double copyBytesPerSecond = 0; ///< changes of layout, which mostly stay in cache
    double tapsPerSecond = 0;      ///< pools
    double normBytesPerSecond = 0; ///< normalizations
  };
  Library library;
  int64_t contextBytes = 0;               ///< device memory of a process before its first allocation
};

/// Profile of an architecture: "host", or sm_75 (T4), sm_80 (A100), sm_86 (RTX 3060), sm_89 (L4), sm_90 (H100), sm_100
/// (B200), sm_120 (RTX 5090). Nullopt for others. `threads` counts for the host.
std::optional<DeviceProfile> deviceProfile(llvm::StringRef arch, int threads = 1);

/// Predicted microseconds of one execution of `node`.
double predictMicros(const DeviceProfile &profile, const KernelNode &node);

} // namespace gmc

#endif
