//===- LowerKernels.cpp - kernels to LLVM IR, the part all targets share --------------------------------===//

#include "compiler/Codegen/LowerKernels.h"
#include "compiler/Codegen/ExpandBFloat16.h"
#include "compiler/Codegen/HostCodegen.h"
#include "passes/Fusion/FormKernels.h"
#include "passes/Lowering/EmitKernels.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Analysis/LoopInfo.h"
#include "llvm/Analysis/ScalarEvolution.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/Transforms/Utils/LoopUtils.h"
#include <set>

using namespace mlir;

namespace gmc {

static llvm::Error failure(const llvm::Twine &message) { return llvm::createStringError(message.str()); }

namespace {

/// f32 exp, log, erf and tanh as polynomials: they vectorize, and give the same bits on every machine. f64 calls libm.
struct ApproximateMathPass : PassWrapper<ApproximateMathPass, OperationPass<>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ApproximateMathPass)
  StringRef getArgument() const override { return "gmc-approximate-math"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<arith::ArithDialect, math::MathDialect, vector::VectorDialect>();
  }
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    populateMathPolynomialApproximationPatterns(
        patterns, [](StringRef name) { return name == "math.exp" || name == "math.erf" || name == "math.tanh"; });
    (void)applyPatternsGreedily(getOperation(), std::move(patterns));
  }
};

LogicalResult lowerToLlvmDialect(ModuleOp module) {
  PassManager pm(module.getContext());
  pm.enableVerifier(false);
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(std::make_unique<ApproximateMathPass>());
  pm.addPass(createConvertVectorToSCFPass());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createConvertMathToLibmPass());
  pm.addPass(createFinalizeMemRefToLLVMConversionPass());
  pm.addPass(createConvertIndexToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  ConvertFuncToLLVMPassOptions funcOptions;
  funcOptions.useBarePtrCallConv = true;
  pm.addPass(createConvertFuncToLLVMPass(funcOptions));
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createCSEPass());
  return pm.run(module);
}

} // namespace

llvm::Function *emitEntry(llvm::Function *part) {
  llvm::LLVMContext &context = part->getContext();
  auto *pointer = llvm::PointerType::get(context, 0);
  auto *i64 = llvm::Type::getInt64Ty(context);
  auto *type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer, i64, i64}, false);
  auto *entry = llvm::Function::Create(type, llvm::GlobalValue::InternalLinkage, part->getName() + "_entry",
                                       part->getParent());
  llvm::IRBuilder<> b(llvm::BasicBlock::Create(context, "entry", entry));
  llvm::SmallVector<llvm::Value *> arguments;
  for (unsigned i = 0; i + 2 < part->arg_size(); ++i)
    arguments.push_back(b.CreateLoad(pointer, b.CreateConstGEP1_64(pointer, entry->getArg(0), i)));
  arguments.push_back(entry->getArg(1));
  arguments.push_back(entry->getArg(2));
  b.CreateCall(part, arguments);
  b.CreateRetVoid();
  part->setLinkage(llvm::GlobalValue::InternalLinkage);
  part->addFnAttr(llvm::Attribute::NoInline);
  return entry;
}

namespace {

/// A long sum with one vector accumulator waits for the previous addition in each iteration: four of them do not. The
/// vectorizer's own choice is one where the loop does more than add.
struct InterleaveSums : llvm::PassInfoMixin<InterleaveSums> {
  static constexpr unsigned accumulators = 4, longEnough = 512;

  static bool sums(const llvm::Loop &loop) {
    for (const llvm::PHINode &phi : loop.getHeader()->phis()) {
      auto *next = llvm::dyn_cast<llvm::Instruction>(phi.getIncomingValueForBlock(loop.getLoopLatch()));
      if (next && next->getOpcode() == llvm::Instruction::FAdd && next->hasAllowReassoc() &&
          llvm::is_contained(next->operands(), &phi))
        return true;
    }
    return false;
  }
  llvm::PreservedAnalyses run(llvm::Function &function, llvm::FunctionAnalysisManager &analyses) {
    auto &evolution = analyses.getResult<llvm::ScalarEvolutionAnalysis>(function);
    for (llvm::Loop *loop : analyses.getResult<llvm::LoopAnalysis>(function).getLoopsInPreorder())
      if (loop->isInnermost() && loop->getLoopLatch() && evolution.getSmallConstantTripCount(loop) >= longEnough &&
          sums(*loop))
        llvm::addStringMetadataToLoop(loop, "llvm.loop.interleave.count", accumulators);
    return llvm::PreservedAnalyses::all();
  }
};

} // namespace

/// GPUs from sm_80 on convert bfloat as IEEE 754 rounds, in one instruction.
static bool convertsBFloat16(const llvm::TargetMachine &machine) {
  unsigned sm = 0;
  StringRef cpu = machine.getTargetCPU();
  return machine.getTargetTriple().isNVPTX() && cpu.consume_front("sm_") && !cpu.consumeInteger(10, sm) && sm >= 80;
}

