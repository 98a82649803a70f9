//===- Plan.td - the plan dialect: a program over one arena ---------------------------------------------===//

#ifndef GMC_DIALECTS_PLAN_PLAN_TD
#define GMC_DIALECTS_PLAN_PLAN_TD

include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Plan_Dialect : Dialect {
  let name = "plan";
  let cppNamespace = "::gmc::plan";
  let summary = "Buffer-level program: one arena, buffers at fixed addresses in it, kernel calls on views of them.";
  let description = [{
    What a plan decides is written down and nothing is left to decide: where each buffer lies, in which order kernels run,
    what is computed again, which result overwrites an operand, how often the micro-step repeats. Kernels are `func.func`s
    with the attribute `plan.kernel`; their bodies are still nn ops on tensors. docs/RationalePlan.md says why the ops are
    these.
  }];
}

class Plan_Op<string mnemonic, list<Trait> traits = []> : Op<Plan_Dialect, mnemonic, traits>;

//===- Words --------------------------------------------------------------------------------------------===//

class Plan_Enum<string name, string summary, list<I32EnumAttrCase> cases> : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::gmc::plan";
}

def Plan_Target : Plan_Enum<"Target", "where the program runs", [
  I32EnumAttrCase<"Host", 0, "host">, I32EnumAttrCase<"Cuda", 1, "cuda">, I32EnumAttrCase<"Sim", 2, "sim">]>;

def Plan_Stage : Plan_Enum<"Stage", "part of the optimizer step", [
  I32EnumAttrCase<"Forward", 0, "forward">, I32EnumAttrCase<"Recompute", 1, "recompute">,
  I32EnumAttrCase<"Backward", 2, "backward">, I32EnumAttrCase<"Update", 3, "update">]>;

def Plan_BufferKind : Plan_Enum<"BufferKind", "what a buffer holds", [
  I32EnumAttrCase<"Parameter", 0, "parameter">, I32EnumAttrCase<"Constant", 1, "constant">,
  I32EnumAttrCase<"State", 2, "state">, I32EnumAttrCase<"Gradient", 3, "gradient">,
  I32EnumAttrCase<"Activation", 4, "activation">,
  I32EnumAttrCase<"ActivationGradient", 5, "activation_gradient">,
  I32EnumAttrCase<"Workspace", 6, "workspace">, I32EnumAttrCase<"Input", 7, "input">,
  I32EnumAttrCase<"Cast", 8, "cast">]>;

def Plan_Role : Plan_Enum<"Role", "what a tensor is to the trainer", [
  I32EnumAttrCase<"Input", 0, "input">, I32EnumAttrCase<"Label", 1, "label">,
  I32EnumAttrCase<"Parameter", 2, "parameter">, I32EnumAttrCase<"Constant", 3, "constant">,
  I32EnumAttrCase<"State", 4, "state">, I32EnumAttrCase<"Hyper", 5, "hyper">, I32EnumAttrCase<"Rng", 6, "rng">,
  I32EnumAttrCase<"ValidSamples", 7, "valid_samples">, I32EnumAttrCase<"LossSum", 8, "loss_sum">,
  I32EnumAttrCase<"ValidCount", 9, "valid_count">, I32EnumAttrCase<"CorrectCount", 10, "correct_count">,
  I32EnumAttrCase<"Output", 11, "output">, I32EnumAttrCase<"Gradient", 12, "gradient">,
  I32EnumAttrCase<"StepCount", 13, "step_count">]>;

def Plan_Library : Plan_Enum<"Library", "library that computes a launch", [I32EnumAttrCase<"OneDnn", 1, "onednn">]>;

//===- Types --------------------------------------------------------------------------------------------===//

def Plan_Bytes : ConfinedType<MemRefRankOf<[I8], [1]>, [HasStaticShapePred], "bytes of a fixed number">;
def Plan_View : ConfinedType<AnyMemRef, [HasStaticShapePred], "memref of static shape">;

//===- Structure ----------------------------------------------------------------------------------------===//

