//===- Softmax.td - softmax, its logarithm and hardmax along one axis -----------------------------------===//

#ifndef GMC_DIALECTS_NN_SOFTMAX_TD
#define GMC_DIALECTS_NN_SOFTMAX_TD

include "dialects/NN/NNBase.td"

/// `policy`: what the result is stored as under mixed precision; the kernels' statistics are fp32 in any case.
class NN_AxisOp<string mnemonic, string policy, list<Trait> traits = []> : NN_Op<mnemonic, !listconcat([
    DeclareOpInterfaceMethods<KernelOpInterface>, InferTypeOpAdaptor,
    DeclareOpInterfaceMethods<CostOpInterface, ["getFlops", "getCostClass"]>,
    DeclareOpInterfaceMethods<RematOpInterface, ["getInPlaceOperands"]>,
    DeclareOpInterfaceMethods<PrecisionOpInterface, ["getPrecisionPolicy"]>], traits)> {
  let results = (outs NN_FloatTensor:$result);
  code axisMethods = [{
    ::gmc::CostClass $cppClass::getCostClass() { return ::gmc::CostClass::Reduction; }
    ::gmc::PrecisionPolicy $cppClass::getPrecisionPolicy() { return ::gmc::PrecisionPolicy::}] # policy # [{; }
    int64_t $cppClass::getFlops() { return 4 * tensorType(getResult()).getNumElements(); }
  }];
}

class NN_AxisUnaryOp<string mnemonic, string policy = "Fp32"> : NN_AxisOp<mnemonic, policy, [DeclareOpInterfaceMethods<GradientOpInterface>]> {
  let arguments = (ins NN_FloatTensor:$x, I64Attr:$axis);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
  let extraClassDefinition = axisMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.push_back(adaptor.getX().getType());
      return checkAxis(loc, types[0], adaptor.getAxis());
    }
    ::llvm::SmallVector<unsigned> $cppClass::getInPlaceOperands(unsigned) { return {0}; }
  }];
}

/// Backward of an axis op, from its result and the result's gradient.
class NN_AxisGradOp<string mnemonic, string policy = "Fp32"> : NN_AxisOp<mnemonic, policy> {
  let arguments = (ins NN_FloatTensor:$y, NN_FloatTensor:$g, I64Attr:$axis);
  let assemblyFormat = "$y `,` $g attr-dict `:` functional-type(operands, results)";
  let extraClassDefinition = axisMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.push_back(adaptor.getY().getType());
      if (adaptor.getY().getType() != adaptor.getG().getType())
        return emitOptionalError(loc, "gradient ", adaptor.getG().getType(), " of ", adaptor.getY().getType());
      return checkAxis(loc, types[0], adaptor.getAxis());
    }
    ::llvm::SmallVector<unsigned> $cppClass::getInPlaceOperands(unsigned) { return {1, 0}; }
  }];
}

def NN_SoftmaxOp : NN_AxisUnaryOp<"softmax", "Follow"> {
  let summary = "exp(x) / sum(exp(x)) along one axis";
  let description = [{
    ```mlir
    %y = nn.softmax %x {axis = 1 : i64} : (tensor<8x10xf32>) -> tensor<8x10xf32>
    ```
  }];
}
def NN_LogSoftmaxOp : NN_AxisUnaryOp<"log_softmax"> {
  let summary = "x - log(sum(exp(x))) along one axis";
  let description = [{
    ```mlir
    %y = nn.log_softmax %x {axis = 1 : i64} : (tensor<8x10xf32>) -> tensor<8x10xf32>
    ```
  }];
}
def NN_HardmaxOp : NN_AxisUnaryOp<"hardmax"> {
  let summary = "1 at the first largest element along one axis, 0 elsewhere; gradient 0";
  let description = [{
    ```mlir
    %y = nn.hardmax %x {axis = 1 : i64} : (tensor<8x10xf32>) -> tensor<8x10xf32>
    ```
  }];
}
def NN_SoftmaxGradOp : NN_AxisGradOp<"softmax_grad", "Follow"> {
  let summary = "Backward of nn.softmax: y * (g - sum(g * y))";
}
def NN_LogSoftmaxGradOp : NN_AxisGradOp<"log_softmax_grad"> {
  let summary = "Backward of nn.log_softmax: g - exp(y) * sum(g)";
}

#endif
