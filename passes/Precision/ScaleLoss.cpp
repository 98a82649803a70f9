//===- ScaleLoss.cpp - dynamic loss scaling on the device -----------------------------------------------===//

#include "dialects/NN/Elementwise.h"
#include "dialects/NN/Movement.h"
#include "dialects/NN/Optimizer.h"
#include "dialects/NN/Tensor.h"
#include "gmc/Abi.h"
#include "passes/Autodiff/Autodiff.h"
#include "passes/Autodiff/Training.h"
#include "passes/Fusion/FormKernels.h"
#include "passes/Passes.h"
#include "passes/Precision/Precision.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_SCALELOSSPASS
#include "passes/Passes.h.inc"

static constexpr double kLargestScale = 1 << 24;

/// A scalar state as the last argument of `function`.
static Value addState(func::FuncOp function, StringRef name) {
  Builder b(function.getContext());
  unsigned i = function.getNumArguments();
  auto attrs = b.getDictionaryAttr(
      {b.getNamedAttr("nn.name", b.getStringAttr(name)), b.getNamedAttr("nn.role", b.getStringAttr("state"))});
  (void)function.insertArgument(i, RankedTensorType::get({1}, b.getF32Type()), attrs, function.getLoc());
  return function.getArgument(i);
}

static void addResult(func::FuncOp function, Value value, StringRef name) {
  Builder b(function.getContext());
  unsigned i = function.getNumResults();
  auto attrs = b.getDictionaryAttr(
      {b.getNamedAttr("nn.name", b.getStringAttr(name)), b.getNamedAttr("nn.role", b.getStringAttr("state"))});
  (void)function.insertResult(i, value.getType(), attrs);
  function.getBody().front().getTerminator()->insertOperands(i, value);
}

/// Labels of one micro-batch, whether they count or not: what the loss sum is roughly divided by.
static int64_t nominalLabels(func::FuncOp micro) {
  Operation *end = micro.getBody().front().getTerminator();
  for (unsigned r = 0; r < micro.getNumResults(); ++r)
    if (resultRole(micro, r) == "valid_count" && isa_and_nonnull<nn::ConstantOp>(end->getOperand(r).getDefiningOp()))
      return 1; // a mean that could not be taken apart
  for (unsigned i = 0; i < micro.getNumArguments(); ++i)
    if (argRole(micro, i) == "label")
      return cast<RankedTensorType>(micro.getArgumentTypes()[i]).getNumElements();
  return 1;
}

/// Gradients start from scale / nominal instead of 1.
static LogicalResult scaleSeed(func::FuncOp micro, double nominal) {
  nn::ConstantOp seed;
  for (auto constant : micro.getBody().front().getOps<nn::ConstantOp>())
    if (constant->hasAttr(kSeedAttr))
      seed = constant;
  if (!seed || !nn::elementTypeOf(seed.getResult()).isF32())
    return micro.emitError() << "has no f32 seed of the gradients that a loss scale could multiply";
  Value scale = addState(micro, kLossScale);
  OpBuilder b(seed);
  Value factor = nn::splat(b, seed.getLoc(), nn::tensorType(seed.getResult()), 1 / nominal);
  Value scaled = nn::MulOp::create(b, seed.getLoc(), scale, factor);
  for (Value v : {factor, scaled})
    v.getDefiningOp()->setAttr(kBackwardAttr, b.getUnitAttr());
  seed.getResult().replaceAllUsesWith(scaled);
  seed.erase();
  return success();
}

