//===- PlaceFunction.h - a function of nn ops over an arena of its own ------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_PLACEFUNCTION_H
#define GMC_COMPILER_CODEGEN_PLACEFUNCTION_H

#include "compiler/Codegen/ModelImage.h"
#include "dialects/Interfaces/OpInterfaces.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/Error.h"

namespace gmc {

struct ArenaRange {
  uint64_t offset = 0, bytes = 0;
};

/// Steps over an arena that nobody planned for a budget: what runs once, in this process or in a test.
struct PlacedFunction {
  ImageProgram program; ///< name and steps
  uint64_t arenaBytes = 0;
  std::vector<ArenaRange> arguments, results; ///< booleans take one byte an element
  std::vector<std::pair<uint64_t, std::vector<char>>> constants; ///< offset, contents
};

/// Forms the kernels of `function` in its module, and places every tensor: arguments, constants and results for the
/// whole run, the rest by lifetime.
llvm::Expected<PlacedFunction> placeFunction(mlir::func::FuncOp function, KernelTarget target, bool fuse = true);

} // namespace gmc

#endif
