#include "dialects/NN/Resample.h"
#include "dialects/NN/Fold.h"
#include "dialects/NN/GpuPlanes.h"
#include "dialects/NN/Movement.h"
#include "dialects/NN/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "llvm/Support/MathExtras.h"

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
  if (std::optional<ArrayRef<int64_t>> reach = a.getReach())
    if (reach->size() != 2 * count || llvm::any_of(*reach, [](int64_t rows) { return rows < 0; }))
      return emitOptionalError(loc, "reach has two numbers for each axis, none of them negative");
  types.push_back(x.clone(shape));
  return success();
}

std::pair<int64_t, int64_t> reachOf(DenseElementsAttr positions, int64_t size) {
  int64_t outputs = positions.getType().getShape()[0], width = positions.getType().getShape()[1], below = 0, above = 0;
  for (auto [i, position] : llvm::enumerate(positions.getValues<APInt>())) {
    int64_t distance = position.getSExtValue() - static_cast<int64_t>(i) / width * size / outputs;
    below = std::max(below, -distance);
    above = std::max(above, distance);
  }
  return {below, above};
}

LogicalResult ResampleOp::verify() {
  for (size_t i = 0; getReach() && i < getAxes().size(); ++i) {
    DenseElementsAttr positions;
    if (!matchPattern(getPositions()[i], m_Constant(&positions)))
      continue;
    auto [below, above] = reachOf(positions, shapeOf(getX())[getAxes()[i]]);
    if (below > (*getReach())[2 * i] || above > (*getReach())[2 * i + 1])
      return emitOpError("along axis ") << getAxes()[i] << ", positions are up to " << below << " below and " << above
                                        << " above, which its reach says they are not";
  }
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

/// One term of a result's sum: the product of the weights at `t` of the tables with the element of x at their
/// positions, which `load` reads.
static Value term(ResampleOp op, KernelBuilder &kernel, OpBuilder &b, Location loc, ValueRange at, ValueRange t,
                  function_ref<Value(OpBuilder &, Location, ValueRange)> load) {
  Type sumType = computeType(kernel.resultElementType(0));
  unsigned firstWeight = 1 + op.getAxes().size();
  SmallVector<Value> from(at);
  Value weight;
  for (auto [i, axis] : llvm::enumerate(op.getAxes())) {
    SmallVector<Value> entry{at[axis], t[i]};
    from[axis] = kb::toIndex(b, loc, kernel.load(b, loc, 1 + i, entry));
    Value factor = convertTo(b, loc, kernel.load(b, loc, firstWeight + i, entry), sumType);
    weight = weight ? kb::mul(b, loc, weight, factor) : factor;
  }
  Value x = convertTo(b, loc, load(b, loc, from), sumType);
  return weight ? kb::mul(b, loc, weight, x) : x;
}

static SmallVector<int64_t> tableWidths(ResampleOp op) {
  return llvm::map_to_vector(op.getPositions(), [](Value table) { return shapeOf(table)[1]; });
}

/// For a GPU: the planes behind the first axis, whose rows a block has copied into shared memory. False where the
/// shapes are not for it.
static bool emitGpuResample(ResampleOp op, KernelBuilder &kernel) {
  if (!op.getReach() || op.getAxes().empty() || !numElements(kernel.operandShape(0)) ||
      !numElements(kernel.resultShape(0)))
    return false;
  size_t which = llvm::min_element(op.getAxes()) - op.getAxes().begin();
  int64_t axis = op.getAxes()[which], below = (*op.getReach())[2 * which], above = (*op.getReach())[2 * which + 1];
  PlaneSide in(kernel.operandShape(0).drop_front(axis)), out(kernel.resultShape(0).drop_front(axis));
  int64_t rowsIn = in.shape[0], rowsOut = out.shape[0];
  auto scaled = [&](OpBuilder &b, Location loc, Value row) {
    return kb::div(b, loc, kb::mul(b, loc, row, kb::idx(b, loc, rowsIn)), kb::idx(b, loc, rowsOut));
  };
  auto most = [&](int64_t rows) {
    return static_cast<int64_t>(llvm::divideCeil((rows - 1) * rowsIn, rowsOut)) + below + above + 1;
  };
  auto range = [&](OpBuilder &b, Location loc, Value first, Value end) -> std::pair<Value, Value> {
    Value last = kb::sub(b, loc, end, kb::idx(b, loc, 1));
    return {kb::sub(b, loc, scaled(b, loc, first), kb::idx(b, loc, below)),
            kb::add(b, loc, scaled(b, loc, last), kb::idx(b, loc, above + 1))};
  };
  Type type = kernel.resultElementType(0);
  SmallVector<int64_t> widths = tableWidths(op);
  int64_t halo = llvm::divideCeil((below + above) * rowsOut, rowsIn);
  return emitGpuPlanes(
      kernel, in, out, {most, range, halo}, [&](OpBuilder &b, Location loc, PlaneLoad load, Value, ValueRange at) {
        SmallVector<Value> ivs(axis); // of the plane; the tables do not depend on it
        llvm::append_range(ivs, at);
        auto inPlane = [&](OpBuilder &b, Location l, ValueRange from) { return load(b, l, from.drop_front(axis)); };
        Value sum = sumBox(b, loc, fullBounds(b, loc, widths), {computeType(type)},
                           [&](OpBuilder &b, Location l, ValueRange t) {
                             return SmallVector<Value>{term(op, kernel, b, l, ivs, t, inPlane)};
                           })[0];
        return convertTo(b, loc, sum, type);
      });
}

void ResampleOp::emitKernel(KernelBuilder &kernel) {
  if (emitGpuResample(*this, kernel))
    return;
  Type type = kernel.resultElementType(0);
  SmallVector<int64_t> widths = tableWidths(*this);
  auto load = [&](OpBuilder &b, Location l, ValueRange at) { return kernel.load(b, l, 0, at); };
  // A few terms are written out for a GPU: neighbouring elements of the result become one thread's (WidenGpuNests),
  // each with what it reads.
  constexpr int64_t few = 8;
  bool writtenOut = kernel.target() == KernelTarget::Gpu && numElements(widths) <= few;
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value sum;
    for (int64_t number = 0; writtenOut && number < numElements(widths); ++number) {
      SmallVector<Value> t =
          llvm::map_to_vector(unflatten(number, widths), [&](int64_t i) { return kb::idx(b, loc, i); });
      Value x = term(*this, kernel, b, loc, ivs, t, load);
      sum = sum ? KernelBuilder::addReassoc(b, loc, sum, x) : x;
    }
    if (!sum)
      sum =
          sumBox(b, loc, fullBounds(b, loc, widths), {computeType(type)}, [&](OpBuilder &b, Location l, ValueRange t) {
            return SmallVector<Value>{term(*this, kernel, b, l, ivs, t, load)};
          })[0];
    kernel.store(b, loc, convertTo(b, loc, sum, type), 0, ivs);
  });
}

