//===- OnnxModel.h - an ONNX file, read and made uniform --------------------------------------*- C++ -*-===//
//
// Uses ONNX's protobuf types only. After load(): local functions are inlined, every node has a name, tensors agree with
// their shapes.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_COMPILER_IMPORT_ONNXMODEL_H
#define GMC_COMPILER_IMPORT_ONNXMODEL_H

#include "compiler/Import/TensorSource.h"
#include "llvm/ADT/StringMap.h"
#include <array>
#include <memory>
#include <vector>

namespace onnx {
class GraphProto;
class ModelProto;
class NodeProto;
class TensorProto;
} // namespace onnx

namespace gmc {

/// A dimension of a graph input or output: a number, or a symbol. An unnamed unknown dimension d of PORT is the symbol
/// `PORT:d`.
struct PortDim {
  std::optional<int64_t> value;
  std::string symbol;
};

/// A graph input or output as the file declares it.
struct Port {
  std::string name;
  int32_t dataType = 0; ///< 0 when it is no tensor
  bool hasShape = false;
  std::vector<PortDim> dims;
};

/// `OpType:first_output` for an unnamed node.
std::string nodeName(const onnx::NodeProto &node);

class OnnxModel {
public:
  /// Reads `path`. Errors name the file and what is wrong with it.
  static llvm::Expected<std::unique_ptr<OnnxModel>> load(llvm::StringRef path);
  ~OnnxModel();

  const std::string &getPath() const { return path; }
  /// Folder of the model: external data lies there.
  const std::string &getFolder() const { return folder; }
  const onnx::GraphProto &graph() const;
  const onnx::ModelProto &proto() const { return *model; }
  /// Opset version that the model imports of `domain` ("" and "ai.onnx" are the same); 0 when it imports none.
  int64_t opset(llvm::StringRef domain) const;

  /// Graph inputs that are not initializers, and outputs, in file order.
  const std::vector<Port> &inputs() const { return inputPorts; }
  const std::vector<Port> &outputs() const { return outputPorts; }
  const Port *findInput(llvm::StringRef name) const;
  const Port *findOutput(llvm::StringRef name) const;
  /// Initializers in file order; names are unique.
  const std::vector<TensorSource> &initializers() const { return tensors; }
  const TensorSource *findInitializer(llvm::StringRef name) const;
  /// Names of sparse initializers, which cannot be imported.
  const std::vector<std::string> &sparseInitializers() const { return sparse; }
  /// The batch size when every input of rank >= 1 whose first dimension is given agrees on one and none is symbolic.
  std::optional<int64_t> fixedBatch() const;
  /// 128-bit hash of the graph's structure and of every initializer's name, type and shape; weight values are not in
  /// it.
  std::array<uint64_t, 2> hash() const;
  /// The hash as 32 hex digits, as weight files carry it under "gmc.model".
  std::string hashText() const;

private:
  OnnxModel();
  llvm::Error prepare();

  std::string path, folder;
  std::unique_ptr<onnx::ModelProto> model;
  llvm::StringMap<int64_t> opsets;
  std::vector<Port> inputPorts, outputPorts;
  std::vector<TensorSource> tensors;
  llvm::StringMap<size_t> tensorIndex;
  std::vector<std::string> sparse;
};

/// Replaces calls of the model's local functions by their bodies, in subgraphs too (Functions.cpp). Errors: recursion,
/// a function of other opsets than the model's.
llvm::Error inlineFunctions(onnx::ModelProto &model);

} // namespace gmc

#endif
