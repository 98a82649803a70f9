//===- KernelBuilder.h - portable lowering of an op to parallel loops -------------------------*- C++ -*-===//
//
// An op's emitKernel describes its computation as a sequence of parallel nests over buffers, in scf/memref/arith/
// math. What it emits is the same for every target; a later pass divides a nest among CPU threads, or maps it to GPU
// blocks and threads. Three rules keep it portable and deterministic:
//   * iterations of one nest are independent: each result element is written by exactly one of them, and a sum that
//     crosses iterations is a second nest over partial results;
//   * elements are read and written through load() and store(), so that elementwise neighbours can be fused in;
//   * a nest is complete before the next one starts.
//
// For the GPU an op may emit another form, of cooperative nests: blocks of threads with shared memory, barriers and
// shuffles (GpuBlock.h). Both kinds of nest mix freely, and each is one launch.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_DIALECTS_INTERFACES_KERNELBUILDER_H
#define GMC_DIALECTS_INTERFACES_KERNELBUILDER_H

#include "dialects/Interfaces/GpuBlock.h"
#include "dialects/Interfaces/OpInterfaces.h"
#include "mlir/IR/Value.h"

namespace gmc {

class KernelBuilder {
public:
  using Body = llvm::function_ref<void(mlir::OpBuilder &, mlir::Location, mlir::ValueRange)>;
  using Fold = llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::Value, mlir::Value)>;

  virtual ~KernelBuilder() = default;

  KernelTarget target() const { return targetKind; }
  mlir::Location getLoc() const { return loc; }
  /// Static shape of operand or result i.
  llvm::ArrayRef<int64_t> operandShape(unsigned i) const;
  llvm::ArrayRef<int64_t> resultShape(unsigned i) const;
  mlir::Type operandElementType(unsigned i) const;
  mlir::Type resultElementType(unsigned i) const;

  /// The buffers themselves, row-major, contiguous. A buffer of an operand that was fused away is null: ops that insist
  /// on buffers (GEMM tiles) are not fused into.
  mlir::Value operandBuffer(unsigned i) const { return operands[i]; }
  mlir::Value resultBuffer(unsigned i) const { return results[i]; }
  /// Scratch buffer i as memref<?xi8 bytes>: use workspace(i, shape, elementType) to see it typed.
  mlir::Value workspace(mlir::OpBuilder &b, unsigned i, llvm::ArrayRef<int64_t> shape, mlir::Type elementType);

  /// Emits a parallel nest over `extents`; the last dimension is the one to make contiguous in memory.
  void parallel(llvm::ArrayRef<int64_t> extents, Body body);

  /// KernelTarget::Gpu only: a nest over `blocks` (row-major, at most 2^31 - 1 in all) of `threads` GPU threads each, a
  /// multiple of 32 up to 1024. `body` is what one thread does, with the indices of its block. Shared memory is at most
  /// 48 KB a block. Registers are dealt out so that `resident` blocks run on a multiprocessor at once.
  using BlockBody = llvm::function_ref<void(mlir::OpBuilder &, mlir::Location, mlir::ValueRange, const GpuBlock &)>;
  void cooperative(llvm::ArrayRef<int64_t> blocks, int64_t threads, BlockBody body, int64_t resident = 1);

  /// Reads element `indices` of operand i; writes element `indices` of result i.
  virtual mlir::Value load(mlir::OpBuilder &b, mlir::Location loc, unsigned i, mlir::ValueRange indices);
  virtual void store(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, unsigned i, mlir::ValueRange indices);
  /// `count` elements of operand i from the row-major position `first`, a multiple of `count`, and the same to result
  /// i: where they lie in a buffer, as vectors of 16 bytes.
  virtual llvm::SmallVector<mlir::Value> loadNeighbours(mlir::OpBuilder &b, mlir::Location loc, unsigned i,
                                                        mlir::Value first, int64_t count);
  virtual void storeNeighbours(mlir::OpBuilder &b, mlir::Location loc, llvm::ArrayRef<mlir::Value> values, unsigned i,
                               mlir::Value first);
  /// Bytes of an element in the narrowest of the full-size buffers that loadNeighbours reads for operand i, and that
  /// storeNeighbours writes and reads for result i: what a vector of 16 bytes is to be full of.
  virtual int64_t operandBytes(unsigned i) const { return elementBytes(operandElementType(i)); }
  virtual int64_t resultBytes(unsigned i) const { return elementBytes(resultElementType(i)); }
  /// Whether store() to result i does nothing but write resultBuffer(i), which may then be written as vectors instead.
  virtual bool storesPlainly(unsigned i) const { return true; }

