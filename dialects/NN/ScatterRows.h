//===- ScatterRows.h - sums of rows with equal indices, by blocks of GPU threads --------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_SCATTERROWS_H
#define GMC_DIALECTS_NN_SCATTERROWS_H

#include "dialects/Interfaces/KernelBuilder.h"

namespace gmc::nn {

/// Adds the rows of operand 0, of `features` elements, to the rows of result 0 that `indices` names for each of them,
/// in their order: those of `count` neighbouring rows from `row` on, a multiple of it. Result 0 holds zeros already.
/// The block of a row whose index no earlier row has adds all rows with that index, and writes the sum.
void emitScatterRows(KernelBuilder &kernel, int64_t rows, int64_t features,
                     llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::OpBuilder &, mlir::Location,
                                                                       mlir::Value row, int64_t count)>
                         indices);

} // namespace gmc::nn

#endif
