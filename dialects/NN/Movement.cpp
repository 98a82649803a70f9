//===- Movement.cpp - inference, folding, gradient and kernel of the ops that move elements -------------===//

#include "dialects/NN/Movement.h"
#include "dialects/NN/ElementwiseSupport.h"
#include "dialects/NN/Tensor.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;

namespace gmc::nn {

void registerMovementOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Movement.cpp.inc"
      >();
}

/// A moved element is read once and written once; what a slice leaves out is not read, a broadcast reads less.
static int64_t movedBytes(Operation *op) {
  int64_t written = byteSize(op->getResult(0).getType()), read = 0;
  for (Type type : op->getOperandTypes())
    read += byteSize(type);
  return std::min(read, written) + written;
}

int64_t flatten(ArrayRef<int64_t> indices, ArrayRef<int64_t> shape) {
  int64_t linear = 0;
  for (auto [i, dim] : llvm::zip_equal(indices, shape))
    linear = linear * dim + i;
  return linear;
}

SmallVector<int64_t> unflatten(int64_t linear, ArrayRef<int64_t> shape) {
  SmallVector<int64_t> indices(shape.size());
  for (size_t d = shape.size(); d-- > 0; linear /= shape[d])
    indices[d] = linear % shape[d];
  return indices;
}

DenseElementsAttr gatherConstant(DenseElementsAttr from, ShapedType type, function_ref<int64_t(int64_t)> source) {
  if (from.isSplat())
    return from.resizeSplat(type);
  int64_t count = type.getNumElements();
  if (count > maxFoldedElements)
    return {};
  if (isa<FloatType>(type.getElementType())) {
    auto values = from.getValues<APFloat>();
    SmallVector<APFloat> out;
    for (int64_t i = 0; i < count; ++i)
      out.push_back(values[source(i)]);
    return DenseElementsAttr::get(type, out);
  }
  auto values = from.getValues<APInt>();
  SmallVector<APInt> out;
  for (int64_t i = 0; i < count; ++i)
    out.push_back(values[source(i)]);
  return DenseElementsAttr::get(type, out);
}

static DenseElementsAttr foldMoved(Attribute x, Type result, function_ref<int64_t(int64_t)> source) {
  auto from = dyn_cast_or_null<DenseElementsAttr>(x);
  auto type = cast<ShapedType>(result);
  return from && type.getNumElements() > 0 ? gatherConstant(from, type, source) : DenseElementsAttr();
}

//===- Builders -----------------------------------------------------------------------------------------===//

/// Whether the dimensions of a size other than 1 stay in order.
static bool movesOnlyUnits(ArrayRef<int64_t> shape, ArrayRef<int64_t> perm) {
  int64_t last = -1;
  for (int64_t d : perm)
    if (shape[d] != 1) {
      if (d < last)
        return false;
      last = d;
    }
  return true;
}

static SmallVector<int64_t> permuted(ArrayRef<int64_t> shape, ArrayRef<int64_t> perm) {
  return llvm::map_to_vector(perm, [&](int64_t d) { return shape[d]; });
}

Value transpose(OpBuilder &b, Location loc, Value x, ArrayRef<int64_t> perm) {
  if (llvm::equal(perm, llvm::seq<int64_t>(0, perm.size())))
    return x;
  if (movesOnlyUnits(shapeOf(x), perm))
    return ReshapeOp::create(b, loc, x, b.getDenseI64ArrayAttr(permuted(shapeOf(x), perm)));
  return TransposeOp::create(b, loc, x, b.getDenseI64ArrayAttr(perm));
}

Value sliceAxis(OpBuilder &b, Location loc, Value x, int64_t axis, int64_t start, int64_t size, int64_t step) {
  SmallVector<int64_t> sizes(shapeOf(x)), starts(sizes.size(), 0), steps(sizes.size(), 1);
  if (start == 0 && size == sizes[axis] && step == 1)
    return x;
  starts[axis] = start, sizes[axis] = size, steps[axis] = step;
  return SliceOp::create(b, loc, x, b.getDenseI64ArrayAttr(starts), b.getDenseI64ArrayAttr(sizes),
                         b.getDenseI64ArrayAttr(steps));
}

