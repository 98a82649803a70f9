//===- Conv.td - convolution, transposed convolution and their weight gradient --------------------------===//

#ifndef GMC_DIALECTS_NN_CONV_TD
#define GMC_DIALECTS_NN_CONV_TD

include "dialects/NN/NNBase.td"

class NN_ConvLikeOp<string mnemonic> : NN_ComputeOp<mnemonic, [
    InferTypeOpAdaptor, DeclareOpInterfaceMethods<CostOpInterface, ["getFlops", "getCostClass"]>, RematOpInterface,
    DeclareOpInterfaceMethods<KernelOpInterface, ["getWorkspaceBytes"]>,
    DeclareOpInterfaceMethods<LibraryOpInterface>,
    DeclareOpInterfaceMethods<PrecisionOpInterface, ["getPrecisionPolicy"]>]> {
  let results = (outs NN_FloatTensor:$result);
  code convMethods = [{
    ::gmc::CostClass $cppClass::getCostClass() { return ::gmc::CostClass::Conv; }
    ::gmc::PrecisionPolicy $cppClass::getPrecisionPolicy() { return ::gmc::PrecisionPolicy::Low; }
  }];
  let extraClassDefinition = convMethods;
}

defvar NN_ConvAttributes = (ins DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$pads, DenseI64ArrayAttr:$dilations,
                                DefaultValuedAttr<I64Attr, "1">:$group);

def NN_ConvOp : NN_ConvLikeOp<"conv"> {
  let summary = "Convolution over any number of spatial dimensions";
  let description = [{
    `y[n,m,o] = bias[m] + sum over c, k of x[n, c, o * stride - pad + k * dilation] * w[m, c, k]`, where x is [N, C, ...],
    w is [M, C / group, ...] and group g of the M outputs sees group g of the C inputs. `pads` holds all begins, then all
    ends; a negative pad crops. This is the cross-correlation that ONNX, cuDNN and oneDNN call convolution.

    ```mlir
    %y = nn.conv %x, %w, %b {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
        : (tensor<2x3x8x8xf32>, tensor<16x3x3x3xf32>, tensor<16xf32>) -> tensor<2x16x8x8xf32>
    ```
  }];
  let arguments = !con((ins NN_FloatTensor:$x, NN_FloatTensor:$w, Optional<NN_FloatTensor>:$bias), NN_ConvAttributes);
  let assemblyFormat = "$x `,` $w (`,` $bias^)? attr-dict `:` functional-type(operands, results)";
}

def NN_ConvTransposeOp : NN_ConvLikeOp<"conv_transpose"> {
  let summary = "Transposed convolution, which is the input gradient of a convolution";
  let description = [{
    The adjoint of `nn.conv` in its first operand: for a convolution of weight w, strides, pads and dilations, the result is
    what flows to its input from x on its output. x is [N, M, ...], w is [M, C / group, ...], the result [N, C, ...] of
    spatial size `(in - 1) * stride + (k - 1) * dilation + 1 - begin - end`. A negative end pad is ONNX's output_padding.

    ```mlir
    %y = nn.conv_transpose %x, %w {strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
        : (tensor<2x16x4x4xf32>, tensor<16x8x4x4xf32>) -> tensor<2x8x8x8xf32>
    ```
  }];
  let arguments = !con((ins NN_FloatTensor:$x, NN_FloatTensor:$w, Optional<NN_FloatTensor>:$bias), NN_ConvAttributes);
  let assemblyFormat = "$x `,` $w (`,` $bias^)? attr-dict `:` functional-type(operands, results)";
}

def NN_ConvWeightGradOp : NN_ConvLikeOp<"conv_weight_grad"> {
  let summary = "Weight gradient of a convolution";
  let description = [{
    `dw[m,c,k] = sum over n, o of x[n, c, o * stride - pad + k * dilation] * dy[n, m, o]`: x is the convolution's input, dy
    the gradient of its output, `kernel` the spatial size of the weight.

    ```mlir
    %dw = nn.conv_weight_grad %x, %dy {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>,
        pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
        : (tensor<2x3x8x8xf32>, tensor<2x16x8x8xf32>) -> tensor<16x3x3x3xf32>
    ```
  }];
  let arguments = !con((ins NN_FloatTensor:$x, NN_FloatTensor:$dy, DenseI64ArrayAttr:$kernel), NN_ConvAttributes);
  let assemblyFormat = "$x `,` $dy attr-dict `:` functional-type(operands, results)";
}

#endif
