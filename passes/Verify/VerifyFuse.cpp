//===- VerifyFuse.cpp - what the fuse phase promises ----------------------------------------------------===//

#include "passes/Passes.h"
#include "dialects/NN/Tensor.h"
#include "passes/Fusion/FormKernels.h"
#include "passes/Verify/IllegalOps.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_VERIFYFUSEPASS
#include "passes/Passes.h.inc"

namespace {
struct VerifyFusePass : impl::VerifyFusePassBase<VerifyFusePass> {
  using Base::Base;

  void runOnOperation() override {
    IllegalOps illegal("fuse");
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    illegal.requireFunctions(module, "form-kernels");
    llvm::StringSet<> called;
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function->hasAttr(kKernelAttr)) {
        illegal.requireNN(function, "form-kernels");
        continue;
      }
      if (function.isExternal()) {
        illegal.add(function, "every function has a body", "form-kernels");
        continue;
      }
      for (Operation &op : function.getBody().front()) {
        if (auto call = dyn_cast<func::CallOp>(op)) {
          called.insert(call.getCallee());
          requireKernelCall(illegal, call, symbols.lookup<func::FuncOp>(call.getCallee()));
        } else if (auto remat = dyn_cast<RematOpInterface>(op);
                   !(remat && remat.isView()) && !isa<nn::ConstantOp, func::ReturnOp>(op)) {
          illegal.add(&op, "only kernel calls, views and constants are left", "form-kernels");
        }
      }
    }
    for (auto function : module.getOps<func::FuncOp>())
      if (function->hasAttr(kKernelAttr) && !called.contains(function.getName()))
        illegal.add(function, "every kernel is called", "form-kernels");
    if (failed(illegal.result()))
      signalPassFailure();
  }

  static void requireKernelCall(IllegalOps &illegal, func::CallOp call, func::FuncOp kernel) {
    if (!kernel || !kernel->hasAttr(kKernelAttr)) {
      illegal.add(call, "calls are of " + kKernelAttr + " functions", "form-kernels");
      return;
    }
    for (StringRef attribute : {StringRef(kOpAttr), StringRef(kStageAttr), StringRef(kNodesAttr)})
      if (!call->hasAttr(attribute))
        illegal.error(call, "does not say its " + attribute, "form-kernels sets it, the planner reads it");
  }
};
} // namespace

} // namespace gmc
