#include "dialects/NN/Tensor.h"
#include "compiler/Import/OpImport.h"
#include "dialects/NN/ElementwiseSupport.h"

using namespace mlir;

namespace gmc::nn {

void registerTensorOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Tensor.cpp.inc"
      >();
}

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValue(); }

//===- nn.reshape ---------------------------------------------------------------------------------------===//

LogicalResult ReshapeOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                          SmallVectorImpl<Type> &types) {
  RankedTensorType from = tensorType(adaptor.getX());
  int64_t count = 1;
  for (int64_t dim : adaptor.getShape()) {
    if (dim < 0)
      return emitOptionalError(loc, "reshape to a negative dimension");
    count *= dim;
  }
  if (count != from.getNumElements())
    return emitOptionalError(loc, "cannot reshape ", from, " to ", count, " elements");
  types.push_back(RankedTensorType::get(adaptor.getShape(), from.getElementType()));
  return success();
}

OpFoldResult ReshapeOp::fold(FoldAdaptor adaptor) {
  if (getX().getType() == getType())
    return getX();
  if (auto inner = getX().getDefiningOp<ReshapeOp>()) {
    getXMutable().assign(inner.getX());
    return getResult();
  }
  if (auto value = dyn_cast_or_null<DenseElementsAttr>(adaptor.getX()))
    return value.reshape(cast<ShapedType>(getType()));
  return {};
}

bool ReshapeOp::isView() { return true; }

void ReshapeOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = ReshapeOp::create(b, getLoc(), grads[0], b.getDenseI64ArrayAttr(shapeOf(getX())));
}

/// Only reached where a view cannot be used, e.g. for a graph output that is a reshaped input.
void ReshapeOp::emitKernel(KernelBuilder &kernel) {
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value linear = kb::linearize(b, loc, ivs, kernel.resultShape(0));
    Value x = kernel.load(b, loc, 0, kb::delinearize(b, loc, linear, kernel.operandShape(0)));
    kernel.store(b, loc, x, 0, ivs);
  });
}

Value reshapeTo(ImportNode &node, Value value, ArrayRef<int64_t> shape) {
  if (!value || shapeOf(value) == shape)
    return value;
  ReshapeOp::Properties p;
  p.shape = node.b.getDenseI64ArrayAttr(shape);
  return node.create<ReshapeOp>({value}, p);
}

//===- Import -------------------------------------------------------------------------------------------===//

/// Resolves 0 (copy, unless allowZero) and -1 (what is left) of an ONNX Reshape.
static ImportNode::Results importReshape(ImportNode &n) {
  bool failed = false;
  auto shape = n.intsFrom("shape", 1, failed);
  if (failed)
    return failure();
  if (!shape)
    return n.error("no shape is given");
  int64_t known = 1, infer = -1, total = tensorType(n.in(0)).getNumElements();
  for (auto [d, dim] : llvm::enumerate(*shape)) {
    if (dim == 0 && !n.intAttr("allowzero", 0)) {
      if (static_cast<int64_t>(d) >= n.rank(0))
        return n.error("dimension " + Twine(d) + " is to be copied, but the input has rank " + Twine(n.rank(0)));
      dim = n.shape(0)[d];
    }
    if (dim < -1)
      return n.error("a dimension cannot be " + Twine(dim));
    if (dim == -1)
      infer = d;
    else if (llvm::MulOverflow(known, dim, known))
      return n.error("no tensor has as many elements as the shape asks for");
  }
  if (infer >= 0)
    (*shape)[infer] = known ? total / known : 0;
  return one(reshapeTo(n, n.in(0), *shape));
}

static ImportNode::Results importFlatten(ImportNode &n) {
  int64_t axis = n.intAttr("axis", 1);
  if (axis < 0)
    axis += n.rank(0);
  if (axis < 0 || axis > n.rank(0))
    return n.error("axis " + Twine(n.intAttr("axis", 1)) + " is outside rank " + Twine(n.rank(0)));
  int64_t rows = 1, columns = 1;
  for (auto [d, dim] : llvm::enumerate(n.shape(0)))
    (static_cast<int64_t>(d) < axis ? rows : columns) *= dim;
  return one(reshapeTo(n, n.in(0), {rows, columns}));
}

