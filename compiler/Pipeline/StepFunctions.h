//===- StepFunctions.h - the functions of one optimizer step ----------------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_PIPELINE_STEPFUNCTIONS_H
#define GMC_COMPILER_PIPELINE_STEPFUNCTIONS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <vector>

namespace gmc {

/// A function and, for each of its results, the argument whose new value it is (-1: none).
struct StepFunction {
  mlir::func::FuncOp function;
  std::vector<int> carried;
};

/// One optimizer step: `begin` once, `body` for each micro-batch, `update` once (absent when the body updates).
struct StepFunctions {
  StepFunction begin, body, update, eval;
};

/// Wires @micro, @update and @eval of `module` (see docs/Architecture.md) into the functions of a step with
/// `accumulation` micro-steps. With one micro-step the update is part of the body, each parameter's right behind its
/// gradient; with more, gradients, loss sum and valid count are accumulated in arguments of role "gradient",
/// "loss_sum", "valid_count".
mlir::FailureOr<StepFunctions> buildStepFunctions(mlir::ModuleOp module, int64_t accumulation);

/// nn.role and nn.name of argument i.
llvm::StringRef argumentRole(mlir::func::FuncOp function, unsigned i);
llvm::StringRef argumentName(mlir::func::FuncOp function, unsigned i);

} // namespace gmc

#endif
