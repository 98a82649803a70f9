//===- ElementwiseBinary.cpp - scalar form and gradient of the binary ops -------------------------------===//

#include "dialects/NN/ElementwiseSupport.h"
#include "dialects/NN/Tensor.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace gmc::nn {

#define GMC_SCALAR_FORM(OP, EXPR)                                                                                      \
  Value OP::emitScalar(OpBuilder &b, Location loc, ValueRange operands) {                                              \
    Scalar x(b, loc, operands[0]), y(b, loc, operands[1]);                                                             \
    return (EXPR).value();                                                                                             \
  }
GMC_SCALAR_FORM(AddOp, x + y)
GMC_SCALAR_FORM(SubOp, x - y)
GMC_SCALAR_FORM(MulOp, x *y)
GMC_SCALAR_FORM(PReluOp, select(x >= 0.0, x, x *y))
GMC_SCALAR_FORM(BitAndOp, x &y)
GMC_SCALAR_FORM(BitOrOp, x | y)
GMC_SCALAR_FORM(BitXorOp, x ^ y)
GMC_SCALAR_FORM(EqualOp, x == y)
GMC_SCALAR_FORM(AndOp, x &y)
GMC_SCALAR_FORM(OrOp, x | y)
GMC_SCALAR_FORM(XorOp, x ^ y)

static bool isUnsigned(Value v) { return elementTypeOf(v).isUnsignedInteger() || elementTypeOf(v).isInteger(1); }

static Value unsignedCompare(OpBuilder &b, Location loc, arith::CmpIPredicate predicate, ValueRange v) {
  return arith::CmpIOp::create(b, loc, predicate, v[0], v[1]);
}

#define GMC_ORDER(OP, EXPR, UNSIGNED)                                                                                  \
  Value OP::emitScalar(OpBuilder &b, Location loc, ValueRange v) {                                                     \
    Scalar x(b, loc, v[0]), y(b, loc, v[1]);                                                                           \
    return isUnsigned(getLhs()) ? unsignedCompare(b, loc, arith::CmpIPredicate::UNSIGNED, v) : (EXPR).value();         \
  }
GMC_ORDER(LessOp, x < y, ult)
GMC_ORDER(LessOrEqualOp, x <= y, ule)
GMC_ORDER(GreaterOp, x > y, ugt)
GMC_ORDER(GreaterOrEqualOp, x >= y, uge)

Value DivOp::emitScalar(OpBuilder &b, Location loc, ValueRange v) {
  if (isUnsigned(getLhs()))
    return arith::DivUIOp::create(b, loc, v[0], v[1]);
  return kb::div(b, loc, v[0], v[1]);
}
Value MaxOp::emitScalar(OpBuilder &b, Location loc, ValueRange v) {
  if (isUnsigned(getLhs()))
    return arith::MaxUIOp::create(b, loc, v[0], v[1]);
  return kb::max(b, loc, v[0], v[1]);
}
Value MinOp::emitScalar(OpBuilder &b, Location loc, ValueRange v) {
  if (isUnsigned(getLhs()))
    return arith::MinUIOp::create(b, loc, v[0], v[1]);
  return kb::min(b, loc, v[0], v[1]);
}

Value ModOp::emitScalar(OpBuilder &b, Location loc, ValueRange v) {
  Scalar x(b, loc, v[0]), y(b, loc, v[1]);
  if (isUnsigned(getLhs()))
    return arith::RemUIOp::create(b, loc, v[0], v[1]);
  Scalar r = x.with(kb::rem(b, loc, v[0], v[1]));
  if (getFmod())
    return r.value();
  return select((r != 0.0) & ((r < 0.0) ^ (y < 0.0)), r + y, r).value();
}

/// The one value of a splat constant, if that is what `v` is.
static std::optional<double> splatValue(Value v) {
  DenseElementsAttr value;
  if (!matchPattern(v, m_Constant(&value)) || !value.isSplat())
    return std::nullopt;
  if (isa<FloatType>(value.getElementType()))
    return value.getSplatValue<APFloat>().convertToDouble();
  return value.getElementType().isUnsignedInteger() ? value.getSplatValue<APInt>().getZExtValue()
                                                    : value.getSplatValue<APInt>().getSExtValue();
}

/// x^e for the exponents that need no call; null otherwise.
static std::optional<Scalar> simplePower(Scalar x, double e) {
  if (e == 1.0)
    return x;
  if (e == 2.0)
    return x * x;
  if (e == 3.0)
    return x * x * x;
  if (!x.isFloat())
    return std::nullopt;
  if (e == 0.5)
    return sqrt(x);
  if (e == -0.5)
    return 1.0 / sqrt(x);
  if (e == -1.0)
    return 1.0 / x;
  if (e == 0.0)
    return x.constant(1.0);
  return std::nullopt;
}

Value PowOp::emitScalar(OpBuilder &b, Location loc, ValueRange v) {
  Scalar x(b, loc, v[0]), y(b, loc, v[1]);
  if (auto exponent = splatValue(getRhs()))
    if (auto simple = simplePower(x, *exponent))
      return simple->value();
  if (x.isFloat())
    return pow(x, convert(y, x.type(), elementTypeOf(getRhs()).isUnsignedInteger())).value();
  Scalar wide = pow(convert(x, b.getF64Type(), elementTypeOf(getLhs()).isUnsignedInteger()),
                    convert(y, b.getF64Type(), elementTypeOf(getRhs()).isUnsignedInteger()));
  return convert(wide, x.type()).value();
}

//===- Gradients ----------------------------------------------------------------------------------------===//

using Grads = ArrayRef<Value>;
using Needed = ArrayRef<bool>;
using Out = MutableArrayRef<Value>;

