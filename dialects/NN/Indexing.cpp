//===- Indexing.cpp - inference, gradient and kernel of gathers and scatters ----------------------------===//

#include "dialects/NN/Indexing.h"
#include "dialects/NN/ScatterRows.h"
#include "dialects/NN/Movement.h"
#include "dialects/NN/Tensor.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace gmc::nn {

void registerIndexingOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Indexing.cpp.inc"
      >();
}

std::optional<int64_t> indexedEntries(OpOperand &use) {
  return llvm::TypeSwitch<Operation *, std::optional<int64_t>>(use.getOwner())
      .Case<GatherOp, GatherElementsOp, ScatterElementsOp, ScatterElementsFoldOp>(
          [&](auto op) -> std::optional<int64_t> {
            if (&use != &op.getIndicesMutable())
              return std::nullopt;
            return shapeOf(op.getX())[op.getAxis()];
          })
      .Default([](Operation *) { return std::nullopt; });
}

/// An element of an index tensor as an index into a dimension: from the end when negative, clamped to the dimension.
static Value clampedIndex(OpBuilder &b, Location loc, Value i, int64_t dim) {
  Value index = kb::toIndex(b, loc, i), zero = kb::idx(b, loc, 0), size = kb::idx(b, loc, dim);
  Value negative = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, index, zero);
  index = arith::SelectOp::create(b, loc, negative, kb::add(b, loc, index, size), index);
  return kb::max(b, loc, kb::min(b, loc, index, kb::idx(b, loc, dim - 1)), zero);
}

static LogicalResult checkAxis(std::optional<Location> loc, int64_t axis, RankedTensorType x) {
  if (axis < 0 || axis >= x.getRank())
    return emitOptionalError(loc, "axis ", axis, " is outside rank ", x.getRank());
  return success();
}

/// Indices into a dimension without elements cannot be clamped.
static LogicalResult checkNotEmpty(std::optional<Location> loc, RankedTensorType x, RankedTensorType indices,
                                   int64_t dim) {
  if (x.getDimSize(dim) == 0 && indices.getNumElements() != 0)
    return emitOptionalError(loc, "indices into dimension ", dim, " of ", x, ", which has no elements");
  return success();
}

/// Result element combined with an update: kinds "none", "add", "mul", "min", "max".
static Value combine(OpBuilder &b, Location loc, StringRef kind, Value old, Value update, Type elementType) {
  if (kind == "none")
    return update;
  if (kind == "add")
    return kb::add(b, loc, old, update);
  if (kind == "mul")
    return kb::mul(b, loc, old, update);
  if (elementType.isUnsignedInteger())
    return kind == "min" ? b.createOrFold<arith::MinUIOp>(loc, old, update)
                         : b.createOrFold<arith::MaxUIOp>(loc, old, update);
  return kind == "min" ? kb::min(b, loc, old, update) : kb::max(b, loc, old, update);
}

static LogicalResult checkKind(Operation *op, StringRef kind) {
  if (kind != "mul" && kind != "min" && kind != "max")
    return op->emitOpError("combines by ") << kind << ", which is none of mul, min and max";
  return success();
}

//===- nn.gather ----------------------------------------------------------------------------------------===//

LogicalResult GatherOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(adaptor.getX()), indices = tensorType(adaptor.getIndices());
  int64_t axis = adaptor.getAxis();
  if (failed(checkAxis(loc, axis, x)) || failed(checkNotEmpty(loc, x, indices, axis)))
    return failure();
  SmallVector<int64_t> shape(x.getShape().take_front(axis));
  llvm::append_range(shape, indices.getShape());
  llvm::append_range(shape, x.getShape().drop_front(axis + 1));
  types.push_back(x.clone(shape));
  return success();
}

OpFoldResult GatherOp::fold(FoldAdaptor adaptor) {
  auto x = dyn_cast_or_null<DenseElementsAttr>(adaptor.getX());
  auto indices = dyn_cast_or_null<DenseElementsAttr>(adaptor.getIndices());
  auto type = cast<ShapedType>(getType());
  if (!x || !indices || type.getNumElements() == 0 || type.getNumElements() > maxFoldedElements)
    return {};
  ArrayRef<int64_t> from = shapeOf(getX()), places = shapeOf(getIndices());
  int64_t axis = getAxis(), dim = from[axis];
  SmallVector<int64_t> at;
  for (const APInt &i : indices.getValues<APInt>()) {
    int64_t index = i.getSExtValue();
    at.push_back(std::clamp<int64_t>(index < 0 ? index + dim : index, 0, dim - 1));
  }
  return gatherConstant(x, type, [&](int64_t i) {
    SmallVector<int64_t> target = unflatten(i, type.getShape());
    SmallVector<int64_t> source(ArrayRef(target).take_front(axis));
    source.push_back(at[flatten(ArrayRef(target).slice(axis, places.size()), places)]);
    llvm::append_range(source, ArrayRef(target).drop_front(axis + places.size()));
    return flatten(source, from);
  });
}

void GatherOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = GatherGradOp::create(b, getLoc(), grads[0], getIndices(), getAxisAttr(),
                                  b.getI64IntegerAttr(shapeOf(getX())[getAxis()]));
}

void GatherOp::emitKernel(KernelBuilder &kernel) {
  int64_t axis = getAxis(), places = kernel.operandShape(1).size(), dim = kernel.operandShape(0)[axis];
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value index = kernel.load(b, loc, 1, ivs.slice(axis, places));
    SmallVector<Value> source(ivs.take_front(axis));
    source.push_back(clampedIndex(b, loc, index, dim));
    llvm::append_range(source, ivs.drop_front(axis + places));
    kernel.store(b, loc, kernel.load(b, loc, 0, source), 0, ivs);
  });
}

//===- nn.gather_grad -----------------------------------------------------------------------------------===//

LogicalResult GatherGradOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                             SmallVectorImpl<Type> &types) {
  RankedTensorType updates = tensorType(adaptor.getUpdates()), indices = tensorType(adaptor.getIndices());
  int64_t axis = adaptor.getAxis(), places = indices.getRank();
  if (axis < 0 || axis + places > updates.getRank() || updates.getShape().slice(axis, places) != indices.getShape())
    return emitOptionalError(loc, updates, " does not have the dimensions of ", indices, " at axis ", axis);
  SmallVector<int64_t> shape(updates.getShape().take_front(axis));
  shape.push_back(adaptor.getSize());
  llvm::append_range(shape, updates.getShape().drop_front(axis + places));
  if (adaptor.getSize() < 1)
    return emitOptionalError(loc, "sums into an axis of size ", adaptor.getSize());
  types.push_back(updates.clone(shape));
  return success();
}

void GatherGradOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                 MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = GatherOp::create(b, getLoc(), grads[0], getIndices(), getAxisAttr());
}

/// Zeros, then the slices in order, on a GPU those of an embedding by blocks of threads. Otherwise, what runs in
/// parallel are pieces of the slices (blocks of features of an embedding), never two slices: no two iterations write
/// the same element and the order of the sums is that of the indices.
void GatherGradOp::emitKernel(KernelBuilder &kernel) {
  Type type = kernel.resultElementType(0);
  int64_t axis = getAxis(), dim = getSize();
  ArrayRef<int64_t> shape = kernel.resultShape(0), indexShape = kernel.operandShape(1);
  SmallVector<int64_t> outer(shape.take_front(axis)), inner(shape.drop_front(axis + 1));
  int64_t count = ShapedType::getNumElements(indexShape), features = ShapedType::getNumElements(inner);
  int64_t block = kernel.target() == KernelTarget::Host ? std::min<int64_t>(features, 64) : 1;
  if (ShapedType::getNumElements(shape) == 0)
    return;
  kernel.parallel(shape, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    kernel.store(b, loc, kb::constant(b, loc, type, 0), 0, ivs);
  });
  int64_t blocks = llvm::divideCeil(features, block), outerCount = ShapedType::getNumElements(outer);
  if (kernel.target() == KernelTarget::Gpu && axis == 0 && isa<FloatType>(type) && count > 0)
    return emitScatterRows(kernel, count, features, [&](OpBuilder &b, Location loc, Value row, int64_t neighbours) {
      SmallVector<Value> indices = kernel.loadNeighbours(b, loc, 1, row, neighbours);
      for (Value &index : indices)
        index = clampedIndex(b, loc, index, dim);
      return indices;
    });
  kernel.parallel({outerCount * blocks}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<Value> piece = kb::delinearize(b, loc, ivs[0], {outerCount, blocks});
    SmallVector<Value> before = kb::delinearize(b, loc, piece[0], outer);
    Value lo = kb::mul(b, loc, piece[1], kb::idx(b, loc, block));
    Value hi = kb::min(b, loc, kb::add(b, loc, lo, kb::idx(b, loc, block)), kb::idx(b, loc, features));
    KernelBuilder::loop(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, count), [&](OpBuilder &b, Location loc, Value n) {
      SmallVector<Value> place = kb::delinearize(b, loc, n, indexShape);
      Value index = clampedIndex(b, loc, kernel.load(b, loc, 1, place), dim);
      KernelBuilder::loop(b, loc, lo, hi, [&](OpBuilder &b, Location loc, Value feature) {
        SmallVector<Value> after = kb::delinearize(b, loc, feature, inner);
        SmallVector<Value> from(before), to(before);
        llvm::append_range(from, place);
        llvm::append_range(from, after);
        to.push_back(index);
        llvm::append_range(to, after);
        Value old = memref::LoadOp::create(b, loc, kernel.resultBuffer(0), to);
        kernel.store(b, loc, kb::add(b, loc, old, kernel.load(b, loc, 0, from)), 0, to);
      });
    });
  });
}

