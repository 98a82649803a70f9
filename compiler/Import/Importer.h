//===- Importer.h - ONNX graph to nn ----------------------------------------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_IMPORT_IMPORTER_H
#define GMC_COMPILER_IMPORT_IMPORTER_H

#include "compiler/Import/Diagnostics.h"
#include "compiler/Import/OnnxModel.h"
#include "compiler/Import/WeightStore.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace mlir {
class DialectRegistry;
}

namespace gmc {

/// The operators of control flow and sequences, which are imported by other means than a rule.
bool isControlFlow(llvm::StringRef op);

struct ImportOptions {
  /// The micro-batch: bound to the symbolic first dimension of every input.
  std::optional<int64_t> batch;
  /// --dim NAME=VALUE; `INPUT:axis` names an unnamed dimension.
  llvm::StringMap<int64_t> dims;
  /// Shapes of given input tensors, which bind the symbols in them (run, grad, gradcheck).
  llvm::StringMap<llvm::SmallVector<int64_t>> inputShapes;
  /// Inputs whose values are known: constants of the import instead of arguments (run, where a model takes a shape,
  /// axes or pads as an input). The tensors they refer to outlive the import.
  llvm::StringMap<TensorSource> inputValues;
  /// Bound to dimensions that nothing else binds (info, which has to answer without them).
  std::optional<int64_t> defaultDim;
  /// FLOAT tensors become f64 (gradcheck and the references it is compared with).
  bool promoteToF64 = false;
  /// Results of @forward; all graph outputs when empty.
  std::vector<std::string> outputs;
  /// The outputs that the loss is taken of: initializers on a differentiable path to them are trainable. Empty: all.
  std::vector<std::string> lossOutputs;
  /// Regular expressions searched in initializer names; empty: no restriction. Only initializers that match `train` and
  /// do not match `freeze` are trainable.
  std::string train, freeze;
  InitOptions init;
  /// Missing weights are an error (unless init makes them).
  bool needWeights = true;
};

enum class Role { Parameter, Constant, Folded, Unused };

/// What became of an initializer, and why.
struct InitializerInfo {
  std::string name;
  int32_t dataType = 0;
  llvm::SmallVector<int64_t> dims;
  Role role = Role::Unused;
  std::string reason;
};

struct ImportedModel {
  mlir::OwningOpRef<mlir::ModuleOp> module; ///< holds @forward; null when problems were reported
  WeightStore weights;                      ///< of every initializer that is an argument of @forward
  std::vector<InitializerInfo> initializers; ///< all of the file, in its order
  std::vector<std::string> unusedInputs;     ///< graph inputs that the results do not depend on: no arguments
};

/// Registers what importModel creates; the context given to it must be made from such a registry.
void registerImportDialects(mlir::DialectRegistry &registry);

/// Imports the part of the graph that the requested outputs depend on, as func.func @forward (see
/// docs/Architecture.md). Every problem found is added to `diagnostics`; the module is null when there is one.
/// `initializers` is filled in any case.
ImportedModel importModel(mlir::MLIRContext &context, const OnnxModel &model, const ImportOptions &options,
                          Diagnostics &diagnostics);

/// The outputs that `--loss=SPEC` (auto, KIND[:OUTPUT], output[:OUTPUT]) takes the loss of: one name. Error: an output
/// that does not exist.
llvm::Expected<std::string> lossOutput(const OnnxModel &model, llvm::StringRef spec);

} // namespace gmc

#endif
