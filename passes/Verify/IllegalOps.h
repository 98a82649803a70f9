//===- IllegalOps.h - what the verifiers of the phase boundaries share ------------------------*- C++ -*-===//
#ifndef GMC_PASSES_VERIFY_ILLEGALOPS_H
#define GMC_PASSES_VERIFY_ILLEGALOPS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace gmc {

/// Reports everything that is illegal behind a phase, not only the first thing, and knows at the end whether there was
/// any.
class IllegalOps {
public:
  explicit IllegalOps(llvm::StringRef phase) : phase(phase) {}

  /// "is illegal after PHASE: `rule`; `culprit` should have removed it"
  void add(mlir::Operation *op, const llvm::Twine &rule, const llvm::Twine &culprit);
  /// "`what` after PHASE; `culprit`". The diagnostic is open for notes.
  mlir::InFlightDiagnostic error(mlir::Operation *op, const llvm::Twine &what, const llvm::Twine &culprit);

  /// Reports ops of `function`'s body that are no nn ops, and shapes that are not static. Regions of nn ops hold scalar
  /// IR and are theirs.
  void requireNN(mlir::func::FuncOp function, const llvm::Twine &culprit);
  /// Reports what lies directly in the module and is no function.
  void requireFunctions(mlir::ModuleOp module, const llvm::Twine &culprit);

  llvm::LogicalResult result() const { return llvm::failure(any); }

private:
  std::string phase;
  bool any = false;
};

} // namespace gmc

#endif