Value concat(OpBuilder &b, Location loc, ValueRange inputs, int64_t axis) {
  return inputs.size() == 1 ? inputs[0] : Value(ConcatOp::create(b, loc, inputs, b.getI64IntegerAttr(axis)));
}

Value broadcastTo(OpBuilder &b, Location loc, Value x, ArrayRef<int64_t> shape) {
  return shapeOf(x) == shape ? x : Value(BroadcastToOp::create(b, loc, x, b.getDenseI64ArrayAttr(shape)));
}

//===- nn.transpose -------------------------------------------------------------------------------------===//

LogicalResult TransposeOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(adaptor.getX());
  ArrayRef<int64_t> perm = adaptor.getPerm();
  SmallVector<int64_t> sorted(perm);
  llvm::sort(sorted);
  if (!llvm::equal(sorted, llvm::seq<int64_t>(0, x.getRank())))
    return emitOptionalError(loc, "perm [", perm, "] is not a permutation of the ", x.getRank(), " dimensions");
  types.push_back(x.clone(permuted(x.getShape(), perm)));
  return success();
}

OpFoldResult TransposeOp::fold(FoldAdaptor adaptor) {
  ArrayRef<int64_t> perm = getPerm();
  if (llvm::equal(perm, llvm::seq<int64_t>(0, perm.size())))
    return getX();
  if (auto inner = getX().getDefiningOp<TransposeOp>()) {
    SmallVector<int64_t> both = permuted(inner.getPerm(), perm);
    setPerm(both);
    getXMutable().assign(inner.getX());
    return getResult();
  }
  ArrayRef<int64_t> from = shapeOf(getX()), to = shapeOf(getResult());
  return foldMoved(adaptor.getX(), getType(), [&](int64_t i) {
    SmallVector<int64_t> target = unflatten(i, to), source(perm.size());
    for (size_t d = 0; d < perm.size(); ++d)
      source[perm[d]] = target[d];
    return flatten(source, from);
  });
}

LogicalResult TransposeOp::canonicalize(TransposeOp op, PatternRewriter &rewriter) {
  if (!movesOnlyUnits(shapeOf(op.getX()), op.getPerm()))
    return failure();
  rewriter.replaceOpWithNewOp<ReshapeOp>(op, op.getX(), rewriter.getDenseI64ArrayAttr(shapeOf(op.getResult())));
  return success();
}

void TransposeOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                MutableArrayRef<Value> out) {
  if (!grads[0] || !needed[0])
    return;
  SmallVector<int64_t> inverse(getPerm().size());
  for (auto [d, from] : llvm::enumerate(getPerm()))
    inverse[from] = d;
  out[0] = transpose(b, getLoc(), grads[0], inverse);
}

//===- nn.concat ----------------------------------------------------------------------------------------===//

LogicalResult ConcatOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  if (adaptor.getInputs().empty())
    return emitOptionalError(loc, "concat of nothing");
  RankedTensorType first = tensorType(adaptor.getInputs()[0]);
  int64_t axis = adaptor.getAxis();
  if (axis < 0 || axis >= first.getRank())
    return emitOptionalError(loc, "axis ", axis, " is outside rank ", first.getRank());
  SmallVector<int64_t> shape(first.getShape());
  for (Value input : adaptor.getInputs().drop_front()) {
    RankedTensorType type = tensorType(input);
    bool fits = type.getRank() == first.getRank() && type.getElementType() == first.getElementType();
    for (int64_t d = 0; fits && d < first.getRank(); ++d)
      fits = d == axis || type.getDimSize(d) == first.getDimSize(d);
    if (!fits)
      return emitOptionalError(loc, "cannot concatenate ", first, " and ", type, " along axis ", axis);
    shape[axis] += type.getDimSize(axis);
  }
  types.push_back(first.clone(shape));
  return success();
}

