//===- FunctionRunner.h - a compiled function fed with tensors by role and name ---------------*- C++ -*-===//
#ifndef GMC_COMPILER_PIPELINE_FUNCTIONRUNNER_H
#define GMC_COMPILER_PIPELINE_FUNCTIONRUNNER_H

#include "compiler/Codegen/Jit.h"
#include "compiler/Import/TensorFile.h"
#include "compiler/Import/WeightStore.h"

namespace gmc {

/// An argument or result of a function of nn ops.
struct TensorPort {
  std::string role, name;
  int32_t dataType = 0; ///< GMC_*
  llvm::SmallVector<int64_t> dims;
};

/// Runs one function (@forward, @micro, @update, @eval) in this process on the host target.
class FunctionRunner {
public:
  static llvm::Expected<std::unique_ptr<FunctionRunner>> create(mlir::func::FuncOp function,
                                                                const JitOptions &options = {});

  const std::vector<TensorPort> &arguments() const { return ins; }
  const std::vector<TensorPort> &results() const { return outs; }
  /// Index of the argument or result of that role and name ("" matches every name); nullopt when there is none.
  std::optional<unsigned> findArgument(llvm::StringRef role, llvm::StringRef name = "") const;
  std::optional<unsigned> findResult(llvm::StringRef role, llvm::StringRef name = "") const;

  /// Sets argument i; element types convert among floats and among integers, the shape must have as many elements and,
  /// up to dimensions of 1, agree.
  llvm::Error set(unsigned i, const HostTensor &tensor);
  /// Sets every parameter, constant and state that `weights` knows.
  llvm::Error setWeights(const WeightStore &weights);
  /// Sets argument i to numbers, converted to its type.
  void fill(unsigned i, llvm::ArrayRef<double> values);
  void run() { program->run(); }
  HostTensor result(unsigned i) const;
  HostTensor argument(unsigned i) const;
  /// Element k of argument i, in place; of type float or double.
  double get(unsigned i, int64_t k) const;
  void put(unsigned i, int64_t k, double value);
  JitProgram &jit() { return *program; }

private:
  std::unique_ptr<JitProgram> program;
  std::vector<TensorPort> ins, outs;
};

} // namespace gmc

#endif
