//===- Loss.td - losses as (unnormalized sum, count), their fused backward ops, accuracy ----------------===//
//
// A loss is two numbers: the sum over valid elements and what that sum is to be divided by. They stay apart so that gradients
// accumulate unnormalized over micro-batches; the update divides once. `valid_samples` says how many rows (dimension 0)
// of a micro-batch are real: rows at and past it weigh nothing.
//
//===-----------------------------------------------------------------------------------------------------===//

#ifndef GMC_DIALECTS_NN_LOSS_TD
#define GMC_DIALECTS_NN_LOSS_TD

include "dialects/NN/NNBase.td"

/// tensor<1xi64>: rows that are real.
def NN_ValidSamples : StaticShapeTensorOf<[I64]>;

class NN_LossComputeOp<string mnemonic, list<Trait> traits = []> : NN_Op<mnemonic, !listconcat([
    DeclareOpInterfaceMethods<KernelOpInterface, ["getWorkspaceBytes"]>, InferTypeOpAdaptor,
    DeclareOpInterfaceMethods<CostOpInterface, ["getFlops", "getCostClass"]>,
    DeclareOpInterfaceMethods<PrecisionOpInterface, ["getPrecisionPolicy"]>], traits)> {
  string policy = "Fp32";
  code lossMethods = [{
    ::gmc::CostClass $cppClass::getCostClass() { return ::gmc::CostClass::Reduction; }
    ::gmc::PrecisionPolicy $cppClass::getPrecisionPolicy() { return ::gmc::PrecisionPolicy::}] # policy # [{; }
  }];
}

class NN_LossOp<string mnemonic, list<Trait> traits = []> : NN_LossComputeOp<mnemonic, !listconcat([
    DeclareOpInterfaceMethods<GradientOpInterface>, RematOpInterface], traits)> {
  let results = (outs NN_FloatTensor:$loss_sum, NN_FloatTensor:$count);
}

class NN_LossGradOp<string mnemonic, list<Trait> traits = []> : NN_LossComputeOp<mnemonic, !listconcat([
    DeclareOpInterfaceMethods<RematOpInterface, ["getInPlaceOperands"]>], traits)> {
  let results = (outs NN_FloatTensor:$result);
}

//===- Classification -----------------------------------------------------------------------------------===//

class NN_ClassLossOp<string mnemonic> : NN_LossOp<mnemonic, [AttrSizedOperandSegments]> {
  let arguments = (ins NN_FloatTensor:$x, NN_IndexTensor:$labels, Optional<NN_FloatTensor>:$weights,
                       Optional<NN_ValidSamples>:$valid_samples, DefaultValuedAttr<I64Attr, "1">:$class_axis,
                       DefaultValuedAttr<I64Attr, "-100">:$ignore_index);
  let assemblyFormat = [{
    $x `,` $labels (`weights` $weights^)? (`valid` $valid_samples^)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDefinition = lossMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      if (failed(checkClassLoss(loc, adaptor.getX().getType(), adaptor.getLabels().getType(), adaptor.getWeights(),
                                adaptor.getValidSamples(), adaptor.getClassAxis())))
        return ::mlir::failure();
      types.assign(2, lossType(adaptor.getX()));
      return ::mlir::success();
    }
    ::llvm::SmallVector<int64_t> $cppClass::getWorkspaceBytes(::gmc::KernelTarget) {
      int64_t bytes = tensorType(getLabels()).getNumElements() * elementBytes(elementTypeOf(getLossSum()));
      return {bytes, bytes};
    }
  }];
}

def NN_SoftmaxCrossEntropyOp : NN_ClassLossOp<"softmax_cross_entropy"> {
  let summary = "Cross-entropy of softmax(x) over the class axis with integer labels";
  let description = [{
    `loss_sum` = sum of w[label] * (logsumexp(x) - x[label]) over valid positions, `count` = sum of w[label] (1 without
    weights). A label equal to `ignore_index` is not valid; any other label outside the classes makes the sum a NaN.

    ```mlir
    %sum, %count = nn.softmax_cross_entropy %logits, %labels : (tensor<8x10xf32>, tensor<8xi64>) -> (tensor<1xf32>, tensor<1xf32>)
    ```
  }];
}

def NN_NllLossOp : NN_ClassLossOp<"nll_loss"> {
  let summary = "Negative log likelihood of integer labels, from log-probabilities";
  let description = [{
    `loss_sum` = sum of -w[label] * x[label] over valid positions, `count` = sum of w[label] (1 without weights).

    ```mlir
    %sum, %count = nn.nll_loss %logp, %labels : (tensor<8x10xf32>, tensor<8xi64>) -> (tensor<1xf32>, tensor<1xf32>)
    ```
  }];
}

def NN_NllRowsOp : NN_LossComputeOp<"nll_rows", [DeclareOpInterfaceMethods<GradientOpInterface>, RematOpInterface]> {
  let summary = "Negative log likelihood of each label (no reduction)";
  let description = [{
    Element i is -w[label] * x[label] at position i, 0 where the label is `ignore_index`.

    ```mlir
    %loss = nn.nll_rows %logp, %labels : (tensor<8x10xf32>, tensor<8xi64>) -> tensor<8xf32>
    ```
  }];
  let arguments = (ins NN_FloatTensor:$x, NN_IndexTensor:$labels, Optional<NN_FloatTensor>:$weights,
                       DefaultValuedAttr<I64Attr, "1">:$class_axis, DefaultValuedAttr<I64Attr, "-100">:$ignore_index);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = [{
    $x `,` $labels (`weights` $weights^)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDefinition = lossMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      if (failed(checkClassLoss(loc, adaptor.getX().getType(), adaptor.getLabels().getType(), adaptor.getWeights(),
                                ::mlir::Value(), adaptor.getClassAxis())))
        return ::mlir::failure();
      types.push_back(tensorType(adaptor.getLabels()).clone(elementTypeOf(adaptor.getX())));
      return ::mlir::success();
    }
    ::llvm::SmallVector<int64_t> $cppClass::getWorkspaceBytes(::gmc::KernelTarget) { return {}; }
  }];
}

def NN_SoftmaxCrossEntropyGradOp : NN_LossGradOp<"softmax_cross_entropy_grad", [AttrSizedOperandSegments]> {
  let summary = "Gradient of nn.softmax_cross_entropy for its logits";
  let description = [{
    (softmax(x) - onehot(label)) * w[label] * g, 0 at positions that are not valid. The probabilities are computed again from
    x, in fp32 whatever it is stored as, and the result may overwrite it.

    ```mlir
    %dx = nn.softmax_cross_entropy_grad %x, %labels, %g
        : (tensor<8x10xf32>, tensor<8xi64>, tensor<1xf32>) -> tensor<8x10xf32>
    ```
  }];
  let policy = "Follow"; // logits and their gradient may be the largest tensors of all
  let extraClassDeclaration = "::llvm::SmallVector<unsigned> getWideOperands() { return {2, 3}; }";
  let arguments = (ins NN_FloatTensor:$x, NN_IndexTensor:$labels, NN_FloatTensor:$g, Optional<NN_FloatTensor>:$weights,
                       Optional<NN_ValidSamples>:$valid_samples, DefaultValuedAttr<I64Attr, "1">:$class_axis,
                       DefaultValuedAttr<I64Attr, "-100">:$ignore_index);
  let assemblyFormat = [{
    $x `,` $labels `,` $g (`weights` $weights^)? (`valid` $valid_samples^)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDefinition = lossMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.push_back(adaptor.getX().getType());
      return checkClassLoss(loc, adaptor.getX().getType(), adaptor.getLabels().getType(), adaptor.getWeights(),
                            adaptor.getValidSamples(), adaptor.getClassAxis());
    }
    ::llvm::SmallVector<int64_t> $cppClass::getWorkspaceBytes(::gmc::KernelTarget) { return {}; }
  }];
}

