//===- HostLibrary.h - which kernels of the host target a library computes --------------------*- C++ -*-===//
#ifndef GMC_COMPILER_PIPELINE_HOSTLIBRARY_H
#define GMC_COMPILER_PIPELINE_HOSTLIBRARY_H

#include "compiler/Pipeline/DeviceProfile.h"
#include "runtime/host/OneDnn.h"
#include "runtime/host/ThreadPool.h"
#include <map>

namespace gmc {

/// Asks the library that trainers load what it has for a kernel. The answer depends on the library's version, the
/// instruction set and the number of threads, never on a measurement: equal requests get equal plans.
class HostLibrary {
public:
  /// Where a call is predicted to be faster than the portable kernel, or wherever there is one.
  enum class Use { Faster, Always };

  /// Null and `problem` where this machine has no library for host code of `arch`.
  static std::unique_ptr<HostLibrary> open(int threads, llvm::StringRef arch, Use use, std::string &problem);

  /// Makes `node` a library call where there is one that is to be used: sets its call and makes room for the call's
  /// workspace beside the kernel's.
  void assign(KernelNode &node, const DeviceProfile &profile);

  /// "oneDNN 2.6.3".
  std::string name() const;

private:
  struct Offer {
    CallForm form = CallForm::Direct;
    double micros = 0;
    uint64_t scratchBytes = 0;
    std::string implementation;
    int64_t implementationHash = 0;
  };

  HostLibrary(int threads, Use use) : use(use), pool(threads) {}
  /// The fastest form of `call`, or nullopt.
  std::optional<Offer> offer(const LibraryCall &call, const KernelNode &node, const DeviceProfile &profile);

  Use use;
  rt::ThreadPool pool;
  std::unique_ptr<rt::OneDnn> library;
  std::map<std::pair<CallKind, std::vector<int64_t>>, std::optional<Offer>> known;
};

} // namespace gmc

#endif
