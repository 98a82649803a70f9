//===- Matmul.td - batched matrix product with optional transposes and bias ------------------------------===//

#ifndef GMC_DIALECTS_NN_MATMUL_TD
#define GMC_DIALECTS_NN_MATMUL_TD

include "dialects/NN/NNBase.td"

def NN_MatmulOp : NN_ComputeOp<"matmul", [InferTypeOpAdaptor,
    DeclareOpInterfaceMethods<KernelOpInterface, ["getWorkspaceBytes"]>,
    DeclareOpInterfaceMethods<CostOpInterface, ["getFlops", "getCostClass"]>, RematOpInterface,
    DeclareOpInterfaceMethods<LibraryOpInterface>,
    DeclareOpInterfaceMethods<PrecisionOpInterface, ["getPrecisionPolicy"]>]> {
  let summary = "Matrix product over the last two dimensions, the others broadcast";
  let description = [{
    result = op(lhs) * op(rhs) [+ bias], where `transpose_a` and `transpose_b` swap the last two dimensions of an operand as it
    is read, and the bias has one element a column. The operands have at least two dimensions (the import reshapes vectors). Each
    element is summed in an order that depends on the shapes and the target only.

    ```mlir
    %c = nn.matmul %a, %b bias %d {transpose_b = true}
        : (tensor<8x16xf32>, tensor<4x16xf32>, tensor<4xf32>) -> tensor<8x4xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$lhs, NN_Tensor:$rhs, Optional<NN_Tensor>:$bias,
                       DefaultValuedAttr<BoolAttr, "false">:$transpose_a,
                       DefaultValuedAttr<BoolAttr, "false">:$transpose_b);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs (`bias` $bias^)? attr-dict `:` functional-type(operands, results)
  }];
}

#endif