//===- nn.gather_elements -------------------------------------------------------------------------------===//

/// `indices` may be smaller than `x` in the dimensions other than the axis, never larger.
static LogicalResult checkElements(std::optional<Location> loc, RankedTensorType x, RankedTensorType indices,
                                   int64_t axis) {
  if (failed(checkAxis(loc, axis, x)) || failed(checkNotEmpty(loc, x, indices, axis)))
    return failure();
  bool fits = indices.getRank() == x.getRank();
  for (int64_t d = 0; fits && d < x.getRank(); ++d)
    fits = d == axis || indices.getDimSize(d) <= x.getDimSize(d);
  if (!fits)
    return emitOptionalError(loc, "indices ", indices, " do not lie inside ", x, " beside axis ", axis);
  return success();
}

LogicalResult GatherElementsOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                                 SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(adaptor.getX()), indices = tensorType(adaptor.getIndices());
  if (failed(checkElements(loc, x, indices, adaptor.getAxis())))
    return failure();
  types.push_back(x.clone(indices.getShape()));
  return success();
}

void GatherElementsOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                     MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = ScatterElementsOp::create(b, getLoc(), splat(b, getLoc(), tensorType(getX()), 0.0), getIndices(), grads[0],
                                       getAxisAttr(), b.getBoolAttr(true));
}

void GatherElementsOp::emitKernel(KernelBuilder &kernel) {
  int64_t axis = getAxis(), dim = kernel.operandShape(0)[axis];
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<Value> source(ivs);
    source[axis] = clampedIndex(b, loc, kernel.load(b, loc, 1, ivs), dim);
    kernel.store(b, loc, kernel.load(b, loc, 0, source), 0, ivs);
  });
}

//===- nn.gather_nd -------------------------------------------------------------------------------------===//

/// The shape that indices [batch..., tuples..., k] select of x [batch..., k dimensions..., slice...], which is
/// [batch..., tuples..., slice...].
static LogicalResult inferTuples(std::optional<Location> loc, RankedTensorType x, RankedTensorType indices,
                                 int64_t batchDims, SmallVectorImpl<int64_t> &shape) {
  int64_t rank = indices.getRank();
  if (rank < 1 || batchDims < 0 || batchDims >= rank || batchDims >= x.getRank() ||
      indices.getShape().take_front(batchDims) != x.getShape().take_front(batchDims))
    return emitOptionalError(loc, x, " and indices ", indices, " do not share ", batchDims, " batch dimensions");
  int64_t k = indices.getShape().back();
  if (k < 1 || batchDims + k > x.getRank())
    return emitOptionalError(loc, "tuples of ", k, " indices do not fit ", x, " after ", batchDims,
                             " batch dimensions");
  for (int64_t d = batchDims; d < batchDims + k; ++d)
    if (failed(checkNotEmpty(loc, x, indices, d)))
      return failure();
  llvm::append_range(shape, indices.getShape().drop_back());
  llvm::append_range(shape, x.getShape().drop_front(batchDims + k));
  return success();
}

/// Coordinates in x: those of the batch, the clamped tuple at `place` of the indices (operand 1), those in the slice.
static SmallVector<Value> tupleTarget(KernelBuilder &kernel, OpBuilder &b, Location loc, int64_t batchDims,
                                      ValueRange place, ValueRange slice) {
  ArrayRef<int64_t> shape = kernel.operandShape(0);
  SmallVector<Value> target(place.take_front(batchDims)), at(place);
  at.push_back({});
  for (int64_t k = 0; k < kernel.operandShape(1).back(); ++k) {
    at.back() = kb::idx(b, loc, k);
    target.push_back(clampedIndex(b, loc, kernel.load(b, loc, 1, at), shape[batchDims + k]));
  }
  llvm::append_range(target, slice);
  return target;
}

