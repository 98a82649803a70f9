//===- Elementwise.td - elementwise ops with ONNX broadcasting, and fused regions of scalar IR ----------===//

#ifndef GMC_DIALECTS_NN_ELEMENTWISE_TD
#define GMC_DIALECTS_NN_ELEMENTWISE_TD

include "dialects/NN/NNBase.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

/// An elementwise op: scalar form and gradient are given in C++, everything else follows.
class NN_ElementwiseOp<string mnemonic, list<Trait> traits = []> : NN_Op<mnemonic, !listconcat([
    DeclareOpInterfaceMethods<ScalarOpInterface>, DeclareOpInterfaceMethods<GradientOpInterface>,
    DeclareOpInterfaceMethods<KernelOpInterface>, DeclareOpInterfaceMethods<RematOpInterface, ["getInPlaceOperands"]>,
    CostOpInterface, DeclareOpInterfaceMethods<PrecisionOpInterface, ["getPrecisionPolicy"]>, InferTypeOpAdaptor], traits)> {
  let results = (outs NN_Tensor:$result);
  string policy = "Follow";
  code elementwiseMethods = [{
    ::gmc::PrecisionPolicy $cppClass::getPrecisionPolicy() { return ::gmc::PrecisionPolicy::}] # policy # [{; }
    void $cppClass::emitKernel(::gmc::KernelBuilder &kernel) { emitElementwiseKernel(*this, kernel); }
    ::llvm::SmallVector<unsigned> $cppClass::getInPlaceOperands(unsigned) { return elementwiseInPlace(*this); }
  }];
}

class NN_UnaryOp<string mnemonic, list<Trait> traits = []> : NN_ElementwiseOp<mnemonic, traits> {
  let arguments = (ins NN_Tensor:$x);
  let assemblyFormat = "$x attr-dict `:` type($x)";
  let extraClassDefinition = elementwiseMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location>,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.push_back(adaptor.getX().getType());
      return ::mlir::success();
    }
  }];
}

/// From a tensor to booleans of its shape.
class NN_TestOp<string mnemonic> : NN_ElementwiseOp<mnemonic> {
  let arguments = (ins NN_Tensor:$x);
  let results = (outs NN_BoolTensor:$result);
  let assemblyFormat = "$x attr-dict `:` type($x)";
  let extraClassDefinition = elementwiseMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *context, std::optional<::mlir::Location>,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.push_back(tensorType(adaptor.getX()).clone(::mlir::IntegerType::get(context, 1)));
      return ::mlir::success();
    }
    void $cppClass::buildGradient(::mlir::OpBuilder &, ::llvm::ArrayRef<::mlir::Value>, ::llvm::ArrayRef<bool>,
        ::llvm::MutableArrayRef<::mlir::Value>) {}
  }];
}

class NN_BinaryOp<string mnemonic, list<Trait> traits = []> : NN_ElementwiseOp<mnemonic, traits> {
  let arguments = (ins NN_Tensor:$lhs, NN_Tensor:$rhs);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs)";
  let extraClassDefinition = elementwiseMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      return inferBroadcast(loc, adaptor.getOperands(), {}, types);
    }
  }];
}

/// Two tensors to booleans of their broadcast: comparisons and logic, without a gradient.
class NN_PredicateOp<string mnemonic> : NN_ElementwiseOp<mnemonic> {
  let arguments = (ins NN_Tensor:$lhs, NN_Tensor:$rhs);
  let results = (outs NN_BoolTensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs)";
  let extraClassDefinition = elementwiseMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *context, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      return inferBroadcast(loc, adaptor.getOperands(), ::mlir::IntegerType::get(context, 1), types);
    }
    void $cppClass::buildGradient(::mlir::OpBuilder &, ::llvm::ArrayRef<::mlir::Value>, ::llvm::ArrayRef<bool>,
        ::llvm::MutableArrayRef<::mlir::Value>) {}
  }];
}

//===- Unary --------------------------------------------------------------------------------------------===//

class NN_SimpleUnaryOp<string mnemonic, string what> : NN_UnaryOp<mnemonic> {
  let summary = what;
  let description = what # [{, elementwise.

