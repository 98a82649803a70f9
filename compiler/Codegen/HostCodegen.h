//===- HostCodegen.h - kernels and tables to a relocatable object for the host ----------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_HOSTCODEGEN_H
#define GMC_COMPILER_CODEGEN_HOSTCODEGEN_H

#include "compiler/Codegen/LoweredHook.h"
#include "compiler/Codegen/ModelImage.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBuffer.h"

namespace gmc {

struct HostCodegenOptions {
  std::string arch = "native"; ///< native, or an LLVM CPU name such as x86-64-v3
  int optLevel = 3;
  bool emitLlvmText = false;   ///< return LLVM IR as text instead of an object
  LoweredHook onLowered; ///< sees the kernels in the llvm dialect, and may refuse them
};

/// Lowers the kernels that `image` uses (plan.kernel functions of `module`) to machine code and emits them together
/// with the constant `gmc_model` that describes the programs. `module` is left as it was.
llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> emitHostObject(mlir::ModuleOp module, const ModelImage &image,
                                                                   const HostCodegenOptions &options);

/// The CPU name and feature string that `arch` stands for; an error for a name LLVM does not know.
llvm::Expected<std::pair<std::string, std::string>> resolveHostArch(llvm::StringRef arch);

/// x86-64-v3 where this CPU executes it, else x86-64: for code that is also run on another machine.
llvm::StringRef portableHostArch();

/// Contents of a constant as it lies in memory: row-major, booleans one byte each.
std::vector<char> constantBytes(mlir::DenseElementsAttr value);

} // namespace gmc

#endif
