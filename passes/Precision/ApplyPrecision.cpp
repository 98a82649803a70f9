//===- ApplyPrecision.cpp - casts by the ops' policies --------------------------------------------------===//

#include "dialects/NN/Elementwise.h"
#include "dialects/NN/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "passes/Autodiff/Autodiff.h"
#include "passes/Autodiff/Training.h"
#include "passes/Fusion/FormKernels.h"
#include "passes/Passes.h"
#include "passes/Precision/Precision.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_APPLYPRECISIONPASS
#include "passes/Passes.h.inc"

std::optional<Precision> parsePrecision(StringRef word) {
  return llvm::StringSwitch<std::optional<Precision>>(word)
      .Case("fp32", Precision::Fp32)
      .Case("bf16", Precision::Bf16)
      .Case("fp16", Precision::Fp16)
      .Default(std::nullopt);
}

StringRef toString(Precision precision) {
  return precision == Precision::Bf16 ? "bf16" : precision == Precision::Fp16 ? "fp16" : "fp32";
}

namespace {

class PrecisionApplier {
public:
  PrecisionApplier(func::FuncOp function, Type low)
      : function(function), b(function.getContext()), low(low), wide(b.getF32Type()) {
    for (BlockArgument argument : function.getArguments()) {
      StringRef role = argRole(function, argument.getArgNumber());
      if (role == "parameter" || role == "constant")
        fixed.insert(argument);
    }
  }

  void run() {
    Block &block = function.getBody().front();
    SmallVector<Operation *> ops;
    for (Operation &op : block.without_terminator())
      ops.push_back(&op);
    for (Operation *op : ops)
      visit(op);
    Operation *terminator = block.getTerminator();
    for (auto [operand, type] : llvm::zip(terminator->getOpOperands(), function.getResultTypes()))
      if (isLow(operand.get()) && cast<ShapedType>(type).getElementType() == wide)
        operand.set(as(operand.get(), wide, terminator));
    eraseDeadOps(block);
  }

private:
  static Type elementOf(Value v) { return cast<ShapedType>(v.getType()).getElementType(); }
  /// Values that the pass has put into low precision; those that the model has there already are not its business.
  bool isLow(Value v) const { return lowered.contains(v); }
  bool isWide(Value v) const { return elementOf(v) == wide; }

  void visit(Operation *op) {
    if (isa<nn::ConstantOp>(op)) {
      fixed.insert(op->getResult(0));
      return;
    }
    // What is computed from parameters and constants alone is a parameter under another shape: the rounding comes last.
    if (op->getNumOperands() > 0 && llvm::all_of(op->getOperands(), [&](Value v) { return fixed.contains(v); }) &&
        llvm::none_of(op->getOperands(), [&](Value v) { return isLow(v); })) {
      auto precision = dyn_cast<PrecisionOpInterface>(op);
      if (!precision || precision.getPrecisionPolicy() != PrecisionPolicy::Low) {
        fixed.insert(op->result_begin(), op->result_end());
        return;
      }
    }
    auto precision = dyn_cast<PrecisionOpInterface>(op);
    PrecisionPolicy policy = precision ? precision.getPrecisionPolicy() : PrecisionPolicy::Fp32;
    if (policy == PrecisionPolicy::Low) {
      if (llvm::any_of(op->getOperands(), [&](Value v) { return isWide(v) || isLow(v); }))
        retype(op, low, {});
      return;
    }
    bool anyLow = false, anyWide = false;
    SmallVector<unsigned> stays;
    if (precision)
      stays = precision.getWideOperands();
    for (auto [i, v] : llvm::enumerate(op->getOperands())) {
      if (llvm::is_contained(stays, i))
        continue;
      anyLow |= isLow(v);
      anyWide |= isWide(v) && !fixed.contains(v);
    }
    if (!anyLow)
      return retype(op, wide, {}); // of a low operand that stays wide, at most
    bool toWide = policy == PrecisionPolicy::Fp32 || anyWide;
    if (auto scalar = dyn_cast<ScalarOpInterface>(op))
      return fuse(scalar, toWide ? wide : low);
    retype(op, toWide ? wide : low, toWide ? SmallVector<unsigned>{} : stays);
  }

