//===- BuildUpdate.cpp - one optimizer step -------------------------------------------------------------===//

#include "dialects/NN/Elementwise.h"
#include "dialects/NN/Movement.h"
#include "dialects/NN/Optimizer.h"
#include "gmc/Abi.h"
#include "passes/Autodiff/TrainingFunction.h"
#include "passes/Passes.h"

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_BUILDUPDATEPASS
#include "passes/Passes.h.inc"

llvm::Expected<OptimizerKind> parseOptimizer(StringRef name) {
  static const std::pair<const char *, OptimizerKind> kinds[] = {
      {"sgd", OptimizerKind::Sgd},   {"momentum", OptimizerKind::Momentum}, {"nesterov", OptimizerKind::Nesterov},
      {"adam", OptimizerKind::Adam}, {"adamw", OptimizerKind::AdamW},       {"lion", OptimizerKind::Lion}};
  for (auto [known, kind] : kinds)
    if (name == known)
      return kind;
  return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                 "optimizer '%s' is none of adamw, adam, sgd, momentum, nesterov, lion",
                                 name.str().c_str());
}

/// Prefixes of the state tensors that an optimizer keeps for each parameter.
static SmallVector<StringRef> stateNames(const TrainingOptions &options) {
  SmallVector<StringRef> names;
  switch (options.optimizer) {
  case OptimizerKind::Sgd:
    break;
  case OptimizerKind::Momentum:
  case OptimizerKind::Nesterov:
    names = {"momentum.buf"};
    break;
  case OptimizerKind::Adam:
  case OptimizerKind::AdamW:
    names = {"adam.m", "adam.v"};
    break;
  case OptimizerKind::Lion:
    names = {"lion.m"};
    break;
  }
  if (options.ema)
    names.push_back("ema");
  return names;
}

namespace {
struct Parameter {
  StringRef name;
  Value value, gradient;
  SmallVector<Value> states;
};
} // namespace

/// New value of the parameter, then new values of the optimizer's states.
static SmallVector<Value> step(OpBuilder &b, const TrainingOptions &options, const Parameter &p, Value hyper,
                               Value validCount, Value stepCount, Value scale) {
  Location loc = p.value.getLoc();
  Operation *op = nullptr;
  switch (options.optimizer) {
  case OptimizerKind::Sgd:
    op = nn::SgdUpdateOp::create(b, loc, p.value, p.gradient, hyper, validCount, stepCount, scale);
    break;
  case OptimizerKind::Momentum:
  case OptimizerKind::Nesterov:
    op = nn::MomentumUpdateOp::create(b, loc, p.value, p.gradient, p.states[0], hyper, validCount, stepCount, scale,
                                      options.optimizer == OptimizerKind::Nesterov);
    break;
  case OptimizerKind::Adam:
  case OptimizerKind::AdamW:
    op = nn::AdamUpdateOp::create(b, loc, p.value, p.gradient, p.states[0], p.states[1], hyper, validCount, stepCount,
                                  scale, options.optimizer == OptimizerKind::AdamW);
    break;
  case OptimizerKind::Lion:
    op = nn::LionUpdateOp::create(b, loc, p.value, p.gradient, p.states[0], hyper, validCount, stepCount, scale);
    break;
  }
  return SmallVector<Value>(op->getResults());
}

/// decay * average + (1 - decay) * parameter; the first step takes the parameter itself.
static Value movingAverage(OpBuilder &b, Value average, Value parameter, Value hyper, Value stepCount) {
  Location loc = average.getLoc();
  auto at = [&](int64_t i) { return b.getDenseI64ArrayAttr({i}); };
  Value decay = nn::SliceOp::create(b, loc, hyper, at(GMC_HYPER_EMA_DECAY), at(1), at(1));
  Type element = nn::elementTypeOf(parameter);
  return nn::fused(b, loc, {average, parameter, decay, stepCount}, [&](ArrayRef<Scalar> v) {
    Scalar d = convert(v[2], element);
    return select(v[3] == 0.0, v[1], d * v[0] + (1.0 - d) * v[1]);
  });
}

