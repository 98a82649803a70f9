//===- SimKernels.h - GPU kernels as functions for the CPU ------------------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_SIMKERNELS_H
#define GMC_COMPILER_CODEGEN_SIMKERNELS_H

#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"

namespace gmc {

/// Replaces `kernel` by a function of the ABI's signature (operands, begin, end) that runs blocks [begin, end) of
/// `threads` threads. A kernel whose threads do not wait for each other is called thread after thread, inlined into
/// that loop. Others become a function of one thread, which gmc/Sim.h runs: barriers, shuffles and votes become calls,
/// variables in address space 3 parts of the block's memory. A kernel with any other device instruction is an error.
/// With `sanitize`, AddressSanitizer is told of gaps between those parts.
llvm::Expected<llvm::Function *> simulateKernel(llvm::Function *kernel, int64_t threads, bool sanitize = false);

} // namespace gmc

#endif
