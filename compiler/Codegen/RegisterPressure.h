//===- RegisterPressure.h - how many registers a GPU kernel asks for --------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_REGISTERPRESSURE_H
#define GMC_COMPILER_CODEGEN_REGISTERPRESSURE_H

#include "llvm/IR/Function.h"

namespace gmc {

/// The most registers of 32 bits that values of `function` take at one place of it: those that are computed above and
/// used below, in the order that the instructions have (liveness by Appel, Modern Compiler Implementation,
/// section 10.1). Constants, arguments (a kernel reads them from memory) and predicates take none. What an assembler
/// takes in the end may be more, where it moves loads up, or less, where it computes a value twice.
unsigned registerPressure(const llvm::Function &function);

} // namespace gmc

#endif
