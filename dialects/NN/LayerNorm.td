//===- LayerNorm.td - normalization of rows: LayerNormalization, RMSNormalization --------------------------===//

#ifndef GMC_DIALECTS_NN_LAYERNORM_TD
#define GMC_DIALECTS_NN_LAYERNORM_TD

include "dialects/NN/NNBase.td"

class NN_LayerNormBase<string mnemonic, list<Trait> traits = []> : NN_Op<mnemonic, !listconcat([
    DeclareOpInterfaceMethods<KernelOpInterface, ["getWorkspaceBytes"]>, InferTypeOpAdaptor,
    DeclareOpInterfaceMethods<CostOpInterface, ["getFlops", "getCostClass"]>,
    DeclareOpInterfaceMethods<RematOpInterface, ["getInPlaceOperands"]>,
    DeclareOpInterfaceMethods<PrecisionOpInterface, ["getPrecisionPolicy"]>], traits)> {
  code layerNormMethods = [{
    ::gmc::CostClass $cppClass::getCostClass() { return ::gmc::CostClass::Reduction; }
    ::gmc::PrecisionPolicy $cppClass::getPrecisionPolicy() { return ::gmc::PrecisionPolicy::Fp32; }
    int64_t $cppClass::getFlops() { return 8 * tensorType(getX()).getNumElements(); }
  }];
}

def NN_LayerNormOp : NN_LayerNormBase<"layer_norm", [AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<LibraryOpInterface>,
    DeclareOpInterfaceMethods<GradientOpInterface>]> {
  let summary = "(x - mean) / sqrt(variance + epsilon) * scale + bias over the dimensions from `axis` on";
  let description = [{
    Mean and variance (of the population) are of each row: the elements that share the dimensions before `axis`. Scale and
    bias have one element for each position in a row. Without `center` nothing is subtracted and the variance is the
    mean square (RMSNormalization). `mean` and `inv_std` are kept for the backward ops; they are f32 for narrow floats.

    ```mlir
    %y, %mean, %inv_std = nn.layer_norm %x scale %s bias %b {axis = 1 : i64}
        : (tensor<4x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<4x8xf32>, tensor<4xf32>, tensor<4xf32>)
    ```
  }];
  let arguments = (ins NN_FloatTensor:$x, Optional<NN_FloatTensor>:$scale, Optional<NN_FloatTensor>:$bias,
                       I64Attr:$axis, DefaultValuedAttr<F64Attr, "1e-5">:$epsilon,
                       DefaultValuedAttr<BoolAttr, "true">:$center);
  let results = (outs NN_FloatTensor:$result, NN_FloatTensor:$mean, NN_FloatTensor:$inv_std);
  let assemblyFormat = [{
    $x (`scale` $scale^)? (`bias` $bias^)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDefinition = layerNormMethods # [{
    ::llvm::SmallVector<int64_t> $cppClass::getWorkspaceBytes(::gmc::KernelTarget) { return {}; }
  }];
}

def NN_LayerNormGradOp : NN_LayerNormBase<"layer_norm_grad", [DeclareOpInterfaceMethods<LibraryOpInterface>]> {
  let summary = "Backward of nn.layer_norm for x";
  let description = [{
    With h = (x - mean) * inv_std and d = g * scale: inv_std * (d - mean(d) - h * mean(d * h)), the means over the row; mean(d)
    is left out without `center`.

    ```mlir
    %dx = nn.layer_norm_grad %x, %mean, %inv_std, %g scale %s {axis = 1 : i64}
        : (tensor<4x8xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
    ```
  }];
  let arguments = (ins NN_FloatTensor:$x, NN_FloatTensor:$mean, NN_FloatTensor:$inv_std, NN_FloatTensor:$g,
                       Optional<NN_FloatTensor>:$scale, I64Attr:$axis, DefaultValuedAttr<BoolAttr, "true">:$center);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = [{
    $x `,` $mean `,` $inv_std `,` $g (`scale` $scale^)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDefinition = layerNormMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.push_back(adaptor.getX().getType());
      return checkLayerNormGrad(loc, adaptor.getX(), adaptor.getG(), adaptor.getAxis());
    }
    ::llvm::SmallVector<int64_t> $cppClass::getWorkspaceBytes(::gmc::KernelTarget) { return {}; }
  }];
}

def NN_LayerNormParamGradOp : NN_LayerNormBase<"layer_norm_param_grad"> {
  let summary = "Backward of nn.layer_norm for scale and bias: sums of g * h and of g over the rows";
  let description = [{
    ```mlir
    %ds, %db = nn.layer_norm_param_grad %x, %mean, %inv_std, %g {axis = 1 : i64}
        : (tensor<4x8xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4x8xf32>) -> (tensor<8xf32>, tensor<8xf32>)
    ```
  }];
  let arguments = (ins NN_FloatTensor:$x, NN_FloatTensor:$mean, NN_FloatTensor:$inv_std, NN_FloatTensor:$g,
                       I64Attr:$axis);
  let results = (outs NN_FloatTensor:$d_scale, NN_FloatTensor:$d_bias);
  let assemblyFormat = "$x `,` $mean `,` $inv_std `,` $g attr-dict `:` functional-type(operands, results)";
  let extraClassDefinition = layerNormMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      if (failed(checkLayerNormGrad(loc, adaptor.getX(), adaptor.getG(), adaptor.getAxis())))
        return ::mlir::failure();
      ::mlir::RankedTensorType x = tensorType(adaptor.getX());
      types.assign(2, ::mlir::RankedTensorType::get({rowSize(x, adaptor.getAxis())}, x.getElementType()));
      return ::mlir::success();
    }
  }];
}

#endif
