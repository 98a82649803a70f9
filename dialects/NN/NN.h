//===- NN.h - the nn dialect: common includes of every op group -------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_NN_H
#define GMC_DIALECTS_NN_NN_H

#include "dialects/Interfaces/KernelBuilder.h"
#include "dialects/Interfaces/OpInterfaces.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/NN/NNDialect.h.inc"

namespace gmc {
class ImportRegistry;

namespace nn {

/// Registers the ONNX operators of every group with the importer.
void registerImports(ImportRegistry &registry);

/// What each group listed in Groups.def provides: its ops, and the ONNX operators it imports.
#define GMC_NN_GROUP(NAME)                                                                                             \
  void register##NAME##Ops(NNDialect *dialect);                                                                        \
  void register##NAME##Imports(ImportRegistry &registry);
#include "dialects/NN/Groups.def"

//===- Support for op definitions (Support.cpp) -----------------------------------------------------------===//

/// ONNX (NumPy) broadcast of shapes; failure when they do not broadcast.
llvm::FailureOr<llvm::SmallVector<int64_t>> broadcastShapes(llvm::ArrayRef<llvm::ArrayRef<int64_t>> shapes);

/// Sums `grad` over the dimensions along which a value of `type` was broadcast to grad's shape, and reshapes to `type`.
mlir::Value unbroadcast(mlir::OpBuilder &b, mlir::Location loc, mlir::Value grad, mlir::RankedTensorType type);

/// nn.constant filled with one value, of `type`'s shape and element type.
mlir::Value splat(mlir::OpBuilder &b, mlir::Location loc, mlir::RankedTensorType type, double value);

/// A 0-d nn.constant of the element type of `like`: broadcasts against it.
mlir::Value scalarLike(mlir::OpBuilder &b, mlir::Location loc, mlir::Value like, double value);

inline mlir::RankedTensorType tensorType(mlir::Value value) {
  return llvm::cast<mlir::RankedTensorType>(value.getType());
}
inline llvm::ArrayRef<int64_t> shapeOf(mlir::Value value) { return tensorType(value).getShape(); }
inline mlir::Type elementTypeOf(mlir::Value value) { return tensorType(value).getElementType(); }

/// The emitKernel of every elementwise op: one nest over the result, operands read at their broadcast.
void emitElementwiseKernel(mlir::Operation *op, KernelBuilder &kernel);

/// Element type that kernels compute in: unsigned integers become signless.
mlir::Type signless(mlir::Type type);

} // namespace nn
} // namespace gmc

#endif