/// out[i] = the sum over the broadcast dimensions of term(operands and g), for each needed operand.
static void accumulate(Operation *op, OpBuilder &b, Grads grads, Needed needed, Out out, unsigned i,
                       function_ref<Value()> term) {
  if (grads[0] && needed[i])
    out[i] = unbroadcast(b, op->getLoc(), term(), cast<RankedTensorType>(op->getOperand(i).getType()));
}

void AddOp::buildGradient(OpBuilder &b, Grads grads, Needed needed, Out out) {
  for (unsigned i : {0u, 1u})
    accumulate(*this, b, grads, needed, out, i, [&] { return grads[0]; });
}
void SubOp::buildGradient(OpBuilder &b, Grads grads, Needed needed, Out out) {
  accumulate(*this, b, grads, needed, out, 0, [&] { return grads[0]; });
  accumulate(*this, b, grads, needed, out, 1, [&] { return Value(NegOp::create(b, getLoc(), grads[0])); });
}
void MulOp::buildGradient(OpBuilder &b, Grads grads, Needed needed, Out out) {
  accumulate(*this, b, grads, needed, out, 0, [&] { return Value(MulOp::create(b, getLoc(), grads[0], getRhs())); });
  accumulate(*this, b, grads, needed, out, 1, [&] { return Value(MulOp::create(b, getLoc(), grads[0], getLhs())); });
}
void DivOp::buildGradient(OpBuilder &b, Grads grads, Needed needed, Out out) {
  accumulate(*this, b, grads, needed, out, 0, [&] { return Value(DivOp::create(b, getLoc(), grads[0], getRhs())); });
  accumulate(*this, b, grads, needed, out, 1, [&] {
    return fused(b, getLoc(), {grads[0], getResult(), getRhs()},
                 [](ArrayRef<Scalar> v) { return -(v[0] * v[1] / v[2]); });
  });
}
void PReluOp::buildGradient(OpBuilder &b, Grads grads, Needed needed, Out out) {
  accumulate(*this, b, grads, needed, out, 0, [&] {
    return fused(b, getLoc(), {grads[0], getLhs(), getRhs()},
                 [](ArrayRef<Scalar> v) { return select(v[1] >= 0.0, v[0], v[0] * v[2]); });
  });
  accumulate(*this, b, grads, needed, out, 1, [&] {
    return fused(b, getLoc(), {grads[0], getLhs()},
                 [](ArrayRef<Scalar> v) { return select(v[1] >= 0.0, 0.0, v[0] * v[1]); });
  });
}

/// Max and Min: the gradient goes to the operand that won, half to each at a tie.
static void extremumGradient(Operation *op, bool max, OpBuilder &b, Grads grads, Needed needed, Out out) {
  for (unsigned i : {0u, 1u})
    accumulate(op, b, grads, needed, out, i, [&] {
      return fused(b, op->getLoc(), {grads[0], op->getOperand(i), op->getOperand(1 - i)}, [&](ArrayRef<Scalar> v) {
        Scalar wins = max ? v[1] > v[2] : v[1] < v[2];
        return select(wins, v[0], select(v[1] == v[2], 0.5 * v[0], 0.0));
      });
    });
}
void MaxOp::buildGradient(OpBuilder &b, Grads grads, Needed needed, Out out) {
  extremumGradient(*this, true, b, grads, needed, out);
}
void MinOp::buildGradient(OpBuilder &b, Grads grads, Needed needed, Out out) {
  extremumGradient(*this, false, b, grads, needed, out);
}

void PowOp::buildGradient(OpBuilder &b, Grads grads, Needed needed, Out out) {
  if (!isa<FloatType>(elementTypeOf(getLhs())))
    return;
  auto constantExponent = splatValue(getRhs());
  accumulate(*this, b, grads, needed, out, 0, [&] {
    if (constantExponent)
      return fused(b, getLoc(), {grads[0], getLhs()}, [&](ArrayRef<Scalar> v) {
        double e = *constantExponent;
        auto simple = simplePower(v[1], e - 1.0);
        return v[0] * (e * (simple ? *simple : pow(v[1], e - 1.0)));
      });
    return fused(b, getLoc(), {grads[0], getLhs(), getRhs()}, [&](ArrayRef<Scalar> v) {
      Scalar e = convert(v[2], v[1].type());
      return v[0] * select(e == 0.0, 0.0, e * pow(v[1], e - 1.0));
    });
  });
  if (isa<FloatType>(elementTypeOf(getRhs())))
    accumulate(*this, b, grads, needed, out, 1, [&] {
      return fused(b, getLoc(), {grads[0], getLhs(), getRhs(), getResult()}, [&](ArrayRef<Scalar> v) {
        return convert(v[0] * v[3] * select(v[1] > 0.0, log(select(v[1] > 0.0, v[1], 1.0)), 0.0), v[2].type());
      }, elementTypeOf(getRhs()));
    });
}

void ModOp::buildGradient(OpBuilder &b, Grads grads, Needed needed, Out out) {
  accumulate(*this, b, grads, needed, out, 0, [&] { return grads[0]; });
  accumulate(*this, b, grads, needed, out, 1, [&] {
    bool truncates = getFmod();
    return fused(b, getLoc(), {grads[0], getLhs(), getRhs()}, [&](ArrayRef<Scalar> v) {
      Scalar q = v[1] / v[2];
      return -(v[0] * (truncates ? select(q < 0.0, ceil(q), floor(q)) : floor(q)));
    });
  });
}

void BitAndOp::buildGradient(OpBuilder &, Grads, Needed, Out) {}
void BitOrOp::buildGradient(OpBuilder &, Grads, Needed, Out) {}
void BitXorOp::buildGradient(OpBuilder &, Grads, Needed, Out) {}

} // namespace gmc::nn
