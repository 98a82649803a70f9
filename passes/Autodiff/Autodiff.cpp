//===- Autodiff.cpp - reverse-mode gradients of a block of ops ------------------------------------------===//

#include "passes/Autodiff/Autodiff.h"
#include "dialects/Interfaces/OpInterfaces.h"
#include "dialects/NN/Elementwise.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/Fusion/FormKernels.h"

using namespace mlir;

namespace gmc {

static bool isFloatTensor(Value v) {
  auto type = dyn_cast<RankedTensorType>(v.getType());
  return type && isa<FloatType>(type.getElementType());
}

/// Float values that depend on one of `roots` through float values, the roots included.
static DenseSet<Value> dependents(Block &block, ArrayRef<Value> roots) {
  DenseSet<Value> active(roots.begin(), roots.end());
  for (Operation &op : block)
    if (llvm::any_of(op.getOperands(), [&](Value v) { return active.contains(v); }))
      for (Value result : op.getResults())
        if (isFloatTensor(result))
          active.insert(result);
  return active;
}

/// Ops of `block` that a seed depends on.
static DenseSet<Operation *> influences(Block &block, ArrayRef<GradientSeed> seeds) {
  DenseSet<Operation *> reached;
  SmallVector<Operation *> work;
  auto visit = [&](Value v) {
    Operation *op = v.getDefiningOp();
    if (op && op->getBlock() == &block && reached.insert(op).second)
      work.push_back(op);
  };
  for (const GradientSeed &seed : seeds)
    visit(seed.of);
  while (!work.empty())
    for (Value operand : work.pop_back_val()->getOperands())
      visit(operand);
  return reached;
}

FailureOr<SmallVector<Value>> buildGradients(OpBuilder &b, ArrayRef<GradientSeed> seeds, ArrayRef<Value> wanted) {
  Block &block = *b.getInsertionBlock();
  DenseSet<Value> active = dependents(block, wanted);
  DenseSet<Operation *> below = influences(block, seeds);
  auto isActive = [&](Value v) { return active.contains(v); };

  SmallVector<Operation *> path;
  for (Operation &op : block)
    if (below.contains(&op) && llvm::any_of(op.getResults(), isActive))
      path.push_back(&op);
  bool complete = true;
  for (Operation *op : path)
    if (!isa<GradientOpInterface>(op)) {
      op->emitError() << "'" << op->getName() << "' has no gradient and lies between a trained value and the loss; "
                      << "freeze what it depends on, or take the loss of another output";
      complete = false;
    }
  if (!complete)
    return failure();

  DenseMap<Value, Value> gradients;
  auto contribute = [&](Value to, Value contribution, Location loc) {
    Value &gradient = gradients[to];
    gradient = gradient ? Value(nn::AddOp::create(b, loc, gradient, contribution)) : contribution;
  };
  Operation *before = b.getInsertionPoint() == block.begin() ? nullptr : &*std::prev(b.getInsertionPoint());
  for (const GradientSeed &seed : seeds)
    contribute(seed.of, seed.cotangent, seed.of.getLoc());
  for (Operation *op : llvm::reverse(path)) {
    SmallVector<Value> resultGrads;
    for (Value result : op->getResults())
      resultGrads.push_back(isActive(result) ? gradients.lookup(result) : Value());
    if (llvm::none_of(resultGrads, [](Value v) { return bool(v); }))
      continue;
    SmallVector<bool> needed(llvm::map_range(op->getOperands(), isActive));
    SmallVector<Value> operandGrads(op->getNumOperands());
    cast<GradientOpInterface>(op).buildGradient(b, resultGrads, needed, operandGrads);
    for (auto [operand, gradient, wants] : llvm::zip(op->getOperands(), operandGrads, needed))
      if (gradient && wants) {
        Operation *producer = operand.getDefiningOp();
        contribute(operand, gradient, producer ? producer->getLoc() : op->getLoc());
      }
  }
  for (Operation *op = before ? before->getNextNode() : &block.front(); op && op != &*b.getInsertionPoint();
       op = op->getNextNode())
    op->setAttr(kBackwardAttr, b.getUnitAttr());

  SmallVector<Value> results;
  for (Value v : wanted)
    results.push_back(gradients.lookup(v));
  return results;
}

void eraseDeadOps(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (isOpTriviallyDead(&op))
      op.erase();
}

} // namespace gmc