  /// On the host, results of at least so many bytes are written past the caches, which the first of it would have left
  /// when the last is written: twice what the last-level cache of usual processors holds.
  static constexpr int64_t streamedBytes = int64_t(64) << 20;
  bool streams(unsigned i) const;

  /// Sequential loop for iv in [lo, hi) step 1 (index values).
  static void loop(mlir::OpBuilder &b, mlir::Location loc, mlir::Value lo, mlir::Value hi,
                   llvm::function_ref<void(mlir::OpBuilder &, mlir::Location, mlir::Value iv)> body);
  /// Sequential fold over iv in [lo, hi): acc = step(iv, acc), starting from init. Returns the final value.
  static mlir::Value fold(mlir::OpBuilder &b, mlir::Location loc, mlir::Value lo, mlir::Value hi, mlir::Value init,
                          Fold step);
  /// Fold over a box of indices [lo_d, hi_d), innermost last, in order.
  static mlir::Value foldNest(
      mlir::OpBuilder &b, mlir::Location loc, llvm::ArrayRef<std::pair<mlir::Value, mlir::Value>> bounds,
      mlir::Value init,
      llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::ValueRange ivs, mlir::Value acc)> step);

  /// `acc + x` in a reduction whose association is the compiler's choice (vector accumulators): fixed for a given
  /// kernel and target, so reruns are bit-equal.
  static mlir::Value addReassoc(mlir::OpBuilder &b, mlir::Location loc, mlir::Value acc, mlir::Value x);

  KernelBuilder(mlir::OpBuilder &builder, mlir::Location loc, KernelTarget target, mlir::Operation *op,
                llvm::ArrayRef<mlir::Value> operands, llvm::ArrayRef<mlir::Value> results,
                llvm::ArrayRef<mlir::Value> workspaces)
      : builder(builder), loc(loc), targetKind(target), op(op), operands(operands), results(results),
        workspaces(workspaces) {}

protected:
  mlir::OpBuilder &builder;
  mlir::Location loc;
  KernelTarget targetKind;
  mlir::Operation *op;
  llvm::SmallVector<mlir::Value> operands, results, workspaces;
};

/// Shorthands for kernel bodies: index and float constants, and integer arithmetic on index values.
namespace kb {
mlir::Value idx(mlir::OpBuilder &b, mlir::Location loc, int64_t value);
mlir::Value constant(mlir::OpBuilder &b, mlir::Location loc, mlir::Type type, double value);
mlir::Value add(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y); // index, int or float
mlir::Value sub(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y);
mlir::Value mul(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y);
mlir::Value div(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y); // floor toward zero for ints
mlir::Value rem(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y);
mlir::Value max(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y); // signed; NaN propagates
mlir::Value min(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y);
/// Integer of any width to index (sign-extended), and back.
mlir::Value toIndex(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x);
mlir::Value fromIndex(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Type type);
/// lo <= x < hi, as i1.
mlir::Value inRange(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value lo, mlir::Value hi);
/// Row-major linear index of `indices` in `shape`, and its inverse.
mlir::Value linearize(mlir::OpBuilder &b, mlir::Location loc, mlir::ValueRange indices, llvm::ArrayRef<int64_t> shape);
llvm::SmallVector<mlir::Value> delinearize(mlir::OpBuilder &b, mlir::Location loc, mlir::Value linear,
                                           llvm::ArrayRef<int64_t> shape);
/// Indices into a tensor of `shape` for the ONNX broadcast to the indices of the result.
llvm::SmallVector<mlir::Value> broadcastIndices(mlir::OpBuilder &b, mlir::Location loc, mlir::ValueRange indices,
                                                llvm::ArrayRef<int64_t> shape);
/// `count` neighbours of a row-major buffer from position `first`, a multiple of `count`, as vectors of up to 16 bytes.
llvm::SmallVector<mlir::Value> loadVectors(mlir::OpBuilder &b, mlir::Location loc, mlir::Value buffer,
                                           mlir::Value first, int64_t count);
void storeVectors(mlir::OpBuilder &b, mlir::Location loc, llvm::ArrayRef<mlir::Value> values, mlir::Value buffer,
                  mlir::Value first);
/// if (cond) then() else fallback, as a value.
mlir::Value select(mlir::OpBuilder &b, mlir::Location loc, mlir::Value cond,
                   llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location)> then, mlir::Value otherwise);
/// if (cond) body().
void when(mlir::OpBuilder &b, mlir::Location loc, mlir::Value cond,
          llvm::function_ref<void(mlir::OpBuilder &, mlir::Location)> body);
} // namespace kb

/// What a buffer holds for a tensor of `element`: integers are signless.
mlir::Type bufferElement(mlir::Type element);

} // namespace gmc

#endif
