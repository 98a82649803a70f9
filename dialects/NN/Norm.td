//===- Norm.td - batch and group normalization ----------------------------------------------------------===//

#ifndef GMC_DIALECTS_NN_NORM_TD
#define GMC_DIALECTS_NN_NORM_TD

include "dialects/NN/NNBase.td"

class NN_NormOp<string mnemonic, list<Trait> traits = []> : NN_ComputeOp<mnemonic, !listconcat([
    InferTypeOpAdaptor, DeclareOpInterfaceMethods<CostOpInterface, ["getFlops", "getCostClass", "getMemoryBytes"]>,
    DeclareOpInterfaceMethods<RematOpInterface, ["getInPlaceOperands", "isStateUpdate"]>,
    DeclareOpInterfaceMethods<PrecisionOpInterface, ["getWideOperands"]>], traits)> {
  let extraClassDefinition = [{
    int64_t $cppClass::getFlops() { return 8 * tensorType(getX()).getNumElements(); }
    ::gmc::CostClass $cppClass::getCostClass() { return ::gmc::CostClass::Reduction; }
  }];
}

def NN_BatchNormOp : NN_NormOp<"batch_norm", [DeclareOpInterfaceMethods<LibraryOpInterface>]> {
  let summary = "Normalization of each channel over the batch, or by running statistics";
  let description = [{
    `y = (x - m) / sqrt(v + epsilon) * scale + bias` for channels on axis 1. With `training`, m and v are the mean and the
    population variance over all other axes, and the running statistics move: `new = old * momentum + batch * (1 -
    momentum)`. Without, m and v are the running statistics, which stay. Results: y, the m and the 1 / sqrt(v + epsilon) that
    were used (the gradient reads them), the new running mean and variance.

    The mode is an attribute: a pass that wants the other one sets it (`setTraining`). The running statistics are operands 3
    and 4 and results 3 and 4.

    ```mlir
    %y, %m, %i, %rm, %rv = nn.batch_norm %x, %scale, %bias, %mean, %variance {training = true}
        : (tensor<2x3x8x8xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
        -> (tensor<2x3x8x8xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
    ```
  }];
  let arguments = (ins NN_FloatTensor:$x, NN_FloatTensor:$scale, NN_FloatTensor:$bias, NN_FloatTensor:$mean,
                       NN_FloatTensor:$variance, DefaultValuedAttr<F64Attr, "1e-5">:$epsilon,
                       DefaultValuedAttr<F64Attr, "0.9">:$momentum, DefaultValuedAttr<BoolAttr, "false">:$training);
  let results = (outs NN_FloatTensor:$result, NN_FloatTensor:$used_mean, NN_FloatTensor:$used_invstd,
                      NN_FloatTensor:$new_mean, NN_FloatTensor:$new_variance);
  let assemblyFormat = "$x `,` $scale `,` $bias `,` $mean `,` $variance attr-dict `:` functional-type(operands, results)";
  let extraClassDeclaration = [{
    ::llvm::SmallVector<int64_t> getWorkspaceBytes(::gmc::KernelTarget target);
  }];
}

def NN_BatchNormGradOp : NN_NormOp<"batch_norm_grad", [DeclareOpInterfaceMethods<LibraryOpInterface>]> {
  let summary = "Gradients of nn.batch_norm for x, scale and bias";
  let description = [{
    Reads the mean and 1 / deviation that the forward op used. With `training` they depend on x:
    `dx = scale * invstd * (dy - mean(dy) - xhat * mean(dy * xhat))`, xhat = (x - mean) * invstd; without,
    `dx = scale * invstd * dy`.

    ```mlir
    %dx, %dscale, %dbias = nn.batch_norm_grad %x, %scale, %m, %i, %dy {training = true}
        : (tensor<2x3x8x8xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<2x3x8x8xf32>)
        -> (tensor<2x3x8x8xf32>, tensor<3xf32>, tensor<3xf32>)
    ```
  }];
  let arguments = (ins NN_FloatTensor:$x, NN_FloatTensor:$scale, NN_FloatTensor:$mean, NN_FloatTensor:$invstd,
                       NN_FloatTensor:$dy, DefaultValuedAttr<BoolAttr, "false">:$training);
  let results = (outs NN_FloatTensor:$dx, NN_FloatTensor:$dscale, NN_FloatTensor:$dbias);
  let assemblyFormat = "$x `,` $scale `,` $mean `,` $invstd `,` $dy attr-dict `:` functional-type(operands, results)";
  let extraClassDeclaration = [{
    ::llvm::SmallVector<int64_t> getWorkspaceBytes(::gmc::KernelTarget target);
  }];
}

def NN_GroupNormOp : NN_NormOp<"group_norm"> {
  let summary = "Normalization of groups of channels of each sample";
  let description = [{
    `y = (x - m) / sqrt(v + epsilon) * scale[c] + bias[c]`, m and v over the channels of the group and all spatial axes of one
    sample (population variance). One channel per group is instance normalization. Results: y, m and 1 / sqrt(v + epsilon) as
    [N, groups].

    ```mlir
    %y, %m, %i = nn.group_norm %x, %scale, %bias {groups = 2 : i64}
        : (tensor<2x4x8x8xf32>, tensor<4xf32>, tensor<4xf32>)
        -> (tensor<2x4x8x8xf32>, tensor<2x2xf32>, tensor<2x2xf32>)
    ```
  }];
  let arguments = (ins NN_FloatTensor:$x, NN_FloatTensor:$scale, NN_FloatTensor:$bias, I64Attr:$groups,
                       DefaultValuedAttr<F64Attr, "1e-5">:$epsilon);
  let results = (outs NN_FloatTensor:$result, NN_FloatTensor:$mean, NN_FloatTensor:$invstd);
  let assemblyFormat = "$x `,` $scale `,` $bias attr-dict `:` functional-type(operands, results)";
}

def NN_GroupNormGradOp : NN_NormOp<"group_norm_grad"> {
  let summary = "Gradients of nn.group_norm for x, scale and bias";
  let description = [{
    `dx = invstd * (g - mean(g) - xhat * mean(g * xhat))` with g = dy * scale and means over the group; the groups are those
    of `mean` and `invstd`, [N, groups].

    ```mlir
    %dx, %dscale, %dbias = nn.group_norm_grad %x, %scale, %m, %i, %dy
        : (tensor<2x4x8x8xf32>, tensor<4xf32>, tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x4x8x8xf32>)
        -> (tensor<2x4x8x8xf32>, tensor<4xf32>, tensor<4xf32>)
    ```
  }];
  let arguments = (ins NN_FloatTensor:$x, NN_FloatTensor:$scale, NN_FloatTensor:$mean, NN_FloatTensor:$invstd,
                       NN_FloatTensor:$dy);
  let results = (outs NN_FloatTensor:$dx, NN_FloatTensor:$dscale, NN_FloatTensor:$dbias);
  let assemblyFormat = "$x `,` $scale `,` $mean `,` $invstd `,` $dy attr-dict `:` functional-type(operands, results)";
  let extraClassDeclaration = [{
    ::llvm::SmallVector<int64_t> getWorkspaceBytes(::gmc::KernelTarget target);
  }];
}

#endif
