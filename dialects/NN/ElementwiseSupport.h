//===- ElementwiseSupport.h - shared by the elementwise op definitions ------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_ELEMENTWISESUPPORT_H
#define GMC_DIALECTS_NN_ELEMENTWISESUPPORT_H

#include "dialects/NN/Elementwise.h"

namespace gmc {
class ImportNode;
namespace nn {

/// Result type of an op that broadcasts its operands: one shape, and `elementType` or the operands' common one.
llvm::LogicalResult inferBroadcast(std::optional<mlir::Location> loc, mlir::ValueRange operands,
                                   mlir::Type elementType, llvm::SmallVectorImpl<mlir::Type> &types);

/// Operands of the result's type: the result may overwrite them element by element.
llvm::SmallVector<unsigned> elementwiseInPlace(mlir::Operation *op);

/// nn.reshape to `shape` (the value itself when it has it); null and reported when the element counts differ.
mlir::Value reshapeTo(ImportNode &node, mlir::Value value, llvm::ArrayRef<int64_t> shape);

} // namespace nn
} // namespace gmc

#endif
