//===- GpuTile.h - what a block does with a slice in shared memory ----------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_GPUTILE_H
#define GMC_DIALECTS_NN_GPUTILE_H

#include "dialects/NN/GpuGemm.h"

namespace gmc::nn {

/// A slice of an operand in shared memory, in two copies (stages): while one is being used, the next slice goes to the
/// other.
struct GpuSlice {
  mlir::Value buffer;
  bool alongDepth; ///< as the operand lies in memory
};

/// The part of a product that depends on what multiplies: the layout of slices in shared memory, which rows and columns
/// of the tile a thread accumulates, and the accumulation. The slice of an operand holds its tile's rows (columns) by
/// tileDepth.
class GpuTile {
public:
  GpuTile(const GemmTiling &tiling, const GpuBlock &block) : t(tiling), block(block) {}
  virtual ~GpuTile() = default;

  /// Buffers for slices of `extent` rows or columns.
  virtual GpuSlice slice(int64_t extent, bool alongDepth) const = 0;
  /// Puts elements (a scalar or vector along k or along the rows) at (outer, k) of a stage of a slice.
  virtual void put(mlir::OpBuilder &b, mlir::Location loc, const GpuSlice &slice, mlir::Value stage, mlir::Value outer,
                   mlir::Value k, mlir::Value value) const = 0;
  /// Where this thread's elements are; to be called before what follows.
  virtual void place(mlir::OpBuilder &b, mlir::Location loc) = 0;
  virtual llvm::SmallVector<mlir::Value> zeros(mlir::OpBuilder &b, mlir::Location loc) const = 0;
  /// sums + A * B over the first `depth` k of a stage of the slices, or up to the next multiple of depthStep().
  virtual llvm::SmallVector<mlir::Value> multiply(mlir::OpBuilder &b, mlir::Location loc, const GpuSlice &sliceA,
                                                  const GpuSlice &sliceB, mlir::Value stage, mlir::ValueRange sums,
                                                  int64_t depth) const = 0;
  virtual int64_t depthStep() const = 0;
  /// Calls finish(row, column, value) for what was accumulated, the position being within the tile and the value a
  /// scalar or vector of `width` columns, or fewer.
  using Finish = llvm::function_ref<void(mlir::OpBuilder &, mlir::Location, mlir::Value, mlir::Value, mlir::Value)>;
  virtual void finish(mlir::OpBuilder &b, mlir::Location loc, mlir::ValueRange sums, int64_t width,
                      Finish finish) const = 0;

protected:
  const GemmTiling &t;
  const GpuBlock &block;
};

/// f32: every thread multiplies and adds.
std::unique_ptr<GpuTile> createThreadTile(const GemmTiling &tiling, const GpuBlock &block);
/// bf16, f16: warps use mma.sync m16n8k16.
std::unique_ptr<GpuTile> createWarpTile(const GemmTiling &tiling, const GpuBlock &block);

} // namespace gmc::nn

#endif
