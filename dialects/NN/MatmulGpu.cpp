//===- MatmulGpu.cpp - matrix product for the GPU -------------------------------------------------------===//

#include "dialects/NN/Fold.h"
#include "dialects/NN/GpuGemm.h"
#include "dialects/NN/GpuSupport.h"
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
  return narrowFloat(op.getLhs()) && elementTypeOf(op.getLhs()) == elementTypeOf(op.getRhs()) &&
         narrowFloat(op.getBias()) && narrowFloat(op.getResult()) && s.m >= 4 && s.n >= 4 &&
         s.k >= 4; // a thread does as well with less
}

/// Elements read at once of rows that have an odd number of them.
static constexpr int64_t oddWidth = 8;

int64_t gpuMatmulWorkspace(MatmulOp op) { return tilingOf(op, MatmulShape(op)).workspaceBytes(); }

void emitGpuMatmul(MatmulOp op, KernelBuilder &kernel) {
  MatmulShape s(op);
  // Element (batch, first, second) of an operand whose matrices are [.., size] in memory.
  auto operand = [&](unsigned i, ArrayRef<int64_t> batch, int64_t rows, int64_t columns, bool alongDepth) {
    auto place = [&s, batch, rows, columns, alongDepth](OpBuilder &b, Location loc, const GpuGemm::Place &at, Value k) {
      SmallVector<Value> indices = kb::delinearize(b, loc, at.batch, s.batch);
      Value matrix = numElements(batch) == 1
                         ? kb::idx(b, loc, 0)
                         : kb::linearize(b, loc, kb::broadcastIndices(b, loc, indices, batch), batch);
      Value row = alongDepth ? at.outer : k, column = alongDepth ? k : at.outer;
      return kb::linearize(b, loc, {matrix, row, column}, {1, rows, columns}); // the first extent does not enter
    };
    int64_t width = wideAccess(kernel.operandElementType(i), columns), total = numElements(kernel.operandShape(i));
    if (width == 1 && columns > oddWidth && UnalignedPairs::reads(kernel.operandElementType(i), oddWidth, total)) {
      // Rows of an odd number of 2 bytes. A thread's rounds are an even number of rows apart, so all its places are odd
      // or none is.
      UnalignedPairs pairs{oddWidth, total, 0, oddWidth - columns % oddWidth};
      auto read = [=, &kernel](OpBuilder &b, Location loc, const GpuGemm::Place &at, ReadAhead &ahead) {
        Value first = place(b, loc, at, alongDepth ? at.k(b, loc) : kb::add(b, loc, at.slice, at.offset));
        Value buffer = flatten(b, loc, kernel.operandBuffer(i));
        SmallVector<Value> read =
            pairs.read(b, loc, buffer, Ints{b, loc}.from(first), ahead, alongDepth ? 0 : at.further * columns);
        return elementsOf(b, loc, read, kernel.operandElementType(i));
      };
      return GpuGemm::Operand{alongDepth, oddWidth, read, /*gathered=*/false, /*ragged=*/true};
    }
    return GpuGemm::Operand{
        alongDepth, width, [=, &kernel](OpBuilder &b, Location loc, const GpuGemm::Place &at, ReadAhead &ahead) {
          Value buffer = flatten(b, loc, kernel.operandBuffer(i)), linear = place(b, loc, at, at.k(b, loc));
          return ahead([&] { return readWide(b, loc, buffer, linear, width); });
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
          Value bias = kernel.operandBuffer(2)
                           ? asF32(b, loc, readWide(b, loc, kernel.operandBuffer(2), column, widthOf(sum)))
                           : convertTo(b, loc, kernel.load(b, loc, 2, {column}), b.getF32Type());
          sum = arith::AddFOp::create(b, loc, sum, bias);
        }
        if (widthOf(sum) > 1) {
          Value linear = kb::linearize(b, loc, {batch, row, column}, {numElements(s.batch), s.m, s.n});
          return writeWide(b, loc, sum, flatten(b, loc, kernel.resultBuffer(0)), linear);
        }
        // The result is [batch.., m, n], or has its batch dimensions among the rows.
        SmallVector<Value> at = kb::delinearize(b, loc, batch, s.batch);
        llvm::append_range(at,
                           kb::delinearize(b, loc, row, kernel.resultShape(0).drop_front(s.batch.size()).drop_back()));
        at.push_back(column);
        kernel.store(b, loc, convertTo(b, loc, sum, kernel.resultElementType(0)), 0, at);
      }};
  gemm.emit(kernel);
}

} // namespace gmc::nn