FailureOr<func::FuncOp> buildUpdate(func::FuncOp micro, const TrainingOptions &options) {
  TrainingFunction f(micro, "update");
  OpBuilder &b = f.b;
  SmallVector<Parameter> parameters;
  llvm::StringMap<unsigned> gradients;
  for (unsigned i = 0; i < micro.getNumResults(); ++i)
    if (resultRole(micro, i) == "gradient")
      gradients[resultName(micro, i)] = i;
  for (unsigned i = 0; i < micro.getNumArguments(); ++i)
    if (argRole(micro, i) == "parameter") {
      StringRef name = argName(micro, i);
      if (!gradients.contains(name)) {
        micro.emitError() << "parameter '" << name << "' has no gradient among the results";
        f.abandon();
        return failure();
      }
      parameters.push_back({name, f.addArgument(micro.getArgumentTypes()[i], "parameter", name), Value(), {}});
    }
  for (Parameter &p : parameters)
    p.gradient = f.addArgument(micro.getResultTypes()[gradients[p.name]], "gradient", p.name);
  SmallVector<StringRef> states = stateNames(options);
  for (StringRef state : states)
    for (Parameter &p : parameters)
      p.states.push_back(f.addArgument(p.value.getType(), "state", (state + "/" + p.name).str()));
  Value hyper = f.addArgument(RankedTensorType::get({GMC_HYPER_COUNT}, b.getF32Type()), "hyper", "");
  Value validCount = f.addArgument(RankedTensorType::get({1}, b.getF32Type()), "valid_count", "");
  Value stepCount = f.addArgument(RankedTensorType::get({1}, b.getI64Type()), "step_count", "");

  Value scale;
  if (options.clip && !parameters.empty()) {
    SmallVector<Value> norms;
    for (Parameter &p : parameters)
      norms.push_back(nn::GradNormSqOp::create(b, p.value.getLoc(), p.gradient));
    scale = nn::ClipScaleOp::create(b, f.func.getLoc(), norms, hyper, validCount);
  }
  SmallVector<SmallVector<Value>> newStates;
  for (Parameter &p : parameters) {
    SmallVector<Value> updated = step(b, options, p, hyper, validCount, stepCount, scale);
    f.addResult(updated[0], "parameter", p.name);
    newStates.emplace_back(updated.begin() + 1, updated.end());
    if (options.ema)
      newStates.back().push_back(movingAverage(b, p.states.back(), updated[0], hyper, stepCount));
  }
  for (auto [k, state] : llvm::enumerate(states))
    for (auto [p, values] : llvm::zip(parameters, newStates))
      f.addResult(values[k], "state", (state + "/" + p.name).str());
  Value one = nn::splat(b, f.func.getLoc(), nn::tensorType(stepCount), 1);
  f.addResult(nn::AddOp::create(b, f.func.getLoc(), stepCount, one), "step_count", "");
  return f.finish();
}

namespace {
struct BuildUpdatePass : impl::BuildUpdatePassBase<BuildUpdatePass> {
  using Base::Base;

  void runOnOperation() override {
    auto micro = getOperation().lookupSymbol<func::FuncOp>("micro");
    if (!micro) {
      getOperation().emitError() << "has no function @micro to take gradients from; --build-micro makes it";
      return signalPassFailure();
    }
    auto kind = parseOptimizer(optimizer);
    if (!kind) {
      getOperation().emitError() << llvm::toString(kind.takeError());
      return signalPassFailure();
    }
    TrainingOptions options;
    options.optimizer = *kind;
    options.clip = clip;
    options.ema = ema;
    if (failed(buildUpdate(micro, options)))
      signalPassFailure();
  }
};
} // namespace
} // namespace gmc
