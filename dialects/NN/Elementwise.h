//===- Elementwise.h - elementwise ops and fused regions of scalar IR -------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_ELEMENTWISE_H
#define GMC_DIALECTS_NN_ELEMENTWISE_H

#include "dialects/NN/NN.h"
#include "dialects/NN/Scalar.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"

#define GET_OP_CLASSES
#include "dialects/NN/Elementwise.h.inc"

namespace gmc::nn {

/// Emits an nn.fused over the broadcast of `operands` whose region computes `body` for one element. This is how
/// gradients of elementwise ops are written. `elementType` is the result's (that of operand 0 when null).
mlir::Value fused(mlir::OpBuilder &b, mlir::Location loc, mlir::ValueRange operands,
                  llvm::function_ref<Scalar(llvm::ArrayRef<Scalar>)> body, mlir::Type elementType = {});

} // namespace gmc::nn

#endif
