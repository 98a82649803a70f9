//===- GpuBlock.h - what one thread of a block of GPU threads can do --------------------------*- C++ -*-===//
//
// The body of a cooperative nest (KernelBuilder::cooperative) is written once and runs on every thread of every block.
// Threads of a block share buffers and meet at barriers; the 32 threads of a warp exchange registers by shuffles.
// Rules:
//   * a barrier stands where all threads of the block come by, or none: not in a branch that depends on the thread;
//   * the same holds for shuffles and the threads of a warp, unless a mask names the lanes that do come by;
//   * between a write to a shared buffer and another thread's access to the same element stands a barrier, in both
//   orders;
//   * blocks are independent, and each result element is written by one thread, in a fixed order of operations.
// The sim target reports a kernel that breaks the first two, and fills shared memory with NaN so that breaking the
// third shows.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_DIALECTS_INTERFACES_GPUBLOCK_H
#define GMC_DIALECTS_INTERFACES_GPUBLOCK_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"

namespace gmc {

class GpuBlock {
public:
  static constexpr int64_t warpSize = 32;
  static constexpr int64_t maxThreads = 1024;
  /// What a block may have on every architecture without asking for more at run time.
  static constexpr int64_t maxSharedBytes = 48 << 10;
  static constexpr unsigned sharedSpace = 3;
  /// Of a gpu.launch: blocks that a multiprocessor must be able to hold at once, where it is more than one.
  static constexpr llvm::StringLiteral residentAttr = "gmc.resident_blocks";

  GpuBlock(mlir::Operation *launch, int64_t threads) : launch(launch), threadCount(threads) {}

  /// Threads of a block; index of the block in its nest (row-major) and of the thread in its block, as index values.
  int64_t threads() const { return threadCount; }
  mlir::Value block() const;
  mlir::Value thread() const;
  /// Position within the warp, and the warp's within the block.
  mlir::Value lane(mlir::OpBuilder &b, mlir::Location loc) const;
  mlir::Value warp(mlir::OpBuilder &b, mlir::Location loc) const;

  /// A buffer of the block in shared memory, 16-byte aligned, of undefined contents when the block starts.
  mlir::Value shared(llvm::ArrayRef<int64_t> shape, mlir::Type elementType) const;
  /// Waits for all threads of the block; what they wrote before is visible after.
  void barrier(mlir::OpBuilder &b, mlir::Location loc) const;

  /// Another lane's `value` (a float or integer of 8 to 64 bits): lane `amount` of the segment (Idx), the lane that
  /// much below (Up) or above (Down), or lane xor amount. Segments are `width` lanes, a power of two; a lane whose
  /// source is outside its segment keeps its own value. `mask` has the bits of the lanes that come by.
  enum class Shuffle { Xor, Up, Down, Idx };
  mlir::Value shuffle(mlir::OpBuilder &b, mlir::Location loc, Shuffle kind, mlir::Value value, mlir::Value amount,
                      int64_t width = warpSize, uint32_t mask = ~0u) const;
  mlir::Value shuffle(mlir::OpBuilder &b, mlir::Location loc, Shuffle kind, mlir::Value value, int64_t amount,
                      int64_t width = warpSize, uint32_t mask = ~0u) const;

  /// Four matrices of 8 by 8 16-bit elements out of a shared buffer, as the registers that mma.sync takes them in (PTX
  /// ldmatrix.x4): lane 8 m + r names the first of the 8 neighbouring elements, at a multiple of 16 bytes, that are row
  /// r of matrix m. Of each matrix, lane 4 g + q gets row g, columns 2 q and 2 q + 1, as an i32; transposed, column g,
  /// rows 2 q and 2 q + 1. All lanes come by.
  llvm::SmallVector<mlir::Value> loadMatrices(mlir::OpBuilder &b, mlir::Location loc, mlir::Value buffer,
                                              mlir::ValueRange indices, bool transposed) const;

  using Combine = llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::Value, mlir::Value)>;
  /// Combines the value of all `width` lanes of a segment as a tree; every lane gets the result. `combine` must
  /// commute.
  mlir::Value warpReduce(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, Combine combine,
                         int64_t width = warpSize) const;
  /// Combines the values of all threads of the block in a fixed order; every thread gets the result. Contains barriers.
  mlir::Value blockReduce(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, Combine combine) const;

  /// for (i = thread; i < count; i += threads) body(i): neighbouring threads take neighbouring elements. No barrier
  /// inside.
  void strided(mlir::OpBuilder &b, mlir::Location loc, int64_t count,
               llvm::function_ref<void(mlir::OpBuilder &, mlir::Location, mlir::Value i)> body) const;

private:
  mlir::Operation *launch; ///< gpu.launch
  int64_t threadCount;
};

} // namespace gmc

#endif
