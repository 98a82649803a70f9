//===- OpImport.h - how an nn op group imports ONNX operators ---------------------------------*- C++ -*-===//
//
// An import rule turns one ONNX node into nn ops. It sees the node through ImportNode, never the protobuf. Rules are
// registered by the op groups (dialects/NN/*.cpp), so that an operator's whole story lies in one place.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_COMPILER_IMPORT_OPIMPORT_H
#define GMC_COMPILER_IMPORT_OPIMPORT_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "llvm/ADT/StringMap.h"
#include <functional>
#include <optional>

namespace gmc {

/// One ONNX node during import. Inputs are nn values, already imported; all shapes are static.
class ImportNode {
public:
  using Results = llvm::FailureOr<llvm::SmallVector<mlir::Value>>;

  ImportNode(mlir::OpBuilder &builder, mlir::Location loc, llvm::StringRef opType, llvm::StringRef name, int64_t opset)
      : b(builder), loc(loc), opType(opType), name(name), opset(opset) {}
  virtual ~ImportNode() = default;

  mlir::OpBuilder &b;
  mlir::Location loc; ///< NameLoc with the ONNX node's name
  llvm::StringRef opType, name;
  int64_t opset; ///< the model's opset of the node's domain

  //===- Inputs and outputs ---------------------------------------------------------------------------===//
  size_t numInputs() const { return inputs.size(); }
  bool has(size_t i) const { return i < inputs.size() && inputs[i]; }
  /// Input i; null when absent.
  mlir::Value in(size_t i) const { return i < inputs.size() ? inputs[i] : mlir::Value(); }
  size_t numOutputs() const { return outputUsed.size(); }
  /// Whether output i is named in the node (somebody may read it).
  bool wants(size_t i) const { return i < outputUsed.size() && outputUsed[i]; }
  /// Shape, rank and element type of a required input: when it is absent, that is reported, and the answer is a
  /// scalar's.
  llvm::ArrayRef<int64_t> shape(size_t i) const { return requiredType(i).getShape(); }
  int64_t rank(size_t i) const { return shape(i).size(); }
  mlir::Type elementType(size_t i) const { return requiredType(i).getElementType(); }

  //===- Attributes -----------------------------------------------------------------------------------===//
  virtual bool hasAttr(llvm::StringRef name) const = 0;
  virtual int64_t intAttr(llvm::StringRef name, int64_t otherwise) const = 0;
  virtual double floatAttr(llvm::StringRef name, double otherwise) const = 0;
  virtual std::string stringAttr(llvm::StringRef name, llvm::StringRef otherwise) const = 0;
  virtual std::optional<llvm::SmallVector<int64_t>> intsAttr(llvm::StringRef name) const = 0;
  virtual std::optional<llvm::SmallVector<std::string>> stringsAttr(llvm::StringRef name) const = 0;
  virtual std::optional<llvm::SmallVector<double>> floatsAttr(llvm::StringRef name) const = 0;
  virtual mlir::DenseElementsAttr tensorAttr(llvm::StringRef name) const = 0; ///< null when absent

  //===- Constants ------------------------------------------------------------------------------------===//
  /// The elements of input i when it is known at compile time.
  std::optional<llvm::SmallVector<int64_t>> constInts(size_t i) const;
  std::optional<llvm::SmallVector<double>> constFloats(size_t i) const;
  /// Attribute `attr` (older opsets) or constant input i (newer); nullopt when neither is given. When the input is
  /// given but not constant, reports it and sets `failed`.
  std::optional<llvm::SmallVector<int64_t>> intsFrom(llvm::StringRef attr, size_t i, bool &failed);

  //===- Types ----------------------------------------------------------------------------------------===//
  /// MLIR element type of an ONNX TensorProto data type (FLOAT may be imported as f64); null when unsupported.
  virtual mlir::Type onnxType(int64_t dataType) const = 0;
  /// f32, or f64 when the model is imported in f64 (gradcheck): the type of a fresh FLOAT constant.
  mlir::Type floatType() const { return onnxType(1); }

