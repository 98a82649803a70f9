//===- Optimizer.td - parameter updates, gradient norm and clipping ---------------------------------------===//
//
// All hyper-parameters are read from the `hyper` tensor at run time (positions: runtime/include/gmc/Abi.h). Gradients
// come in unnormalized: an update divides by `valid_count` first, then multiplies by the clipping scale. `step_count` is
// the number of optimizer steps applied before this one. With no valid element at all the gradient counts as 0. A negative
// `valid_count` says that the gradients overflowed: the step is skipped, parameter and states stay as they are.
//
//===-----------------------------------------------------------------------------------------------------===//

#ifndef GMC_DIALECTS_NN_OPTIMIZER_TD
#define GMC_DIALECTS_NN_OPTIMIZER_TD

include "dialects/NN/NNBase.td"

class NN_OptimizerOp<string mnemonic, list<Trait> traits = []> : NN_Op<mnemonic, !listconcat([
    DeclareOpInterfaceMethods<KernelOpInterface, ["getWorkspaceBytes"]>, InferTypeOpAdaptor,
    DeclareOpInterfaceMethods<CostOpInterface, ["getFlops"]>,
    DeclareOpInterfaceMethods<RematOpInterface, ["isRecomputable", "getInPlaceOperands"]>,
    DeclareOpInterfaceMethods<PrecisionOpInterface, ["getPrecisionPolicy"]>], traits)> {
  code optimizerMethods = [{
    ::gmc::PrecisionPolicy $cppClass::getPrecisionPolicy() { return ::gmc::PrecisionPolicy::Fp32; }
    bool $cppClass::isRecomputable() { return false; }
  }];
}

class NN_UpdateOp<string mnemonic, int states, int flops> : NN_OptimizerOp<mnemonic> {
  code updateMethods = optimizerMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.assign(1 + }] # states # [{, adaptor.getParam().getType());
      return checkUpdate(loc, adaptor.getOperands(), 2 + }] # states # [{);
    }
    ::llvm::SmallVector<unsigned> $cppClass::getInPlaceOperands(unsigned result) {
      return {result == 0 ? 0 : result + 1};
    }
    ::llvm::SmallVector<int64_t> $cppClass::getWorkspaceBytes(::gmc::KernelTarget) {
      return {hyperWorkspaceBytes(getParam().getType())};
    }
    int64_t $cppClass::getFlops() { return }] # flops # [{ * tensorType(getParam()).getNumElements(); }
  }];
  let extraClassDefinition = updateMethods;
}

def NN_SgdUpdateOp : NN_UpdateOp<"sgd_update", 0, 4> {
  let summary = "p - lr * (g + weight_decay * p)";
  let description = [{
    ```mlir
    %p1 = nn.sgd_update %p, %g, %hyper, %count, %step
        : tensor<8xf32>, tensor<8xf32>, tensor<16xf32>, tensor<1xf32>, tensor<1xi64>
    ```
  }];
  let arguments = (ins NN_FloatTensor:$param, NN_FloatTensor:$grad, NN_FloatTensor:$hyper, NN_FloatTensor:$valid_count,
                       NN_IntTensor:$step_count, Optional<NN_FloatTensor>:$grad_scale);
  let results = (outs NN_FloatTensor:$new_param);
  let assemblyFormat = "operands attr-dict `:` type(operands)";
}

def NN_MomentumUpdateOp : NN_UpdateOp<"momentum_update", 1, 7> {
  let summary = "Stochastic gradient descent with momentum, heavy-ball or Nesterov";
  let description = [{
    d = g + weight_decay * p; buf' = momentum * buf + d; p' = p - lr * buf', or with `nesterov` p - lr * (d + momentum * buf').
    The buffer starts at zero (PyTorch's SGD without dampening).

    ```mlir
    %p1, %buf1 = nn.momentum_update %p, %g, %buf, %hyper, %count, %step
        : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<16xf32>, tensor<1xf32>, tensor<1xi64>
    ```
  }];
  let arguments = (ins NN_FloatTensor:$param, NN_FloatTensor:$grad, NN_FloatTensor:$buf, NN_FloatTensor:$hyper,
                       NN_FloatTensor:$valid_count, NN_IntTensor:$step_count, Optional<NN_FloatTensor>:$grad_scale,
                       DefaultValuedAttr<BoolAttr, "false">:$nesterov);
  let results = (outs NN_FloatTensor:$new_param, NN_FloatTensor:$new_buf);
  let assemblyFormat = "operands attr-dict `:` type(operands)";
}

