#include "runtime/host/OneDnn.h"
#include "runtime/train/Trainer.h"

#include <dlfcn.h>
#include <iostream>

namespace gmc::rt {

std::string missingIsa(const Metadata &metadata) {
#if defined(__x86_64__)
  if (metadata.target != "host")
    return "";
  for (const std::string &arch : metadata.archs) {
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if ((arch == "x86-64-v3" && !v3) || (arch == "x86-64-v4" && !v4))
      return "this CPU does not execute " + arch + ": compile with --arch=" + (v3 ? "x86-64-v3" : "x86-64-v2");
  }
#endif
  return "";
}

void printInfo(const GmcModel &model, const Metadata &metadata, Device *device, const std::string &deviceProblem) {
  auto &out = std::cout;
  out << "model: " << metadata.model << "\n"
      << "target: " << metadata.target << "\n"
      << "archs:";
  for (const std::string &arch : metadata.archs)
    out << " " << arch;
  out << "\nthreads: " << model.threads << "\n"
      << "precision: " << metadata.precision << "\n"
      << "optimizer: " << metadata.optimizer << (metadata.clip ? " clip" : "") << (metadata.ema ? " ema" : "") << "\n"
      << "batch: " << metadata.batch << " = " << metadata.microBatch << " x " << metadata.accumulation << "\n"
      << "promised bytes: " << metadata.budgetBytes << "\n"
      << "arena bytes: " << metadata.arenaBytes << "\n";
  for (const auto &[part, bytes] : metadata.reserve)
    out << "reserve " << part << ": " << bytes << "\n";
  if (metadata.predictedStepMs > 0)
    out << "predicted step: " << jsonNumber(metadata.predictedStepMs) << " ms\n";
  uint32_t calls = 0;
  const GmcStep *called = nullptr;
  for (uint32_t s = 0; model.numPrograms && s < model.programs[0].numSteps; ++s)
    if (model.programs[0].steps[s].library) {
      called = &model.programs[0].steps[s];
      ++calls;
    }
  if (called)
    out << "library calls: " << calls << " of " << model.programs[0].numSteps << " steps, oneDNN "
        << OneDnn::versionText(PlannedCall::decode(called->libraryArgs, called->numLibraryArgs).version) << "\n";
  out << "numerics: " << metadata.numerics << "\n";
  if (std::string words = device ? device->describe() : ""; !words.empty())
    out << "device: " << words << "\n";
  std::string missing = deviceProblem.empty() ? "" : deviceProblem + "\n";
  if (std::string isa = missingIsa(metadata); !isa.empty())
    missing += isa + "\n";
  if (device)
    missing += device->missing(model);
  for (const std::string &library : metadata.libraries) {
    void *handle = dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (handle)
      dlclose(handle);
    else
      missing += library + " is not installed\n";
  }
  if (missing.empty()) {
    out << "missing here: nothing\n";
    return;
  }
  for (size_t at = 0; at < missing.size();) {
    size_t end = missing.find('\n', at);
    out << "missing here: " << missing.substr(at, end - at) << "\n";
    at = end + 1;
  }
}

} // namespace gmc::rt
