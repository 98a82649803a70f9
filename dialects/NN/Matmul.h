//===- Matmul.h - batched matrix product ------------------------------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_MATMUL_H
#define GMC_DIALECTS_NN_MATMUL_H

#include "dialects/NN/NN.h"

#define GET_OP_CLASSES
#include "dialects/NN/Matmul.h.inc"

namespace gmc::nn {

/// A product of matrices as the host kernels see it: result[i] (m x n) = op(lhs[i]) * op(rhs[i]), i over `batch`.
struct MatmulShape {
  explicit MatmulShape(MatmulOp op);

  int64_t m, n, k;
  bool transposeA, transposeB;
  /// Broadcast batch dimensions of the result, and those of the operands at the same rank (1 where broadcast).
  llvm::SmallVector<int64_t> batch, batchA, batchB;
};

/// The vectorized kernel for f32 and f64 on the host.
void emitHostMatmul(MatmulOp op, KernelBuilder &kernel);

/// The tiled kernel for the GPU, on f32, bf16 and f16, accumulating in f32: whether the op has it, its workspace, and
/// the kernel.
bool gpuMatmulTiles(MatmulOp op);
int64_t gpuMatmulWorkspace(MatmulOp op);
void emitGpuMatmul(MatmulOp op, KernelBuilder &kernel);

/// op(lhs) * op(rhs) over the last two dimensions.
mlir::Value matmul(mlir::OpBuilder &b, mlir::Location loc, mlir::Value lhs, mlir::Value rhs, bool transposeA = false,
                   bool transposeB = false);

} // namespace gmc::nn

#endif
