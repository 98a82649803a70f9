//===- IndexingTopK.cpp - nn.topk -----------------------------------------------------------------------===//

#include "dialects/NN/Indexing.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include <limits>

using namespace mlir;

namespace gmc::nn {

LogicalResult TopKOp::inferReturnTypes(MLIRContext *context, std::optional<Location> loc, Adaptor adaptor,
                                       SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(adaptor.getX());
  int64_t axis = adaptor.getAxis(), k = adaptor.getK();
  if (axis < 0 || axis >= x.getRank())
    return emitOptionalError(loc, "axis ", axis, " is outside rank ", x.getRank());
  if (k < 0 || k > x.getDimSize(axis))
    return emitOptionalError(loc, "k = ", k, " of an axis of size ", x.getDimSize(axis));
  SmallVector<int64_t> shape(x.getShape());
  shape[axis] = k;
  types.push_back(x.clone(shape));
  types.push_back(RankedTensorType::get(shape, IntegerType::get(context, 64)));
  return success();
}

int64_t TopKOp::getFlops() { return tensorType(getX()).getNumElements() * getK() * 3; }

void TopKOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = ScatterElementsOp::create(b, getLoc(), splat(b, getLoc(), tensorType(getX()), 0.0), getIndices(), grads[0],
                                       getAxisAttr(), b.getBoolAttr(true));
}

/// One iteration a line: pass j finds the best element behind the one of pass j - 1 in the order (value, index).
void TopKOp::emitKernel(KernelBuilder &kernel) {
  int64_t axis = getAxis(), size = kernel.operandShape(0)[axis];
  SmallVector<int64_t> lines(kernel.operandShape(0));
  lines.erase(lines.begin() + axis);
  Type element = kernel.operandElementType(0), indexType = kernel.resultElementType(1);
  auto at = [&](ValueRange line, Value i) {
    SmallVector<Value> indices(line);
    indices.insert(indices.begin() + axis, i);
    return indices;
  };
  auto better = [&](OpBuilder &b, Location loc, Value x, Value y) -> Value {
    if (isa<FloatType>(element))
      return arith::CmpFOp::create(b, loc, getLargest() ? arith::CmpFPredicate::OGT : arith::CmpFPredicate::OLT, x, y);
    using P = arith::CmpIPredicate;
    P predicate = element.isUnsignedInteger() ? (getLargest() ? P::ugt : P::ult) : (getLargest() ? P::sgt : P::slt);
    return arith::CmpIOp::create(b, loc, predicate, x, y);
  };
  auto key = [&](OpBuilder &b, Location loc, ValueRange line, Value i) -> Value {
    Value x = kernel.load(b, loc, 0, at(line, i));
    if (!isa<FloatType>(element))
      return x;
    double last = getLargest() ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
    Value nan = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO, x, x);
    return arith::SelectOp::create(b, loc, nan, kb::constant(b, loc, element, last), x);
  };
  kernel.parallel(lines, [&](OpBuilder &b, Location loc, ValueRange line) {
    Value zero = kb::idx(b, loc, 0), one = kb::idx(b, loc, 1), none = kb::idx(b, loc, -1);
    Value any = kb::constant(b, loc, signless(element), 0);
    scf::ForOp::create(
        b, loc, zero, kb::idx(b, loc, getK()), one, ValueRange{any, none},
        [&](OpBuilder &b, Location loc, Value pass, ValueRange previous) {
          Value first = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, pass, zero);
          auto best = scf::ForOp::create(
              b, loc, zero, kb::idx(b, loc, size), one, ValueRange{any, none},
              [&](OpBuilder &b, Location loc, Value i, ValueRange best) {
                Value x = key(b, loc, line, i);
                // Behind the previous one: worse, or equal (neither better nor worse) and later.
                Value worse = better(b, loc, previous[0], x), improves = better(b, loc, x, previous[0]);
                Value later = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sgt, i, previous[1]);
                Value equal = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, worse, improves);
                Value behind = arith::OrIOp::create(b, loc, worse, arith::AndIOp::create(b, loc, equal, later));
                behind = arith::OrIOp::create(b, loc, first, behind);
                Value unset = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, best[1], zero);
                Value wins = arith::OrIOp::create(b, loc, unset, better(b, loc, x, best[0]));
                Value take = arith::AndIOp::create(b, loc, behind, wins);
                scf::YieldOp::create(b, loc,
                                     ValueRange{arith::SelectOp::create(b, loc, take, x, best[0]),
                                                arith::SelectOp::create(b, loc, take, i, best[1])});
              });
          Value index = best.getResult(1);
          kernel.store(b, loc, kernel.load(b, loc, 0, at(line, index)), 0, at(line, pass));
          kernel.store(b, loc, kb::fromIndex(b, loc, index, indexType), 1, at(line, pass));
          scf::YieldOp::create(b, loc, best.getResults());
        });
  });
}

} // namespace gmc::nn
