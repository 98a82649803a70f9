//===- KernelGraph.h - a function of kernel calls as nodes and storages -----------------------*- C++ -*-===//
#ifndef GMC_COMPILER_PIPELINE_KERNELGRAPH_H
#define GMC_COMPILER_PIPELINE_KERNELGRAPH_H

#include "dialects/Interfaces/OpInterfaces.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace gmc {

/// One piece of memory with contents: a function argument, a constant, or a kernel's result. Views share it.
struct Storage {
  enum class Kind { Argument, Constant, Result };
  Kind kind = Kind::Result;
  mlir::Value value; ///< the argument, nn.constant result or call result
  int64_t bytes = 0;
  int producer = -1;      ///< node, for results
  unsigned index = 0;     ///< argument number or result number
  bool isOutput = false;  ///< returned by the function (maybe through a view)
};

/// One kernel call.
struct KernelNode {
  mlir::func::CallOp call;
  mlir::func::FuncOp kernel;
  std::string op;
  llvm::SmallVector<std::string> nodes;
  std::string stage; ///< forward, backward or update
  bool recomputable = true;
  llvm::SmallVector<int> operands, results;               ///< storages, in the kernel's order
  llvm::SmallVector<int64_t> workspaces;                  ///< bytes each
  llvm::SmallVector<llvm::SmallVector<unsigned>> inPlace; ///< per result: operand positions it may overwrite
  int64_t flops = 0, bytes = 0;
  CostClass costClass = CostClass::Elementwise;
  bool halves = false; ///< its root computes with bf16 or f16 operands
  /// Set when a library computes it: the call (an encoded PlannedCall), what runs it, and how long that is predicted to
  /// take.
  struct Library {
    std::vector<int64_t> args;
    std::string implementation;
    double micros = 0;
  };
  std::optional<Library> library;
};

struct KernelGraph {
  std::vector<Storage> storages;
  std::vector<KernelNode> nodes;             ///< in program order
  llvm::SmallVector<int> arguments, results; ///< storages of the function's arguments and results

  /// Reads a function that formKernels has rewritten.
  static KernelGraph build(mlir::func::FuncOp function, KernelTarget target);
};

} // namespace gmc

#endif