/// The update divides the scale out again, or leaves everything as it was when a gradient overflowed.
static void scaleUpdate(func::FuncOp update, double nominal) {
  Block &block = update.getBody().front();
  Operation *end = block.getTerminator();
  Location loc = update.getLoc();
  SmallVector<Value> gradients;
  Value validCount, hyper;
  for (BlockArgument argument : block.getArguments()) {
    StringRef role = argRole(update, argument.getArgNumber());
    if (role == "gradient")
      gradients.push_back(argument);
    else if (role == "valid_count")
      validCount = argument;
    else if (role == "hyper")
      hyper = argument;
  }
  Value scale = addState(update, kLossScale), clean = addState(update, kCleanSteps);
  OpBuilder b = OpBuilder::atBlockBegin(&block);
  SmallVector<Value> counts;
  for (Value gradient : gradients)
    counts.push_back(nn::NonFiniteCountOp::create(b, gradient.getLoc(), gradient));
  Value bad = counts.size() == 1 ? counts[0] : nn::fused(b, loc, counts, [](ArrayRef<Scalar> v) {
    Scalar sum = v[0];
    for (Scalar x : v.drop_front())
      sum = sum + x;
    return sum;
  });
  auto at = [&](int64_t i) { return b.getDenseI64ArrayAttr({i}); };
  Value interval = nn::SliceOp::create(b, loc, hyper, at(GMC_HYPER_SCALE_INTERVAL), at(1), at(1));
  Value count = nn::fused(b, loc, {validCount, scale, bad}, [&](ArrayRef<Scalar> v) {
    return select(v[2] > 0.0, v[0].constant(-1), v[0] * (v[1] * (1 / nominal)));
  });
  validCount.replaceAllUsesExcept(count, count.getDefiningOp());
  Value nextScale = nn::fused(b, loc, {scale, clean, bad, interval}, [](ArrayRef<Scalar> v) {
    Scalar grown = select(v[1] + 1.0 >= v[3], minimum(v[0] * 2.0, kLargestScale), v[0]);
    return select(v[2] > 0.0, maximum(v[0] * 0.5, 1.0), grown);
  });
  Value nextClean = nn::fused(b, loc, {clean, bad, interval}, [](ArrayRef<Scalar> v) {
    Scalar next = v[0] + 1.0;
    return select(v[1] > 0.0, 0.0, select(next >= v[2], 0.0, next));
  });

  // Optimizer ops skip by themselves; elementwise results (step count, moving averages) are chosen here.
  b.setInsertionPoint(end);
  for (unsigned r = 0; r < update.getNumResults(); ++r) {
    Value value = end->getOperand(r);
    if (!isa_and_nonnull<ScalarOpInterface>(value.getDefiningOp()))
      continue;
    for (BlockArgument old : block.getArguments())
      if (argRole(update, old.getArgNumber()) == resultRole(update, r) &&
          argName(update, old.getArgNumber()) == resultName(update, r))
        end->setOperand(r, nn::fused(b, value.getLoc(), {old, value, count}, [](ArrayRef<Scalar> v) {
                          return select(v[2] < 0.0, v[0], v[1]);
                        }));
  }
  addResult(update, nextScale, kLossScale);
  addResult(update, nextClean, kCleanSteps);
}

LogicalResult scaleLoss(ModuleOp module, int64_t accumulation) {
  auto micro = module.lookupSymbol<func::FuncOp>("micro"), update = module.lookupSymbol<func::FuncOp>("update");
  if (!micro || !update)
    return module.emitError()
           << "has no @micro and @update to scale the loss of; --build-micro and --build-update make "
              "them";
  auto nominal = static_cast<double>(llvm::PowerOf2Ceil(nominalLabels(micro) * accumulation));
  if (failed(scaleSeed(micro, nominal)))
    return failure();
  scaleUpdate(update, nominal);
  return success();
}

LogicalResult applyPrecision(ModuleOp module, Precision precision, int64_t accumulation) {
  if (precision == Precision::Fp16 && failed(scaleLoss(module, accumulation)))
    return failure();
  for (StringRef name : {"micro", "eval"})
    if (auto function = module.lookupSymbol<func::FuncOp>(name))
      if (failed(applyPrecision(function, precision)))
        return failure();
  return success();
}

namespace {
struct ScaleLossPass : impl::ScaleLossPassBase<ScaleLossPass> {
  using Base::Base;

  void runOnOperation() override {
    if (failed(scaleLoss(getOperation(), accumulation)))
      signalPassFailure();
  }
};
} // namespace
} // namespace gmc
