#include "dialects/NN/Scalar.h"
#include "dialects/Interfaces/KernelBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace gmc {

Scalar Scalar::constant(double x) const { return with(kb::constant(*b, loc, v.getType(), x)); }

static Scalar binary(Scalar x, Scalar y, Value (*emit)(OpBuilder &, Location, Value, Value)) {
  return x.with(emit(x.builder(), x.getLoc(), x.value(), y.value()));
}
Scalar operator+(Scalar x, Scalar y) { return binary(x, y, kb::add); }
Scalar operator-(Scalar x, Scalar y) { return binary(x, y, kb::sub); }
Scalar operator*(Scalar x, Scalar y) { return binary(x, y, kb::mul); }
Scalar operator/(Scalar x, Scalar y) { return binary(x, y, kb::div); }
Scalar maximum(Scalar x, Scalar y) { return binary(x, y, kb::max); }
Scalar minimum(Scalar x, Scalar y) { return binary(x, y, kb::min); }

static Scalar compare(Scalar x, Scalar y, arith::CmpFPredicate ordered, arith::CmpIPredicate integer) {
  OpBuilder &b = x.builder();
  if (x.isFloat())
    return x.with(b.createOrFold<arith::CmpFOp>(x.getLoc(), ordered, x.value(), y.value()));
  return x.with(b.createOrFold<arith::CmpIOp>(x.getLoc(), integer, x.value(), y.value()));
}
Scalar operator<(Scalar x, Scalar y) { return compare(x, y, arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt); }
Scalar operator<=(Scalar x, Scalar y) { return compare(x, y, arith::CmpFPredicate::OLE, arith::CmpIPredicate::sle); }
Scalar operator>(Scalar x, Scalar y) { return compare(x, y, arith::CmpFPredicate::OGT, arith::CmpIPredicate::sgt); }
Scalar operator>=(Scalar x, Scalar y) { return compare(x, y, arith::CmpFPredicate::OGE, arith::CmpIPredicate::sge); }
Scalar operator==(Scalar x, Scalar y) { return compare(x, y, arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq); }
Scalar operator!=(Scalar x, Scalar y) { return compare(x, y, arith::CmpFPredicate::UNE, arith::CmpIPredicate::ne); }

Scalar operator-(Scalar x) {
  if (x.isFloat())
    return x.with(x.builder().createOrFold<arith::NegFOp>(x.getLoc(), x.value()));
  return x.constant(0) - x;
}
Scalar operator&(Scalar x, Scalar y) {
  return x.with(x.builder().createOrFold<arith::AndIOp>(x.getLoc(), x.value(), y.value()));
}
Scalar operator|(Scalar x, Scalar y) {
  return x.with(x.builder().createOrFold<arith::OrIOp>(x.getLoc(), x.value(), y.value()));
}
Scalar operator^(Scalar x, Scalar y) {
  return x.with(x.builder().createOrFold<arith::XOrIOp>(x.getLoc(), x.value(), y.value()));
}
Scalar operator!(Scalar x) {
  Value one = arith::ConstantOp::create(x.builder(), x.getLoc(), x.builder().getBoolAttr(true));
  return x ^ x.with(one);
}
Scalar select(Scalar condition, Scalar yes, Scalar no) {
  return yes.with(
      yes.builder().createOrFold<arith::SelectOp>(yes.getLoc(), condition.value(), yes.value(), no.value()));
}

#define GMC_SCALAR_UNARY(NAME, OP)                                                                                     \
  Scalar NAME(Scalar x) { return x.with(x.builder().createOrFold<math::OP>(x.getLoc(), x.value())); }
GMC_SCALAR_UNARY(exp, ExpOp)
GMC_SCALAR_UNARY(log, LogOp)
GMC_SCALAR_UNARY(log1p, Log1pOp)
GMC_SCALAR_UNARY(sqrt, SqrtOp)
GMC_SCALAR_UNARY(tanh, TanhOp)
GMC_SCALAR_UNARY(erf, ErfOp)
GMC_SCALAR_UNARY(sin, SinOp)
GMC_SCALAR_UNARY(cos, CosOp)
GMC_SCALAR_UNARY(tan, TanOp)
GMC_SCALAR_UNARY(asin, AsinOp)
GMC_SCALAR_UNARY(acos, AcosOp)
GMC_SCALAR_UNARY(atan, AtanOp)
GMC_SCALAR_UNARY(sinh, SinhOp)
GMC_SCALAR_UNARY(cosh, CoshOp)
GMC_SCALAR_UNARY(asinh, AsinhOp)
GMC_SCALAR_UNARY(acosh, AcoshOp)
GMC_SCALAR_UNARY(atanh, AtanhOp)
GMC_SCALAR_UNARY(floor, FloorOp)
GMC_SCALAR_UNARY(ceil, CeilOp)
GMC_SCALAR_UNARY(roundEven, RoundEvenOp)
#undef GMC_SCALAR_UNARY

Scalar abs(Scalar x) {
  OpBuilder &b = x.builder();
  return x.with(x.isFloat() ? b.createOrFold<math::AbsFOp>(x.getLoc(), x.value())
                            : b.createOrFold<math::AbsIOp>(x.getLoc(), x.value()));
}
Scalar pow(Scalar x, Scalar y) {
  return x.with(x.builder().createOrFold<math::PowFOp>(x.getLoc(), x.value(), y.value()));
}
Scalar sigmoid(Scalar x) {
  // exp(-|x|) never overflows, and 1 - s keeps full relative accuracy for negative x when written as e / (1 + e).
  Scalar e = exp(-abs(x));
  Scalar denominator = 1.0 + e;
  return select(x >= 0.0, 1.0 / denominator, e / denominator);
}

Scalar convert(Scalar x, Type to, bool fromUnsigned, bool toUnsigned) {
  OpBuilder &b = x.builder();
  Location loc = x.getLoc();
  Type from = x.type();
  Value v = x.value();
  if (from == to)
    return x;
  if (to.isInteger(1))
    return x != 0.0;
  auto fromFloat = dyn_cast<FloatType>(from), toFloat = dyn_cast<FloatType>(to);
  bool zeroExtend = fromUnsigned || from.isInteger(1);
  if (fromFloat && toFloat) {
    if (fromFloat.getWidth() == toFloat.getWidth()) // f16 <-> bf16
      v = b.createOrFold<arith::TruncFOp>(loc, to, b.createOrFold<arith::ExtFOp>(loc, b.getF32Type(), v));
    else if (fromFloat.getWidth() < toFloat.getWidth())
      v = b.createOrFold<arith::ExtFOp>(loc, to, v);
    else
      v = b.createOrFold<arith::TruncFOp>(loc, to, v);
  } else if (fromFloat) {
    v = toUnsigned ? b.createOrFold<arith::FPToUIOp>(loc, to, v) : b.createOrFold<arith::FPToSIOp>(loc, to, v);
  } else if (toFloat) {
    v = zeroExtend ? b.createOrFold<arith::UIToFPOp>(loc, to, v) : b.createOrFold<arith::SIToFPOp>(loc, to, v);
  } else if (from.getIntOrFloatBitWidth() < to.getIntOrFloatBitWidth()) {
    v = zeroExtend ? b.createOrFold<arith::ExtUIOp>(loc, to, v) : b.createOrFold<arith::ExtSIOp>(loc, to, v);
  } else {
    v = b.createOrFold<arith::TruncIOp>(loc, to, v);
  }
  return x.with(v);
}

} // namespace gmc
