//===- Jit.h - runs a pure nn function in this process ----------------------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_JIT_H
#define GMC_COMPILER_CODEGEN_JIT_H

#include "compiler/Codegen/HostCodegen.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/Error.h"

namespace llvm::orc {
class LLJIT;
}

namespace gmc {

struct JitOptions {
  HostCodegenOptions codegen{.optLevel = 2};
  bool fuse = true;
  bool sim = false; ///< the GPU's kernels, as the sim target runs them
  int threads = 0; ///< 0: this machine's cores
};

/// A pure function of nn ops, compiled through the same kernels, packing and tables as a trainer, over one arena.
class JitProgram {
public:
  /// Compiles `function`; it is cloned, the module stays as it was.
  static llvm::Expected<std::unique_ptr<JitProgram>> compile(mlir::func::FuncOp function,
                                                             const JitOptions &options = {});
  ~JitProgram();

  size_t numArguments() const;
  size_t numResults() const;
  /// Sizes in bytes; booleans take one byte an element.
  size_t argumentBytes(unsigned i) const;
  size_t resultBytes(unsigned i) const;
  /// Copies `bytes` (exactly argumentBytes(i)) into argument i. Arguments keep their contents over runs.
  void setArgument(unsigned i, const void *data, size_t bytes);
  void run();
  void getResult(unsigned i, void *data) const;
  /// Where result i or argument i lies, valid until destruction (results: until the next run).
  const void *result(unsigned i) const;
  void *argument(unsigned i);
  size_t arenaBytes() const;

private:
  struct Impl;
  explicit JitProgram(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

/// Lets code in `jit` that simulateKernel made find the functions of gmc/Sim.h.
llvm::Error defineSimRuntime(llvm::orc::LLJIT &jit);

} // namespace gmc

#endif