def Plan_ArenaOp : Plan_Op<"arena", [NoRegionArguments, NoTerminator, SingleBlock]> {
  let summary = "The only allocation, and everything that lives in it";
  let description = [{
    Buffers of its own block are residents: their contents survive between optimizer steps. The programs use residents as they
    lie and put buffers of their own around them. Two buffers that are live at the same time never share an address.

    ```mlir
    plan.arena host bytes(4120064) align(64) {
      %w = plan.buffer parameter "fc.weight" at 0 : memref<1600xi8>
      %wv = plan.view %w : memref<1600xi8> to memref<20x20xf32>
      plan.tensor parameter "fc.weight" is %wv initializer : memref<20x20xf32>
      plan.program "train" micro_batch(64) { ... }
      plan.program "eval" micro_batch(64) { ... }
    }
    ```
  }];
  let arguments = (ins Plan_Target:$target, I64Attr:$bytes, I64Attr:$alignment);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$target `bytes` `(` $bytes `)` `align` `(` $alignment `)` attr-dict-with-keyword $body";
  let hasRegionVerifier = 1;
}

def Plan_ProgramOp : Plan_Op<"program", [HasParent<"ArenaOp">, NoRegionArguments, NoTerminator, SingleBlock]> {
  let summary = "Launches in the order in which they run";
  let description = [{
    "train" is one optimizer step, "eval" one evaluation batch. A buffer of the program's own block that a loop touches is
    carried through the loop (accumulated gradients, weight copies cast once a step); any other is live from its first to its last
    use. A launch reads only what a launch before it wrote, what the trainer writes (an input), or a resident.

    ```mlir
    plan.program "train" micro_batch(16) {
      plan.launch @k_zero "nn.zero" update outs(%sum : memref<1xf32>) cost(0 flops, 4 bytes, 1.0 us)
      plan.loop count(4) { ... }
      plan.launch @k_adamw "nn.adamw" update ins(...) outs(...) cost(...)
    }
    ```
  }];
  let arguments = (ins StrAttr:$name, I64Attr:$micro_batch);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$name `micro_batch` `(` $micro_batch `)` attr-dict-with-keyword $body";
  let hasRegionVerifier = 1;
}

def Plan_LoopOp : Plan_Op<"loop", [NoRegionArguments, NoTerminator, SingleBlock]> {
  let summary = "One micro-step, executed a number of times";
  let description = [{
    Its own buffers forget their contents from one micro-step to the next. Loops do not nest.

    ```mlir
    plan.loop count(4) {
      %x = plan.buffer input "x" at 4096 : memref<50176xi8>
      ...
    }
    ```
  }];
  let arguments = (ins I64Attr:$count);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "`count` `(` $count `)` attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

//===- Memory -------------------------------------------------------------------------------------------===//

def Plan_BufferOp : Plan_Op<"buffer", [DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "An address range of the arena that holds one value over one lifetime";
  let description = [{
    The size includes padding; offset and size are multiples of the arena's alignment. Where the op stands says how long the
    contents are kept: in the arena's block between steps, in a program's block over its loops, in a loop for one micro-step.
    A value that is computed again is a buffer of its own.

    ```mlir
    %conv1 = plan.buffer activation "conv1" at 4096 : memref<802816xi8>
    ```
  }];
  let arguments = (ins Plan_BufferKind:$kind, StrAttr:$name, I64Attr:$offset);
  let results = (outs Res<Plan_Bytes, "", [MemAlloc]>:$bytes);
  let assemblyFormat = "$kind $name `at` $offset attr-dict `:` type($bytes)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t getSize() { return getBytes().getType().getNumElements(); }
    int64_t getEnd() { return static_cast<int64_t>(getOffset()) + getSize(); }
  }];
}

def Plan_ViewOp : Plan_Op<"view", [Pure, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "A buffer, or a part of it, as a tensor in memory";
  let description = [{
    Row-major and dense. Takes no time; a reshape is two views of one buffer. `at` counts bytes from the buffer's start.

    ```mlir
    %a = plan.view %conv1 : memref<802816xi8> to memref<64x4x28x28xf32>
    %b = plan.view %conv1 at 401408 : memref<802816xi8> to memref<32x3136xf32>
    ```
  }];
  let arguments = (ins Plan_Bytes:$buffer, DefaultValuedAttr<I64Attr, "0">:$offset);
  let results = (outs Plan_View:$view);
  let assemblyFormat = "$buffer (`at` $offset^)? attr-dict `:` type($buffer) `to` type($view)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::gmc::plan::BufferOp getBufferOp();
  }];
}

