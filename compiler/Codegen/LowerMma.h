//===- LowerMma.h - matrix instructions on architectures without them -------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_LOWERMMA_H
#define GMC_COMPILER_CODEGEN_LOWERMMA_H

#include "llvm/IR/Module.h"

namespace gmc {

/// Kernels multiply with mma.sync m16n8k16, which sm_80 brought. For an older `sm` the one of f16 becomes two of
/// m16n8k8, and that of bf16, for which Turing has none, shuffles and multiply-adds.
void lowerMma(llvm::Module &module, uint32_t sm);

} // namespace gmc

#endif