static ImportNode::Results importSqueeze(ImportNode &n) {
  bool failed = false;
  auto axes = n.intsFrom("axes", 1, failed);
  if (failed)
    return failure();
  SmallVector<int64_t> shape;
  for (auto [d, dim] : llvm::enumerate(n.shape(0))) {
    bool drop = !axes && dim == 1;
    if (axes)
      for (int64_t axis : *axes)
        drop |= (axis < 0 ? axis + n.rank(0) : axis) == static_cast<int64_t>(d);
    if (!drop)
      shape.push_back(dim);
  }
  return one(reshapeTo(n, n.in(0), shape));
}

static ImportNode::Results importUnsqueeze(ImportNode &n) {
  bool failed = false;
  auto axes = n.intsFrom("axes", 1, failed);
  if (failed)
    return failure();
  if (!axes)
    return n.error("no axes are given");
  int64_t rank = n.rank(0) + axes->size();
  SmallVector<int64_t> shape(rank, 0);
  for (int64_t axis : *axes) {
    int64_t d = axis < 0 ? axis + rank : axis;
    if (d < 0 || d >= rank || shape[d])
      return n.error("axis " + Twine(axis) + " is repeated or outside rank " + Twine(rank));
    shape[d] = 1;
  }
  size_t next = 0;
  for (int64_t &dim : shape)
    if (!dim)
      dim = n.shape(0)[next++];
  return one(reshapeTo(n, n.in(0), shape));
}

static ImportNode::Results importShape(ImportNode &n) {
  int64_t rank = n.rank(0), start = n.intAttr("start", 0), end = n.hasAttr("end") ? n.intAttr("end", rank) : rank;
  start = std::clamp<int64_t>(start < 0 ? start + rank : start, 0, rank);
  end = std::clamp<int64_t>(end < 0 ? end + rank : end, start, rank);
  return one(n.intConstant(n.shape(0).slice(start, end - start)));
}

static ImportNode::Results importSize(ImportNode &n) {
  auto type = RankedTensorType::get({}, n.b.getI64Type());
  return one(n.constant(DenseElementsAttr::get(type, tensorType(n.in(0)).getNumElements())));
}

static ImportNode::Results importConstant(ImportNode &n) {
  Type f = n.floatType();
  auto floats = [&](ArrayRef<double> values, bool scalar) -> Value {
    SmallVector<Attribute> attributes;
    for (double value : values)
      attributes.push_back(n.b.getFloatAttr(f, value));
    SmallVector<int64_t> shape;
    if (!scalar)
      shape.push_back(values.size());
    return n.constant(DenseElementsAttr::get(RankedTensorType::get(shape, f), attributes));
  };
  if (auto value = n.tensorAttr("value"))
    return one(n.constant(value));
  if (n.hasAttr("value_int"))
    return one(reshapeTo(n, n.intConstant({n.intAttr("value_int", 0)}), {}));
  if (auto values = n.intsAttr("value_ints"))
    return one(n.intConstant(*values));
  if (n.hasAttr("value_float"))
    return one(floats({n.floatAttr("value_float", 0)}, true));
  if (auto values = n.floatsAttr("value_floats"))
    return one(floats(*values, false));
  return n.error("constants that are strings or sparse tensors are not supported");
}

static ImportNode::Results importConstantOfShape(ImportNode &n) {
  auto shape = n.constInts(0);
  if (!shape)
    return n.error("the shape is not known at compile time");
  DenseElementsAttr value = n.tensorAttr("value");
  Type type = value ? value.getElementType() : n.floatType();
  Attribute element = value ? *value.value_begin<Attribute>() : Attribute(n.b.getFloatAttr(type, 0.0));
  return one(n.constant(DenseElementsAttr::get(RankedTensorType::get(*shape, type), element)));
}

void registerTensorImports(ImportRegistry &r) {
  r.add("Reshape", {.import = importReshape, .nonDifferentiable = {1}, .sameValue = true});
  r.add("Flatten", {.import = importFlatten, .sameValue = true});
  r.add("Squeeze", {.import = importSqueeze, .nonDifferentiable = {1}, .sameValue = true});
  r.add("Unsqueeze", {.import = importUnsqueeze, .nonDifferentiable = {1}, .sameValue = true});
  r.add("Shape", {.import = importShape, .nonDifferentiable = {0}});
  r.add("Size", {.import = importSize, .nonDifferentiable = {0}});
  r.add("Constant", {.import = importConstant, .minInputs = 0});
  r.add("ConstantOfShape", {.import = importConstantOfShape, .nonDifferentiable = {0}});
}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Tensor.cpp.inc"
