//===- LoweredHook.h - a look at kernels between MLIR and LLVM IR -----------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_LOWEREDHOOK_H
#define GMC_COMPILER_CODEGEN_LOWEREDHOOK_H

#include "mlir/IR/BuiltinOps.h"
#include <functional>

namespace gmc {

/// Called with the module of kernels in the llvm dialect; failure (with a diagnostic) ends the compilation.
using LoweredHook = std::function<llvm::LogicalResult(mlir::ModuleOp)>;

} // namespace gmc

#endif
