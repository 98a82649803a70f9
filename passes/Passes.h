//===- Passes.h - every pass of gmc, and the functions behind them ----------------------------*- C++ -*-===//
#ifndef GMC_PASSES_PASSES_H
#define GMC_PASSES_PASSES_H

#include "dialects/NN/NN.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/Pass.h"

namespace gmc {

#define GEN_PASS_DECL
#include "passes/Passes.h.inc"

/// Appends d(result lossIndex)/d(argument) for each of `arguments` to the results of `func`; see DifferentiatePass.
llvm::LogicalResult differentiate(mlir::func::FuncOp func, unsigned lossIndex, llvm::ArrayRef<unsigned> arguments);

#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"

} // namespace gmc

#endif