    ```mlir
    %y = nn.}] # mnemonic # [{ %x : tensor<2x3xf32>
    ```
  }];
}

def NN_ReluOp : NN_SimpleUnaryOp<"relu", "max(x, 0)">;
def NN_SigmoidOp : NN_SimpleUnaryOp<"sigmoid", "1 / (1 + exp(-x))">;
def NN_TanhOp : NN_SimpleUnaryOp<"tanh", "Hyperbolic tangent">;
def NN_ErfOp : NN_SimpleUnaryOp<"erf", "Gauss error function">;
def NN_ExpOp : NN_SimpleUnaryOp<"exp", "Natural exponential"> { let policy = "Fp32"; }
def NN_LogOp : NN_SimpleUnaryOp<"log", "Natural logarithm"> { let policy = "Fp32"; }
def NN_SqrtOp : NN_SimpleUnaryOp<"sqrt", "Square root">;
def NN_ReciprocalOp : NN_SimpleUnaryOp<"reciprocal", "1 / x">;
def NN_NegOp : NN_SimpleUnaryOp<"neg", "-x">;
def NN_AbsOp : NN_SimpleUnaryOp<"abs", "Absolute value; gradient 0 at 0">;
def NN_SignOp : NN_SimpleUnaryOp<"sign", "-1, 0 or 1; gradient 0">;
def NN_FloorOp : NN_SimpleUnaryOp<"floor", "Largest integer not above x; gradient 0">;
def NN_CeilOp : NN_SimpleUnaryOp<"ceil", "Smallest integer not below x; gradient 0">;
def NN_RoundOp : NN_SimpleUnaryOp<"round", "Nearest integer, ties to even; gradient 0">;
def NN_SinOp : NN_SimpleUnaryOp<"sin", "Sine">;
def NN_CosOp : NN_SimpleUnaryOp<"cos", "Cosine">;
def NN_TanOp : NN_SimpleUnaryOp<"tan", "Tangent">;
def NN_AsinOp : NN_SimpleUnaryOp<"asin", "Inverse sine">;
def NN_AcosOp : NN_SimpleUnaryOp<"acos", "Inverse cosine">;
def NN_AtanOp : NN_SimpleUnaryOp<"atan", "Inverse tangent">;
def NN_SinhOp : NN_SimpleUnaryOp<"sinh", "Hyperbolic sine">;
def NN_CoshOp : NN_SimpleUnaryOp<"cosh", "Hyperbolic cosine">;
def NN_AsinhOp : NN_SimpleUnaryOp<"asinh", "Inverse hyperbolic sine">;
def NN_AcoshOp : NN_SimpleUnaryOp<"acosh", "Inverse hyperbolic cosine">;
def NN_AtanhOp : NN_SimpleUnaryOp<"atanh", "Inverse hyperbolic tangent">;
def NN_SoftplusOp : NN_SimpleUnaryOp<"softplus", "log(1 + exp(x))">;
def NN_SoftsignOp : NN_SimpleUnaryOp<"softsign", "x / (1 + |x|)">;
def NN_HardSwishOp : NN_SimpleUnaryOp<"hard_swish", "x * clip(x / 6 + 1/2, 0, 1)">;
def NN_MishOp : NN_SimpleUnaryOp<"mish", "x * tanh(softplus(x))">;
def NN_NotOp : NN_SimpleUnaryOp<"not", "Logical negation of booleans">;

