//===- BuildEval.cpp - outputs, loss and accuracy for evaluation ----------------------------------------===//

#include "passes/Autodiff/Training.h"
#include "passes/Passes.h"

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_BUILDEVALPASS
#include "passes/Passes.h.inc"

namespace {
struct BuildEvalPass : impl::BuildEvalPassBase<BuildEvalPass> {
  using Base::Base;

  void runOnOperation() override {
    auto forward = getOperation().lookupSymbol<func::FuncOp>("forward");
    if (!forward) {
      getOperation().emitError() << "has no function @forward to evaluate";
      return signalPassFailure();
    }
    TrainingOptions options;
    options.loss = loss;
    options.bnTrain = bnTrain;
    if (failed(buildEval(forward, options)))
      signalPassFailure();
  }
};
} // namespace
} // namespace gmc
