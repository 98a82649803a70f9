//===- Indexing.td - reading and writing at places given by index tensors -------------------------------===//

#ifndef GMC_DIALECTS_NN_INDEXING_TD
#define GMC_DIALECTS_NN_INDEXING_TD

include "dialects/NN/NNBase.td"

// Indices of all these ops count from the end when they are negative. An index outside the dimension is an error of the
// data that is found only at run time: it is clamped to the nearest element, so that no memory outside the buffers is
// ever touched, in the forward op and in its gradient alike.

class NN_IndexingOp<string mnemonic, list<Trait> traits> : NN_Op<mnemonic, !listconcat([
    InferTypeOpAdaptor, DeclareOpInterfaceMethods<KernelOpInterface>,
    DeclareOpInterfaceMethods<CostOpInterface, ["getFlops", "getMemoryBytes", "getCostClass"]>,
    DeclareOpInterfaceMethods<PrecisionOpInterface, ["getPrecisionPolicy"]>], traits)> {
  /// What adds up in its result's elements does so in fp32.
  string policy = "Fp32";
  code indexingMethods = [{
    ::gmc::PrecisionPolicy $cppClass::getPrecisionPolicy() { return ::gmc::PrecisionPolicy::}] # policy # [{; }
    int64_t $cppClass::getFlops() { return 0; }
    ::gmc::CostClass $cppClass::getCostClass() { return ::gmc::CostClass::Gather; }
  }];
  code gatherBytes = [{
    int64_t $cppClass::getMemoryBytes() {
      return byteSize(getIndices().getType()) + 2 * byteSize(getResult().getType());
    }
  }];
  code scatterBytes = [{
    int64_t $cppClass::getMemoryBytes() {
      return byteSize(getIndices().getType()) + 3 * byteSize(getUpdates().getType()) +
             2 * byteSize(getResult().getType());
    }
  }];
}

class NN_GatherOpBase<string mnemonic> : NN_IndexingOp<mnemonic, [
    DeclareOpInterfaceMethods<GradientOpInterface>, RematOpInterface]> {
  let policy = "Follow";
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$x `,` $indices attr-dict `:` functional-type(operands, results)";
  let extraClassDefinition = indexingMethods # gatherBytes;
}

