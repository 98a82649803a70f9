//===- OpInterfaces.td - the questions a pass may ask an op ---------------------------------------------===//
//
// Passes never switch over op names: what they need to know of an op, they ask through one of these.
//
//===-----------------------------------------------------------------------------------------------------===//

#ifndef GMC_DIALECTS_INTERFACES_OPINTERFACES_TD
#define GMC_DIALECTS_INTERFACES_OPINTERFACES_TD

include "mlir/IR/OpBase.td"

def GradientOpInterface : OpInterface<"GradientOpInterface"> {
  let cppNamespace = "::gmc";
  let description = [{
    Reverse-mode derivative of an op, written with existing nn ops wherever that is as good.
  }];
  let methods = [
    InterfaceMethod<[{
        Emits the vector-Jacobian product. `resultGrads` has one entry per result, null where nothing flows back.
        For every operand i with `needed[i]`, sets `operandGrads[i]` (sized to the operands, all null at first) to a value
        of the operand's type, or leaves it null where the gradient is identically zero.
      }],
      "void", "buildGradient",
      (ins "::mlir::OpBuilder &":$builder, "::llvm::ArrayRef<::mlir::Value>":$resultGrads,
           "::llvm::ArrayRef<bool>":$needed, "::llvm::MutableArrayRef<::mlir::Value>":$operandGrads)>,
  ];
}

def PrecisionOpInterface : OpInterface<"PrecisionOpInterface"> {
  let cppNamespace = "::gmc";
  let description = [{
    In which precision an op may compute under mixed precision: low (matmul family, convolutions), fp32 (exp, log, sums,
    losses), or follow its inputs. Whatever the elements are stored as, kernels compute and accumulate in f32.
  }];
  let methods = [
    InterfaceMethod<"The op's policy.", "::gmc::PrecisionPolicy", "getPrecisionPolicy", (ins), "",
      [{ return ::gmc::PrecisionPolicy::Follow; }]>,
    InterfaceMethod<"Operands that stay in fp32 where the op follows the others: statistics, and what is applied with them.",
      "::llvm::SmallVector<unsigned>", "getWideOperands", (ins), "", [{ return {}; }]>,
  ];
}

def CostOpInterface : OpInterface<"CostOpInterface"> {
  let cppNamespace = "::gmc";
  let description = [{
    What an op costs, independent of a device. Bytes default to reading every operand and writing every result once.
  }];
  let methods = [
    InterfaceMethod<"Arithmetic operations, one fused multiply-add counted as two.", "int64_t", "getFlops", (ins), "",
      [{ return ::gmc::defaultFlops($_op); }]>,
    InterfaceMethod<"Bytes that must move to and from memory.", "int64_t", "getMemoryBytes", (ins), "",
      [{ return ::gmc::defaultMemoryBytes($_op); }]>,
    InterfaceMethod<"Which row of a device profile applies.", "::gmc::CostClass", "getCostClass", (ins), "",
      [{ return ::gmc::CostClass::Elementwise; }]>,
  ];
}

def RematOpInterface : OpInterface<"RematOpInterface"> {
  let cppNamespace = "::gmc";
  let description = [{
    Whether an op may be computed again instead of keeping its results, and where its results may be put.
  }];
  let methods = [
    InterfaceMethod<"May be computed more than once with the same result.", "bool", "isRecomputable", (ins), "",
      [{ return true; }]>,
    InterfaceMethod<[{
        The operand whose buffer result `result` may overwrite, in order of preference, when that operand dies here. An
        operand qualifies when its type has the same byte size and element i of it is read before element i of the
        result is written and never after.
      }],
      "::llvm::SmallVector<unsigned>", "getInPlaceOperands", (ins "unsigned":$result), "",
      [{ return {}; }]>,
    InterfaceMethod<[{
        Result `result` is a by-product that moves state (running statistics): the other results do not depend on the state it
        replaces, and when they are computed again it is computed into scratch and forgotten.
      }],
      "bool", "isStateUpdate", (ins "unsigned":$result), "", [{ return false; }]>,
    InterfaceMethod<"The result is the operand's bytes under another shape: no kernel, no buffer.", "bool", "isView",
      (ins), "", [{ return false; }]>,
  ];
}

def KernelOpInterface : OpInterface<"KernelOpInterface"> {
  let cppNamespace = "::gmc";
  let description = [{
    The portable lowering: emits the op as parallel loops over buffers (see KernelBuilder). Every nn op that is not a view has
    one, for f32 and f64; it is what library calls are checked against.
  }];
  let methods = [
    InterfaceMethod<"Emits the kernel.", "void", "emitKernel", (ins "::gmc::KernelBuilder &":$kernel)>,
    InterfaceMethod<"Sizes in bytes of the scratch buffers that emitKernel uses, on the given target.",
      "::llvm::SmallVector<int64_t>", "getWorkspaceBytes", (ins "::gmc::KernelTarget":$target), "",
      [{ return {}; }]>,
  ];
}

def LibraryOpInterface : OpInterface<"LibraryOpInterface"> {
  let cppNamespace = "::gmc";
  let description = [{
    An op that libraries know: it says what is computed in words that name no library (gmc/LibraryCall.h). Its operands are the
    call's, in the call's order, its results the call's. The portable kernel stays beside the call, which is checked against it, and
    a result may overwrite the same operands (getInPlaceOperands) with either.
  }];
  let methods = [
    InterfaceMethod<"The op as a call; nullopt where it is none, as with other element types than f32.",
      "::std::optional<::gmc::LibraryCall>", "getLibraryCall", (ins)>,
  ];
}

def ScalarOpInterface : OpInterface<"ScalarOpInterface"> {
  let cppNamespace = "::gmc";
  let description = [{
    Elementwise with ONNX (trailing-dimension) broadcasting and one result: element i of the result is a function of the
    operands' elements at the broadcast of i. Ops with this interface fuse with each other and into the loads of others.
  }];
  let methods = [
    InterfaceMethod<"Emits arith/math ops for one element; `operands` are scalars of the operands' element types.",
      "::mlir::Value", "emitScalar",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::mlir::ValueRange":$operands)>,
  ];
}

#endif