def NN_NllGradOp : NN_LossGradOp<"nll_grad", [AttrSizedOperandSegments]> {
  let summary = "Gradient of nn.nll_loss and nn.nll_rows for their log-probabilities";
  let description = [{
    -onehot(label) * w[label] * g, 0 at positions that are not valid; `g` has one element, or one a label.

    ```mlir
    %dx = nn.nll_grad %labels, %g {type = tensor<8x10xf32>} : (tensor<8xi64>, tensor<1xf32>) -> tensor<8x10xf32>
    ```
  }];
  let arguments = (ins NN_IndexTensor:$labels, NN_FloatTensor:$g, Optional<NN_FloatTensor>:$weights,
                       Optional<NN_ValidSamples>:$valid_samples, TypeAttr:$type,
                       DefaultValuedAttr<I64Attr, "1">:$class_axis, DefaultValuedAttr<I64Attr, "-100">:$ignore_index);
  let assemblyFormat = [{
    $labels `,` $g (`weights` $weights^)? (`valid` $valid_samples^)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDefinition = lossMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.push_back(adaptor.getType());
      return checkClassLoss(loc, adaptor.getType(), adaptor.getLabels().getType(), adaptor.getWeights(),
                            adaptor.getValidSamples(), adaptor.getClassAxis());
    }
    ::llvm::SmallVector<int64_t> $cppClass::getWorkspaceBytes(::gmc::KernelTarget) { return {}; }
  }];
}

def NN_CountCorrectOp : NN_LossComputeOp<"count_correct", [RematOpInterface]> {
  let summary = "How many labels are the position of the largest element on the class axis (the first at a tie)";
  let description = [{
    ```mlir
    %n = nn.count_correct %logits, %labels valid %rows : (tensor<8x10xf32>, tensor<8xi64>, tensor<1xi64>) -> tensor<1xf32>
    ```
  }];
  let arguments = (ins NN_FloatTensor:$x, NN_IndexTensor:$labels, Optional<NN_ValidSamples>:$valid_samples,
                       DefaultValuedAttr<I64Attr, "1">:$class_axis, DefaultValuedAttr<I64Attr, "-100">:$ignore_index);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = [{
    $x `,` $labels (`valid` $valid_samples^)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDefinition = lossMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *context, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.push_back(::mlir::RankedTensorType::get({1}, ::mlir::Float32Type::get(context)));
      return checkClassLoss(loc, adaptor.getX().getType(), adaptor.getLabels().getType(), ::mlir::Value(),
                            adaptor.getValidSamples(), adaptor.getClassAxis());
    }
    ::llvm::SmallVector<int64_t> $cppClass::getWorkspaceBytes(::gmc::KernelTarget) {
      return {tensorType(getLabels()).getNumElements() * 4};
    }
  }];
}

//===- Elementwise losses -------------------------------------------------------------------------------===//

class NN_PointwiseLossOp<string mnemonic, string formula, string gradClass> : NN_LossOp<mnemonic> {
  let summary = "Sum of " # formula # " over valid rows";
  let description = "`loss_sum` = sum of " # formula # [{ for x and target t, `count` = the elements of the valid rows.