LogicalResult GatherNDOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                           SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(adaptor.getX());
  SmallVector<int64_t> shape;
  if (failed(inferTuples(loc, x, tensorType(adaptor.getIndices()), adaptor.getBatchDims(), shape)))
    return failure();
  types.push_back(x.clone(shape));
  return success();
}

void GatherNDOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = ScatterNDOp::create(b, getLoc(), splat(b, getLoc(), tensorType(getX()), 0.0), getIndices(), grads[0],
                                 getBatchDimsAttr(), b.getBoolAttr(true));
}

void GatherNDOp::emitKernel(KernelBuilder &kernel) {
  int64_t places = kernel.operandShape(1).size() - 1;
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<Value> source =
        tupleTarget(kernel, b, loc, getBatchDims(), ivs.take_front(places), ivs.drop_front(places));
    kernel.store(b, loc, kernel.load(b, loc, 0, source), 0, ivs);
  });
}

//===- nn.scatter_elements ------------------------------------------------------------------------------===//

static LogicalResult inferScatterElements(std::optional<Location> loc, Value xValue, Value indicesValue,
                                          Value updatesValue, int64_t axis, SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(xValue), indices = tensorType(indicesValue), updates = tensorType(updatesValue);
  if (failed(checkElements(loc, x, indices, axis)))
    return failure();
  if (updates != x.clone(indices.getShape()))
    return emitOptionalError(loc, "updates ", updates, " for indices ", indices, " into ", x);
  types.push_back(x);
  return success();
}

/// Copies operand 0 into the result (onto itself, element by element, when they share a buffer).
static void copyThrough(KernelBuilder &kernel) {
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    kernel.store(b, loc, kernel.load(b, loc, 0, ivs), 0, ivs);
  });
}

/// Lines along the axis never meet: they run in parallel, each in order.
static void emitScatterElements(KernelBuilder &kernel, int64_t axis, StringRef kind) {
  copyThrough(kernel);
  int64_t dim = kernel.operandShape(0)[axis], count = kernel.operandShape(1)[axis];
  Type type = kernel.resultElementType(0);
  SmallVector<int64_t> lines(kernel.operandShape(1));
  lines.erase(lines.begin() + axis);
  kernel.parallel(lines, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    KernelBuilder::loop(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, count), [&](OpBuilder &b, Location loc, Value i) {
      SmallVector<Value> from(ivs);
      from.insert(from.begin() + axis, i);
      SmallVector<Value> to(from);
      to[axis] = clampedIndex(b, loc, kernel.load(b, loc, 1, from), dim);
      Value update = kernel.load(b, loc, 2, from);
      Value old = kind == "none" ? Value() : Value(memref::LoadOp::create(b, loc, kernel.resultBuffer(0), to));
      kernel.store(b, loc, combine(b, loc, kind, old, update, type), 0, to);
    });
  });
}

LogicalResult ScatterElementsOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                                  SmallVectorImpl<Type> &types) {
  return inferScatterElements(loc, adaptor.getX(), adaptor.getIndices(), adaptor.getUpdates(), adaptor.getAxis(),
                              types);
}

void ScatterElementsOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                      MutableArrayRef<Value> out) {
  if (!grads[0])
    return;
  if (needed[0])
    out[0] = getAdd() ? grads[0]
                      : Value(ScatterElementsOp::create(b, getLoc(), grads[0], getIndices(),
                                                        splat(b, getLoc(), tensorType(getUpdates()), 0.0),
                                                        getAxisAttr(), b.getBoolAttr(false)));
  if (needed[2])
    out[2] = GatherElementsOp::create(b, getLoc(), grads[0], getIndices(), getAxisAttr());
}

void ScatterElementsOp::emitKernel(KernelBuilder &kernel) {
  emitScatterElements(kernel, getAxis(), getAdd() ? "add" : "none");
}

LogicalResult ScatterElementsFoldOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                                      SmallVectorImpl<Type> &types) {
  return inferScatterElements(loc, adaptor.getX(), adaptor.getIndices(), adaptor.getUpdates(), adaptor.getAxis(),
                              types);
}
LogicalResult ScatterElementsFoldOp::verify() { return checkKind(*this, getKind()); }
void ScatterElementsFoldOp::emitKernel(KernelBuilder &kernel) { emitScatterElements(kernel, getAxis(), getKind()); }

