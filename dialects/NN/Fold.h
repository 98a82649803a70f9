//===- Fold.h - folds of several values over a box of indices, for kernels --------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_FOLD_H
#define GMC_DIALECTS_NN_FOLD_H

#include "dialects/NN/KernelSupport.h"

namespace gmc::nn {

using Bounds = llvm::SmallVector<std::pair<mlir::Value, mlir::Value>>;

/// The bounds [0, size) for every size.
Bounds fullBounds(mlir::OpBuilder &b, mlir::Location loc, llvm::ArrayRef<int64_t> sizes);

/// Folds several values at once over a box of indices, innermost dimension last, in order.
llvm::SmallVector<mlir::Value>
foldMany(mlir::OpBuilder &b, mlir::Location loc, llvm::ArrayRef<std::pair<mlir::Value, mlir::Value>> bounds,
         mlir::ValueRange inits,
         llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::OpBuilder &, mlir::Location, mlir::ValueRange ivs,
                                                           mlir::ValueRange accs)>
             step);

/// Sums of several terms over a box of indices. Every level sums its own part from zero before it is added to the level
/// around it: the error grows with the sum of the extents, not with their product, and the innermost loop vectorizes.
llvm::SmallVector<mlir::Value> sumBox(
    mlir::OpBuilder &b, mlir::Location loc, llvm::ArrayRef<std::pair<mlir::Value, mlir::Value>> bounds,
    mlir::TypeRange types,
    llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::OpBuilder &, mlir::Location, mlir::ValueRange ivs)> terms);

/// Conversion between float types; nothing where they are equal.
mlir::Value convertTo(mlir::OpBuilder &b, mlir::Location loc, mlir::Value v, mlir::Type type);

} // namespace gmc::nn

#endif