def NN_GatherOp : NN_GatherOpBase<"gather"> {
  let summary = "Whole slices of an axis, chosen by index";
  let description = [{
    The axis is replaced by the dimensions of `indices`. Indices outside the axis are clamped to it. Its gradient is
    `nn.gather_grad`.

    ```mlir
    %y = nn.gather %table, %tokens {axis = 0 : i64} : (tensor<65x128xf32>, tensor<4x32xi64>) -> tensor<4x32x128xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, NN_IndexTensor:$indices, I64Attr:$axis);
  let hasFolder = 1;
}

def NN_GatherGradOp : NN_IndexingOp<"gather_grad", [DeclareOpInterfaceMethods<GradientOpInterface>, RematOpInterface]> {
  let summary = "Sums slices into the places of an axis given by index";
  let description = [{
    Zeros of size `size` along `axis`, to which the slices of `updates` are added in their order: the result does not
    depend on threads.

    ```mlir
    %dx = nn.gather_grad %grad, %tokens {axis = 0 : i64, size = 65 : i64}
      : (tensor<4x32x128xf32>, tensor<4x32xi64>) -> tensor<65x128xf32>
    ```
  }];
  let arguments = (ins NN_FloatTensor:$updates, NN_IndexTensor:$indices, I64Attr:$axis, I64Attr:$size);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$updates `,` $indices attr-dict `:` functional-type(operands, results)";
  let extraClassDefinition = indexingMethods # scatterBytes;
}

def NN_GatherElementsOp : NN_GatherOpBase<"gather_elements"> {
  let summary = "One element for each index, along an axis";
  let description = [{
    Element p of the result is the operand's at p, with the coordinate of `axis` replaced by `indices[p]` (clamped).

    ```mlir
    %y = nn.gather_elements %x, %i {axis = 1 : i64} : (tensor<4x8xf32>, tensor<4x2xi64>) -> tensor<4x2xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, NN_IndexTensor:$indices, I64Attr:$axis);
}

def NN_GatherNDOp : NN_GatherOpBase<"gather_nd"> {
  let summary = "Slices at index tuples";
  let description = [{
    The last dimension of `indices` holds tuples that index the dimensions of the operand after the first `batch_dims`,
    which both share; each tuple member is clamped to its dimension.

    ```mlir
    %y = nn.gather_nd %x, %i {batch_dims = 0 : i64} : (tensor<4x8x16xf32>, tensor<5x2xi64>) -> tensor<5x16xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, NN_IndexTensor:$indices, DefaultValuedAttr<I64Attr, "0">:$batch_dims);
}

class NN_ScatterOpBase<string mnemonic, list<Trait> traits> : NN_IndexingOp<mnemonic, !listconcat(traits, [
    DeclareOpInterfaceMethods<RematOpInterface, ["getInPlaceOperands"]>])> {
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$x `,` $indices `,` $updates attr-dict `:` functional-type(operands, results)";
  let extraClassDefinition = indexingMethods # scatterBytes # [{
    ::llvm::SmallVector<unsigned> $cppClass::getInPlaceOperands(unsigned) { return {0}; }
  }];
}

def NN_ScatterElementsOp : NN_ScatterOpBase<"scatter_elements", [DeclareOpInterfaceMethods<GradientOpInterface>]> {
  let summary = "The operand with elements along an axis replaced, or added to";
  let description = [{
    For each p in the shape of `indices`, in order along the axis: the element at p, with the coordinate of `axis`
    replaced by `indices[p]` (clamped), becomes `updates[p]`, or is increased by it (`add`). The gradient of a
    replacement is that of distinct indices.

    ```mlir
    %y = nn.scatter_elements %x, %i, %u {axis = 1 : i64, add = true}
      : (tensor<4x8xf32>, tensor<4x2xi64>, tensor<4x2xf32>) -> tensor<4x8xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, NN_IndexTensor:$indices, NN_Tensor:$updates, I64Attr:$axis,
                       DefaultValuedAttr<BoolAttr, "false">:$add);
}

def NN_ScatterElementsFoldOp : NN_ScatterOpBase<"scatter_elements_fold", []> {
  let summary = "The operand with elements along an axis combined with updates by mul, min or max";
  let description = [{
    As `nn.scatter_elements`, combining by `kind`. It has no gradient.

    ```mlir
    %y = nn.scatter_elements_fold %x, %i, %u {axis = 0 : i64, kind = "max"}
        : (tensor<8xf32>, tensor<2xi64>, tensor<2xf32>) -> tensor<8xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, NN_IndexTensor:$indices, NN_Tensor:$updates, I64Attr:$axis, StrAttr:$kind);
  let hasVerifier = 1;
}

def NN_ScatterNDOp : NN_ScatterOpBase<"scatter_nd", [DeclareOpInterfaceMethods<GradientOpInterface>]> {
  let summary = "The operand with slices at index tuples replaced, or added to";
  let description = [{
    The inverse of `nn.gather_nd`; tuples are taken in order. The gradient of a replacement is that of distinct tuples.

    ```mlir
    %y = nn.scatter_nd %x, %i, %u {add = true}
      : (tensor<4x8x16xf32>, tensor<5x2xi64>, tensor<5x16xf32>) -> tensor<4x8x16xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, NN_IndexTensor:$indices, NN_Tensor:$updates,
                       DefaultValuedAttr<I64Attr, "0">:$batch_dims, DefaultValuedAttr<BoolAttr, "false">:$add);
}

def NN_ScatterNDFoldOp : NN_ScatterOpBase<"scatter_nd_fold", []> {
  let summary = "The operand with slices at index tuples combined with updates by mul, min or max";
  let description = [{
    As `nn.scatter_nd`, combining by `kind`. It has no gradient.

    ```mlir
    %y = nn.scatter_nd_fold %x, %i, %u {kind = "mul"} : (tensor<8xf32>, tensor<2x1xi64>, tensor<2xf32>) -> tensor<8xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, NN_IndexTensor:$indices, NN_Tensor:$updates, StrAttr:$kind);
  let hasVerifier = 1;
}

def NN_TopKOp : NN_Op<"topk", [InferTypeOpAdaptor, DeclareOpInterfaceMethods<KernelOpInterface>,
    DeclareOpInterfaceMethods<GradientOpInterface>, DeclareOpInterfaceMethods<CostOpInterface, ["getFlops"]>,
    RematOpInterface, PrecisionOpInterface]> {
  let summary = "The k largest or smallest elements along an axis, in order, and where they were";
  let description = [{
    Equal elements are ordered by index. NaN is ordered as the infinity that is taken last. Takes k passes
    over the axis: meant for small k.

    ```mlir
    %values, %indices = nn.topk %x {axis = 1 : i64, k = 5 : i64}
      : (tensor<32x1000xf32>) -> (tensor<32x5xf32>, tensor<32x5xi64>)
    ```
  }];
  let arguments = (ins NN_Tensor:$x, I64Attr:$axis, I64Attr:$k, DefaultValuedAttr<BoolAttr, "true">:$largest);
  let results = (outs NN_Tensor:$values, NN_IndexTensor:$indices);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
}

#endif
