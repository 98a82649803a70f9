//===- ElementwiseUnary.cpp - scalar form and derivative of every unary op ------------------------------===//

#include "dialects/NN/ElementwiseSupport.h"
#include <cmath>

using namespace mlir;

namespace gmc::nn {

/// Gradient g * derivative(v), where v is the op's result when `useResult` (so that the operand may die) else its
/// operand.
static void chain(Operation *op, bool useResult, OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                  MutableArrayRef<Value> out, function_ref<Scalar(Scalar)> derivative) {
  if (!grads[0] || !needed[0])
    return;
  Value v = useResult ? Value(op->getResult(0)) : op->getOperand(0);
  out[0] = fused(b, op->getLoc(), {v, grads[0]}, [&](ArrayRef<Scalar> s) { return s[1] * derivative(s[0]); });
}

// VALUE and DERIVATIVE are expressions in v (a Scalar) and op; DERIVATIVE's v is the result when FROM is Result.
enum From { Operand = 0, Result = 1 };
#define GMC_UNARY(OP, VALUE, FROM, DERIVATIVE)                                                                         \
  Value OP::emitScalar(OpBuilder &b, Location loc, ValueRange operands) {                                              \
    [[maybe_unused]] OP op = *this;                                                                                    \
    Scalar v(b, loc, operands[0]);                                                                                     \
    return (VALUE).value();                                                                                            \
  }                                                                                                                    \
  void OP::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {     \
    [[maybe_unused]] OP op = *this;                                                                                    \
    chain(*this, FROM, b, grads, needed, out, [&](Scalar v) -> Scalar { return DERIVATIVE; });                         \
  }
#define GMC_UNARY_NO_GRADIENT(OP, VALUE)                                                                               \
  Value OP::emitScalar(OpBuilder &b, Location loc, ValueRange operands) {                                              \
    Scalar v(b, loc, operands[0]);                                                                                     \
    return (VALUE).value();                                                                                            \
  }                                                                                                                    \
  void OP::buildGradient(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>, MutableArrayRef<Value>) {}

static double number(const llvm::APFloat &value) { return value.convertToDouble(); }
static Scalar ones(Scalar v) { return v.constant(1.0); }
static Scalar zeros(Scalar v) { return v.constant(0.0); }
/// log(1 + exp(x)) without overflow.
static Scalar softplus(Scalar x) { return maximum(x, 0.0) + log1p(exp(-abs(x))); }
/// exp(x) - 1 for x <= 0 and 0 above, so that no branch not taken overflows.
static Scalar expm1Negative(Scalar x) { return exp(minimum(x, 0.0)) - 1.0; }

GMC_UNARY(ReluOp, maximum(v, 0.0), Result, select(v > 0.0, ones(v), 0.0))
GMC_UNARY(SigmoidOp, sigmoid(v), Result, v *(1.0 - v))
GMC_UNARY(TanhOp, tanh(v), Result, 1.0 - v * v)
GMC_UNARY(ErfOp, erf(v), Operand, (2.0 / std::sqrt(M_PI)) * exp(-(v * v)))
GMC_UNARY(ExpOp, exp(v), Result, v)
GMC_UNARY(LogOp, log(v), Operand, 1.0 / v)
GMC_UNARY(SqrtOp, sqrt(v), Result, 0.5 / v)
GMC_UNARY(ReciprocalOp, 1.0 / v, Result, -(v * v))
GMC_UNARY(NegOp, -v, Operand, v.constant(-1.0))
GMC_UNARY(AbsOp, abs(v), Operand, select(v > 0.0, ones(v), select(v < 0.0, -1.0, zeros(v))))
GMC_UNARY(SinOp, sin(v), Operand, cos(v))
GMC_UNARY(CosOp, cos(v), Operand, -sin(v))
GMC_UNARY(TanOp, tan(v), Result, 1.0 + v * v)
GMC_UNARY(AsinOp, asin(v), Operand, 1.0 / sqrt(1.0 - v * v))
GMC_UNARY(AcosOp, acos(v), Operand, -1.0 / sqrt(1.0 - v * v))
GMC_UNARY(AtanOp, atan(v), Operand, 1.0 / (1.0 + v * v))
GMC_UNARY(SinhOp, sinh(v), Operand, cosh(v))
GMC_UNARY(CoshOp, cosh(v), Operand, sinh(v))
GMC_UNARY(AsinhOp, asinh(v), Operand, 1.0 / sqrt(v * v + 1.0))
GMC_UNARY(AcoshOp, acosh(v), Operand, 1.0 / sqrt(v * v - 1.0))
GMC_UNARY(AtanhOp, atanh(v), Operand, 1.0 / (1.0 - v * v))
GMC_UNARY(SoftplusOp, softplus(v), Operand, sigmoid(v))
GMC_UNARY(SoftsignOp, v / (1.0 + abs(v)), Operand, 1.0 / ((1.0 + abs(v)) * (1.0 + abs(v))))
GMC_UNARY(HardSwishOp, v *maximum(minimum(v * (1.0 / 6.0) + 0.5, 1.0), 0.0), Operand,
          select(v <= -3.0, 0.0, select(v >= 3.0, 1.0, v * (1.0 / 3.0) + 0.5)))
GMC_UNARY(MishOp, v *tanh(softplus(v)), Operand,
          tanh(softplus(v)) + v * sigmoid(v) * (1.0 - tanh(softplus(v)) * tanh(softplus(v))))
GMC_UNARY(LeakyReluOp, select(v >= 0.0, v, v *number(op.getAlpha())), Operand,
          select(v >= 0.0, 1.0, v.constant(number(op.getAlpha()))))
GMC_UNARY(EluOp, select(v >= 0.0, v, number(op.getAlpha()) * expm1Negative(v)), Operand,
          select(v >= 0.0, 1.0, number(op.getAlpha()) * exp(minimum(v, 0.0))))
GMC_UNARY(CeluOp, maximum(v, 0.0) + number(op.getAlpha()) * expm1Negative(v / number(op.getAlpha())), Operand,
          select(v >= 0.0, 1.0, exp(minimum(v, 0.0) / number(op.getAlpha()))))
GMC_UNARY(SeluOp,
          number(op.getGamma()) * select(v > 0.0, v, number(op.getAlpha()) * expm1Negative(v)), Operand,
          number(op.getGamma()) * select(v > 0.0, 1.0, number(op.getAlpha()) * exp(minimum(v, 0.0))))
GMC_UNARY(ThresholdedReluOp, select(v > number(op.getAlpha()), v, 0.0), Operand,
          select(v > number(op.getAlpha()), ones(v), 0.0))
GMC_UNARY(SwishOp, v *sigmoid(v *number(op.getAlpha())), Operand,
          sigmoid(v *number(op.getAlpha())) *
              (1.0 + number(op.getAlpha()) * v * (1.0 - sigmoid(v * number(op.getAlpha())))))
GMC_UNARY(HardSigmoidOp, maximum(minimum(v *number(op.getAlpha()) + number(op.getBeta()), 1.0), 0.0), Operand,
          select((v * number(op.getAlpha()) + number(op.getBeta()) > 0.0) &
                     (v * number(op.getAlpha()) + number(op.getBeta()) < 1.0),
                 v.constant(number(op.getAlpha())), 0.0))

GMC_UNARY_NO_GRADIENT(SignOp, v.isFloat() ? select(v > 0.0, 1.0, select(v < 0.0, -1.0, v))
                                          : select(v > 0.0, 1.0, select(v < 0.0, -1.0, zeros(v))))
GMC_UNARY_NO_GRADIENT(FloorOp, floor(v))
GMC_UNARY_NO_GRADIENT(CeilOp, ceil(v))
GMC_UNARY_NO_GRADIENT(RoundOp, roundEven(v))
GMC_UNARY_NO_GRADIENT(NotOp, !v)

/// Hendrycks and Gimpel, Gaussian Error Linear Units, 2016: x Phi(x), and its tanh form.
static Scalar geluInner(Scalar x) { return std::sqrt(2.0 / M_PI) * (x + 0.044715 * (x * x * x)); }

Value GeluOp::emitScalar(OpBuilder &b, Location loc, ValueRange operands) {
  Scalar x(b, loc, operands[0]);
  if (getTanhApproximation())
    return (0.5 * x * (1.0 + tanh(geluInner(x)))).value();
  return (0.5 * x * (1.0 + erf(x * M_SQRT1_2))).value();
}

void GeluOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  bool approximate = getTanhApproximation();
  chain(*this, Operand, b, grads, needed, out, [&](Scalar x) -> Scalar {
    if (!approximate)
      return 0.5 * (1.0 + erf(x * M_SQRT1_2)) + x * (1.0 / std::sqrt(2.0 * M_PI)) * exp(-0.5 * (x * x));
    Scalar t = tanh(geluInner(x));
    Scalar inner = std::sqrt(2.0 / M_PI) * (1.0 + 3.0 * 0.044715 * (x * x));
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner;
  });
}

Value IsNaNOp::emitScalar(OpBuilder &b, Location loc, ValueRange operands) {
  Scalar x(b, loc, operands[0]);
  return (x != x).value();
}

Value IsInfOp::emitScalar(OpBuilder &b, Location loc, ValueRange operands) {
  Scalar x(b, loc, operands[0]);
  Scalar positive = x == INFINITY, negative = x == -INFINITY;
  Scalar none = x < x;
  return ((getDetectPositive() ? positive : none) | (getDetectNegative() ? negative : none)).value();
}

} // namespace gmc::nn
