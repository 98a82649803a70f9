//===- Reduce.td - reductions over axes, arg-max, cumulative sum ------------------------------------------===//

#ifndef GMC_DIALECTS_NN_REDUCE_TD
#define GMC_DIALECTS_NN_REDUCE_TD

include "dialects/NN/NNBase.td"

class NN_ReduceOp<string mnemonic, string what> : NN_Op<mnemonic, [
    DeclareOpInterfaceMethods<GradientOpInterface>, DeclareOpInterfaceMethods<KernelOpInterface, ["getWorkspaceBytes"]>,
    InferTypeOpAdaptor, DeclareOpInterfaceMethods<CostOpInterface, ["getFlops", "getCostClass"]>,
    RematOpInterface, DeclareOpInterfaceMethods<PrecisionOpInterface, ["getPrecisionPolicy"]>]> {
  let summary = what # " over axes";
  let description = what # [{ over axes, which are dropped, or with `keepdims` become 1.

    ```mlir
    %y = nn.}] # mnemonic # [{ %x {axes = array<i64: 0, 2>} : (tensor<4x8x16xf32>) -> tensor<8xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$axes, DefaultValuedAttr<BoolAttr, "false">:$keepdims);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
  let extraClassDefinition = [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      return inferReduce(loc, tensorType(adaptor.getX()), adaptor.getAxes(), adaptor.getKeepdims(), types);
    }
    ::llvm::SmallVector<int64_t> $cppClass::getWorkspaceBytes(::gmc::KernelTarget target) {
      return reduceWorkspace(tensorType(getX()), getAxes(), target);
    }
    int64_t $cppClass::getFlops() { return tensorType(getX()).getNumElements(); }
    ::gmc::CostClass $cppClass::getCostClass() { return ::gmc::CostClass::Reduction; }
    ::gmc::PrecisionPolicy $cppClass::getPrecisionPolicy() { return ::gmc::PrecisionPolicy::Fp32; }
  }];
}

def NN_ReduceSumOp : NN_ReduceOp<"reduce_sum", "Sum">;
def NN_ReduceMeanOp : NN_ReduceOp<"reduce_mean", "Mean">;
def NN_ReduceSumSquareOp : NN_ReduceOp<"reduce_sum_square", "Sum of squares">;
def NN_ReduceL1Op : NN_ReduceOp<"reduce_l1", "Sum of absolute values">;
def NN_ReduceMaxOp : NN_ReduceOp<"reduce_max", "Largest element (its gradient is shared equally at a tie)">;
def NN_ReduceMinOp : NN_ReduceOp<"reduce_min", "Smallest element (its gradient is shared equally at a tie)">;
def NN_ReduceProdOp : NN_ReduceOp<"reduce_prod", "Product">;
def NN_ReduceLogSumExpOp : NN_ReduceOp<"reduce_log_sum_exp", "log(sum(exp(x))), without overflow,">;

class NN_AlongAxisOp<string mnemonic, list<Trait> traits = []> : NN_Op<mnemonic, !listconcat([
    DeclareOpInterfaceMethods<KernelOpInterface>, InferTypeOpAdaptor, RematOpInterface, PrecisionOpInterface,
    DeclareOpInterfaceMethods<CostOpInterface, ["getFlops", "getCostClass"]>], traits)> {
  code alongAxisMethods = [{
    int64_t $cppClass::getFlops() { return tensorType(getX()).getNumElements(); }
    ::gmc::CostClass $cppClass::getCostClass() { return ::gmc::CostClass::Reduction; }
  }];
}

class NN_ArgReduceOp<string mnemonic, string what> : NN_AlongAxisOp<mnemonic> {
  let summary = "Position of the " # what # " element along an axis, the first (or last) at a tie";
  let description = [{
    ```mlir
    %y = nn.}] # mnemonic # [{ %x {axis = 1 : i64} : (tensor<4x8xf32>) -> tensor<4xi64>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, I64Attr:$axis, DefaultValuedAttr<BoolAttr, "false">:$keepdims,
                       DefaultValuedAttr<BoolAttr, "false">:$select_last);
  let results = (outs NN_IntTensor:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
  let extraClassDefinition = alongAxisMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *context, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      if (failed(inferReduce(loc, tensorType(adaptor.getX()), {static_cast<int64_t>(adaptor.getAxis())}, adaptor.getKeepdims(), types)))
        return ::mlir::failure();
      types[0] = ::llvm::cast<::mlir::RankedTensorType>(types[0]).clone(::mlir::IntegerType::get(context, 64));
      return ::mlir::success();
    }
  }];
}
def NN_ArgMaxOp : NN_ArgReduceOp<"arg_max", "largest">;
def NN_ArgMinOp : NN_ArgReduceOp<"arg_min", "smallest">;

def NN_CumSumOp : NN_AlongAxisOp<"cumsum", [DeclareOpInterfaceMethods<GradientOpInterface>]> {
  let summary = "Running sum along an axis";
  let description = [{
    With `exclusive` element i sums what lies before i; with `reverse` the sum runs from the end.

    ```mlir
    %y = nn.cumsum %x {axis = 0 : i64} : (tensor<4x8xf32>) -> tensor<4x8xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, I64Attr:$axis, DefaultValuedAttr<BoolAttr, "false">:$exclusive,
                       DefaultValuedAttr<BoolAttr, "false">:$reverse);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
  let extraClassDefinition = alongAxisMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.push_back(adaptor.getX().getType());
      int64_t axis = adaptor.getAxis();
      if (axis >= 0 && axis < tensorType(adaptor.getX()).getRank())
        return ::mlir::success();
      return emitOptionalError(loc, "axis ", axis, " is outside ", adaptor.getX().getType());
    }
  }];
}

def NN_ReduceProdGradOp : NN_AlongAxisOp<"reduce_prod_grad"> {
  let summary = "Backward of nn.reduce_prod: g times the product of the other elements, also where elements are 0";
  let arguments = (ins NN_FloatTensor:$x, NN_FloatTensor:$g, DenseI64ArrayAttr:$axes);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$x `,` $g attr-dict `:` functional-type(operands, results)";
  let extraClassDefinition = alongAxisMethods # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *, std::optional<::mlir::Location> loc,
        Adaptor adaptor, ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      types.push_back(adaptor.getX().getType());
      return ::mlir::success();
    }
  }];
}

#endif
