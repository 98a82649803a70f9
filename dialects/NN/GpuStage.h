//===- GpuStage.h - neighbouring elements of a tensor in a block's shared memory --------------*- C++ -*-===//
//
// What a block of GPU threads reads in any order it first copies into shared memory, and what it makes in any order it
// copies out, both in accesses of 16 bytes that lie as those of the buffer do: a range that does not begin at a
// multiple of 16 bytes is copied from the one before on, and stored element by element at its ends.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_DIALECTS_NN_GPUSTAGE_H
#define GMC_DIALECTS_NN_GPUSTAGE_H

#include "dialects/Interfaces/KernelBuilder.h"

namespace gmc::nn {

/// `lanes` elements of operand i from position `first`, a multiple of `lanes`: zeros where `present` is false (null:
/// true) and past the operand's end.
llvm::SmallVector<mlir::Value> loadChunk(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, unsigned i,
                                         mlir::Value first, int64_t lanes, mlir::Value present);
/// Writes `values` to result i from position `first` on, a multiple of their number: those that `inside` is true for.
void storeChunk(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, unsigned i,
                llvm::ArrayRef<mlir::Value> values, mlir::Value first, llvm::ArrayRef<mlir::Value> inside);

class GpuStage {
public:
  /// For ranges of up to `capacity` elements, of which an access takes `lanes`. `aligned`: they all begin at a multiple
  /// of `lanes`.
  GpuStage(const GpuBlock &block, mlir::Type element, int64_t lanes, int64_t capacity, bool aligned);
  /// The shared memory that it takes.
  static int64_t bytes(mlir::Type element, int64_t lanes, int64_t capacity, bool aligned);

  /// The range that the block has from here on: positions [begin, end) of a tensor.
  void place(mlir::OpBuilder &b, mlir::Location loc, mlir::Value begin, mlir::Value end);
  /// Copies the range from operand i; a barrier must follow.
  void read(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, unsigned i) const;
  /// Copies at most `count` positions [begin, end) of the range to result i. `aligned`: both are multiples of `lanes`.
  void write(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, unsigned i, mlir::Value begin,
             mlir::Value end, int64_t count, bool aligned) const;

  /// Where in the buffer the element at a position of the tensor is, a difference that is the same for all.
  mlir::Value place(mlir::OpBuilder &b, mlir::Location loc, mlir::Value position) const;
  mlir::Value load(mlir::OpBuilder &b, mlir::Location loc, mlir::Value place) const;
  void store(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::Value place) const;

private:
  const GpuBlock &block;
  mlir::Type element;
  int64_t lanes, capacity; ///< capacity: a multiple of lanes
  bool aligned;
  mlir::Value buffer, base, end; ///< base: position of the buffer's first element
};

} // namespace gmc::nn

#endif
