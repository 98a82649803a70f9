#include "dialects/NN/Resample.h"
#include "dialects/NN/Fold.h"
#include "dialects/NN/Movement.h"
#include "dialects/NN/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace gmc::nn {

void registerResampleOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Resample.cpp.inc"
      >();
}

LogicalResult ResampleOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor a,
                                           SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(a.getX());
  SmallVector<int64_t> shape(x.getShape());
  size_t count = a.getAxes().size();
  if (a.getPositions().size() != count || a.getWeights().size() != count)
    return emitOptionalError(loc, "needs one table of positions and one of weights for each of ", count, " axes");
  for (auto [axis, positions, weights] : llvm::zip(a.getAxes(), a.getPositions(), a.getWeights())) {
    if (axis < 0 || axis >= x.getRank())
      return emitOptionalError(loc, "axis ", axis, " is outside rank ", x.getRank());
    if (tensorType(positions).getRank() != 2 || shapeOf(positions) != shapeOf(weights) ||
        elementTypeOf(weights) != x.getElementType())
      return emitOptionalError(loc, "tables ", positions.getType(), " and ", weights.getType(),
                               " are not two matrices of one shape, the weights of ", x.getElementType());
    shape[axis] = shapeOf(positions)[0];
  }
  types.push_back(x.clone(shape));
  return success();
}

/// Terms of each result element: the product of the tables' widths.
static int64_t terms(ResampleOp op) {
  int64_t result = 1;
  for (Value table : op.getPositions())
    result *= shapeOf(table)[1];
  return result;
}
int64_t ResampleOp::getFlops() { return 2 * terms(*this) * tensorType(getResult()).getNumElements(); }
int64_t ResampleOp::getMemoryBytes() { return defaultMemoryBytes(*this); }
CostClass ResampleOp::getCostClass() { return CostClass::Gather; }

void ResampleOp::emitKernel(KernelBuilder &kernel) {
  SmallVector<int64_t> axes(getAxes());
  Type type = kernel.resultElementType(0), sumType = computeType(type);
  unsigned firstWeight = 1 + axes.size();
  SmallVector<int64_t> widths;
  for (Value table : getPositions())
    widths.push_back(shapeOf(table)[1]);
  auto term = [&](OpBuilder &b, Location l, ValueRange ivs, ValueRange t) {
    SmallVector<Value> at(ivs);
    Value weight;
    for (auto [i, axis] : llvm::enumerate(axes)) {
      SmallVector<Value> entry{ivs[axis], t[i]};
      at[axis] = kb::toIndex(b, l, kernel.load(b, l, 1 + i, entry));
      Value factor = convertTo(b, l, kernel.load(b, l, firstWeight + i, entry), sumType);
      weight = weight ? kb::mul(b, l, weight, factor) : factor;
    }
    Value x = convertTo(b, l, kernel.load(b, l, 0, at), sumType);
    return weight ? kb::mul(b, l, weight, x) : x;
  };
  // A few terms are written out for a GPU: neighbouring elements of the result become one thread's (WidenGpuNests), each with what it reads.
  constexpr int64_t few = 8;
  bool writtenOut = kernel.target() == KernelTarget::Gpu && numElements(widths) <= few;
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value sum;
    for (int64_t number = 0; writtenOut && number < numElements(widths); ++number) {
      SmallVector<Value> t = llvm::map_to_vector(unflatten(number, widths), [&](int64_t i) { return kb::idx(b, loc, i); });
      Value x = term(b, loc, ivs, t);
      sum = sum ? KernelBuilder::addReassoc(b, loc, sum, x) : x;
    }
    if (!sum)
      sum = sumBox(b, loc, fullBounds(b, loc, widths), {sumType},
                   [&](OpBuilder &b, Location l, ValueRange t) { return SmallVector<Value>{term(b, l, ivs, t)}; })[0];
    kernel.store(b, loc, convertTo(b, loc, sum, type), 0, ivs);
  });
}

/// The tables of the adjoint along an axis of `size` elements: for each of them, the outputs that it is part of.
static std::pair<Value, Value> transposed(OpBuilder &b, Location loc, DenseElementsAttr positions,
                                          DenseElementsAttr weights, int64_t size) {
  int64_t outputs = positions.getType().getDimSize(0), width = positions.getType().getDimSize(1);
  SmallVector<SmallVector<std::pair<int64_t, APFloat>>> uses(size);
  auto position = positions.value_begin<APInt>();
  auto weight = weights.value_begin<APFloat>();
  for (int64_t o = 0; o < outputs; ++o)
    for (int64_t t = 0; t < width; ++t, ++position, ++weight)
      if (!(*weight).isZero())
        uses[(*position).getSExtValue()].emplace_back(o, *weight);
  size_t widest = 1;
  for (auto &list : uses)
    widest = std::max(widest, list.size());
  SmallVector<int32_t> newPositions;
  SmallVector<APFloat> newWeights;
  APFloat zero(cast<FloatType>(weights.getElementType()).getFloatSemantics(), 0);
  for (auto &list : uses)
    for (size_t t = 0; t < widest; ++t) {
      newPositions.push_back(t < list.size() ? list[t].first : 0);
      newWeights.push_back(t < list.size() ? list[t].second : zero);
    }
  auto shape = {size, static_cast<int64_t>(widest)};
  return {ConstantOp::create(
              b, loc,
              DenseElementsAttr::get(RankedTensorType::get(shape, b.getI32Type()), ArrayRef<int32_t>(newPositions))),
          ConstantOp::create(b, loc,
                             DenseElementsAttr::get(RankedTensorType::get(shape, weights.getElementType()),
                                                    ArrayRef<APFloat>(newWeights)))};
}

void ResampleOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (!grads[0] || !needed[0])
    return;
  SmallVector<Value> positions, weights;
  for (auto [axis, p, w] : llvm::zip(getAxes(), getPositions(), getWeights())) {
    DenseElementsAttr pv, wv;
    if (!matchPattern(p, m_Constant(&pv)) || !matchPattern(w, m_Constant(&wv))) {
      emitOpError("has no gradient: its tables are not constants");
      return;
    }
    auto [newPositions, newWeights] = transposed(b, getLoc(), pv, wv, shapeOf(getX())[axis]);
    positions.push_back(newPositions);
    weights.push_back(newWeights);
  }
  out[0] = ResampleOp::create(b, getLoc(), grads[0], positions, weights, getAxes());
}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Resample.cpp.inc"
