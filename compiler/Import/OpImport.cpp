#include "compiler/Import/OpImport.h"
#include "compiler/Import/KernelInterpreter.h"
#include "compiler/Import/TensorSource.h"
#include "dialects/NN/Tensor.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/APSInt.h"

using namespace mlir;

namespace gmc {

/// Constants that steer an import (shapes, axes, pads) are small; a damaged file can claim otherwise.
static constexpr int64_t maxSteeringElements = 1 << 20;

DenseElementsAttr ImportNode::constantValue(Value value) const {
  DenseElementsAttr attr;
  return value && matchPattern(value, m_Constant(&attr)) ? attr : DenseElementsAttr();
}

std::optional<SmallVector<int64_t>> ImportNode::constInts(size_t i) const {
  DenseElementsAttr attr = constantValue(in(i));
  if (!attr || attr.getNumElements() > maxSteeringElements)
    return std::nullopt;
  SmallVector<int64_t> result;
  if (isa<FloatType>(attr.getElementType())) {
    for (const APFloat &value : attr.getValues<APFloat>()) {
      APSInt integer(64, /*isUnsigned=*/false);
      bool exact;
      if (value.convertToInteger(integer, APFloat::rmTowardZero, &exact) == APFloat::opInvalidOp)
        return std::nullopt;
      result.push_back(integer.getExtValue());
    }
    return result;
  }
  bool isUnsigned = attr.getElementType().isUnsignedInteger() || attr.getElementType().isInteger(1);
  for (const APInt &value : attr.getValues<APInt>())
    result.push_back(isUnsigned ? static_cast<int64_t>(value.getZExtValue()) : value.getSExtValue());
  return result;
}

std::optional<SmallVector<double>> ImportNode::constFloats(size_t i) const {
  DenseElementsAttr attr = constantValue(in(i));
  if (!attr || attr.getNumElements() > maxSteeringElements)
    return std::nullopt;
  SmallVector<double> result;
  if (!isa<FloatType>(attr.getElementType())) {
    auto ints = constInts(i);
    result.assign(ints->begin(), ints->end());
    return result;
  }
  for (APFloat value : attr.getValues<APFloat>()) {
    bool losesInfo;
    value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &losesInfo);
    result.push_back(value.convertToDouble());
  }
  return result;
}

std::optional<SmallVector<int64_t>> ImportNode::intsFrom(StringRef attr, size_t i, bool &failed) {
  if (has(i)) {
    auto values = constInts(i);
    if (!values) {
      failed = true;
      (void)error("its " + attr + " (input " + Twine(i) + ") is not known at compile time");
    }
    return values;
  }
  return intsAttr(attr);
}

RankedTensorType ImportNode::requiredType(size_t i) const {
  if (has(i))
    return cast<RankedTensorType>(in(i).getType());
  emitError(loc) << "it needs an input " << i;
  return RankedTensorType::get({}, floatType());
}

bool ImportNode::allGiven(ValueRange operands) const {
  if (llvm::all_of(operands, [](Value operand) { return static_cast<bool>(operand); }))
    return true;
  emitError(loc) << "a required input is absent";
  return false;
}

Value ImportNode::constant(DenseElementsAttr value) { return nn::ConstantOp::create(b, loc, value); }

Value ImportNode::intConstant(ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())}, b.getI64Type());
  return constant(DenseElementsAttr::get(type, values));
}

Value ImportNode::floatScalar(Type elementType, double value) {
  return nn::splat(b, loc, RankedTensorType::get({}, elementType), value);
}

LogicalResult ImportNode::error(const Twine &reason) {
  reportedUnsupported = true;
  return emitError(loc) << reason;
}

SmallVector<Value> ImportNode::finish(Operation *op) {
  for (Type type : op->getResultTypes())
    if (!elementCount(cast<ShapedType>(type).getShape())) {
      emitError(loc) << "its result would have an impossible shape, " << type;
      op->erase();
      return {};
    }
  if (failed(verify(op))) {
    op->erase();
    return {};
  }
  return foldOrKeep(b, op);
}

} // namespace gmc
