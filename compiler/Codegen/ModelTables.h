//===- ModelTables.h - the constant gmc_model of the ABI, as LLVM globals ---------------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_MODELTABLES_H
#define GMC_COMPILER_CODEGEN_MODELTABLES_H

#include "compiler/Codegen/ModelImage.h"
#include "llvm/IR/Module.h"
#include <functional>

namespace gmc {

/// One launch of a kernel: entry point (null when the image holds it), symbol, and the numbers of GmcLaunch.
struct LaunchEntry {
  llvm::Function *function = nullptr;
  std::string name;
  int64_t extent = 0, grain = 1, shared = 0;
};

/// Adds `gmc_model` to `module`. `launches` gives the launches of a kernel use, in order. The layout of every struct is
/// that of runtime/include/gmc/Abi.h for a 64-bit target.
void emitModelTables(llvm::Module &module, const ModelImage &image,
                     const std::function<const std::vector<LaunchEntry> &(const KernelUse &)> &launches,
                     llvm::StringRef deviceImage = {});

} // namespace gmc

#endif
