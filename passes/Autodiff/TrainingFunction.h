//===- TrainingFunction.h - building a function from the body of @forward ---------------------*- C++ -*-===//
#ifndef GMC_PASSES_AUTODIFF_TRAININGFUNCTION_H
#define GMC_PASSES_AUTODIFF_TRAININGFUNCTION_H

#include "mlir/IR/Builders.h"
#include "passes/Autodiff/Training.h"

namespace gmc {

/// A function under construction: arguments and results with roles and names, over one block.
class TrainingFunction {
public:
  /// An empty function @name after every other function of the module; one of that name is replaced.
  TrainingFunction(mlir::func::FuncOp forward, llvm::StringRef name);

  mlir::Value addArgument(mlir::Type type, llvm::StringRef role, llvm::StringRef name);
  void addResult(mlir::Value value, llvm::StringRef role, llvm::StringRef name);
  void setRole(mlir::Value argument, llvm::StringRef role);
  llvm::StringRef nameOf(mlir::Value argument) const;
  /// Clones the body of @forward; `arguments` stand for its arguments. Returns its results.
  llvm::SmallVector<mlir::Value> inlineForward(llvm::ArrayRef<mlir::Value> arguments);
  /// Erases the function again.
  void abandon() { func.erase(); }
  /// Adds the return op, removes dead ops and, where nothing reads them, arguments of the roles valid_samples and rng.
  mlir::func::FuncOp finish();

  mlir::OpBuilder b;
  mlir::func::FuncOp func;

private:
  mlir::func::FuncOp forward;
  llvm::SmallVector<mlir::Value> results;
  llvm::SmallVector<mlir::DictionaryAttr> argumentAttrs, resultAttrs;
};

/// The arguments of @forward that @micro treats as running statistics: mean and variance of batch normalizations.
llvm::SmallVector<unsigned> runningStatistics(mlir::func::FuncOp forward);

/// Puts every normalization and dropout of `block` into the mode that `options` ask for. With batch statistics, the new
/// running statistics come back as `stateOf[argument]`. `rng` is read by what draws random numbers. A dropout that is
/// off disappears; `outputs` then hold what it read.
void setModes(mlir::Block &block, bool bnTrain, bool dropout, mlir::Value rng,
              llvm::MutableArrayRef<mlir::Value> outputs, llvm::DenseMap<mlir::Value, mlir::Value> *newStates);

} // namespace gmc

#endif
