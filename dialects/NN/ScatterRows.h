//===- ScatterRows.h - sums of rows with equal indices, by blocks of GPU threads --------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_SCATTERROWS_H
#define GMC_DIALECTS_NN_SCATTERROWS_H

#include "dialects/Interfaces/KernelBuilder.h"

namespace gmc::nn {

/// Adds the rows of operand 0, of `features` elements, to the rows of result 0 that `index` names for each of them, in their order.
/// Result 0 holds zeros already. The block of a row whose index no earlier row has adds all rows with that index, and writes the sum.
void emitScatterRows(KernelBuilder &kernel, int64_t rows, int64_t features,
                     llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::Value row)> index);

} // namespace gmc::nn

#endif
