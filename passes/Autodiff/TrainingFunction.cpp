//===- TrainingFunction.cpp - building a function from the body of @forward -----------------------------===//

#include "passes/Autodiff/TrainingFunction.h"
#include "dialects/NN/Norm.h"
#include "dialects/NN/Random.h"
#include "mlir/IR/IRMapping.h"
#include "passes/Autodiff/Autodiff.h"

using namespace mlir;

namespace gmc {

static StringRef text(Attribute attr) {
  auto string = dyn_cast_or_null<StringAttr>(attr);
  return string ? string.getValue() : StringRef();
}
StringRef argRole(func::FuncOp f, unsigned i) { return text(f.getArgAttr(i, "nn.role")); }
StringRef argName(func::FuncOp f, unsigned i) { return text(f.getArgAttr(i, "nn.name")); }
StringRef resultRole(func::FuncOp f, unsigned i) { return text(f.getResultAttr(i, "nn.role")); }
StringRef resultName(func::FuncOp f, unsigned i) { return text(f.getResultAttr(i, "nn.name")); }

static DictionaryAttr roleAndName(Builder &b, StringRef role, StringRef name) {
  SmallVector<NamedAttribute> attrs;
  if (!name.empty())
    attrs.push_back(b.getNamedAttr("nn.name", b.getStringAttr(name)));
  attrs.push_back(b.getNamedAttr("nn.role", b.getStringAttr(role)));
  return b.getDictionaryAttr(attrs);
}

TrainingFunction::TrainingFunction(func::FuncOp forward, StringRef name)
    : b(forward.getContext()), forward(forward) {
  auto module = forward->getParentOfType<ModuleOp>();
  if (auto old = module.lookupSymbol<func::FuncOp>(name))
    old.erase();
  b.setInsertionPointToEnd(module.getBody());
  func = func::FuncOp::create(b, forward.getLoc(), name, b.getFunctionType({}, {}));
  func.setVisibility(SymbolTable::Visibility::Public);
  b.setInsertionPointToStart(func.addEntryBlock());
}

Value TrainingFunction::addArgument(Type type, StringRef role, StringRef name) {
  // The function's type and attributes follow in finish(): a new type for each argument is quadratic in their number.
  Location loc = name.empty() ? forward.getLoc() : Location(NameLoc::get(b.getStringAttr(name)));
  argumentAttrs.push_back(roleAndName(b, role, name));
  return func.getBody().front().addArgument(type, loc);
}

void TrainingFunction::addResult(Value value, StringRef role, StringRef name) {
  results.push_back(value);
  resultAttrs.push_back(roleAndName(b, role, name));
}

void TrainingFunction::setRole(Value argument, StringRef role) {
  DictionaryAttr &attrs = argumentAttrs[cast<BlockArgument>(argument).getArgNumber()];
  attrs = roleAndName(b, role, text(attrs.get("nn.name")));
}

StringRef TrainingFunction::nameOf(Value argument) const {
  return text(argumentAttrs[cast<BlockArgument>(argument).getArgNumber()].get("nn.name"));
}

SmallVector<Value> TrainingFunction::inlineForward(ArrayRef<Value> arguments) {
  IRMapping map;
  Block &body = forward.getBody().front();
  map.map(body.getArguments(), arguments);
  for (Operation &op : body.without_terminator())
    b.clone(op, map);
  return llvm::to_vector(
      llvm::map_range(body.getTerminator()->getOperands(), [&](Value v) { return map.lookupOrDefault(v); }));
}

func::FuncOp TrainingFunction::finish() {
  func::ReturnOp::create(b, forward.getLoc(), results);
  Block &body = func.getBody().front();
  eraseDeadOps(body);
  for (unsigned i = body.getNumArguments(); i-- > 0;) {
    StringRef role = text(argumentAttrs[i].get("nn.role"));
    if ((role == "valid_samples" || role == "rng") && body.getArgument(i).use_empty()) {
      body.eraseArgument(i);
      argumentAttrs.erase(argumentAttrs.begin() + i);
    }
  }
  func.setFunctionType(b.getFunctionType(body.getArgumentTypes(), ValueRange(results).getTypes()));
  func.setAllArgAttrs(argumentAttrs);
  func.setAllResultAttrs(resultAttrs);
  return func;
}

SmallVector<unsigned> runningStatistics(func::FuncOp forward) {
  llvm::SmallSetVector<unsigned, 8> found;
  for (auto norm : forward.getBody().front().getOps<nn::BatchNormOp>())
    for (Value statistic : {norm.getMean(), norm.getVariance()})
      if (auto argument = dyn_cast<BlockArgument>(statistic))
        found.insert(argument.getArgNumber());
  return SmallVector<unsigned>(found.begin(), found.end());
}

void setModes(Block &block, bool bnTrain, bool dropout, Value rng, MutableArrayRef<Value> outputs,
              DenseMap<Value, Value> *newStates) {
  DenseMap<Value, Value> current; // a statistic that two normalizations share moves twice
  for (auto norm : block.getOps<nn::BatchNormOp>()) {
    norm.setTraining(bnTrain);
    if (!bnTrain || !newStates)
      continue;
    auto advance = [&](MutableOperandRange operand, Value after) {
      Value argument = operand[0].get();
      if (Value moved = current.lookup(argument))
        operand.assign(moved);
      if (isa<BlockArgument>(argument))
        current[argument] = after;
    };
    advance(norm.getMeanMutable(), norm.getNewMean());
    advance(norm.getVarianceMutable(), norm.getNewVariance());
  }
  if (newStates)
    *newStates = std::move(current);
  for (Operation &op : llvm::make_early_inc_range(block)) {
    if (auto drop = dyn_cast<nn::DropoutOp>(op)) {
      if (dropout && drop.getRatio().convertToDouble() > 0) {
        drop.setTraining(true);
        drop.getRngMutable().assign(rng);
      } else {
        llvm::replace(outputs, drop.getResult(), drop.getX());
        drop.getResult().replaceAllUsesWith(drop.getX());
        drop.erase();
      }
    } else if (auto mask = dyn_cast<nn::DropoutMaskOp>(op)) {
      mask.setTraining(dropout);
      if (dropout)
        mask.getRngMutable().assign(rng);
    }
  }
}

} // namespace gmc