  /// Casts the floats among the operands to `type` (those of `stays` to f32) and infers the results again.
  void retype(Operation *op, Type type, ArrayRef<unsigned> stays) {
    SmallVector<Value> before(op->getOperands());
    bool changed = false;
    for (auto [i, operand] : llvm::enumerate(op->getOpOperands())) {
      Value v = operand.get();
      if (!isWide(v) && !isLow(v))
        continue;
      Type want = llvm::is_contained(stays, i) ? wide : type;
      if (elementOf(v) == want)
        continue;
      operand.set(as(v, want, op));
      changed = true;
    }
    if (!changed && type == wide)
      return;
    auto infer = dyn_cast<InferTypeOpInterface>(op);
    SmallVector<Type> types;
    if (!infer || failed(infer.inferReturnTypes(op->getContext(), std::nullopt, op->getOperands(),
                                                op->getAttrDictionary(), op->getPropertiesStorage(), op->getRegions(),
                                                types))) {
      if (type == wide)
        return;
      op->setOperands(before);
      return retype(op, wide, {}); // an op that only exists in f32
    }
    for (auto [result, inferred] : llvm::zip(op->getResults(), types)) {
      result.setType(inferred);
      if (elementOf(result) == low && type == low)
        lowered.insert(result);
    }
  }

  /// An elementwise op as a region that reads its operands as they are stored, computes in f32 and rounds once to
  /// `element`. An operand that only this op reads is computed in the same region, without a rounding in between.
  void fuse(ScalarOpInterface scalar, Type element) {
    Operation *op = scalar;
    Value result = op->getResult(0);
    bool floats = elementOf(result) == wide;
    SmallVector<Value> inputs;
    SmallVector<nn::FusedOp> absorbed(op->getNumOperands());
    for (auto [i, v] : llvm::enumerate(op->getOperands())) {
      auto producer = v.getDefiningOp<nn::FusedOp>();
      if (producer && regions.contains(producer) && v.hasOneUse() && nn::shapeOf(v) == nn::shapeOf(result) &&
          producer->hasAttr(kBackwardAttr) == op->hasAttr(kBackwardAttr)) {
        absorbed[i] = producer;
        llvm::append_range(inputs, producer.getInputs());
      } else {
        inputs.push_back(v);
      }
    }
    SmallVector<Location> locs;
    for (nn::FusedOp producer : absorbed)
      if (producer)
        locs.push_back(producer.getLoc());
    locs.push_back(op->getLoc());
    b.setInsertionPoint(op);
    auto fused = nn::FusedOp::create(b, FusedLoc::get(b.getContext(), locs),
                                     nn::tensorType(result).clone(floats ? element : elementOf(result)), inputs);
    if (op->hasAttr(kBackwardAttr))
      fused->setAttr(kBackwardAttr, b.getUnitAttr());
    Location loc = op->getLoc();
    Block *block = b.createBlock(&fused.getBody());
    for (Value input : inputs)
      block->addArgument(nn::signless(elementOf(input)), loc);
    auto computed = [&](Value argument, Value input) {
      return isLow(input) ? convert(Scalar(b, loc, argument), wide).value() : argument;
    };
    SmallVector<Value> scalars;
    unsigned next = 0;
    for (auto [i, v] : llvm::enumerate(op->getOperands())) {
      if (!absorbed[i]) {
        scalars.push_back(computed(block->getArgument(next++), v));
        continue;
      }
      IRMapping map;
      Block &body = absorbed[i].getBody().front();
      for (BlockArgument argument : body.getArguments())
        map.map(argument, block->getArgument(next++));
      for (Operation &inner : body.without_terminator())
        b.clone(inner, map);
      Value unrounded = regions.lookup(absorbed[i]);
      scalars.push_back(map.lookupOrDefault(unrounded));
    }
    Value value = scalar.emitScalar(b, loc, scalars);
    Value stored = floats ? convert(Scalar(b, loc, value), element).value() : value;
    nn::YieldOp::create(b, loc, stored);
    eraseDeadOps(*block); // roundings of what was computed in regions of its own
    if (floats)
      regions[fused] = value;
    if (floats && element == low)
      lowered.insert(fused.getResult());
    result.replaceAllUsesWith(fused.getResult());
    op->erase();
    for (nn::FusedOp producer : absorbed)
      if (producer && producer->use_empty()) {
        regions.erase(producer);
        lowered.erase(producer.getResult());
        producer.erase();
      }
  }