def NN_GeluOp : NN_UnaryOp<"gelu"> {
  let summary = "Gaussian error linear unit";
  let description = [{
    x * Phi(x) with the normal distribution function Phi, or its tanh approximation.

    ```mlir
    %y = nn.gelu %x {tanh_approximation = true} : tensor<2x3xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, DefaultValuedAttr<BoolAttr, "false">:$tanh_approximation);
}

class NN_AlphaUnaryOp<string mnemonic, string what, string alphaDefault> : NN_UnaryOp<mnemonic> {
  let summary = what;
  let description = what # [{, elementwise.

    ```mlir
    %y = nn.}] # mnemonic # [{ %x {alpha = 5.0e-01 : f64} : tensor<2x3xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, DefaultValuedAttr<F64Attr, alphaDefault>:$alpha);
}
def NN_LeakyReluOp : NN_AlphaUnaryOp<"leaky_relu", "x where x >= 0, else alpha * x", "0.01">;
def NN_EluOp : NN_AlphaUnaryOp<"elu", "x where x >= 0, else alpha * (exp(x) - 1)", "1.0">;
def NN_CeluOp : NN_AlphaUnaryOp<"celu", "max(0, x) + min(0, alpha * (exp(x / alpha) - 1))", "1.0">;
def NN_ThresholdedReluOp : NN_AlphaUnaryOp<"thresholded_relu", "x where x > alpha, else 0", "1.0">;
def NN_SwishOp : NN_AlphaUnaryOp<"swish", "x * sigmoid(alpha * x)", "1.0">;

def NN_SeluOp : NN_UnaryOp<"selu"> {
  let summary = "gamma * (x where x > 0, else alpha * (exp(x) - 1))";
  let arguments = (ins NN_Tensor:$x, DefaultValuedAttr<F64Attr, "1.67326319217681884765625">:$alpha,
                       DefaultValuedAttr<F64Attr, "1.05070102214813232421875">:$gamma);
}
def NN_HardSigmoidOp : NN_UnaryOp<"hard_sigmoid"> {
  let summary = "clip(alpha * x + beta, 0, 1)";
  let arguments = (ins NN_Tensor:$x, DefaultValuedAttr<F64Attr, "0.2">:$alpha,
                       DefaultValuedAttr<F64Attr, "0.5">:$beta);
}

def NN_IsNaNOp : NN_TestOp<"isnan"> { let summary = "Whether an element is a NaN"; }
def NN_IsInfOp : NN_TestOp<"isinf"> {
  let summary = "Whether an element is infinite";
  let arguments = (ins NN_Tensor:$x, DefaultValuedAttr<BoolAttr, "true">:$detect_negative,
                       DefaultValuedAttr<BoolAttr, "true">:$detect_positive);
}