OpFoldResult ConcatOp::fold(FoldAdaptor adaptor) {
  SmallVector<Value> parts = llvm::filter_to_vector(
      getInputs(), [](Value input) { return cast<ShapedType>(input.getType()).getNumElements() != 0; });
  if (parts.size() == 1)
    return parts[0];
  if (getInputs().size() == 1)
    return getInputs()[0];
  if (!parts.empty() && parts.size() < getInputs().size()) {
    getInputsMutable().assign(parts);
    return getResult();
  }
  auto type = cast<ShapedType>(getType());
  if (type.getNumElements() > maxFoldedElements || type.getNumElements() == 0 ||
      !llvm::all_of(adaptor.getInputs(), [](Attribute a) { return isa_and_present<DenseElementsAttr>(a); }))
    return {};
  SmallVector<Attribute> elements(type.getNumElements());
  int64_t offset = 0, axis = getAxis();
  for (auto [attribute, input] : llvm::zip(adaptor.getInputs(), getInputs())) {
    for (auto [i, element] : llvm::enumerate(cast<DenseElementsAttr>(attribute).getValues<Attribute>())) {
      SmallVector<int64_t> target = unflatten(i, shapeOf(input));
      target[axis] += offset;
      elements[flatten(target, type.getShape())] = element;
    }
    offset += shapeOf(input)[axis];
  }
  return DenseElementsAttr::get(type, elements);
}

void ConcatOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (!grads[0])
    return;
  int64_t offset = 0, axis = getAxis();
  for (auto [i, input] : llvm::enumerate(getInputs())) {
    int64_t size = shapeOf(input)[axis];
    if (needed[i])
      out[i] = sliceAxis(b, getLoc(), grads[0], axis, offset, size);
    offset += size;
  }
}

/// Emits one nest an operand; its rows lie whole in the result.
void ConcatOp::emitKernel(KernelBuilder &kernel) {
  int64_t offset = 0, axis = getAxis();
  for (unsigned i = 0; i < getInputs().size(); ++i) {
    kernel.parallel(kernel.operandShape(i), [&](OpBuilder &b, Location loc, ValueRange ivs) {
      SmallVector<Value> target(ivs);
      target[axis] = kb::add(b, loc, ivs[axis], kb::idx(b, loc, offset));
      kernel.store(b, loc, kernel.load(b, loc, i, ivs), 0, target);
    });
    offset += kernel.operandShape(i)[axis];
  }
}

//===- nn.slice -----------------------------------------------------------------------------------------===//

LogicalResult SliceOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                        SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(adaptor.getX());
  ArrayRef<int64_t> starts = adaptor.getStarts(), sizes = adaptor.getSizes(), steps = adaptor.getSteps();
  size_t rank = x.getRank();
  if (starts.size() != rank || sizes.size() != rank || steps.size() != rank)
    return emitOptionalError(loc, "starts, sizes and steps need one number for each of the ", rank, " dimensions");
  for (size_t d = 0; d < rank; ++d) {
    int64_t last = starts[d] + (sizes[d] - 1) * steps[d], dim = x.getDimSize(d);
    if (steps[d] == 0)
      return emitOptionalError(loc, "step of dimension ", d, " is 0");
    if (sizes[d] < 0 || (sizes[d] > 0 && (starts[d] < 0 || starts[d] >= dim || last < 0 || last >= dim)))
      return emitOptionalError(loc, "slice of ", sizes[d], " elements from ", starts[d], " by ", steps[d],
                               " leaves dimension ", d, " of size ", dim);
  }
  types.push_back(x.clone(sizes));
  return success();
}