  //===- Building -------------------------------------------------------------------------------------===//
  /// Creates OpT with inferred result types. When the types do not work out, the reason has been reported against this
  /// node and null is returned. Ops whose operands are all constants are folded where they are small.
  template <typename OpT>
  mlir::Value create(mlir::ValueRange operands, typename OpT::Properties properties = {}) {
    auto all = createMulti<OpT>(operands, std::move(properties));
    return all.empty() ? mlir::Value() : all[0];
  }
  /// The same for an op with several results; empty on failure.
  template <typename OpT>
  llvm::SmallVector<mlir::Value> createMulti(mlir::ValueRange operands, typename OpT::Properties properties = {}) {
    llvm::SmallVector<mlir::Type> types;
    if (!allGiven(operands))
      return {};
    OpT::populateDefaultProperties(mlir::OperationName(OpT::getOperationName(), b.getContext()), properties);
    if (failed(OpT::inferReturnTypes(b.getContext(), loc, operands, mlir::DictionaryAttr::get(b.getContext()),
                                     mlir::OpaqueProperties(&properties), mlir::RegionRange(), types)))
      return {};
    return finish(OpT::create(b, loc, types, operands, properties));
  }
  /// nn.constant of small integer data, or of a splat float.
  mlir::Value constant(mlir::DenseElementsAttr value);
  mlir::Value intConstant(llvm::ArrayRef<int64_t> values); ///< 1-d i64
  mlir::Value floatScalar(mlir::Type elementType, double value); ///< 0-d

  /// Reports why this node cannot be imported; the importer adds file, node, op and opset. Always failure.
  llvm::LogicalResult error(const llvm::Twine &reason);

protected:
  mlir::RankedTensorType requiredType(size_t i) const;
  /// Whether no operand is null; reports the absence otherwise.
  bool allGiven(mlir::ValueRange operands) const;
  /// The elements of a constant, or of a small initializer (which a rule may read at compile time); null otherwise.
  virtual mlir::DenseElementsAttr constantValue(mlir::Value value) const;
  /// Verifies and constant-folds a new op; returns the values that stand for its results.
  llvm::SmallVector<mlir::Value> finish(mlir::Operation *op);

  llvm::SmallVector<mlir::Value> inputs;
  llvm::SmallVector<bool> outputUsed;
  bool reportedUnsupported = false; ///< error() was called: the reason is a limit of gmc, not of the model
};

/// Null results mean failure (already reported).
inline ImportNode::Results one(mlir::Value value) {
  if (!value)
    return llvm::failure();
  return llvm::SmallVector<mlir::Value>{value};
}

struct ImportRule {
  std::function<ImportNode::Results(ImportNode &)> import;
  int64_t minOpset = 1; ///< first opset whose semantics the rule covers
  /// Elementwise: a single-element initializer operand is a constant of the formula, not trainable.
  bool elementwise = false;
  /// Input positions that have no gradient by the standard (indices, shapes, running statistics...).
  llvm::SmallVector<unsigned> nonDifferentiable;
  /// Input positions that --init fills with ones where the file lacks them: scales of normalizations, running
  /// variances.
  llvm::SmallVector<unsigned> initializedToOne;
  /// Output 0 is input 0 under another name, type or shape: a weight behind it is still that weight.
  bool sameValue = false;
  unsigned minInputs = 1; ///< inputs that must be given
};

class ImportRegistry {
public:
  /// Adds the rule for `opType` of `domain` ("" is ai.onnx).
  void add(llvm::StringRef opType, ImportRule rule, llvm::StringRef domain = "") {
    rules[(domain + "::" + opType).str()] = std::move(rule);
  }
  const ImportRule *find(llvm::StringRef opType, llvm::StringRef domain) const {
    auto it = rules.find(((domain == "ai.onnx" ? llvm::StringRef() : domain) + "::" + opType).str());
    return it == rules.end() ? nullptr : &it->second;
  }

private:
  llvm::StringMap<ImportRule> rules;
};

} // namespace gmc

#endif