def Plan_TensorOp : Plan_Op<"tensor"> {
  let summary = "A tensor that the trainer reads or writes by name";
  let description = [{
    One row of the tables in runtime/include/gmc/Abi.h. In the arena's block it is there in every program. In a program, an input
    or label is written by the trainer where the op stands; any other tensor is read there, so its buffer lives until then.
    `initializer` says that the name is that of an ONNX initializer.

    ```mlir
    plan.tensor parameter "fc.weight" is %w initializer : memref<20x20xf32>
    plan.tensor input "x" is %x : memref<16x1x28x28xf32>
    ```
  }];
  let arguments = (ins Plan_Role:$role, StrAttr:$name, UnitAttr:$initializer, Arg<Plan_View, "", [MemRead, MemWrite]>:$view);
  let assemblyFormat = "$role $name `is` $view (`initializer` $initializer^)? attr-dict `:` type($view)";
}

//===- Work ---------------------------------------------------------------------------------------------===//

def Plan_LaunchOp : Plan_Op<"launch", [AttrSizedOperandSegments, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Run a kernel on views of the arena";
  let description = [{
    `kernel` names a `plan.kernel` function: `ins` lie where its arguments are, `outs` receive its results, `workspaces` are
    scratch. A result in place of an operand is written as the same view of the same buffer in both. Locations are the ONNX nodes
    that the work comes from. `recompute_of` lists the launches of this program (counted from 0) that computed the same values
    the first time, and the part of the predicted time that is spent on computing them again. `library` describes a call
    (GmcStep.libraryArgs) that is made on the same addresses instead; the kernel says what it computes.

    ```mlir
    plan.launch @k_conv_12AB "nn.conv" forward ins(%x, %w : memref<16x1x28x28xf32>, memref<8x1x5x5xf32>)
        outs(%y : memref<16x8x24x24xf32>) workspace(%s : memref<3200xi8>) cost(3686400 flops, 353600 bytes, 120.5 us)
    plan.launch @k_relu_0F "nn.relu" recompute ins(%y) outs(%y) cost(73728 flops, 589824 bytes, 60.0 us)
        recompute_of([4], 60.0 us)
    plan.launch @k_matmul_3C "nn.matmul" forward ins(%a, %b) outs(%c) cost(...) library(onednn, [1, 16, 64, 64])
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, StrAttr:$op_name, Plan_Stage:$stage,
                       Arg<Variadic<Plan_View>, "", [MemRead]>:$ins, Arg<Variadic<Plan_View>, "", [MemWrite]>:$outs,
                       Arg<Variadic<Plan_View>, "", [MemRead, MemWrite]>:$workspaces,
                       I64Attr:$flops, I64Attr:$bytes, F64Attr:$predicted_us,
                       OptionalAttr<DenseI64ArrayAttr>:$recompute_of, OptionalAttr<F64Attr>:$recompute_us,
                       OptionalAttr<Plan_Library>:$library, OptionalAttr<DenseI64ArrayAttr>:$library_args);
  let assemblyFormat = [{
    $kernel $op_name $stage (`ins` `(` $ins^ `:` type($ins) `)`)? (`outs` `(` $outs^ `:` type($outs) `)`)?
    (`workspace` `(` $workspaces^ `:` type($workspaces) `)`)?
    `cost` `(` $flops `flops` `,` $bytes `bytes` `,` $predicted_us `us` `)`
    (`recompute_of` `(` $recompute_of^ `,` $recompute_us `us` `)`)?
    (`library` `(` $library^ `,` $library_args `)`)? attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// For each of `outs`: the position in `ins` of the view that it overwrites, or -1.
    ::llvm::SmallVector<int> getAliases();
    /// Views in the order of a kernel's arguments in memory: operands, results that overwrite none, workspaces.
    ::llvm::SmallVector<::mlir::Value> getKernelArguments();
  }];
}

#endif
