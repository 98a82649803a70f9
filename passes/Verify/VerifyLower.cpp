//===- VerifyLower.cpp - what the lower phase promises --------------------------------------------------===//

#include "passes/Passes.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "passes/Verify/IllegalOps.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_VERIFYLOWERPASS
#include "passes/Passes.h.inc"

namespace {

/// Functions that MLIR's lowerings of memref.alloc, memref.dealloc and memref.copy call.
bool allocatesOrCopies(StringRef name) {
  return llvm::StringSwitch<bool>(name)
      .Cases({"malloc", "calloc", "realloc", "aligned_alloc", "free", "memrefCopy"}, true)
      .Default(false);
}

struct VerifyLowerPass : impl::VerifyLowerPassBase<VerifyLowerPass> {
  using Base::Base;

  void runOnOperation() override {
    IllegalOps illegal("lower");
    getOperation().walk([&](Operation *op) {
      if (op == getOperation().getOperation())
        return;
      if (auto call = dyn_cast<LLVM::CallOp>(op); call && call.getCallee() && allocatesOrCopies(*call.getCallee()))
        illegal.error(call, "calls " + *call.getCallee() + ", which is not in the plan",
                      "kernels work on views of the arena; their scratch is a workspace");
      else if (auto memory = dyn_cast<LLVM::AllocaOp>(op); memory && !isSmall(memory))
        illegal.error(memory, "takes stack of no fixed small size", "scratch of a kernel is a workspace of its launch");
      else if (!isa<LLVM::LLVMDialect, NVVM::NVVMDialect>(op->getDialect())) // nvvm: what LLVM has intrinsics for
        illegal.add(op, "only the llvm dialect is left", "lowering to it");
    });
    if (failed(illegal.result()))
      signalPassFailure();
  }

  /// Local arrays of a kernel: a constant number of bytes that any thread's stack has.
  static bool isSmall(LLVM::AllocaOp memory) {
    APInt count;
    if (!matchPattern(memory.getArraySize(), m_ConstantInt(&count)))
      return false;
    auto width = [](Type type) {
      int64_t elements = 1;
      while (auto array = dyn_cast<LLVM::LLVMArrayType>(type)) {
        elements *= array.getNumElements();
        type = array.getElementType();
      }
      if (auto vector = dyn_cast<VectorType>(type)) {
        elements *= vector.getNumElements();
        type = vector.getElementType();
      }
      return elements * (type.isIntOrFloat() ? (type.getIntOrFloatBitWidth() + 7) / 8 : 64);
    };
    return count.getSExtValue() * width(memory.getElemType()) <= (64 << 10);
  }
};
} // namespace

} // namespace gmc