    ```mlir
    %sum, %count = nn.}] # mnemonic # [{ %x, %t : (tensor<8x4xf32>, tensor<8x4xf32>) -> (tensor<1xf32>, tensor<1xf32>)
    ```
  }];
  let arguments = (ins NN_FloatTensor:$x, NN_FloatTensor:$target, Optional<NN_ValidSamples>:$valid_samples);
  let assemblyFormat = [{
    $x `,` $target (`valid` $valid_samples^)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDefinition = lossMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.assign(2, lossType(adaptor.getX()));
      return checkPointwiseLoss(loc, adaptor.getX(), adaptor.getTarget(), adaptor.getValidSamples());
    }
    ::llvm::SmallVector<int64_t> $cppClass::getWorkspaceBytes(::gmc::KernelTarget) {
      return {lossParts(tensorType(getX()).getNumElements()) * elementBytes(elementTypeOf(getLossSum()))};
    }
    int64_t $cppClass::getFlops() { return 3 * tensorType(getX()).getNumElements(); }
    void $cppClass::buildGradient(::mlir::OpBuilder &b, ::llvm::ArrayRef<::mlir::Value> grads,
        ::llvm::ArrayRef<bool> needed, ::llvm::MutableArrayRef<::mlir::Value> out) {
      if (grads[0] && needed[0])
        out[0] = }] # gradClass # [{::create(b, getLoc(), getX(), getTarget(), grads[0], getValidSamples());
    }
    void $cppClass::emitKernel(::gmc::KernelBuilder &kernel) {
      emitPointwiseLoss(kernel, getValidSamples() != nullptr, $cppClass::value);
    }
  }];
  let extraClassDeclaration = [{
    /// Loss of one element x with target t.
    static ::gmc::Scalar value(::gmc::Scalar x, ::gmc::Scalar t);
    /// d value / dx.
    static ::gmc::Scalar derivative(::gmc::Scalar x, ::gmc::Scalar t);
  }];
}

class NN_PointwiseLossGradOp<string mnemonic, string primal> : NN_LossGradOp<mnemonic # "_grad"> {
  let summary = "Gradient of nn." # mnemonic # " for its first operand; rows that are not valid get 0";
  let arguments = (ins NN_FloatTensor:$x, NN_FloatTensor:$target, NN_FloatTensor:$g,
                       Optional<NN_ValidSamples>:$valid_samples);
  let assemblyFormat = [{
    $x `,` $target `,` $g (`valid` $valid_samples^)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDefinition = lossMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.push_back(adaptor.getX().getType());
      return checkPointwiseLoss(loc, adaptor.getX(), adaptor.getTarget(), adaptor.getValidSamples());
    }
    ::llvm::SmallVector<int64_t> $cppClass::getWorkspaceBytes(::gmc::KernelTarget) { return {}; }
    ::llvm::SmallVector<unsigned> $cppClass::getInPlaceOperands(unsigned) { return {0, 1}; }
    int64_t $cppClass::getFlops() { return 3 * tensorType(getX()).getNumElements(); }
    void $cppClass::emitKernel(::gmc::KernelBuilder &kernel) {
      emitPointwiseLossGrad(kernel, getValidSamples() != nullptr, }] # primal # [{::derivative);
    }
  }];
}

def NN_MseLossOp : NN_PointwiseLossOp<"mse_loss", "(x - t)^2", "MseLossGradOp">;
def NN_L1LossOp : NN_PointwiseLossOp<"l1_loss", "|x - t|", "L1LossGradOp">;
def NN_BceLossOp : NN_PointwiseLossOp<"bce_loss", "-t log x - (1 - t) log(1 - x), logarithms at least -100,",
                                      "BceLossGradOp">;
def NN_BceLogitsLossOp : NN_PointwiseLossOp<"bce_logits_loss",
    "-t log s(x) - (1 - t) log(1 - s(x)), s the sigmoid,", "BceLogitsLossGradOp">;
def NN_MseLossGradOp : NN_PointwiseLossGradOp<"mse_loss", "MseLossOp">;
def NN_L1LossGradOp : NN_PointwiseLossGradOp<"l1_loss", "L1LossOp">;
def NN_BceLossGradOp : NN_PointwiseLossGradOp<"bce_loss", "BceLossOp">;
def NN_BceLogitsLossGradOp : NN_PointwiseLossGradOp<"bce_logits_loss", "BceLogitsLossOp">;

#endif
