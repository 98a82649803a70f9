//===- Differentiate.cpp - gradients of a function's loss as further results ----------------------------===//

#include "dialects/NN/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/Autodiff/Autodiff.h"
#include "passes/Fusion/FormKernels.h"
#include "passes/Passes.h"

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_DIFFERENTIATEPASS
#include "passes/Passes.h.inc"

LogicalResult differentiate(func::FuncOp func, unsigned lossIndex, ArrayRef<unsigned> arguments) {
  Operation *ret = func.getBody().front().getTerminator();
  if (lossIndex >= ret->getNumOperands())
    return func.emitError() << "has " << ret->getNumOperands() << " results, the loss is to be result " << lossIndex;
  Value loss = ret->getOperand(lossIndex);
  auto lossType = dyn_cast<RankedTensorType>(loss.getType());
  if (!lossType || lossType.getNumElements() != 1 || !isa<FloatType>(lossType.getElementType()))
    return func.emitError() << "the loss must be one floating-point number, result " << lossIndex << " is "
                            << loss.getType();

  OpBuilder b(ret);
  SmallVector<Value> wanted;
  for (unsigned i : arguments)
    wanted.push_back(func.getArgument(i));
  GradientSeed seed{loss, nn::splat(b, loss.getLoc(), lossType, 1.0)};
  seed.cotangent.getDefiningOp()->setAttr(kBackwardAttr, b.getUnitAttr());
  auto gradients = buildGradients(b, seed, wanted);
  if (failed(gradients))
    return failure();
  SmallVector<Value> results(ret->getOperands());
  for (auto [i, argument, gradient] : llvm::zip(arguments, wanted, *gradients)) {
    if (!gradient)
      gradient = nn::splat(b, argument.getLoc(), nn::tensorType(argument), 0.0);
    results.push_back(gradient);
  }
  ret->setOperands(results);
  unsigned first = func.getNumResults();
  func.setFunctionType(b.getFunctionType(func.getArgumentTypes(), ValueRange(results).getTypes()));
  for (auto [k, i] : llvm::enumerate(arguments)) {
    func.setResultAttr(first + k, "nn.role", b.getStringAttr("gradient"));
    if (Attribute name = func.getArgAttr(i, "nn.name"))
      func.setResultAttr(first + k, "nn.name", name);
  }
  eraseDeadOps(func.getBody().front());
  return success();
}

namespace {
struct DifferentiatePass : impl::DifferentiatePassBase<DifferentiatePass> {
  using Base::Base;

  void runOnOperation() override {
    func::FuncOp func = getOperation();
    if (func.isExternal())
      return;
    SmallVector<unsigned> arguments;
    for (unsigned i = 0; i < func.getNumArguments(); ++i) {
      auto role = func.getArgAttrOfType<StringAttr>(i, "nn.role");
      if (role && role.getValue() == "parameter")
        arguments.push_back(i);
    }
    if (failed(differentiate(func, loss, arguments)))
      signalPassFailure();
  }
};
} // namespace
} // namespace gmc