def NN_AdamUpdateOp : NN_UpdateOp<"adam_update", 2, 16> {
  let summary = "Adam (Kingma & Ba, 2015), or AdamW with decoupled weight decay (Loshchilov & Hutter, 2019)";
  let description = [{
    m' = beta1 m + (1 - beta1) g; v' = beta2 v + (1 - beta2) g^2; with t = step_count + 1:
    p' = p - lr / (1 - beta1^t) * m' / (sqrt(v') / sqrt(1 - beta2^t) + epsilon). Weight decay is added to the gradient, or with
    `decoupled` p is first multiplied by 1 - lr * weight_decay.

    ```mlir
    %p1, %m1, %v1 = nn.adam_update %p, %g, %m, %v, %hyper, %count, %step {decoupled = true}
        : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<16xf32>, tensor<1xf32>, tensor<1xi64>
    ```
  }];
  let arguments = (ins NN_FloatTensor:$param, NN_FloatTensor:$grad, NN_FloatTensor:$m, NN_FloatTensor:$v,
                       NN_FloatTensor:$hyper, NN_FloatTensor:$valid_count, NN_IntTensor:$step_count,
                       Optional<NN_FloatTensor>:$grad_scale, DefaultValuedAttr<BoolAttr, "true">:$decoupled);
  let results = (outs NN_FloatTensor:$new_param, NN_FloatTensor:$new_m, NN_FloatTensor:$new_v);
  let assemblyFormat = "operands attr-dict `:` type(operands)";
}

def NN_LionUpdateOp : NN_UpdateOp<"lion_update", 1, 10> {
  let summary = "Lion (Chen et al., 2023): the sign of an interpolated momentum";
  let description = [{
    p' = p * (1 - lr * weight_decay) - lr * sign(beta1 m + (1 - beta1) g); m' = beta2 m + (1 - beta2) g.

    ```mlir
    %p1, %m1 = nn.lion_update %p, %g, %m, %hyper, %count, %step
        : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<16xf32>, tensor<1xf32>, tensor<1xi64>
    ```
  }];
  let arguments = (ins NN_FloatTensor:$param, NN_FloatTensor:$grad, NN_FloatTensor:$m, NN_FloatTensor:$hyper,
                       NN_FloatTensor:$valid_count, NN_IntTensor:$step_count, Optional<NN_FloatTensor>:$grad_scale);
  let results = (outs NN_FloatTensor:$new_param, NN_FloatTensor:$new_m);
  let assemblyFormat = "operands attr-dict `:` type(operands)";
}

def NN_GradNormSqOp : NN_OptimizerOp<"grad_norm_sq"> {
  let summary = "Sum of the squares of one gradient, in a fixed association";
  let description = [{
    ```mlir
    %n = nn.grad_norm_sq %g : tensor<8x4xf32>
    ```
  }];
  let arguments = (ins NN_FloatTensor:$grad);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$grad attr-dict `:` type($grad)";
  let extraClassDefinition = optimizerMethods # [{
    ::llvm::SmallVector<unsigned> $cppClass::getInPlaceOperands(unsigned) { return {}; }
  }];
}

def NN_NonFiniteCountOp : NN_OptimizerOp<"non_finite_count"> {
  let summary = "How many elements of a gradient are infinite or NaN";
  let description = [{
    ```mlir
    %n = nn.non_finite_count %g : tensor<8x4xf32>
    ```
  }];
  let arguments = (ins NN_FloatTensor:$grad);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$grad attr-dict `:` type($grad)";
  let extraClassDefinition = optimizerMethods # [{
    ::llvm::SmallVector<unsigned> $cppClass::getInPlaceOperands(unsigned) { return {}; }
  }];
}

def NN_ClipScaleOp : NN_OptimizerOp<"clip_scale"> {
  let summary = "What every gradient is multiplied by to keep the global norm at most hyper[clip]";
  let description = [{
    min(1, clip / (norm + 1e-6)) with norm = sqrt(sum of the squared norms) / valid_count (PyTorch's clip_grad_norm_); 1 when
    clip <= 0.

    ```mlir
    %s = nn.clip_scale %n0, %n1, %hyper, %count : tensor<1xf32>, tensor<1xf32>, tensor<16xf32>, tensor<1xf32>
    ```
  }];
  let arguments = (ins Variadic<NN_FloatTensor>:$norms, NN_FloatTensor:$hyper, NN_FloatTensor:$valid_count);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "operands attr-dict `:` type(operands)";
  let extraClassDefinition = optimizerMethods # [{
    ::llvm::SmallVector<unsigned> $cppClass::getInPlaceOperands(unsigned) { return {}; }
    ::llvm::SmallVector<int64_t> $cppClass::getWorkspaceBytes(::gmc::KernelTarget) { return {}; }
    int64_t $cppClass::getFlops() { return getNumOperands() + 4; }
  }];
}

#endif