def NN_CastOp : NN_ElementwiseOp<"cast"> {
  let summary = "Conversion of the element type";
  let description = [{
    To booleans: `!= 0`. From float to integer: truncation. Between floats: round to nearest even. The gradient is a cast back.

    ```mlir
    %y = nn.cast %x {to = f32} : (tensor<4xi64>) -> tensor<4xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, TypeAttr:$to);
  let assemblyFormat = "$x attr-dict `:` functional-type($x, $result)";
  let extraClassDefinition = elementwiseMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location>,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.push_back(tensorType(adaptor.getX()).clone(adaptor.getTo()));
      return ::mlir::success();
    }
  }];
}

//===- Binary and ternary -------------------------------------------------------------------------------===//

class NN_SimpleBinaryOp<string mnemonic, string what> : NN_BinaryOp<mnemonic> {
  let summary = what;
  let description = what # [{, elementwise over the broadcast of both.

    ```mlir
    %z = nn.}] # mnemonic # [{ %x, %y : tensor<2x3xf32>, tensor<3xf32>
    ```
  }];
}
def NN_AddOp : NN_SimpleBinaryOp<"add", "x + y">;
def NN_SubOp : NN_SimpleBinaryOp<"sub", "x - y">;
def NN_MulOp : NN_SimpleBinaryOp<"mul", "x * y">;
def NN_DivOp : NN_SimpleBinaryOp<"div", "x / y; integers truncate toward zero">;
def NN_MaxOp : NN_SimpleBinaryOp<"max", "Larger of two; at a tie the gradient goes half to each">;
def NN_MinOp : NN_SimpleBinaryOp<"min", "Smaller of two; at a tie the gradient goes half to each">;
def NN_PReluOp : NN_SimpleBinaryOp<"prelu", "x where x >= 0, else slope * x, with a trainable slope">;
def NN_BitAndOp : NN_SimpleBinaryOp<"bit_and", "Bitwise and of integers">;
def NN_BitOrOp : NN_SimpleBinaryOp<"bit_or", "Bitwise or of integers">;
def NN_BitXorOp : NN_SimpleBinaryOp<"bit_xor", "Bitwise exclusive or of integers">;

def NN_PowOp : NN_BinaryOp<"pow"> {
  let summary = "x to the power y, in the element type of x";
  let description = [{
    A constant exponent of 2, 3, 0.5, -0.5, 1 or -1 becomes products and roots. The gradient of the exponent is 0 where x <= 0.

    ```mlir
    %z = nn.pow %x, %y : tensor<2x3xf32>, tensor<f32>
    ```
  }];
  let extraClassDefinition = elementwiseMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      return inferBroadcast(loc, adaptor.getOperands(), elementTypeOf(adaptor.getLhs()), types);
    }
  }];
}
def NN_ModOp : NN_BinaryOp<"mod"> {
  let summary = "Remainder, with the sign of the divisor, or with that of the dividend (fmod)";
  let arguments = (ins NN_Tensor:$lhs, NN_Tensor:$rhs, DefaultValuedAttr<BoolAttr, "false">:$fmod);
}

def NN_EqualOp : NN_PredicateOp<"equal"> { let summary = "x == y"; }
def NN_LessOp : NN_PredicateOp<"less"> { let summary = "x < y"; }
def NN_LessOrEqualOp : NN_PredicateOp<"less_or_equal"> { let summary = "x <= y"; }
def NN_GreaterOp : NN_PredicateOp<"greater"> { let summary = "x > y"; }
def NN_GreaterOrEqualOp : NN_PredicateOp<"greater_or_equal"> { let summary = "x >= y"; }
def NN_AndOp : NN_PredicateOp<"and"> { let summary = "Logical and"; }
def NN_OrOp : NN_PredicateOp<"or"> { let summary = "Logical or"; }
def NN_XorOp : NN_PredicateOp<"xor"> { let summary = "Logical exclusive or"; }

def NN_WhereOp : NN_ElementwiseOp<"where"> {
  let summary = "x where the condition holds, else y";
  let description = [{
    ```mlir
    %z = nn.where %c, %x, %y : tensor<2x3xi1>, tensor<2x3xf32>, tensor<f32>
    ```
  }];
  let arguments = (ins NN_BoolTensor:$condition, NN_Tensor:$x, NN_Tensor:$y);
  let assemblyFormat = "$condition `,` $x `,` $y attr-dict `:` type($condition) `,` type($x) `,` type($y)";
  let extraClassDefinition = elementwiseMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      return inferBroadcast(loc, adaptor.getOperands(), elementTypeOf(adaptor.getX()), types);
    }
  }];
}

//===- Fused regions ------------------------------------------------------------------------------------===//

def NN_FusedOp : NN_Op<"fused", [DeclareOpInterfaceMethods<KernelOpInterface>,
    DeclareOpInterfaceMethods<RematOpInterface, ["getInPlaceOperands"]>,
    DeclareOpInterfaceMethods<CostOpInterface, ["getFlops"]>, PrecisionOpInterface,
    DeclareOpInterfaceMethods<ScalarOpInterface>, SingleBlock]> {
  let summary = "Elementwise region of scalar IR over broadcast operands";
  let description = [{
    The region takes one scalar per operand and yields the result's element; it holds arith and math ops only. Gradients of
    elementwise ops are written as fused regions, and the fusion pass merges elementwise neighbours into one.

    ```mlir
    %dx = nn.fused(%y, %g) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32> {
    ^bb0(%ys: f32, %gs: f32):
      %zero = arith.constant 0.0 : f32
      %p = arith.cmpf ogt, %ys, %zero : f32
      %r = arith.select %p, %gs, %zero : f32
      nn.yield %r : f32
    }
    ```
  }];
  let arguments = (ins Variadic<NN_Tensor>:$inputs);
  let results = (outs NN_Tensor:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "`(` $inputs `)` attr-dict `:` functional-type($inputs, $result) $body";
  let hasRegionVerifier = 1;
}

def NN_YieldOp : NN_Op<"yield", [Terminator, ReturnLike]> {
  let summary = "Ends a region of scalar or tensor IR";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

#endif