//===- nn.scatter_nd ------------------------------------------------------------------------------------===//

static LogicalResult inferScatterND(std::optional<Location> loc, Value xValue, Value indices, Value updates,
                                    int64_t batchDims, SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(xValue);
  SmallVector<int64_t> shape;
  if (failed(inferTuples(loc, x, tensorType(indices), batchDims, shape)))
    return failure();
  if (tensorType(updates) != x.clone(shape))
    return emitOptionalError(loc, "updates ", updates.getType(), " where the indices need ", x.clone(shape));
  types.push_back(x);
  return success();
}

/// Batches and pieces of the slices run in parallel, the tuples of a batch in order: two of them may be equal.
static void emitScatterND(KernelBuilder &kernel, int64_t batchDims, StringRef kind) {
  copyThrough(kernel);
  ArrayRef<int64_t> shape = kernel.operandShape(0), indexShape = kernel.operandShape(1);
  Type type = kernel.resultElementType(0);
  SmallVector<int64_t> batch(shape.take_front(batchDims)), slice(shape.drop_front(batchDims + indexShape.back()));
  SmallVector<int64_t> tuples(indexShape.drop_front(batchDims).drop_back());
  int64_t features = ShapedType::getNumElements(slice), batches = ShapedType::getNumElements(batch);
  int64_t block = kernel.target() == KernelTarget::Host ? std::clamp<int64_t>(features, 1, 64) : 1;
  int64_t blocks = llvm::divideCeil(features, block), count = ShapedType::getNumElements(tuples);
  kernel.parallel({batches * blocks}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<Value> piece = kb::delinearize(b, loc, ivs[0], {batches, blocks});
    SmallVector<Value> before = kb::delinearize(b, loc, piece[0], batch);
    Value lo = kb::mul(b, loc, piece[1], kb::idx(b, loc, block));
    Value hi = kb::min(b, loc, kb::add(b, loc, lo, kb::idx(b, loc, block)), kb::idx(b, loc, features));
    KernelBuilder::loop(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, count), [&](OpBuilder &b, Location loc, Value n) {
      SmallVector<Value> place(before);
      llvm::append_range(place, kb::delinearize(b, loc, n, tuples));
      SmallVector<Value> target = tupleTarget(kernel, b, loc, batchDims, place, {});
      KernelBuilder::loop(b, loc, lo, hi, [&](OpBuilder &b, Location loc, Value feature) {
        SmallVector<Value> after = kb::delinearize(b, loc, feature, slice);
        SmallVector<Value> from(place), to(target);
        llvm::append_range(from, after);
        llvm::append_range(to, after);
        Value update = kernel.load(b, loc, 2, from);
        Value old = kind == "none" ? Value() : Value(memref::LoadOp::create(b, loc, kernel.resultBuffer(0), to));
        kernel.store(b, loc, combine(b, loc, kind, old, update, type), 0, to);
      });
    });
  });
}

LogicalResult ScatterNDOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  return inferScatterND(loc, adaptor.getX(), adaptor.getIndices(), adaptor.getUpdates(), adaptor.getBatchDims(), types);
}

void ScatterNDOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                MutableArrayRef<Value> out) {
  if (!grads[0])
    return;
  if (needed[0])
    out[0] = getAdd() ? grads[0]
                      : Value(ScatterNDOp::create(b, getLoc(), grads[0], getIndices(),
                                                  splat(b, getLoc(), tensorType(getUpdates()), 0.0), getBatchDimsAttr(),
                                                  b.getBoolAttr(false)));
  if (needed[2])
    out[2] = GatherNDOp::create(b, getLoc(), grads[0], getIndices(), getBatchDimsAttr());
}

void ScatterNDOp::emitKernel(KernelBuilder &kernel) {
  emitScatterND(kernel, getBatchDims(), getAdd() ? "add" : "none");
}

LogicalResult ScatterNDFoldOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                                SmallVectorImpl<Type> &types) {
  return inferScatterND(loc, adaptor.getX(), adaptor.getIndices(), adaptor.getUpdates(), 0, types);
}
LogicalResult ScatterNDFoldOp::verify() { return checkKind(*this, getKind()); }
void ScatterNDFoldOp::emitKernel(KernelBuilder &kernel) { emitScatterND(kernel, 0, getKind()); }

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Indexing.cpp.inc"
