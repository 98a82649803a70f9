//===- MatmulGpu.cpp - matrix product for the GPU -------------------------------------------------------===//

#include "dialects/NN/Fold.h"
#include "dialects/NN/GpuGemm.h"
#include "dialects/NN/KernelSupport.h"
#include "dialects/NN/Matmul.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace gmc::nn {

static GemmTiling tilingOf(MatmulOp op, const MatmulShape &s) {
  return {elementTypeOf(op.getLhs()), numElements(s.batch), s.m, s.n, s.k};
}

bool gpuMatmulTiles(MatmulOp op) {
  MatmulShape s(op);
  auto narrowFloat = [](Value v) { return !v || isa<Float32Type, BFloat16Type, Float16Type>(elementTypeOf(v)); };
  return narrowFloat(op.getLhs()) && elementTypeOf(op.getLhs()) == elementTypeOf(op.getRhs()) && narrowFloat(op.getBias()) && narrowFloat(op.getResult()) &&
         s.m >= 4 && s.n >= 4 && s.k >= 4; // a thread does as well with less
}

int64_t gpuMatmulWorkspace(MatmulOp op) { return tilingOf(op, MatmulShape(op)).workspaceBytes(); }

void emitGpuMatmul(MatmulOp op, KernelBuilder &kernel) {
  MatmulShape s(op);
  // Element (batch, first, second) of an operand whose matrices are [.., size] in memory.
  auto operand = [&](unsigned i, ArrayRef<int64_t> batch, int64_t rows, int64_t columns, bool alongDepth) {
    int64_t width = wideAccess(kernel.operandElementType(i), columns);
    return GpuGemm::Operand{
        alongDepth, width, [&kernel, &s, i, batch, rows, columns, alongDepth, width](OpBuilder &b, Location loc, const GpuGemm::Place &at) {
          SmallVector<Value> indices = kb::delinearize(b, loc, at.batch, s.batch);
          Value matrix = numElements(batch) == 1 ? kb::idx(b, loc, 0)
                                                 : kb::linearize(b, loc, kb::broadcastIndices(b, loc, indices, batch), batch);
          Value k = at.k(b, loc), row = alongDepth ? at.outer : k, column = alongDepth ? k : at.outer;
          Value linear = kb::add(b, loc, kb::mul(b, loc, matrix, kb::idx(b, loc, rows)), row);
          linear = kb::add(b, loc, kb::mul(b, loc, linear, kb::idx(b, loc, columns)), column);
          return readWide(b, loc, flatten(b, loc, kernel.operandBuffer(i)), linear, width);
        }};
  };
  bool biasWide = !op.getBias() || kernel.operandBuffer(2);
  int64_t storeWidth = kernel.storesPlainly(0) && biasWide && s.n % 4 == 0 ? 4 : 1;
  GpuGemm gemm{
      tilingOf(op, s),
      s.transposeA ? operand(0, s.batchA, s.k, s.m, false) : operand(0, s.batchA, s.m, s.k, true),
      s.transposeB ? operand(1, s.batchB, s.n, s.k, true) : operand(1, s.batchB, s.k, s.n, false),
      storeWidth,
      [&](OpBuilder &b, Location loc, Value batch, Value row, Value column, Value sum) {
        if (op.getBias()) {
          Value bias = kernel.operandBuffer(2) ? asF32(b, loc, readWide(b, loc, kernel.operandBuffer(2), column, widthOf(sum)))
                                               : convertTo(b, loc, kernel.load(b, loc, 2, {column}), b.getF32Type());
          sum = arith::AddFOp::create(b, loc, sum, bias);
        }
        Value linear = kb::add(b, loc, kb::mul(b, loc, batch, kb::idx(b, loc, s.m)), row);
        linear = kb::add(b, loc, kb::mul(b, loc, linear, kb::idx(b, loc, s.n)), column);
        if (widthOf(sum) > 1)
          return writeWide(b, loc, sum, flatten(b, loc, kernel.resultBuffer(0)), linear);
        Value value = convertTo(b, loc, sum, kernel.resultElementType(0));
        kernel.store(b, loc, value, 0, kb::delinearize(b, loc, linear, kernel.resultShape(0)));
      }};
  gemm.emit(kernel);
}

} // namespace gmc::nn
