//===- Passes.td - every pass of gmc --------------------------------------------------------------------===//

#ifndef GMC_PASSES_PASSES_TD
#define GMC_PASSES_PASSES_TD

include "mlir/Pass/PassBase.td"

//===- Autodiff -----------------------------------------------------------------------------------------===//

def DifferentiatePass : Pass<"differentiate", "::mlir::func::FuncOp"> {
  let summary = "Append the gradients of a scalar result with respect to the parameters";
  let description = [{
    Reverse mode through GradientOpInterface. The result that `loss` selects must be one floating-point number; for every
    argument of role "parameter" a result of role "gradient" and the argument's name is appended, zeros where the loss does
    not depend on it. Ops that nothing uses any more are erased. Every op on the way that has no gradient is reported.

    ```mlir
    func.func @f(%x: tensor<4xf32>, %w: tensor<4xf32> {nn.role = "parameter", nn.name = "w"}) -> tensor<f32> {
      %p = nn.mul %x, %w : tensor<4xf32>, tensor<4xf32>
      %l = nn.reduce_sum %p {axes = array<i64: 0>} : tensor<4xf32>
      return %l : tensor<f32>
    }
    // becomes
    func.func @f(%x: tensor<4xf32>, %w: tensor<4xf32> {...}) -> (tensor<f32>, tensor<4xf32> {nn.name = "w", nn.role = "gradient"}) {
      %p = nn.mul %x, %w : tensor<4xf32>, tensor<4xf32>
      %l = nn.reduce_sum %p {axes = array<i64: 0>} : tensor<4xf32>
      %one = nn.constant {nn.backward} dense<1.0> : tensor<f32>
      ...
      %dw = nn.mul %dp, %x {nn.backward} : tensor<4xf32>, tensor<4xf32>
      return %l, %dw : tensor<f32>, tensor<4xf32>
    }
    ```

    The association of gradient sums is fixed: contributions are added left to right in the order of the uses, last use
    of the program first.
  }];
  let options = [Option<"loss", "loss", "unsigned", "0", "Index of the result that is differentiated">];
  let dependentDialects = ["::gmc::nn::NNDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

class TrainingPass<string name> : Pass<name, "::mlir::ModuleOp"> {
  let dependentDialects = ["::gmc::nn::NNDialect", "::mlir::func::FuncDialect", "::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect"];
}

def BuildMicroPass : TrainingPass<"build-micro"> {
  let summary = "Make @micro from @forward: the loss of one micro-batch and its gradients";
  let description = [{
    Attaches the loss, puts normalizations and dropout into training mode and differentiates. Results: the loss sum, the
    count it is to be divided by, a gradient of the unnormalized sum for each parameter, and new running statistics.

    ```mlir
    func.func @forward(%x: tensor<8x4xf32> {nn.role = "input", ...}, %w: tensor<4xf32> {nn.role = "parameter", ...})
        -> (tensor<8x4xf32> {nn.role = "output", ...})
    // becomes, beside @forward
    func.func @micro(%x: tensor<8x4xf32> {...}, %label: tensor<8xi64> {nn.name = "label", nn.role = "label"},
                     %rows: tensor<1xi64> {nn.role = "valid_samples"}, %w: tensor<4xf32> {...})
        -> (tensor<1xf32> {nn.role = "loss_sum"}, tensor<1xf32> {nn.role = "valid_count"},
            tensor<4xf32> {nn.name = "w", nn.role = "gradient"})
    ```
  }];
  let options = [
    Option<"loss", "loss", "std::string", "\"auto\"", "auto, cross-entropy, bce, mse, l1 or output, maybe with :OUTPUT">,
    Option<"bnTrain", "bn-train", "bool", "true", "Batch statistics; else running ones">,
    Option<"dropout", "dropout", "bool", "true", "Dropout drops">,
    Option<"inputGradients", "input-grads", "bool", "false", "Gradients of float inputs as well">,
  ];
}

def BuildUpdatePass : TrainingPass<"build-update"> {
  let summary = "Make @update from @micro: one optimizer step";
  let description = [{
    One update op for each parameter, and the states it needs as further arguments and results.

    ```mlir
    func.func @micro(..., %w: tensor<4xf32> {nn.name = "w", nn.role = "parameter"})
        -> (..., tensor<4xf32> {nn.name = "w", nn.role = "gradient"})
    // with optimizer=momentum becomes, beside @micro
    func.func @update(%w, %g: tensor<4xf32> {nn.name = "w", nn.role = "gradient"},
                      %s: tensor<4xf32> {nn.name = "momentum.buf/w", nn.role = "state"}, %hyper, %count, %steps)
        -> (parameter w, state momentum.buf/w, step_count)
    ```
  }];
  let options = [
    Option<"optimizer", "optimizer", "std::string", "\"adamw\"", "adamw, adam, sgd, momentum, nesterov or lion">,
    Option<"clip", "clip", "bool", "false", "Scale gradients by their global norm">,
    Option<"ema", "ema", "bool", "false", "Keep a moving average of the parameters">,
  ];
}

def BuildEvalPass : TrainingPass<"build-eval"> {
  let summary = "Make @eval from @forward: outputs, loss and accuracy";
  let description = [{
    Normalizations use running statistics, dropout is off, the loss is that of --build-micro without its gradients.

    ```mlir
    func.func @eval(inputs, label, valid_samples, parameters, constants, states)
        -> (outputs, loss_sum, valid_count, correct_count)
    ```
  }];
  let options = [
    Option<"loss", "loss", "std::string", "\"auto\"", "auto, cross-entropy, bce, mse, l1 or output, maybe with :OUTPUT">,
    Option<"bnTrain", "bn-train", "bool", "true", "Running statistics are states (training moves them), else constants">,
  ];
}

//===- Precision ----------------------------------------------------------------------------------------===//

def ApplyPrecisionPass : Pass<"apply-precision", "::mlir::func::FuncOp"> {
  let summary = "Put f32 computation into bf16 or fp16 by the policies of its ops";
  let description = [{
    Ops answer PrecisionOpInterface: `low` ops take and give low precision; `fp32` ops give f32; those that `follow` give what
    their data operands are stored as, f32 where these differ. Parameters and constants have no say: arguments stay f32, what
    a low op reads of them is cast once for all its readers, before any change of shape. So is what it reads of any other
    value, before a reshape that is a view. Elementwise ops become regions that read their operands as they are stored,
    compute in f32 and round once; an op that only one other reads is computed in its reader's region. Results of the
    function keep their types: gradients of parameters leave in f32. A cast of what was widened gives back what it was. Fp32
    ops read f32: a widening cast stands before them, which kernel formation takes into the kernel's loads.

    ```mlir
    func.func @f(%x: tensor<4x8xf32>, %w: tensor<8x2xf32> {nn.name = "w", nn.role = "parameter"},
                 %b: tensor<2xf32> {nn.name = "b", nn.role = "parameter"}) -> tensor<4x2xf32> {
      %0 = nn.matmul %x, %w : (tensor<4x8xf32>, tensor<8x2xf32>) -> tensor<4x2xf32>
      %1 = nn.add %0, %b : tensor<4x2xf32>, tensor<2xf32>
      %2 = nn.relu %1 : tensor<4x2xf32>
      return %2 : tensor<4x2xf32>
    }
    // with precision=bf16 becomes
      %0 = nn.cast %x {to = bf16} : (tensor<4x8xf32>) -> tensor<4x8xbf16>
      %1 = nn.cast %w {to = bf16} : (tensor<8x2xf32>) -> tensor<8x2xbf16>
      %2 = nn.matmul %0, %1 : (tensor<4x8xbf16>, tensor<8x2xbf16>) -> tensor<4x2xbf16>
      %3 = nn.fused(%2, %b) : (tensor<4x2xbf16>, tensor<2xf32>) -> tensor<4x2xbf16> {
      ^bb0(%x0: bf16, %b0: f32):
        %s = arith.extf %x0 : bf16 to f32
        %t = arith.addf %s, %b0 : f32
        ... // relu in f32
        %r = arith.truncf %u : f32 to bf16
        nn.yield %r : bf16
      }
      %4 = nn.cast %3 {to = f32} : (tensor<4x2xbf16>) -> tensor<4x2xf32>
      return %4 : tensor<4x2xf32>
    ```
  }];
  let options = [Option<"precision", "precision", "std::string", "\"bf16\"", "fp32, bf16 or fp16">];
  let dependentDialects = ["::gmc::nn::NNDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

def ScaleLossPass : Pass<"scale-loss", "::mlir::ModuleOp"> {
  let summary = "Dynamic loss scaling of @micro and @update, decided on the device";
  let description = [{
    Gradients of @micro start from the state `loss_scale` over the nominal count of labels, rounded up to a power of two:
    dividing by it is exact. @update counts the gradients' elements that are not finite. Without any, the count of valid
    labels that the optimizer divides by takes the scale along, so that the exact count decides, and after
    hyper[GMC_HYPER_SCALE_INTERVAL] such steps the scale doubles, up to 2^24. Otherwise that count is -1: parameters,
    moments, averages and the step count stay as they are, and the scale halves, down to 1.

    ```mlir
    func.func @update(%w, %g: tensor<4xf32> {nn.name = "w", nn.role = "gradient"}, %hyper, %count, %steps) {
      %0 = nn.sgd_update %w, %g, %hyper, %count, %steps : ...
      return %0, ...
    }
    // becomes
    func.func @update(..., %scale: tensor<1xf32> {nn.name = "loss_scale", nn.role = "state"},
                      %clean: tensor<1xf32> {nn.name = "loss_scale.clean_steps", nn.role = "state"}) {
      %bad = nn.non_finite_count %g : tensor<4xf32>
      %n = nn.fused(%count, %scale, %bad) ... // bad > 0 ? -1 : count * (scale / nominal)
      %scale1 = nn.fused(%scale, %clean, %bad, %interval) ...
      %clean1 = nn.fused(%clean, %bad, %interval) ...
      %0 = nn.sgd_update %w, %g, %hyper, %n, %steps : ...
      return %0, ..., %scale1, %clean1
    }
    ```
  }];
  let options = [Option<"accumulation", "accumulation", "int64_t", "1", "Micro-steps of an optimizer step">];
  let dependentDialects = ["::gmc::nn::NNDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

//===- Fusion and lowering ------------------------------------------------------------------------------===//

def FormKernelsPass : Pass<"form-kernels", "::mlir::ModuleOp"> {
  let summary = "Cluster nn ops into kernels and call them";
  let description = [{
    Every function of the module becomes calls of `plan.kernel` functions, views and constants. Elementwise producers with one
    reader join it; splat constants move into the kernel; elementwise kernels are collapsed to as few dimensions as their
    broadcasts allow; kernels with the same body are one function.

    ```mlir
    func.func @f(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
      %0 = nn.neg %x : tensor<2x3xf32>
      %1 = nn.exp %0 : tensor<2x3xf32>
      return %1 : tensor<2x3xf32>
    }
    // becomes
    func.func @f(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
      %0 = nn.reshape %x {shape = array<i64: 6>} : (tensor<2x3xf32>) -> tensor<6xf32>
      %1 = call @k_exp_...(%0) {plan.nodes = [], plan.op = "nn.exp", plan.stage = "forward"} : (tensor<6xf32>) -> tensor<6xf32>
      ...
    }
    func.func private @k_exp_...(%x: tensor<6xf32>) -> tensor<6xf32> attributes {plan.kernel} { ... }
    ```
  }];
  let options = [Option<"fuse", "fuse", "bool", "true", "Merge elementwise neighbours">];
  let dependentDialects = ["::gmc::nn::NNDialect", "::mlir::func::FuncDialect"];
}

def EmitKernelsPass : Pass<"emit-kernels", "::mlir::ModuleOp"> {
  let summary = "Kernels from tensors to parallel loops over buffers";
  let description = [{
    Replaces every `plan.kernel` function NAME by NAME_host (NAME_gpu) on buffers: operands, results, workspaces. Its body is a
    sequence of nests in scf, memref, arith and math: scf.parallel, and for the GPU also gpu.launch, whose threads share memory,
    barriers and shuffles. An elementwise cluster is one nest.

    ```mlir
    func.func private @k(%x: tensor<6xf32>) -> tensor<6xf32> attributes {plan.kernel} {
      %0 = nn.exp %x : tensor<6xf32>
      return %0 : tensor<6xf32>
    }
    // becomes
    func.func private @k_host(%x: memref<6xf32> {llvm.noalias}, %y: memref<6xf32> {llvm.noalias}) {
      scf.parallel (%i) = (%c0) to (%c6) step (%c1) {
        %0 = memref.load %x[%i] : memref<6xf32>
        %1 = math.exp %0 : f32
        memref.store %1, %y[%i] : memref<6xf32>
        scf.reduce
      }
      return
    }
    ```
  }];
  let options = [Option<"target", "target", "std::string", "\"host\"", "host or gpu">];
  let dependentDialects = ["::mlir::scf::SCFDialect", "::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect", "::mlir::vector::VectorDialect", "::mlir::LLVM::LLVMDialect",
                           "::mlir::gpu::GPUDialect", "::mlir::NVVM::NVVMDialect"];
}

def DivideHostKernelsPass : Pass<"divide-host-kernels", "::mlir::ModuleOp"> {
  let summary = "Nests to functions over a range of iterations";
  let description = [{
    Splits every function with top-level scf.parallel nests into one function per nest, NAME_0, NAME_1, ..., each taking the
    range [begin, end) of iterations to compute. All dimensions but the last are linearized into the range; the last is an inner
    loop; a one-dimensional nest is divided itself. The attributes `plan.extent` and `plan.grain` are the number of iterations and the
    number below which waking another thread costs more than it saves.
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect", "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect"];
}

def WidenGpuNestsPass : Pass<"widen-gpu-nests", "::mlir::ModuleOp"> {
  let summary = "Neighbouring iterations of a nest to one thread, as 16-byte accesses";
  let description = [{
    Top-level scf.parallel nests whose iterations store neighbouring elements become nests over groups of iterations: a group's
    elements are read and written as vectors of 16 bytes, what it has in common is read once, and what is left over behind the
    last whole group is done one by one. Loops inside, whose bounds a group has in common, run once for all of it. Other nests
    stay as they are.

    ```mlir
    scf.parallel (%i) = (%c0) to (%c1024) step (%c1) {
      %x = memref.load %a[%i] : memref<1024xf32>
      memref.store %x, %b[%i] : memref<1024xf32>
    }
    // becomes
    scf.parallel (%g) = (%c0) to (%c256) step (%c1) {
      %i = arith.muli %g, %c4 : index
      %v = vector.load %a[%i] {alignment = 16 : i64} : memref<1024xf32>, vector<4xf32>
      ...
      vector.store %w, %b[%i] {alignment = 16 : i64} : memref<1024xf32>, vector<4xf32>
    }
    ```
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect", "::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect",
                           "::mlir::vector::VectorDialect"];
}

def DivideGpuKernelsPass : Pass<"divide-gpu-kernels", "::mlir::ModuleOp"> {
  let summary = "Nests to functions that are GPU kernels";
  let description = [{
    Splits every function with top-level nests into one function per nest, NAME_0, NAME_1, .... That of an scf.parallel takes the
    number of one iteration and computes it. That of a gpu.launch is what one thread does: ids are read from special registers,
    buffers of the block are memref.global in address space 3. `plan.moves` says of each buffer which bytes the launch must read and
    write: [argument, read, written].

    ```mlir
    gpu.launch blocks(%bx, %by, %bz) in (%gx = %c4, %gy = %c1, %gz = %c1)
        threads(%tx, %ty, %tz) in (%nx = %c32, %ny = %c1, %nz = %c1) workgroup(%s : memref<32xf32, 3>) { ... }
    // becomes
    memref.global "private" @k_0_shared0 : memref<32xf32, 3> = uninitialized {alignment = 16 : i64}
    func.func @k_0(%x: memref<128xf32> {llvm.noalias}) {
      %0 = nvvm.read.ptx.sreg.ctaid.x range <i32, 0, 4> : i32
      ...
    ```
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect", "::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::gpu::GPUDialect", "::mlir::NVVM::NVVMDialect"];
}

//===- Verifiers of the phase boundaries ------------------------------------------------------------------===//

class VerifierPass<string name> : Pass<name, "::mlir::ModuleOp">;

def VerifyImportPass : VerifierPass<"verify-import"> {
  let summary = "What the import phase promises";
  let description = [{
    From here on: functions of nn ops on tensors of static shape, each op with an ONNX node as its location. Import rules and
    shape binding take care of it. Every offender is reported, not only the first.

    ```mlir
    func.func @forward(%x: tensor<?x4xf32>) ...     // error: shape binding should have bound its dimensions
      %0 = arith.addf %a, %b : tensor<4xf32>        // error: the node's import rule should have removed it
    ```
  }];
}

def VerifyTrainPass : VerifierPass<"verify-train"> {
  let summary = "What the train phase promises";
  let description = [{
    From here on: @micro, @update and @eval of nn ops on static shapes, a role on every argument and result, and a gradient of
    @micro for every one that @update reads.

    ```mlir
    func.func @update(%w: ..., %g: tensor<4xf32> {nn.role = "gradient", nn.name = "w"})   // error unless @micro returns it
    ```
  }];
}

def VerifyFusePass : VerifierPass<"verify-fuse"> {
  let summary = "What the fuse phase promises";
  let description = [{
    From here on: functions of calls of `plan.kernel` functions, views and constants; all arithmetic is in kernels, whose bodies
    are nn ops; every call says its stage, main op and ONNX nodes.

    ```mlir
    func.func @step_body(%x: tensor<4xf32>) -> tensor<4xf32> {
      %0 = nn.exp %x : tensor<4xf32>                // error: form-kernels should have removed it
    ```
  }];
  let dependentDialects = ["::gmc::nn::NNDialect"];
}

def VerifyPlanPass : VerifierPass<"verify-plan"> {
  let summary = "What the plan phase promises";
  let description = [{
    From here on: one plan.arena and the kernels that it launches. No tensor outside of a kernel, no allocation and no copy that
    is not in the plan. Results lie over operands only where the kernel allows it, and a launch's scratch is what its kernel wants.
    That views are inside the arena, aligned and disjoint while they are live, the ops themselves check.

    ```mlir
    %0 = memref.alloc() : memref<4xf32>             // error: a module holds one plan.arena and the kernels it launches
    ```
  }];
}

def VerifyLowerPass : VerifierPass<"verify-lower"> {
  let summary = "What the lower phase promises";
  let description = [{
    From here on: the llvm dialect, and nvvm for what LLVM has intrinsics for. Nothing calls malloc, free or a copy of whole
    tensors; what a kernel has on the stack is of a fixed small size.

    ```mlir
    %0 = llvm.call @malloc(%n) : (i64) -> !llvm.ptr  // error: kernels work on views of the arena
    ```
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif
