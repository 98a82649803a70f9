//===- Reduce.td - reductions over axes, softmax --------------------------------------------------------===//

#ifndef GMC_DIALECTS_NN_REDUCE_TD
#define GMC_DIALECTS_NN_REDUCE_TD

include "dialects/NN/NNBase.td"

class NN_ReduceOp<string mnemonic> : NN_ComputeOp<mnemonic, [
    InferTypeOpAdaptor, DeclareOpInterfaceMethods<CostOpInterface, ["getFlops", "getCostClass"]>,
    RematOpInterface, DeclareOpInterfaceMethods<PrecisionOpInterface, ["getPrecisionPolicy"]>]> {
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$axes, DefaultValuedAttr<BoolAttr, "false">:$keepdims);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
  let extraClassDefinition = [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      return inferReduce(loc, tensorType(adaptor.getX()), adaptor.getAxes(), adaptor.getKeepdims(), types);
    }
    int64_t $cppClass::getFlops() { return tensorType(getX()).getNumElements(); }
    ::gmc::CostClass $cppClass::getCostClass() { return ::gmc::CostClass::Reduction; }
    ::gmc::PrecisionPolicy $cppClass::getPrecisionPolicy() { return ::gmc::PrecisionPolicy::Fp32; }
  }];
}

def NN_ReduceSumOp : NN_ReduceOp<"reduce_sum"> {
  let summary = "Sum over axes";
  let description = [{
    ```mlir
    %y = nn.reduce_sum %x {axes = array<i64: 0, 2>} : (tensor<4x8x16xf32>) -> tensor<8xf32>
    ```
  }];
}

#endif
