//===- VerifyImport.cpp - what the import phase promises ------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/Fusion/FormKernels.h"
#include "passes/Verify/IllegalOps.h"

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_VERIFYIMPORTPASS
#include "passes/Passes.h.inc"

namespace {
struct VerifyImportPass : impl::VerifyImportPassBase<VerifyImportPass> {
  using Base::Base;

  void runOnOperation() override {
    IllegalOps illegal("import");
    illegal.requireFunctions(getOperation(), "the importer");
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      illegal.requireNN(function, "the node's import rule");
      if (function.isExternal())
        continue;
      for (Operation &op : function.getBody().front().without_terminator())
        if (nodeNames(op.getLoc()).empty())
          illegal.error(&op, "has no ONNX node as its location",
                        "import rules create ops through ImportNode, which sets it");
    }
    if (failed(illegal.result()))
      signalPassFailure();
  }
};
} // namespace

} // namespace gmc
