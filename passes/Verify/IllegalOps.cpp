//===- IllegalOps.cpp - what the verifiers of the phase boundaries share --------------------------------===//

#include "passes/Verify/IllegalOps.h"
#include "dialects/NN/NN.h"

using namespace mlir;

namespace gmc {

void IllegalOps::add(Operation *op, const Twine &rule, const Twine &culprit) {
  any = true;
  op->emitOpError("is illegal after ") << phase << ": " << rule << "; " << culprit << " should have removed it";
}

InFlightDiagnostic IllegalOps::error(Operation *op, const Twine &what, const Twine &culprit) {
  any = true;
  return op->emitOpError() << what << " after " << phase << ": " << culprit;
}

void IllegalOps::requireNN(func::FuncOp function, const Twine &culprit) {
  if (function.isExternal()) {
    add(function, "every function has a body", culprit);
    return;
  }
  auto isStatic = [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && tensor.hasStaticShape();
  };
  for (BlockArgument argument : function.getArguments())
    if (!isStatic(argument.getType()))
      error(function, "has argument " + Twine(argument.getArgNumber()) + " without a static shape",
            culprit + " should have bound its dimensions");
  for (Operation &op : function.getBody().front())
    if (!isa<nn::NNDialect>(op.getDialect()) && !isa<func::ReturnOp>(op))
      add(&op, "only nn ops on tensors of static shape are left", culprit);
}

void IllegalOps::requireFunctions(ModuleOp module, const Twine &culprit) {
  for (Operation &op : *module.getBody())
    if (!isa<func::FuncOp>(op))
      add(&op, "a module holds functions", culprit);
}

} // namespace gmc
