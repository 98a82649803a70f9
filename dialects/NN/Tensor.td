//===- Tensor.td - constants and views ------------------------------------------------------------------===//

#ifndef GMC_DIALECTS_NN_TENSOR_TD
#define GMC_DIALECTS_NN_TENSOR_TD

include "dialects/NN/NNBase.td"

def NN_ConstantOp : NN_Op<"constant", [ConstantLike, AllTypesMatch<["value", "result"]>]> {
  let summary = "A tensor known at compile time";
  let description = [{
    Splats and scalars become immediates of the kernels that read them; others are kept in the arena as constants.

    ```mlir
    %two = nn.constant dense<2.0> : tensor<f32>
    ```
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "attr-dict $value";
  let hasFolder = 1;
  let builders = [OpBuilder<(ins "::mlir::DenseElementsAttr":$value), [{ build($_builder, $_state, value.getType(), value); }]>];
}

def NN_ReshapeOp : NN_Op<"reshape", [InferTypeOpAdaptor,
    DeclareOpInterfaceMethods<GradientOpInterface>, DeclareOpInterfaceMethods<KernelOpInterface>, CostOpInterface,
    DeclareOpInterfaceMethods<RematOpInterface, ["isView"]>, PrecisionOpInterface]> {
  let summary = "The same elements in row-major order under another shape";
  let description = [{
    A view: it takes no time and no memory.

    ```mlir
    %y = nn.reshape %x {shape = array<i64: 6>} : (tensor<2x3xf32>) -> tensor<6xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$shape);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type($x, $result)";
  let hasFolder = 1;
}

#endif
