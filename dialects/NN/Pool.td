//===- Pool.td - max and average pools ------------------------------------------------------------------===//

#ifndef GMC_DIALECTS_NN_POOL_TD
#define GMC_DIALECTS_NN_POOL_TD

include "dialects/NN/NNBase.td"

class NN_PoolLikeOp<string mnemonic, list<Trait> traits = []> : NN_ComputeOp<mnemonic, !listconcat([
    InferTypeOpAdaptor, DeclareOpInterfaceMethods<CostOpInterface, ["getFlops", "getCostClass"]>, RematOpInterface,
    PrecisionOpInterface], traits)> {
  let extraClassDefinition = [{
    int64_t $cppClass::getFlops() { return poolFlops(*this); }
    ::gmc::CostClass $cppClass::getCostClass() { return poolCostClass(*this); }
  }];
}

class NN_LibraryPoolOp<string mnemonic>
    : NN_PoolLikeOp<mnemonic, [DeclareOpInterfaceMethods<LibraryOpInterface>]>;

defvar NN_PoolAttributes = (ins DenseI64ArrayAttr:$kernel, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads,
                                DenseI64ArrayAttr:$dilations, DefaultValuedAttr<BoolAttr, "false">:$ceil_mode);

def NN_MaxPoolOp : NN_LibraryPoolOp<"max_pool"> {
  let summary = "Largest element of each window";
  let description = [{
    Windows lie as in `nn.conv`; what is outside the input does not take part. With `ceil_mode` a last window may reach past
    the end padding, unless it would start there. NaN wins. The gradient goes to the first largest element in row-major
    order.

    ```mlir
    %y = nn.max_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>,
        dilations = array<i64: 1, 1>} : (tensor<2x3x8x8xf32>) -> tensor<2x3x4x4xf32>
    ```
  }];
  let arguments = !con((ins NN_Tensor:$x), NN_PoolAttributes);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
}

def NN_MaxPoolIndicesOp : NN_PoolLikeOp<"max_pool_indices"> {
  let summary = "Where the largest element of each window lies";
  let description = [{
    Position in the whole of x of the element that `nn.max_pool` takes: ONNX MaxPool's second output. Row-major, or with the
    first spatial axis fastest (`column_major`).

    ```mlir
    %i = nn.max_pool_indices %x {kernel = array<i64: 2>, strides = array<i64: 2>, pads = array<i64: 0, 0>,
        dilations = array<i64: 1>} : (tensor<2x3x8xf32>) -> tensor<2x3x4xi64>
    ```
  }];
  let arguments = !con((ins NN_Tensor:$x), NN_PoolAttributes,
                       (ins DefaultValuedAttr<BoolAttr, "false">:$column_major));
  let results = (outs NN_IndexTensor:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
}

def NN_MaxPoolGradOp : NN_LibraryPoolOp<"max_pool_grad"> {
  let summary = "Gradient of nn.max_pool";
  let description = [{
    Each element of dy is added to the first largest element of its window, which is found again from x: nothing is saved.

    ```mlir
    %dx = nn.max_pool_grad %x, %dy {kernel = array<i64: 2>, strides = array<i64: 2>, pads = array<i64: 0, 0>,
        dilations = array<i64: 1>} : (tensor<2x3x8xf32>, tensor<2x3x4xf32>) -> tensor<2x3x8xf32>
    ```
  }];
  let arguments = !con((ins NN_FloatTensor:$x, NN_FloatTensor:$dy), NN_PoolAttributes);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$x `,` $dy attr-dict `:` functional-type(operands, results)";
}

def NN_AvgPoolOp : NN_LibraryPoolOp<"avg_pool"> {
  let summary = "Mean of each window";
  let description = [{
    The sum over the window's elements inside the input, divided by their number; with `count_include_pad` by the number of
    those inside the padded input (what `ceil_mode` adds past the end padding never counts).

    ```mlir
    %y = nn.avg_pool %x {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>,
        dilations = array<i64: 1, 1>, count_include_pad = true} : (tensor<2x3x8x8xf32>) -> tensor<2x3x8x8xf32>
    ```
  }];
  let arguments = !con((ins NN_FloatTensor:$x), NN_PoolAttributes,
                       (ins DefaultValuedAttr<BoolAttr, "false">:$count_include_pad));
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
}

def NN_AvgPoolGradOp : NN_LibraryPoolOp<"avg_pool_grad"> {
  let summary = "Gradient of nn.avg_pool";
  let description = [{
    Spreads each element of dy evenly over its window. `input` is the spatial shape of the pool's input.

    ```mlir
    %dx = nn.avg_pool_grad %dy {input = array<i64: 8>, kernel = array<i64: 2>, strides = array<i64: 2>,
        pads = array<i64: 0, 0>, dilations = array<i64: 1>} : (tensor<2x3x4xf32>) -> tensor<2x3x8xf32>
    ```
  }];
  let arguments = !con((ins NN_FloatTensor:$dy, DenseI64ArrayAttr:$input), NN_PoolAttributes,
                       (ins DefaultValuedAttr<BoolAttr, "false">:$count_include_pad));
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$dy attr-dict `:` functional-type(operands, results)";
}

#endif