/// The tables of the adjoint along an axis of `size` elements: for each of them, the outputs that it is part of.
static std::pair<DenseElementsAttr, DenseElementsAttr> transposed(DenseElementsAttr positions,
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
  // What fills a list up to the widest reads an output nearby, as the others of the list do: the last of them, or the
  // one that its element is scaled to.
  SmallVector<int32_t> newPositions;
  SmallVector<APFloat> newWeights;
  APFloat zero(cast<FloatType>(weights.getElementType()).getFloatSemantics(), 0);
  for (auto [i, list] : llvm::enumerate(uses))
    for (size_t t = 0; t < widest; ++t) {
      int64_t nearby = list.empty() ? static_cast<int64_t>(i) * outputs / size : list.back().first;
      newPositions.push_back(t < list.size() ? list[t].first : nearby);
      newWeights.push_back(t < list.size() ? list[t].second : zero);
    }
  auto shape = {size, static_cast<int64_t>(widest)};
  return {
      DenseElementsAttr::get(RankedTensorType::get(shape, IntegerType::get(weights.getContext(), 32)),
                             ArrayRef<int32_t>(newPositions)),
      DenseElementsAttr::get(RankedTensorType::get(shape, weights.getElementType()), ArrayRef<APFloat>(newWeights))};
}

void ResampleOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (!grads[0] || !needed[0])
    return;
  SmallVector<Value> positions, weights;
  SmallVector<int64_t> reach;
  for (auto [axis, p, w] : llvm::zip(getAxes(), getPositions(), getWeights())) {
    DenseElementsAttr pv, wv;
    if (!matchPattern(p, m_Constant(&pv)) || !matchPattern(w, m_Constant(&wv))) {
      emitOpError("has no gradient: its tables are not constants");
      return;
    }
    auto [newPositions, newWeights] = transposed(pv, wv, shapeOf(getX())[axis]);
    auto [below, above] = reachOf(newPositions, shapeOf(grads[0])[axis]);
    positions.push_back(ConstantOp::create(b, getLoc(), newPositions));
    weights.push_back(ConstantOp::create(b, getLoc(), newWeights));
    reach.append({below, above});
  }
  out[0] = ResampleOp::create(b, getLoc(), grads[0], positions, weights, b.getDenseI64ArrayAttr(getAxes()),
                              b.getDenseI64ArrayAttr(reach));
}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Resample.cpp.inc"
