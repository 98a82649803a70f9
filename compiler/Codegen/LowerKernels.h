//===- LowerKernels.h - kernels to LLVM IR, the part all targets share ------------------------*- C++ -*-===//
#ifndef GMC_COMPILER_CODEGEN_LOWERKERNELS_H
#define GMC_COMPILER_CODEGEN_LOWERKERNELS_H

#include "compiler/Codegen/LoweredHook.h"
#include "compiler/Codegen/ModelImage.h"
#include "dialects/Interfaces/OpInterfaces.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/CodeGen.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBuffer.h"

namespace llvm {
class TargetMachine;
}

namespace gmc {

/// A kernel and what it overwrites: two uses with the same key are one piece of code.
using KernelKey = std::pair<std::string, std::vector<int>>;

/// Emits every distinct kernel use of `image` for `target` into a module of its own, hands each to `divide` (which
/// splits it at its nests and erases it), and translates the result to LLVM IR. `module` is left as it was. `onLowered`
/// (optional) sees the kernels in the llvm dialect and may refuse them.
llvm::Expected<std::unique_ptr<llvm::Module>>
lowerKernels(mlir::ModuleOp module, const ModelImage &image, KernelTarget target, llvm::LLVMContext &context,
             llvm::function_ref<llvm::LogicalResult(mlir::func::FuncOp, const KernelKey &)> divide,
             const LoweredHook &onLowered = {});

/// LLVM IR of `module`, which holds kernels as lowerKernels' `divide` leaves them; it is lowered in place.
llvm::Expected<std::unique_ptr<llvm::Module>> translateKernels(mlir::ModuleOp module, llvm::LLVMContext &context,
                                                               const LoweredHook &onLowered = {});

/// The machine code is for: this process's kind of CPU with the features of `arch`.
llvm::Expected<std::unique_ptr<llvm::TargetMachine>> createHostMachine(llvm::StringRef arch, int optLevel);

/// LLVM's default pipeline for `machine` at level 1..3.
void optimizeModule(llvm::Module &module, llvm::TargetMachine &machine, int level);

/// Assembly or object of `module`, which is consumed by it.
llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> emitMachineCode(llvm::Module &module, llvm::TargetMachine &machine,
                                                                    llvm::CodeGenFileType type);

/// `module` as text.
std::unique_ptr<llvm::MemoryBuffer> printLlvm(const llvm::Module &module);

/// NAME_entry(char *const *operands, i64 begin, i64 end): the ABI's signature around `part`(pointers..., i64, i64),
/// which becomes internal and is never inlined, so that its arguments stay noalias.
llvm::Function *emitEntry(llvm::Function *part);

} // namespace gmc

#endif
