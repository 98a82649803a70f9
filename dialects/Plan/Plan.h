//===- Plan.h - the plan dialect --------------------------------------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_PLAN_PLAN_H
#define GMC_DIALECTS_PLAN_PLAN_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/Plan/PlanDialect.h.inc"
#include "dialects/Plan/PlanEnums.h.inc"

namespace gmc::plan {

/// Attribute on a func.func that is a kernel: its body is a cluster of nn ops that one launch computes.
inline constexpr llvm::StringLiteral kKernelAttr = "plan.kernel";

/// Memory type of a tensor: row-major, unsigned integers as signless.
mlir::MemRefType bufferType(mlir::Type tensorType);

class BufferOp;

} // namespace gmc::plan

#define GET_OP_CLASSES
#include "dialects/Plan/Plan.h.inc"

#endif
