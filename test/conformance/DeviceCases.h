//===- DeviceCases.h - conformance cases as programs for a GPU --------------------------------*- C++ -*-===//
#ifndef GMC_TEST_CONFORMANCE_DEVICECASES_H
#define GMC_TEST_CONFORMANCE_DEVICECASES_H

#include "compiler/Codegen/ModelImage.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"

/// Collects functions as programs of one model, which test/gpu/OpCases.cpp runs on a GPU and on the CPU. Kernels that
/// occur in several are emitted once.
class DeviceCases {
public:
  explicit DeviceCases(mlir::MLIRContext &context);

  /// Adds `function`, called `name`, on `arguments` (the elements of each).
  llvm::Error add(llvm::StringRef name, mlir::func::FuncOp function, llvm::ArrayRef<std::vector<char>> arguments);
  size_t size() const { return image.programs.size(); }
  /// Writes FOLDER/opcases.cuda.o for `archs`, FOLDER/opcases.sim.o, and FOLDER/opcases.bin: the contents of the INPUT
  /// and CONSTANT tensors of each program, one after the other.
  llvm::Error write(const std::string &folder, const std::vector<std::string> &archs, uint64_t reserveBytes);

private:
  mlir::OwningOpRef<mlir::ModuleOp> kernels;
  llvm::StringMap<std::string> known; ///< printed kernel -> its name
  gmc::ModelImage image;
  std::vector<char> data;
};

#endif
