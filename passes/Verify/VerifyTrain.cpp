//===- VerifyTrain.cpp - what the train phase promises --------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/Autodiff/Training.h"
#include "passes/Verify/IllegalOps.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_VERIFYTRAINPASS
#include "passes/Passes.h.inc"

namespace {

/// Every argument and result has a role: it is what joins the functions of a step.
void requireRoles(IllegalOps &illegal, func::FuncOp function) {
  auto missing = [&](const char *what, unsigned i) {
    illegal.error(function, what + Twine(" ") + Twine(i) + " has no nn.role",
                  "whoever added it should have said what it is");
  };
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (function.getArgAttrOfType<StringAttr>(i, "nn.role") == StringAttr())
      missing("argument", i);
  for (unsigned i = 0; i < function.getNumResults(); ++i)
    if (function.getResultAttrOfType<StringAttr>(i, "nn.role") == StringAttr())
      missing("result", i);
}

struct VerifyTrainPass : impl::VerifyTrainPassBase<VerifyTrainPass> {
  using Base::Base;

  void runOnOperation() override {
    IllegalOps illegal("train");
    ModuleOp module = getOperation();
    illegal.requireFunctions(module, "build-micro, build-update or build-eval");
    for (StringRef name : {"micro", "update", "eval"})
      if (!module.lookupSymbol<func::FuncOp>(name))
        illegal.error(module, "has no @" + name, "build-" + name + " makes it");
    for (auto function : module.getOps<func::FuncOp>()) {
      illegal.requireNN(function, "the gradient or loss that created it");
      requireRoles(illegal, function);
    }
    auto micro = module.lookupSymbol<func::FuncOp>("micro"), update = module.lookupSymbol<func::FuncOp>("update");
    if (micro && update)
      requireGradients(illegal, micro, update);
    if (failed(illegal.result()))
      signalPassFailure();
  }

  /// What @update reads as a gradient, @micro returns.
  static void requireGradients(IllegalOps &illegal, func::FuncOp micro, func::FuncOp update) {
    llvm::StringMap<Type> gradients;
    for (unsigned i = 0; i < micro.getNumResults(); ++i)
      if (auto role = micro.getResultAttrOfType<StringAttr>(i, "nn.role"); role && role.getValue() == "gradient")
        gradients[resultName(micro, i)] = micro.getResultTypes()[i];
    for (unsigned i = 0; i < update.getNumArguments(); ++i) {
      if (argRole(update, i) != "gradient")
        continue;
      auto found = gradients.find(argName(update, i));
      if (found == gradients.end() || found->second != update.getArgument(i).getType()) {
        auto error =
            illegal.error(update, "reads the gradient of '" + argName(update, i) + "', which @micro does not return",
                          "build-update takes the gradients that build-micro made");
        error.attachNote(micro.getLoc()) << "@micro";
      }
    }
  }
};
} // namespace

} // namespace gmc
