//===- Resample.td - interpolation along axes -----------------------------------------------------------===//

#ifndef GMC_DIALECTS_NN_RESAMPLE_TD
#define GMC_DIALECTS_NN_RESAMPLE_TD

include "dialects/NN/NNBase.td"

def NN_ResampleOp : NN_ComputeOp<"resample", [InferTypeOpAdaptor, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<CostOpInterface, ["getFlops", "getMemoryBytes", "getCostClass"]>, RematOpInterface,
    PrecisionOpInterface]> {
  let summary = "Weighted sums of neighbours along axes";
  let description = [{
    For every axis a of `axes` there are a table of positions [O, T] and one of weights [O, T]: along a, output o is the sum
    over t of `weights[o, t] * x[positions[o, t]]`; over several axes, of the products. Nearest, linear and cubic resizing with
    any coordinate rule are such tables, and so is their gradient, which is this op with the tables transposed: each element
    gathers what it contributed to.

    `reach`, two numbers below and above for each axis, says how far positions are from where the axis would be scaled to: with
    sizes I and O, output o has floor(o * I / O) - below <= positions[o, t] <= floor(o * I / O) + above. A kernel for a GPU takes from
    it which rows of x some rows of the result need, before it has the tables.

    ```mlir
    %p = nn.constant dense<[[0], [0], [1], [1]]> : tensor<4x1xi32>
    %w = nn.constant dense<1.0> : tensor<4x1xf32>
    %y = nn.resample %x at %p by %w {axes = array<i64: 1>} : (tensor<3x2xf32>, tensor<4x1xi32>, tensor<4x1xf32>) -> tensor<3x4xf32>
    ```
  }];
  let arguments = (ins NN_FloatTensor:$x, Variadic<NN_IndexTensor>:$positions, Variadic<NN_FloatTensor>:$weights,
                       DenseI64ArrayAttr:$axes, OptionalAttr<DenseI64ArrayAttr>:$reach);
  let results = (outs NN_FloatTensor:$result);
  let hasVerifier = 1;
  let assemblyFormat = "$x `at` $positions `by` $weights attr-dict `:` functional-type(operands, results)";
}

#endif
