//===- KernelInterpreter.h - runs what an op's emitKernel emits, on the host ------------------*- C++ -*-===//
//
// Every nn op defines its computation once, as loops over buffers. Interpreting them folds constants during import, and
// checks compiled kernels independently of the code generator.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_COMPILER_IMPORT_KERNELINTERPRETER_H
#define GMC_COMPILER_IMPORT_KERNELINTERPRETER_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Operation.h"

namespace gmc {

/// A tensor in host memory: row-major elements of `elementType` (booleans one byte each, integers of any signedness).
struct HostTensor {
  llvm::SmallVector<int64_t> shape;
  mlir::Type elementType;
  std::vector<char> data;

  /// A zero-filled tensor of `type`.
  static HostTensor zeros(mlir::RankedTensorType type);
  static HostTensor from(mlir::DenseElementsAttr attr);
  mlir::DenseElementsAttr toAttr() const;
};

/// Runs the kernels of `op` on `operands`; one tensor per result. Integers wrap at their width; every float operation
/// is rounded to its type. Failure when the kernels hold an operation that the interpreter does not know, read or write
/// out of bounds, divide an integer by zero, or take more than `maxSteps` operations.
llvm::FailureOr<llvm::SmallVector<HostTensor>> interpretKernel(mlir::Operation *op, llvm::ArrayRef<HostTensor> operands,
                                                               int64_t maxSteps);

/// Simplifies a new op: by its folder, or, when its operands are constants and its results small, by running its
/// kernels. Returns the values that stand for its results; the op is erased when they are others.
llvm::SmallVector<mlir::Value> foldOrKeep(mlir::OpBuilder &b, mlir::Operation *op);

} // namespace gmc

#endif
