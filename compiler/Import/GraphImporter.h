//===- GraphImporter.h - the state of one import (private to compiler/Import) -----------------*- C++ -*-===//
#ifndef GMC_COMPILER_IMPORT_GRAPHIMPORTER_H
#define GMC_COMPILER_IMPORT_GRAPHIMPORTER_H

#include "compiler/Import/Importer.h"
#include "compiler/Import/OpImport.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringSet.h"
#include <deque>
#include <memory>
#include <optional>
#include <set>

namespace gmc {

/// Static shapes of the named graph inputs: symbols bound by batch, --dim and given tensors. Contradictions and every
/// missing symbol are reported; inputs with a problem are not in the result.
llvm::StringMap<llvm::SmallVector<int64_t>> bindShapes(const OnnxModel &model, const llvm::StringSet<> &inputs,
                                                       const ImportOptions &options, Diagnostics &diagnostics);

/// Names that a subgraph reads from the scopes around it.
std::vector<std::string> capturedNames(const onnx::GraphProto &graph);
/// The subgraphs of a node (If, Loop, Scan).
std::vector<const onnx::GraphProto *> subgraphs(const onnx::NodeProto &node);

class GraphImporter {
public:
  GraphImporter(mlir::MLIRContext &context, const OnnxModel &model, const ImportOptions &options,
                Diagnostics &diagnostics);
  ImportedModel run();

private:
  /// A named value of the ONNX graph.
  struct Named {
    mlir::Value value;    ///< null when `failed`
    bool failed = false;  ///< it could not be imported: what depends on it is skipped silently
    int producer = -1;    ///< index into edges
    int initializer = -1; ///< index into model.initializers()
    std::shared_ptr<const std::vector<int>> sequence = nullptr; ///< of a sequence: its elements as indices into values
    bool isFloat = true;  ///< a gradient can flow through it; set before unused ops go, and their values with them
  };
  /// An imported (or failed) node: how values depend on each other.
  struct Edge {
    std::vector<int> inputs, outputs; ///< indices into values, -1 for absent ones
    const ImportRule *rule = nullptr; ///< null when there is none
    std::string op, name;
  };
  struct Scope {
    const onnx::GraphProto *graph;
    Scope *parent;
    llvm::StringMap<int> names;
  };

  // GraphImporter.cpp
  int lookup(Scope &scope, llvm::StringRef name);
  int define(Scope &scope, llvm::StringRef name, Named named);
  void importGraph(Scope &scope, llvm::ArrayRef<std::string> wanted);
  std::vector<const onnx::NodeProto *> orderNodes(Scope &scope, llvm::ArrayRef<std::string> wanted);
  void importNode(Scope &scope, const onnx::NodeProto &node);
  void addNodeProblem(const onnx::NodeProto &node, ProblemKind kind, const llvm::Twine &reason);
  mlir::Value initializerValue(int index, bool folded);
  mlir::Value constantOf(const TensorSource &source, mlir::Location loc);
  mlir::Value addArgument(llvm::StringRef name, mlir::Type type, llvm::StringRef role);
  mlir::DenseElementsAttr readArgument(mlir::Value value);
  void addInputs();
  void returnOutputs(llvm::ArrayRef<std::string> wanted);
  void dropUnused();

  // ControlFlow.cpp: If, Loop, Scan and sequences, all of them known at compile time
  using Indices = std::vector<int>;
  void importControlFlow(Scope &scope, const onnx::NodeProto &node);
  Indices importIf(Scope &scope, const onnx::NodeProto &node, const Indices &inputs);
  Indices importLoop(Scope &scope, const onnx::NodeProto &node, const Indices &inputs);
  Indices importScan(Scope &scope, const onnx::NodeProto &node, const Indices &inputs);
  Indices importBody(Scope &inner, const onnx::NodeProto &node);
  // Sequences.cpp
  Indices importSequence(Scope &scope, const onnx::NodeProto &node, const Indices &inputs);
  Indices splitToSequence(Scope &scope, const onnx::NodeProto &node, const Indices &inputs);
  std::optional<size_t> positionInSequence(const onnx::NodeProto &node, const Indices &inputs, size_t operand,
                                           size_t end);
  int sequenceOf(Indices elements);
  int integers(Scope &scope, llvm::ArrayRef<int64_t> values, bool scalar = false);
  int synthesize(Scope &scope, const onnx::NodeProto &from, llvm::StringRef op, const Indices &inputs, int64_t axis);
  int elementAt(Scope &scope, const onnx::NodeProto &from, int value, int64_t axis, int64_t position);
  int stack(Scope &scope, const onnx::NodeProto &from, const Indices &elements, int64_t axis);
  mlir::DenseElementsAttr knownValue(int index) const;

  // Roles.cpp
  void findFoldable(llvm::ArrayRef<std::string> wanted);
  /// `complete`: every result was imported, so that an argument that is gone is not needed.
  void assignRoles(llvm::ArrayRef<std::string> lossOutputs, bool complete);
  bool isFloatValue(int value) const;
  std::string whyNotReached(int value) const;
  void collectWeights();

  mlir::MLIRContext &context;
  const OnnxModel &model;
  const ImportOptions &options;
  Diagnostics &diagnostics;
  ImportRegistry registry;
  mlir::OpBuilder builder;
  mlir::func::FuncOp function;
  Scope top;
  llvm::StringSet<> usedInputs;
  std::deque<Named> values;
  std::vector<Edge> edges;
  std::vector<int> initializerValues;          ///< per initializer: index into values, -1 while nobody has asked for it
  std::vector<bool> foldable, readAtCompileTime; ///< per initializer
  llvm::DenseMap<mlir::Value, int> argumentInitializer;
  llvm::DenseMap<int, const onnx::NodeProto *> unproduced; ///< results that a rule did not compute
  std::vector<std::shared_ptr<onnx::NodeProto>>
      synthesized; ///< nodes that are in no file, kept for problems found later
  ImportedModel result;
};

} // namespace gmc

#endif
