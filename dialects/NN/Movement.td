//===- Movement.td - ops that move elements without computing -------------------------------------------===//

#ifndef GMC_DIALECTS_NN_MOVEMENT_TD
#define GMC_DIALECTS_NN_MOVEMENT_TD

include "dialects/NN/NNBase.td"

/// Elements of the operands at other places of the result. No arithmetic; the cost is the bytes.
class NN_MovementOp<string mnemonic, list<Trait> traits = []> : NN_ComputeOp<mnemonic, !listconcat([
    InferTypeOpAdaptor, DeclareOpInterfaceMethods<CostOpInterface, ["getFlops", "getMemoryBytes", "getCostClass"]>,
    RematOpInterface, PrecisionOpInterface], traits)> {
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
  let hasFolder = 1;
  code movementMethods = [{
    int64_t $cppClass::getFlops() { return 0; }
    int64_t $cppClass::getMemoryBytes() { return movedBytes(*this); }
  }];
  code elementwiseCost = [{
    ::gmc::CostClass $cppClass::getCostClass() { return ::gmc::CostClass::Elementwise; }
  }];
  let extraClassDefinition = movementMethods # elementwiseCost;
}

def NN_TransposeOp : NN_MovementOp<"transpose"> {
  let summary = "Permutation of the dimensions";
  let description = [{
    Dimension d of the result is dimension `perm[d]` of the operand. A permutation that moves only dimensions of size 1
    becomes `nn.reshape`; two in a row become one.

    ```mlir
    %y = nn.transpose %x {perm = array<i64: 1, 0>} : (tensor<2x3xf32>) -> tensor<3x2xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$perm);
  let hasCanonicalizeMethod = 1;
  let extraClassDefinition = movementMethods # [{
    ::gmc::CostClass $cppClass::getCostClass() { return ::gmc::CostClass::Transpose; }
  }];
}

def NN_ConcatOp : NN_MovementOp<"concat"> {
  let summary = "Operands one after the other along an axis";
  let description = [{
    ```mlir
    %z = nn.concat %x, %y {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x5xf32>) -> tensor<2x8xf32>
    ```
  }];
  let arguments = (ins Variadic<NN_Tensor>:$inputs, I64Attr:$axis);
  let assemblyFormat = "$inputs attr-dict `:` functional-type(operands, results)";
}

def NN_SliceOp : NN_MovementOp<"slice"> {
  let summary = "A strided box of elements";
  let description = [{
    Element i of the result is element `starts[d] + i[d] * steps[d]` of the operand; steps may be negative, never 0.
    Every element must lie inside the operand.

    ```mlir
    %y = nn.slice %x {starts = array<i64: 0, 7>, sizes = array<i64: 2, 4>, steps = array<i64: 1, -2>}
      : (tensor<2x8xf32>) -> tensor<2x4xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$starts, DenseI64ArrayAttr:$sizes, DenseI64ArrayAttr:$steps);
}

def NN_PadOp : NN_MovementOp<"pad"> {
  let summary = "A constant before, between and after the elements";
  let description = [{
    In dimension d: `low[d]` elements of `value` before, `high[d]` after, `interior[d]` between two neighbours, none
    of them negative. The inverse of `nn.slice` with positive steps, and its gradient. ONNX's reflect, edge and wrap
    pads are imported as slices and `nn.concat`, negative pads as `nn.slice`.

    ```mlir
    %y = nn.pad %x {low = array<i64: 0, 1>, high = array<i64: 0, 2>, interior = array<i64: 0, 0>}
      : (tensor<2x8xf32>) -> tensor<2x11xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$low, DenseI64ArrayAttr:$high, DenseI64ArrayAttr:$interior,
                       DefaultValuedAttr<F64Attr, "0.0">:$value);
}

def NN_BroadcastToOp : NN_MovementOp<"broadcast_to"> {
  let summary = "ONNX (trailing-dimension) broadcast to a shape";
  let description = [{
    ```mlir
    %y = nn.broadcast_to %x {shape = array<i64: 4, 2, 3>} : (tensor<2x1xf32>) -> tensor<4x2x3xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, DenseI64ArrayAttr:$shape);
}

def NN_TriluOp : NN_MovementOp<"trilu"> {
  let summary = "Upper or lower triangle of the last two dimensions";
  let description = [{
    Keeps column - row >= k (`upper`) or column - row <= k, and writes 0 elsewhere.

    ```mlir
    %y = nn.trilu %x {k = 0 : i64, upper = false} : (tensor<4x8x8xf32>) -> tensor<4x8x8xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$x, DefaultValuedAttr<I64Attr, "0">:$k, DefaultValuedAttr<BoolAttr, "true">:$upper);
}

#endif