OpFoldResult SliceOp::fold(FoldAdaptor adaptor) {
  if (getX().getType() == getType() && llvm::all_of(getSteps(), [](int64_t s) { return s == 1; }))
    return getX();
  ArrayRef<int64_t> from = shapeOf(getX()), to = shapeOf(getResult());
  return foldMoved(adaptor.getX(), getType(), [&](int64_t i) {
    SmallVector<int64_t> source = unflatten(i, to);
    for (size_t d = 0; d < source.size(); ++d)
      source[d] = getStarts()[d] + source[d] * getSteps()[d];
    return flatten(source, from);
  });
}

/// Zeros around and between: a pad of the gradient, whose reversed dimensions are first turned round.
void SliceOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (!grads[0] || !needed[0])
    return;
  Value grad = grads[0];
  ArrayRef<int64_t> shape = shapeOf(getX());
  SmallVector<int64_t> low, high, interior;
  for (size_t d = 0; d < shape.size(); ++d) {
    int64_t start = getStarts()[d], size = getSizes()[d], step = getSteps()[d];
    if (size == 0) {
      out[0] = splat(b, getLoc(), tensorType(getX()), 0.0);
      return;
    }
    if (step < 0 && size > 1)
      grad = sliceAxis(b, getLoc(), grad, d, size - 1, size, -1);
    int64_t first = step < 0 ? start + (size - 1) * step : start, stride = std::abs(step);
    low.push_back(first);
    interior.push_back(size > 1 ? stride - 1 : 0);
    high.push_back(shape[d] - first - (size - 1) * stride - 1);
  }
  out[0] = PadOp::create(b, getLoc(), grad, b.getDenseI64ArrayAttr(low), b.getDenseI64ArrayAttr(high),
                         b.getDenseI64ArrayAttr(interior), b.getF64FloatAttr(0.0));
}

/// i * step + start, as an index value.
static Value affine(OpBuilder &b, Location loc, Value i, int64_t step, int64_t start) {
  if (step != 1)
    i = kb::mul(b, loc, i, kb::idx(b, loc, step));
  return start ? kb::add(b, loc, i, kb::idx(b, loc, start)) : i;
}

void SliceOp::emitKernel(KernelBuilder &kernel) {
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<Value> source;
    for (auto [d, i] : llvm::enumerate(ivs))
      source.push_back(affine(b, loc, i, getSteps()[d], getStarts()[d]));
    kernel.store(b, loc, kernel.load(b, loc, 0, source), 0, ivs);
  });
}

//===- nn.pad -------------------------------------------------------------------------------------------===//

LogicalResult PadOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                      SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(adaptor.getX());
  ArrayRef<int64_t> low = adaptor.getLow(), high = adaptor.getHigh(), interior = adaptor.getInterior();
  size_t rank = x.getRank();
  if (low.size() != rank || high.size() != rank || interior.size() != rank)
    return emitOptionalError(loc, "low, high and interior need one number for each of the ", rank, " dimensions");
  SmallVector<int64_t> shape;
  for (size_t d = 0; d < rank; ++d) {
    if (low[d] < 0 || high[d] < 0 || interior[d] < 0)
      return emitOptionalError(loc, "padding of dimension ", d, " is negative");
    int64_t dim = x.getDimSize(d);
    shape.push_back(low[d] + dim + std::max<int64_t>(dim - 1, 0) * interior[d] + high[d]);
  }
  types.push_back(x.clone(shape));
  return success();
}

OpFoldResult PadOp::fold(FoldAdaptor) { return getX().getType() == getType() ? OpFoldResult(getX()) : OpFoldResult(); }

void PadOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (!grads[0] || !needed[0])
    return;
  SmallVector<int64_t> steps = llvm::map_to_vector(getInterior(), [](int64_t i) { return i + 1; });
  out[0] = SliceOp::create(b, getLoc(), grads[0], b.getDenseI64ArrayAttr(getLow()),
                           b.getDenseI64ArrayAttr(shapeOf(getX())), b.getDenseI64ArrayAttr(steps));
}

/// The result is filled first and then written over: both nests are plain copies without a test per element.
void PadOp::emitKernel(KernelBuilder &kernel) {
  Type type = signless(kernel.resultElementType(0));
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    kernel.store(b, loc, kb::constant(b, loc, type, getValue().convertToDouble()), 0, ivs);
  });
  kernel.parallel(kernel.operandShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<Value> target;
    for (auto [d, i] : llvm::enumerate(ivs))
      target.push_back(affine(b, loc, i, getInterior()[d] + 1, getLow()[d]));
    kernel.store(b, loc, kernel.load(b, loc, 0, ivs), 0, target);
  });
}

//===- nn.broadcast_to ----------------------------------------------------------------------------------===//

LogicalResult BroadcastToOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                              SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(adaptor.getX());
  auto shape = broadcastShapes({x.getShape(), adaptor.getShape()});
  if (failed(shape) || ArrayRef(*shape) != adaptor.getShape())
    return emitOptionalError(loc, x, " does not broadcast to [", adaptor.getShape(), "]");
  types.push_back(x.clone(*shape));
  return success();
}

OpFoldResult BroadcastToOp::fold(FoldAdaptor adaptor) {
  if (getX().getType() == getType())
    return getX();
  ArrayRef<int64_t> from = shapeOf(getX()), to = shapeOf(getResult());
  return foldMoved(adaptor.getX(), getType(), [&](int64_t i) {
    SmallVector<int64_t> target = unflatten(i, to), source(from.size());
    for (size_t d = 0; d < from.size(); ++d)
      source[d] = from[d] == 1 ? 0 : target[to.size() - from.size() + d];
    return flatten(source, from);
  });
}

void BroadcastToOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                  MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = unbroadcast(b, getLoc(), grads[0], tensorType(getX()));
}

void BroadcastToOp::emitKernel(KernelBuilder &kernel) {
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value x = kernel.load(b, loc, 0, kb::broadcastIndices(b, loc, ivs, kernel.operandShape(0)));
    kernel.store(b, loc, x, 0, ivs);
  });
}

//===- nn.trilu -----------------------------------------------------------------------------------------===//

LogicalResult TriluOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                        SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(adaptor.getX());
  if (x.getRank() < 2)
    return emitOptionalError(loc, "a triangle needs two dimensions, the operand has ", x.getRank());
  types.push_back(x);
  return success();
}

OpFoldResult TriluOp::fold(FoldAdaptor adaptor) {
  auto x = dyn_cast_or_null<DenseElementsAttr>(adaptor.getX());
  auto type = cast<ShapedType>(getType());
  if (!x || type.getNumElements() == 0 || type.getNumElements() > maxFoldedElements)
    return {};
  Attribute zero = Builder(getContext()).getZeroAttr(type.getElementType());
  SmallVector<Attribute> elements;
  for (auto [i, element] : llvm::enumerate(x.getValues<Attribute>())) {
    SmallVector<int64_t> at = unflatten(i, type.getShape());
    int64_t diagonal = at[at.size() - 1] - at[at.size() - 2], k = getK();
    elements.push_back((getUpper() ? diagonal >= k : diagonal <= k) ? element : zero);
  }
  return DenseElementsAttr::get(type, elements);
}

void TriluOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = TriluOp::create(b, getLoc(), grads[0], getKAttr(), getUpperAttr());
}

void TriluOp::emitKernel(KernelBuilder &kernel) {
  Type type = signless(kernel.resultElementType(0));
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value column = ivs.back(), row = kb::add(b, loc, ivs[ivs.size() - 2], kb::idx(b, loc, getK()));
    auto predicate = getUpper() ? arith::CmpIPredicate::sge : arith::CmpIPredicate::sle;
    Value keep = arith::CmpIOp::create(b, loc, predicate, column, row);
    Value x = kernel.load(b, loc, 0, ivs), zero = kb::constant(b, loc, type, 0);
    kernel.store(b, loc, arith::SelectOp::create(b, loc, keep, x, zero), 0, ivs);
  });
}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Movement.cpp.inc"
