//===- GpuGemm.h - products tiled through shared memory for the GPU ---------------------------*- C++ -*-===//
//
// Matrix products and the three convolutions are one computation on the GPU: sum[row, column] = sum over k of
// A(row, k) * B(k, column), for a number of independent batches. A block of threads computes a tile of the result; it
// brings slices of both operands to shared memory, 16 bytes at a time where they lie so, while the slice before is
// being used. f32 operands are multiplied by each thread for a few rows and columns in registers, bf16 and f16 by the
// warp with ldmatrix and mma.sync; both accumulate in f32. Where a product has too few tiles to occupy a GPU and k is
// long, k is cut into slices whose sums go to a workspace, and a second nest adds them in order: reruns are bit-equal.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_DIALECTS_NN_GPUGEMM_H
#define GMC_DIALECTS_NN_GPUGEMM_H

#include "dialects/Interfaces/KernelBuilder.h"
#include "dialects/NN/GpuSupport.h"
#include <functional>

namespace gmc::nn {

/// How a product of operands of type `element` is divided: a function of type and sizes only.
struct GemmTiling {
  GemmTiling(mlir::Type element, int64_t batches, int64_t rows, int64_t columns, int64_t depth);

  mlir::Type element; ///< f32, bf16 or f16
  int64_t batches, rows, columns, depth;
  int64_t threads, tileRows, tileColumns, tileDepth; ///< of a block
  int64_t partRows, partColumns;                     ///< of a thread (f32) or a warp
  int64_t resident; ///< blocks on a multiprocessor, which registers are to be found for
  int64_t slices, sliceDepth;                        ///< of k; sliceDepth is a multiple of tileDepth

  int64_t rowTiles() const { return (rows + tileRows - 1) / tileRows; }
  int64_t columnTiles() const { return (columns + tileColumns - 1) / tileColumns; }
  /// Bytes of the partial sums; 0 where k is not cut.
  int64_t workspaceBytes() const { return slices > 1 ? 4 * slices * batches * rows * columns : 0; }
};

struct GpuGemm {
  /// What a thread reads at once: at `outer`, a row (of A) or column (of B), and k = slice + offset + further. The
  /// start of the slice is the same for all threads, the offset for all slices, so what depends on one of them alone is
  /// computed once; elements of a thread that differ in `further` alone lie at constant distances.
  struct Place {
    mlir::Value batch, outer, slice, offset;
    int64_t further;

    mlir::Value k(mlir::OpBuilder &b, mlir::Location loc) const;
  };

  struct Operand {
    /// Whether elements read at once follow each other in k, or in rows (of A) or columns (of B).
    bool alongDepth;
    /// Their number: the first one's position along that dimension is a multiple of it, and so is the extent unless it
    /// is ragged.
    int64_t width;
    /// Elements at a place and following, as tiling.element or a vector of `width` of it; positions exist. What it
    /// reads is held in registers while the slice before is used.
    std::function<mlir::Value(mlir::OpBuilder &, mlir::Location, const Place &, ReadAhead &)> read;
    /// Neighbours in memory, which neighbouring threads should read, follow each other the other way: what is read at
    /// once lies apart.
    bool gathered = false;
    /// Only the first of the elements has to exist; the others are anything where they do not.
    bool ragged = false;
  };

  GemmTiling tiling;
  Operand a, b;
  /// Columns that may be stored at once: 1, 2 or 4, dividing the number of columns.
  int64_t storeWidth;
  /// Finishes an f32, or a vector of at most storeWidth of neighbouring columns of a row.
  std::function<void(mlir::OpBuilder &, mlir::Location, mlir::Value batch, mlir::Value row, mlir::Value column,
                     mlir::Value sum)>
      store;
  /// The workspace for partial sums, where the tiling has some.
  unsigned workspace = 0;

  /// Emits the nest, and those that add partial sums.
  void emit(KernelBuilder &kernel) const;
};

/// `width` elements at `at` of a flat buffer, as a vector unless it is 1: `at` is a multiple of width, and the buffer
/// as aligned as operands are. Writing rounds f32 to the buffer's type.
mlir::Value readWide(mlir::OpBuilder &b, mlir::Location loc, mlir::Value buffer, mlir::Value at, int64_t width);
void writeWide(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::Value buffer, mlir::Value at);
/// A float or vector of floats as f32.
mlir::Value asF32(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value);
/// Elements of a value: 1 for a scalar.
int64_t widthOf(mlir::Value value);

/// The largest of 8, 4, ... 1 elements of `type` that is at most 16 bytes and divides `extent`.
int64_t wideAccess(mlir::Type type, int64_t extent);

} // namespace gmc::nn

#endif
