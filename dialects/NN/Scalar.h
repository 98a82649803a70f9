//===- Scalar.h - scalar expressions written as C++ expressions, emitted as arith and math ops ----*- C++ -*-===//
#ifndef GMC_DIALECTS_NN_SCALAR_H
#define GMC_DIALECTS_NN_SCALAR_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/Value.h"

namespace gmc {

/// One scalar of float, integer or i1 type. Operators emit the op they name; a C++ number becomes a constant of the
/// other operand's type. Integer division truncates, comparisons of floats are ordered (false with a NaN) except `!=`.
class Scalar {
public:
  Scalar(mlir::OpBuilder &b, mlir::Location loc, mlir::Value v) : b(&b), loc(loc), v(v) {}
  mlir::Value value() const { return v; }
  mlir::Type type() const { return v.getType(); }
  bool isFloat() const { return llvm::isa<mlir::FloatType>(v.getType()); }
  mlir::OpBuilder &builder() const { return *b; }
  mlir::Location getLoc() const { return loc; }
  /// A constant of this scalar's type.
  Scalar constant(double x) const;
  /// The same expression context with another value.
  Scalar with(mlir::Value other) const { return Scalar(*b, loc, other); }

private:
  mlir::OpBuilder *b;
  mlir::Location loc;
  mlir::Value v;
};

#define GMC_SCALAR_BINARY(OP)                                                                                          \
  Scalar OP(Scalar x, Scalar y);                                                                                       \
  inline Scalar OP(Scalar x, double y) { return OP(x, x.constant(y)); }                                                \
  inline Scalar OP(double x, Scalar y) { return OP(y.constant(x), y); }
GMC_SCALAR_BINARY(operator+)
GMC_SCALAR_BINARY(operator-)
GMC_SCALAR_BINARY(operator*)
GMC_SCALAR_BINARY(operator/)
GMC_SCALAR_BINARY(operator<)
GMC_SCALAR_BINARY(operator<=)
GMC_SCALAR_BINARY(operator>)
GMC_SCALAR_BINARY(operator>=)
GMC_SCALAR_BINARY(operator==)
GMC_SCALAR_BINARY(operator!=)
GMC_SCALAR_BINARY(pow)     // floats
GMC_SCALAR_BINARY(maximum) // NaN propagates
GMC_SCALAR_BINARY(minimum)
#undef GMC_SCALAR_BINARY
Scalar operator-(Scalar x);
Scalar operator&(Scalar x, Scalar y);
Scalar operator|(Scalar x, Scalar y);
Scalar operator^(Scalar x, Scalar y);
Scalar operator!(Scalar x); // i1
Scalar select(Scalar condition, Scalar yes, Scalar no);
inline Scalar select(Scalar condition, double yes, Scalar no) { return select(condition, no.constant(yes), no); }
inline Scalar select(Scalar condition, Scalar yes, double no) { return select(condition, yes, yes.constant(no)); }

Scalar exp(Scalar x);
Scalar log(Scalar x);
Scalar log1p(Scalar x);
Scalar sqrt(Scalar x);
Scalar tanh(Scalar x);
Scalar erf(Scalar x);
Scalar abs(Scalar x);
Scalar sin(Scalar x);
Scalar cos(Scalar x);
Scalar tan(Scalar x);
Scalar asin(Scalar x);
Scalar acos(Scalar x);
Scalar atan(Scalar x);
Scalar sinh(Scalar x);
Scalar cosh(Scalar x);
Scalar asinh(Scalar x);
Scalar acosh(Scalar x);
Scalar atanh(Scalar x);
Scalar floor(Scalar x);
Scalar ceil(Scalar x);
Scalar roundEven(Scalar x);
/// 1 / (1 + exp(-x)), without overflow for any x.
Scalar sigmoid(Scalar x);

/// Conversion between element types as ONNX Cast does it; `fromUnsigned`/`toUnsigned` say how an integer is read.
/// Conversion to i1 is `!= 0`; float to int truncates.
Scalar convert(Scalar x, mlir::Type to, bool fromUnsigned = false, bool toUnsigned = false);

} // namespace gmc

#endif
