//===- GpuPlanes.h - planes of a tensor, divided among blocks of GPU threads ------------------*- C++ -*-===//
//
// A tensor as planes that are computed alike: its leading dimensions count the planes, the first dimension of a plane
// counts its rows. A block has some whole planes, or some rows of one. It copies the rows that it needs into shared
// memory, reads them in any order, an element of the result a thread, and copies the results out, both in 16 bytes
// (GpuStage).
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_DIALECTS_NN_GPUPLANES_H
#define GMC_DIALECTS_NN_GPUPLANES_H

#include "dialects/NN/GpuStage.h"
#include "dialects/NN/KernelSupport.h"

namespace gmc::nn {

/// One side of the computation, input or output: its planes' shape.
struct PlaneSide {
  llvm::ArrayRef<int64_t> shape;
  int64_t plane, row; ///< elements of a plane, and of one position of the first axis
  PlaneSide(llvm::ArrayRef<int64_t> shape)
      : shape(shape), plane(numElements(shape)), row(numElements(shape.drop_front())) {}
  /// A shape of `planes` planes with `rows` rows each.
  llvm::SmallVector<int64_t> part(int64_t planes, int64_t rows) const;
  /// How far position `at` of plane `number` is behind the start of plane 0.
  mlir::Value distance(mlir::OpBuilder &b, mlir::Location loc, mlir::Value number, mlir::ValueRange at) const;
};

/// How planes are divided among blocks: `planes` whole ones each, or `rows` of one.
struct PlaneDivision {
  int64_t planes, rows;
};

/// The most that fits into shared memory, of which `bytes` says how much planes and rows take, aligned where that is
/// possible: nullopt where a row is too large. A part of fewer rows than twice `halo`, which its neighbours read, too,
/// is the last choice.
std::optional<PlaneDivision> dividePlanes(int64_t allPlanes, int64_t allRows, int64_t halo,
                                          llvm::function_ref<int64_t(PlaneDivision)> bytes,
                                          llvm::function_ref<bool(PlaneDivision)> aligned);

/// Elements of so many bytes that 16 bytes hold.
inline int64_t vectorLanes(int64_t bytes) { return std::max<int64_t>(16 / bytes, 1); }
inline bool multiple(int64_t x, int64_t of) { return x % of == 0; }

/// The part of the planes that a block has, and what the loops over it share.
struct PlanePart {
  const GpuBlock &block;
  PlaneDivision division;
  int64_t allPlanes, allRows;
  mlir::Value firstPlane, endPlane; ///< endPlane: null where every block has as many
  mlir::Value firstRow, endRow;     ///< null: all of them
  mlir::Value lastEnd;              ///< endRow, or null where every block has as many rows

  PlanePart(const GpuBlock &block, PlaneDivision division, int64_t allPlanes, int64_t allRows, mlir::OpBuilder &b,
            mlir::Location loc, mlir::ValueRange at);
  static llvm::SmallVector<int64_t> blocks(PlaneDivision division, int64_t allPlanes, int64_t allRows);

  /// Position of row `row` of the block's first plane; null: the first row.
  mlir::Value position(mlir::OpBuilder &b, mlir::Location loc, const PlaneSide &side, mlir::Value row = {}) const;
  /// Positions of the rows [first, end) of one plane, or of all planes where rows are not divided.
  std::pair<mlir::Value, mlir::Value> range(mlir::OpBuilder &b, mlir::Location loc, const PlaneSide &side,
                                            mlir::Value first, mlir::Value end) const;
  /// Calls body(j, plane, at) for each element of `rows` rows from `first` on (null: 0) of the block's planes; the
  /// plane is counted from the block's first, and j counts elements. Rows from `end` on (null: none) are left out.
  void overElements(
      mlir::OpBuilder &b, mlir::Location loc, const PlaneSide &side, int64_t rows, mlir::Value first, mlir::Value end,
      llvm::function_ref<void(mlir::OpBuilder &, mlir::Location, mlir::Value, mlir::Value, mlir::ValueRange)> body)
      const;
};

/// Threads of a block that makes so many elements.
int64_t planeThreads(int64_t elements);
/// Whether the elements of planes are whole bytes, and there are any.
bool canStagePlanes(KernelBuilder &kernel, mlir::Type element, int64_t elements);

/// What rows of a plane's output read of its input. Where a part has all rows, it reads all.
struct PlaneReach {
  /// How many rows `rows` neighbouring ones read at most, and which those of [first, end) do; rows outside of the input
  /// are none.
  llvm::function_ref<int64_t(int64_t rows)> most;
  llvm::function_ref<std::pair<mlir::Value, mlir::Value>(mlir::OpBuilder &, mlir::Location, mlir::Value first,
                                                         mlir::Value end)>
      range;
  int64_t halo; ///< rows that a part shares with the next, for dividePlanes
};

/// Reads the input's plane at `at`.
using PlaneLoad = llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::ValueRange at)>;
/// What result 0 has at position `at` of plane `planeNumber`.
using PlaneValue = llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, PlaneLoad, mlir::Value planeNumber,
                                                  mlir::ValueRange at)>;

/// Emits result 0 from operand 0, plane by plane. False, with nothing emitted, where the target or the shapes are not
/// for it.
bool emitGpuPlanes(KernelBuilder &kernel, const PlaneSide &in, const PlaneSide &out, const PlaneReach &reach,
                   PlaneValue value);

} // namespace gmc::nn

#endif