  /// `v` as `type`, for `user`: by a cast that all later readers share.
  Value as(Value v, Type type, Operation *user) {
    if (elementOf(v) == type)
      return v;
    if (auto cast = v.getDefiningOp<nn::CastOp>(); cast && type == low && elementOf(cast.getX()) == low)
      return cast.getX(); // rounding what was widened gives it back
    if (Value known = casts.lookup({v, type}))
      return known;
    Value known;
    if (user->hasTrait<OpTrait::IsTerminator>() && v.getDefiningOp())
      b.setInsertionPointAfter(v.getDefiningOp()); // a gradient leaves where it is ready
    else
      b.setInsertionPoint(user);
    if (auto constant = v.getDefiningOp<nn::ConstantOp>())
      if (auto value = dyn_cast<DenseFPElementsAttr>(constant.getValue())) {
        auto rounded = value.mapValues(type, [&](const APFloat &x) {
          APFloat y = x;
          bool exact;
          y.convert(cast<FloatType>(type).getFloatSemantics(), APFloat::rmNearestTiesToEven, &exact);
          return y.bitcastToAPInt();
        });
        known = nn::ConstantOp::create(b, constant.getLoc(), rounded);
      }
    if (!known && type == low)
      known = moved(v, user);
    if (!known) {
      // A parameter's cast belongs to the node that reads it, an activation's to the one that computes it.
      Location loc = v.getDefiningOp() ? v.getLoc() : user->getLoc();
      auto cast = nn::CastOp::create(b, loc, v, TypeAttr::get(type));
      Operation *producer = v.getDefiningOp();
      if (user->hasAttr(kBackwardAttr) || (producer && producer->hasAttr(kBackwardAttr)))
        cast->setAttr(kBackwardAttr, b.getUnitAttr());
      known = cast;
    }
    casts[{v, type}] = known;
    if (fixed.contains(v))
      fixed.insert(known);
    if (type == low)
      lowered.insert(known);
    return known;
  }

  /// `v` in low precision, for a view, or a value that an op without arithmetic makes of parameters: the op again, on
  /// what it moves rounded, whose cast other readers have as well. Null for any other value.
  Value moved(Value v, Operation *user) {
    Operation *op = v.getDefiningOp();
    auto precision = dyn_cast_or_null<PrecisionOpInterface>(op);
    auto cost = dyn_cast_or_null<CostOpInterface>(op);
    auto remat = dyn_cast_or_null<RematOpInterface>(op);
    bool moves = (remat && remat.isView()) || (fixed.contains(v) && cost && cost.getFlops() == 0);
    if (!moves || !precision || precision.getPrecisionPolicy() != PrecisionPolicy::Follow || op->getNumResults() != 1)
      return {};
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(isWide(operand) ? as(operand, low, user) : operand);
    b.setInsertionPoint(user);
    Operation *copy = b.clone(*op);
    copy->setOperands(operands);
    copy->getResult(0).setType(nn::tensorType(v).clone(low));
    if (user->hasAttr(kBackwardAttr))
      copy->setAttr(kBackwardAttr, b.getUnitAttr());
    return copy->getResult(0);
  }

  func::FuncOp function;
  OpBuilder b;
  Type low, wide;
  DenseSet<Value> fixed;   ///< parameters, constants, and what is computed from them alone
  DenseSet<Value> lowered; ///< in low precision because of this pass
  DenseMap<std::pair<Value, Type>, Value> casts;
  DenseMap<Operation *, Value> regions; ///< regions made here, with what they yield before it is rounded
};

} // namespace

LogicalResult applyPrecision(func::FuncOp function, Precision precision) {
  if (precision == Precision::Fp32 || function.isExternal())
    return success();
  if (!llvm::hasSingleElement(function.getBody()))
    return function.emitError() << "has no body of straight-line nn ops to choose precisions for";
  Builder b(function.getContext());
  PrecisionApplier(function, precision == Precision::Bf16 ? Type(b.getBF16Type()) : Type(b.getF16Type())).run();
  return success();
}

namespace {
struct ApplyPrecisionPass : impl::ApplyPrecisionPassBase<ApplyPrecisionPass> {
  using Base::Base;

  void runOnOperation() override {
    auto chosen = parsePrecision(precision);
    if (!chosen) {
      getOperation().emitError() << "precision '" << precision << "' is none of fp32, bf16, fp16";
      return signalPassFailure();
    }
    if (failed(applyPrecision(getOperation(), *chosen)))
      signalPassFailure();
  }
};
} // namespace
} // namespace gmc
