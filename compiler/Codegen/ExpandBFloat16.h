//===- ExpandBFloat16.h - bfloat16 in integer operations --------------------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_EXPANDBFLOAT16_H
#define GMC_COMPILER_CODEGEN_EXPANDBFLOAT16_H

#include "llvm/IR/Module.h"

namespace gmc {

/// Rewrites what `module` computes on bfloat, scalars and vectors, for a CPU: conversions become shifts and additions
/// that round to nearest even, arithmetic goes through float with one rounding each. CPUs without bfloat16 instructions
/// would call a library function for every element, those that have them flush subnormal numbers: this vectorizes, and
/// gives the same bits on every machine.
void expandBFloat16(llvm::Module &module);

/// Rewrites what moves bfloat between registers to move integers, for a CPU whose code would extend each and round it
/// back by a function of a library. To be called behind all optimization, which undoes it.
void moveBFloat16AsBits(llvm::Module &module);

} // namespace gmc

#endif
