//===- StreamStores.h - large results written past the caches ---------------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_STREAMSTORES_H
#define GMC_COMPILER_CODEGEN_STREAMSTORES_H

#include "compiler/Codegen/ModelImage.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/IR/Module.h"

namespace gmc {

/// What is known of a pointer argument of a kernel for all of its uses in an image.
struct KernelArgument {
  bool lineAligned; ///< to the 64 bytes of a cache line
  bool streamed;    ///< so large that its beginning has left the caches when its end is written
};
llvm::SmallVector<KernelArgument> kernelArguments(mlir::func::FuncOp kernel, const KernelUse &use,
                                                  const ModelImage &image);

/// Tells LLVM what is known of the arguments of `part`, a function of a kernel's nest.
void annotateArguments(llvm::Function &part, llvm::ArrayRef<KernelArgument> arguments);

/// Makes stores of whole cache lines non-temporal where they go to a streamed argument that the function does not read;
/// ordinary ones would read every line before they overwrite it. For optimized x86 code, in which loops are vectors.
void streamStores(llvm::Module &module);

} // namespace gmc

#endif
