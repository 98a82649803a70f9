#include "dialects/NN/Elementwise.h"
#include "dialects/NN/Reduce.h"
#include "dialects/NN/Tensor.h"

using namespace mlir;

namespace gmc::nn {

FailureOr<SmallVector<int64_t>> broadcastShapes(ArrayRef<ArrayRef<int64_t>> shapes) {
  size_t rank = 0;
  for (ArrayRef<int64_t> shape : shapes)
    rank = std::max(rank, shape.size());
  SmallVector<int64_t> result(rank, 1);
  for (ArrayRef<int64_t> shape : shapes)
    for (size_t d = 0; d < shape.size(); ++d) {
      int64_t &dim = result[rank - shape.size() + d];
      if (shape[d] == 1 || shape[d] == dim)
        continue;
      if (dim != 1)
        return failure();
      dim = shape[d];
    }
  return result;
}

Value unbroadcast(OpBuilder &b, Location loc, Value grad, RankedTensorType type) {
  ArrayRef<int64_t> from = shapeOf(grad), to = type.getShape();
  if (from == to)
    return grad;
  SmallVector<int64_t> axes;
  size_t skip = from.size() - to.size();
  for (size_t d = 0; d < from.size(); ++d)
    if (d < skip || (to[d - skip] == 1 && from[d] != 1))
      axes.push_back(d);
  if (!axes.empty())
    grad = ReduceSumOp::create(b, loc, grad, b.getDenseI64ArrayAttr(axes), b.getBoolAttr(false));
  if (shapeOf(grad) != to)
    grad = ReshapeOp::create(b, loc, grad, b.getDenseI64ArrayAttr(to));
  return grad;
}

Value splat(OpBuilder &b, Location loc, RankedTensorType type, double value) {
  Type element = type.getElementType();
  Attribute scalar = isa<FloatType>(element) ? Attribute(b.getFloatAttr(element, value))
                                             : Attribute(b.getIntegerAttr(element, static_cast<int64_t>(value)));
  return ConstantOp::create(b, loc, type, DenseElementsAttr::get(type, scalar));
}

Value scalarLike(OpBuilder &b, Location loc, Value like, double value) {
  return splat(b, loc, RankedTensorType::get({}, elementTypeOf(like)), value);
}

Type signless(Type type) {
  if (auto integer = dyn_cast<IntegerType>(type))
    return IntegerType::get(type.getContext(), integer.getWidth());
  return type;
}

} // namespace gmc::nn