void optimizeModule(llvm::Module &module, llvm::TargetMachine &machine, int level) {
  if (!convertsBFloat16(machine))
    expandBFloat16(module);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager sccs;
  llvm::ModuleAnalysisManager modules;
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = level >= 2;
  tuning.SLPVectorization = level >= 2;
  llvm::PassBuilder builder(&machine, tuning);
  builder.registerVectorizerStartEPCallback(
      [](llvm::FunctionPassManager &passes, llvm::OptimizationLevel) { passes.addPass(InterleaveSums()); });
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(sccs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, sccs, modules);
  auto opt = level >= 3   ? llvm::OptimizationLevel::O3
             : level == 2 ? llvm::OptimizationLevel::O2
                          : llvm::OptimizationLevel::O1;
  builder.buildPerModuleDefaultPipeline(opt).run(module, modules);
  if (!machine.getTargetTriple().isNVPTX())
    moveBFloat16AsBits(module);
}

llvm::Expected<std::unique_ptr<llvm::Module>> translateKernels(ModuleOp module, llvm::LLVMContext &llvmContext,
                                                               const LoweredHook &onLowered) {
  MLIRContext *context = module.getContext();
  std::string diagnostics;
  ScopedDiagnosticHandler handler(context, [&](Diagnostic &d) {
    diagnostics += d.str() + "\n";
    return success();
  });
  if (failed(verify(module)) || failed(lowerToLlvmDialect(module)))
    return failure("lowering kernels to LLVM: " + diagnostics);
  if (onLowered && failed(onLowered(module)))
    return failure("lowered kernels are not what the lower phase promises: " + diagnostics);
  registerBuiltinDialectTranslation(*context);
  registerLLVMDialectTranslation(*context);
  registerNVVMDialectTranslation(*context);
  auto llvmModule = translateModuleToLLVMIR(module, llvmContext, "gmc");
  if (!llvmModule)
    return failure("translating kernels to LLVM IR: " + diagnostics);
  return std::move(llvmModule);
}

llvm::Expected<std::unique_ptr<llvm::Module>>
lowerKernels(ModuleOp module, const ModelImage &image, KernelTarget target, llvm::LLVMContext &llvmContext,
             llvm::function_ref<LogicalResult(func::FuncOp, const KernelKey &)> divide,
             const LoweredHook &onLowered) {
  // Kernels are emitted into a module of their own, which starts as a copy of the plan.kernel functions.
  MLIRContext *context = module.getContext();
  context->loadDialect<gpu::GPUDialect, NVVM::NVVMDialect>();
  OwningOpRef<ModuleOp> work = ModuleOp::create(module.getLoc());
  OpBuilder b = OpBuilder::atBlockEnd(work->getBody());
  for (auto kernel : module.getOps<func::FuncOp>())
    if (kernel->hasAttr(kKernelAttr))
      b.clone(*kernel);
  SymbolTable symbols(*work);
  std::set<KernelKey> seen;
  std::string diagnostics;
  ScopedDiagnosticHandler handler(context, [&](Diagnostic &d) {
    diagnostics += d.str() + "\n";
    return success();
  });
  for (const ImageProgram &program : image.programs)
    for (const ImageStep &step : program.steps) {
      auto [it, inserted] = seen.insert(KernelKey{step.use.kernel, step.use.aliases});
      if (!inserted)
        continue;
      auto kernel = symbols.lookup<func::FuncOp>(step.use.kernel);
      if (!kernel)
        return failure("kernel " + step.use.kernel + " is not in the module");
      std::string name = "g" + std::to_string(seen.size()) + "_" + step.use.kernel;
      auto emitted = emitKernel(kernel, name, target, step.use.aliases);
      if (failed(emitted))
        return failure("emitting " + step.use.kernel + ": " + diagnostics);
      if (failed(divide(*emitted, *it)))
        return failure("dividing " + step.use.kernel + ": " + diagnostics);
    }
  for (auto kernel : llvm::make_early_inc_range(work->getOps<func::FuncOp>()))
    if (kernel->hasAttr(kKernelAttr))
      kernel.erase();
  return translateKernels(*work, llvmContext, onLowered);
}

llvm::Expected<std::unique_ptr<llvm::TargetMachine>> createHostMachine(StringRef name, int optLevel) {
  static bool initialized = [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    return true;
  }();
  (void)initialized;
  auto arch = resolveHostArch(name);
  if (!arch)
    return arch.takeError();
  llvm::Triple triple(llvm::sys::getDefaultTargetTriple());
  std::string error;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return failure(error);
  llvm::TargetOptions targetOptions;
  targetOptions.AllowFPOpFusion = llvm::FPOpFusion::Strict; // contraction only where the IR says so
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, arch->first, arch->second, targetOptions, llvm::Reloc::PIC_, std::nullopt,
      optLevel >= 2 ? llvm::CodeGenOptLevel::Default : llvm::CodeGenOptLevel::Less));
}

llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> emitMachineCode(llvm::Module &module, llvm::TargetMachine &machine,
                                                                    llvm::CodeGenFileType type) {
  llvm::SmallVector<char, 0> code;
  llvm::raw_svector_ostream stream(code);
  llvm::legacy::PassManager codegen;
  if (machine.addPassesToEmitFile(codegen, stream, nullptr, type))
    return failure("this LLVM cannot emit code for " + machine.getTargetTriple().str());
  codegen.run(module);
  return std::make_unique<llvm::SmallVectorMemoryBuffer>(std::move(code), /*RequiresNullTerminator=*/false);
}

std::unique_ptr<llvm::MemoryBuffer> printLlvm(const llvm::Module &module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream, nullptr);
  return llvm::MemoryBuffer::getMemBufferCopy(text);
}

} // namespace gmc
