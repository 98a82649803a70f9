//===- NNBase.td - the nn dialect and what its ops share ------------------------------------------------===//

#ifndef GMC_DIALECTS_NN_NNBASE_TD
#define GMC_DIALECTS_NN_NNBASE_TD

include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "dialects/Interfaces/OpInterfaces.td"

def NN_Dialect : Dialect {
  let name = "nn";
  let cppNamespace = "::gmc::nn";
  let summary = "Tensor-level training graph: forward, loss and backward ops on static shapes.";
  let description = [{
    Ops take and return statically shaped tensors and have no side effects; what is carried between steps enters and
    leaves as function arguments and results. ONNX node names are locations.
  }];
  let hasConstantMaterializer = 1;
  let extraClassDeclaration = [{
    template <typename... Ops> void addGroup() { addOperations<Ops...>(); }
  }];
}

class NN_Op<string mnemonic, list<Trait> traits = []> : Op<NN_Dialect, mnemonic, !listconcat([Pure], traits)>;

def NN_FloatTensor : StaticShapeTensorOf<[F16, BF16, F32, F64]>;
def NN_IntTensor : StaticShapeTensorOf<[AnySignlessInteger, AnyUnsignedInteger]>;
def NN_BoolTensor : StaticShapeTensorOf<[I1]>;
def NN_IndexTensor : StaticShapeTensorOf<[I32, I64]>;
def NN_Tensor : StaticShapeTensorOf<[F16, BF16, F32, F64, AnySignlessInteger, AnyUnsignedInteger]>;

/// An op with a gradient, costs and a portable kernel: the usual case.
class NN_ComputeOp<string mnemonic, list<Trait> traits = []>
    : NN_Op<mnemonic, !listconcat([
        DeclareOpInterfaceMethods<GradientOpInterface>, DeclareOpInterfaceMethods<KernelOpInterface>], traits)>;

/// The default answers of an interface, when an op has nothing to say.
defvar NN_DefaultCost = [CostOpInterface];
defvar NN_DefaultRemat = [RematOpInterface];
defvar NN_DefaultPrecision = [PrecisionOpInterface];

#endif
