//===- OnnxNode.h - an ImportNode over the protobuf message -----------------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_IMPORT_ONNXNODE_H
#define GMC_COMPILER_IMPORT_ONNXNODE_H

#include "compiler/Import/OpImport.h"
#include "compiler/Import/TensorSource.h"

namespace onnx {
class AttributeProto;
class NodeProto;
} // namespace onnx

namespace gmc {

/// MLIR element type of an ONNX data type; FLOAT is f64 when `promote`. Null when unsupported.
mlir::Type elementTypeFor(mlir::MLIRContext *context, int32_t dataType, bool promote);
/// ONNX data type (GMC_*) of an MLIR element type.
int32_t dataTypeOf(mlir::Type elementType);
/// Reads a whole tensor as an attribute, FLOAT as f64 when `promote`; tensors of one value become splats.
llvm::Expected<mlir::DenseElementsAttr> readDense(const TensorSource &source, mlir::MLIRContext *context, bool promote);

class OnnxNode final : public ImportNode {
public:
  using Lookup = llvm::function_ref<mlir::DenseElementsAttr(mlir::Value)>;

  /// `initializerOf` reads the initializer behind a function argument, null when it is none or too large.
  OnnxNode(mlir::OpBuilder &b, mlir::Location loc, const onnx::NodeProto &proto, llvm::StringRef name, int64_t opset,
           llvm::ArrayRef<mlir::Value> inputs, bool promote, llvm::StringRef folder, Lookup initializerOf);

  bool hasAttr(llvm::StringRef name) const override;
  int64_t intAttr(llvm::StringRef name, int64_t otherwise) const override;
  double floatAttr(llvm::StringRef name, double otherwise) const override;
  std::string stringAttr(llvm::StringRef name, llvm::StringRef otherwise) const override;
  std::optional<llvm::SmallVector<int64_t>> intsAttr(llvm::StringRef name) const override;
  std::optional<llvm::SmallVector<std::string>> stringsAttr(llvm::StringRef name) const override;
  std::optional<llvm::SmallVector<double>> floatsAttr(llvm::StringRef name) const override;
  mlir::DenseElementsAttr tensorAttr(llvm::StringRef name) const override;
  mlir::Type onnxType(int64_t dataType) const override;
  bool isUnsupported() const { return reportedUnsupported; }

protected:
  mlir::DenseElementsAttr constantValue(mlir::Value value) const override;

private:
  const onnx::AttributeProto *find(llvm::StringRef name) const;

  const onnx::NodeProto &proto;
  bool promote;
  llvm::StringRef folder;
  Lookup initializerOf;
};

} // namespace gmc

#endif
