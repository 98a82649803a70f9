//===- Random.td - ops that draw random numbers ---------------------------------------------------------===//

#ifndef GMC_DIALECTS_NN_RANDOM_TD
#define GMC_DIALECTS_NN_RANDOM_TD

include "dialects/NN/NNBase.td"

class NN_DropoutLikeOp<string mnemonic> : NN_ComputeOp<mnemonic, [InferTypeOpAdaptor,
    DeclareOpInterfaceMethods<CostOpInterface, ["getFlops"]>,
    DeclareOpInterfaceMethods<RematOpInterface, ["getInPlaceOperands"]>, PrecisionOpInterface]> {
  let arguments = (ins NN_FloatTensor:$x, Optional<NN_IndexTensor>:$rng, F64Attr:$ratio,
                       DefaultValuedAttr<BoolAttr, "false">:$training, DefaultValuedAttr<I64Attr, "0">:$node_id);
  let assemblyFormat = "$x (`,` $rng^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
  let extraClassDefinition = [{
    ::llvm::LogicalResult $cppClass::verify() { return verifyDropout(*this); }
    int64_t $cppClass::getFlops() { return (getTraining() ? 16 : 1) * tensorType(getX()).getNumElements(); }
    ::llvm::SmallVector<unsigned> $cppClass::getInPlaceOperands(unsigned) { return elementwiseInPlace(*this); }
  }];
}

def NN_DropoutOp : NN_DropoutLikeOp<"dropout"> {
  let summary = "Zeroes elements at random and scales the others by 1 / (1 - ratio)";
  let description = [{
    With `training`, an element is dropped with probability `ratio`; without, the result is x. Whether element i is dropped
    is a function of rng (seed, step, micro-step, unused: all zero where it is absent), `node_id` and i only: no mask is
    stored. The gradient is the same op on the gradient, and a recomputation gives the same bits.

    ```mlir
    %y = nn.dropout %x, %rng {ratio = 0.5 : f64, training = true, node_id = 7 : i64}
        : (tensor<2x8xf32>, tensor<4xi64>) -> tensor<2x8xf32>
    ```
  }];
  let results = (outs NN_FloatTensor:$result);
}

def NN_DropoutMaskOp : NN_DropoutLikeOp<"dropout_mask"> {
  let summary = "Which elements nn.dropout of the same operands and attributes keeps";
  let description = [{
    True where an element is kept: ONNX Dropout's second output. All true without `training`.

    ```mlir
    %m = nn.dropout_mask %x {ratio = 0.5 : f64, node_id = 7 : i64} : (tensor<2x8xf32>) -> tensor<2x8xi1>
    ```
  }];
  let results = (outs NN_BoolTensor:$result);
}

#endif
