//===- GpuCodegen.cpp - kernels for cuda, and the same kernels on the CPU (sim) -------------------------===//

#include "compiler/Codegen/GpuCodegen.h"
#include "compiler/Codegen/HostCodegen.h"
#include "compiler/Codegen/LowerKernels.h"
#include "compiler/Codegen/LowerMma.h"
#include "compiler/Codegen/ModelTables.h"
#include "compiler/Codegen/RegisterPressure.h"
#include "compiler/Codegen/SimKernels.h"
#include "gmc/DeviceImage.h"
#include "passes/Lowering/DivideGpuKernels.h"
#include "passes/Lowering/EmitKernels.h"
#include "passes/Lowering/WidenGpuNests.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Analysis/LoopInfo.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsNVPTX.h"
#include "llvm/Linker/Linker.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/Cloning.h"
#include <map>

using namespace llvm;

namespace gmc {

static constexpr int64_t kThreadsPerBlock = 256;
/// Every GPU has as many processors.
static constexpr int64_t kFewBlocks = 8;
static constexpr uint64_t kOperandAlignment = 16;

static Error failure(const Twine &message) { return createStringError(message.str()); }

static int64_t threadsOf(const GpuLaunch &launch) {
  return launch.threads ? launch.threads : std::clamp<int64_t>((launch.extent + 31) / 32 * 32, 32, kThreadsPerBlock);
}
static int64_t blocksOf(const GpuLaunch &launch) {
  return launch.threads ? launch.extent : (launch.extent + threadsOf(launch) - 1) / threadsOf(launch);
}

/// The kernel NAME(buffers...) around NAME_body(buffers..., iteration): thread `ctaid * ntid + tid` computes that
/// iteration, threads past the end do nothing.
static Function *wrapKernel(Function *body, const GpuLaunch &launch) {
  LLVMContext &context = body->getContext();
  Module &module = *body->getParent();
  body->setName(launch.function + "_body");
  SmallVector<Type *> types(body->getFunctionType()->params().drop_back());
  auto *kernel = Function::Create(FunctionType::get(Type::getVoidTy(context), types, false),
                                  GlobalValue::ExternalLinkage, launch.function, module);
  auto *entry = BasicBlock::Create(context, "entry", kernel), *inside = BasicBlock::Create(context, "inside", kernel),
       *done = BasicBlock::Create(context, "done", kernel);
  IRBuilder<> b(entry);
  auto read = [&](Intrinsic::ID id) { return b.CreateZExt(b.CreateIntrinsic(b.getInt32Ty(), id, {}), b.getInt64Ty()); };
  Value *index = b.CreateNUWAdd(b.CreateNUWMul(read(Intrinsic::nvvm_read_ptx_sreg_ctaid_x),
                                               b.getInt64(threadsOf(launch))),
                                read(Intrinsic::nvvm_read_ptx_sreg_tid_x));
  b.CreateCondBr(b.CreateICmpULT(index, b.getInt64(launch.extent)), inside, done);
  b.SetInsertPoint(inside);
  SmallVector<Value *> arguments;
  for (Argument &argument : kernel->args())
    arguments.push_back(&argument);
  arguments.push_back(index);
  b.CreateCall(body, arguments);
  b.CreateBr(done);
  b.SetInsertPoint(done);
  b.CreateRetVoid();
  body->setLinkage(GlobalValue::InternalLinkage);
  body->addFnAttr(Attribute::AlwaysInline);
  return kernel;
}

/// Bytes of a kernel's parameters that every architecture and version of PTX takes.
static constexpr size_t kParameterBytes = 4096;

/// The kernel of a launch, from the function that divideGpuKernel made of its nest.
static Function *formKernel(Module &module, const GpuLaunch &launch) {
  Function *kernel = module.getFunction(launch.function);
  if (!launch.threads)
    kernel = wrapKernel(kernel, launch);
  for (Argument &argument : kernel->args()) {
    argument.addAttr(Attribute::NoAlias);
    argument.addAttr(Attribute::getWithAlignment(module.getContext(), Align(kOperandAlignment)));
  }
  kernel->addFnAttr("nvvm.maxntid", std::to_string(threadsOf(launch)));
  // What a cooperative nest keeps in registers it counts on: ptxas spills some for more blocks on a processor, unless
  // told that fewer will do. Few blocks get a processor each.
  if (launch.threads || blocksOf(launch) <= kFewBlocks)
    kernel->addFnAttr("nvvm.minctasm", std::to_string(launch.threads ? launch.resident : 1));
  return kernel;
}

/// Booleans as the bytes that they are in memory, so that accesses of neighbours can be joined.
static void accessBooleansAsBytes(Module &module) {
  for (Function &f : module)
    for (Instruction &instruction : make_early_inc_range(instructions(f))) {
      IRBuilder<> b(&instruction);
      if (auto *load = dyn_cast<LoadInst>(&instruction); load && load->getType()->isIntegerTy(1)) {
        Value *byte = b.CreateAlignedLoad(b.getInt8Ty(), load->getPointerOperand(), load->getAlign());
        load->replaceAllUsesWith(b.CreateTrunc(byte, b.getInt1Ty()));
        load->eraseFromParent();
      } else if (auto *store = dyn_cast<StoreInst>(&instruction);
                 store && store->getValueOperand()->getType()->isIntegerTy(1)) {
        b.CreateAlignedStore(b.CreateZExt(store->getValueOperand(), b.getInt8Ty()), store->getPointerOperand(),
                             store->getAlign());
        store->eraseFromParent();
      }
    }
}

/// Vector accesses rely on it; offsets in plans are multiples of more.
static Error checkOperands(const ModelImage &image) {
  for (const ImageProgram &program : image.programs)
    for (const ImageStep &step : program.steps)
      for (uint64_t offset : step.operands)
        if (offset % kOperandAlignment)
          return failure("an operand of " + step.use.kernel + " is at offset " + Twine(offset) +
                         ", not a multiple of " + Twine(kOperandAlignment));
  return Error::success();
}

/// What a kernel is and which bytes it must move, for who reads the PTX: "// moves NAME CLASS r0:4096 w2:4096".
static std::string describeTraffic(const GpuLaunch &launch, CostClass kind) {
  static const char *const names[] = {"elementwise", "reduction", "matmul", "conv", "gather", "transpose"};
  std::string text = (Twine("// moves ") + launch.function + " " + names[static_cast<int>(kind)]).str();
  for (const BufferTraffic &t : launch.traffic)
    for (auto [letter, bytes] : {std::pair("r", t.read), std::pair("w", t.written)})
      if (bytes)
        text += (Twine(" ") + letter + Twine(t.argument) + ":" + Twine(bytes)).str();
  return text + "\n";
}

//===- cuda ---------------------------------------------------------------------------------------------===//

/// NVPTX selects no code for these, in any precision: libdevice has them.
static StringRef libdeviceName(Intrinsic::ID id) {
  switch (id) {
  case Intrinsic::exp: return "exp";
  case Intrinsic::exp2: return "exp2";
  case Intrinsic::exp10: return "exp10";
  case Intrinsic::log: return "log";
  case Intrinsic::log2: return "log2";
  case Intrinsic::log10: return "log10";
  case Intrinsic::pow: return "pow";
  case Intrinsic::powi: return "powi";
  case Intrinsic::sin: return "sin";
  case Intrinsic::cos: return "cos";
  case Intrinsic::tan: return "tan";
  case Intrinsic::asin: return "asin";
  case Intrinsic::acos: return "acos";
  case Intrinsic::atan: return "atan";
  case Intrinsic::atan2: return "atan2";
  case Intrinsic::sinh: return "sinh";
  case Intrinsic::cosh: return "cosh";
  case Intrinsic::tanh: return "tanh";
  case Intrinsic::round: return "round";
  default: return "";
  }
}

/// Turns intrinsics that NVPTX cannot select and calls of the C library's functions into calls of libdevice's. Half
/// precision goes through float, as it does on the host.
static void useLibdevice(Module &module) {
  SmallVector<Function *> callees; // those that are added below are libdevice's already
  for (Function &callee : module)
    if (callee.isDeclaration() && !callee.use_empty())
      callees.push_back(&callee);
  for (Function *declared : callees) {
    Function &callee = *declared;
    std::string name = libdeviceName(callee.getIntrinsicID()).str();
    Type *type = callee.getReturnType();
    if (callee.isIntrinsic()) {
      if (name.empty() || type->isVectorTy())
        continue;
      name = "__nv_" + name + (type->isDoubleTy() ? "" : "f");
    } else {
      name = ("__nv_" + callee.getName()).str();
    }
    IRBuilder<> b(module.getContext());
    Type *computed = type->isHalfTy() || type->isBFloatTy() ? b.getFloatTy() : type;
    SmallVector<Type *> types;
    for (Type *argument : callee.getFunctionType()->params())
      types.push_back(argument == type ? computed : argument);
    FunctionCallee target = module.getOrInsertFunction(name, FunctionType::get(computed, types, false));
    for (User *user : make_early_inc_range(callee.users())) {
      auto *call = cast<CallInst>(user);
      b.SetInsertPoint(call);
      SmallVector<Value *> arguments;
      for (auto [value, want] : zip(call->args(), types))
        arguments.push_back(value->getType() == want ? value.get() : b.CreateFPExt(value, want));
      Value *result = b.CreateCall(target, arguments);
      if (computed != type)
        result = b.CreateFPTrunc(result, type);
      call->replaceAllUsesWith(result);
      call->eraseFromParent();
    }
  }
}

static SmallVector<std::string> undefinedFunctions(const Module &module) {
  SmallVector<std::string> names;
  for (const Function &f : module)
    if (f.isDeclaration() && !f.isIntrinsic() && !f.use_empty() && f.getName() != "__nvvm_reflect")
      names.push_back(f.getName().str());
  return names;
}

static Error linkLibdevice(Module &module, const std::string &path) {
  SmallVector<std::string> needed = undefinedFunctions(module);
  if (needed.empty())
    return Error::success();
  if (path.empty())
    return failure("the kernels need " + join(needed, ", ") +
                   ", which a CUDA toolkit's nvvm/libdevice/libdevice.10.bc defines: install one and set CUDA_HOME "
                   "to its folder");
  auto file = MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!file)
    return failure("cannot read " + path + ": " + file.getError().message());
  auto library = parseBitcodeFile((*file)->getMemBufferRef(), module.getContext());
  if (!library)
    return library.takeError();
  (*library)->setTargetTriple(module.getTargetTriple());
  (*library)->setDataLayout(module.getDataLayout());
  StringSet<> own;
  for (Function &f : **library)
    if (!f.isDeclaration())
      own.insert(f.getName());
  if (Linker::linkModules(module, std::move(*library), Linker::LinkOnlyNeeded))
    return failure("linking " + path + " failed");
  for (Function &f : module)
    if (!f.isDeclaration() && own.contains(f.getName()))
      f.setLinkage(GlobalValue::InternalLinkage);
  if (needed = undefinedFunctions(module); !needed.empty())
    return failure("no device code is known for " + join(needed, ", "));
  return Error::success();
}

/// A multiply-add that the IR leaves to the target becomes a fused one: with contraction off, NVPTX would make two
/// instructions of it.
static void fuseMultiplyAdds(Module &module) {
  for (Function &f : module)
    for (Instruction &i : instructions(f))
      if (auto *call = dyn_cast<IntrinsicInst>(&i); call && call->getIntrinsicID() == Intrinsic::fmuladd)
        call->setCalledFunction(Intrinsic::getOrInsertDeclaration(&module, Intrinsic::fma, {call->getType()}));
}

/// Loops that wait for the other threads stay loops: unrolled, all their loads are moved up to where the first one is,
/// and their values take registers that there are not.
static void keepLoopsWithBarriers(Module &module) {
  LLVMContext &context = module.getContext();
  MDNode *disable = MDNode::get(context, MDString::get(context, "llvm.loop.unroll.disable"));
  for (Function &f : module) {
    if (f.isDeclaration())
      continue;
    DominatorTree dominators(f);
    LoopInfo loops(dominators);
    for (Loop *loop : loops.getLoopsInPreorder()) {
      auto waits = [](Instruction &i) {
        auto *call = dyn_cast<IntrinsicInst>(&i);
        return call && call->getIntrinsicID() == Intrinsic::nvvm_barrier_cta_sync_aligned_all;
      };
      if (llvm::any_of(loop->blocks(), [&](BasicBlock *block) { return llvm::any_of(*block, waits); }))
        loop->setLoopID(makePostTransformationMetadata(context, loop->getLoopID(), {}, {disable}));
    }
  }
}

/// What ptxas takes where it is told nothing of blocks on a processor, and values ask for more: 32, 40 or 64 registers,
/// and memory for the rest. Told that two blocks will do, it finds the registers.
static void limitBlocksForRegisters(Module &module) {
  static constexpr unsigned kUnhintedRegisters = 32;
  for (Function &f : module)
    if (f.getCallingConv() == CallingConv::PTX_Kernel && !f.hasFnAttribute("nvvm.minctasm") &&
        registerPressure(f) > kUnhintedRegisters)
      f.addFnAttr("nvvm.minctasm", "2");
}

/// PTX of `kernels` for one architecture, ending with a zero byte. `llvmText` (optional) receives the optimized IR.
static Expected<std::string> emitPtx(const Module &kernels, uint32_t sm, const std::string &libdevice,
                                     std::unique_ptr<MemoryBuffer> *llvmText) {
  static bool initialized = [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    return true;
  }();
  (void)initialized;
  Triple triple("nvptx64-nvidia-cuda");
  std::string error;
  const Target *target = TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return failure(error);
  TargetOptions targetOptions;
  targetOptions.AllowFPOpFusion = FPOpFusion::Strict; // contraction only where the IR says so
  std::unique_ptr<TargetMachine> machine(target->createTargetMachine(triple, "sm_" + std::to_string(sm), ptxFeature(sm),
                                                                     targetOptions, std::nullopt, std::nullopt,
                                                                     CodeGenOptLevel::Default));
  std::unique_ptr<Module> module = CloneModule(kernels);
  module->setTargetTriple(triple);
  module->setDataLayout(machine->createDataLayout());
  for (Function &f : *module) {
    if (f.isDeclaration() || !f.hasExternalLinkage())
      continue;
    f.setCallingConv(CallingConv::PTX_Kernel);
    // Before sm_80 a product in half precision is two instructions or many more, and takes registers for what lies
    // between.
    if (sm < 80 && f.hasFnAttribute("nvvm.minctasm"))
      f.addFnAttr("nvvm.minctasm", "1");
  }
  lowerMma(*module, sm);
  fuseMultiplyAdds(*module);
  useLibdevice(*module);
  if (Error error = linkLibdevice(*module, libdevice))
    return std::move(error);
  keepLoopsWithBarriers(*module);
  optimizeModule(*module, *machine, 3);
  limitBlocksForRegisters(*module);
  if (SmallVector<std::string> left = undefinedFunctions(*module); !left.empty())
    return failure("undefined in the device code: " + join(left, ", "));
  if (llvmText)
    *llvmText = printLlvm(*module);
  auto ptx = emitMachineCode(*module, *machine, CodeGenFileType::AssemblyFile);
  if (!ptx)
    return ptx.takeError();
  std::string text = (*ptx)->getBuffer().str();
  if (text.find(".extern .func") != std::string::npos)
    return failure("the PTX for sm_" + Twine(sm) + " refers to a function that it does not define");
  text.push_back('\0');
  return text;
}

/// The container of runtime/include/gmc/DeviceImage.h.
static std::string packImage(ArrayRef<std::pair<GmcImageEntry, std::string>> codes) {
  auto aligned = [](uint64_t at) { return (at + 63) / 64 * 64; };
  GmcImageHeader header{GMC_IMAGE_MAGIC, GMC_IMAGE_VERSION, static_cast<uint32_t>(codes.size()), 0};
  std::string image(reinterpret_cast<const char *>(&header), sizeof header);
  uint64_t at = aligned(sizeof header + codes.size() * sizeof(GmcImageEntry));
  for (auto [entry, code] : codes) {
    entry.offset = at;
    entry.size = code.size();
    image.append(reinterpret_cast<const char *>(&entry), sizeof entry);
    at = aligned(at + code.size());
  }
  for (auto &[_, code] : codes) {
    image.resize(aligned(image.size()));
    image += code;
  }
  return image;
}

/// Checks every access, as `clang -fsanitize=address` does.
static void sanitizeModule(Module &module, TargetMachine &machine) {
  for (Function &f : module)
    if (!f.isDeclaration())
      f.addFnAttr(Attribute::SanitizeAddress);
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager sccs;
  ModuleAnalysisManager modules;
  PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(sccs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, sccs, modules);
  ModulePassManager passes;
  cantFail(builder.parsePassPipeline(passes, "asan"));
  passes.run(module, modules);
}

Expected<std::unique_ptr<MemoryBuffer>> emitGpuObject(mlir::ModuleOp module, const ModelImage &image,
                                                      const GpuCodegenOptions &options) {
  bool sim = image.target == GMC_TARGET_SIM;
  std::vector<uint32_t> sms;
  for (const std::string &arch : options.archs) {
    auto sm = parseSm(arch);
    if (!sm)
      return sm.takeError();
    sms.push_back(*sm);
  }
  llvm::sort(sms);
  sms.erase(llvm::unique(sms), sms.end());
  if (!sim && sms.empty())
    return failure("no architecture is named to generate device code for");

  std::map<KernelKey, SmallVector<GpuLaunch>> uses;
  LLVMContext context;
  auto kernels = lowerKernels(module, image, KernelTarget::Gpu, context,
                              [&](mlir::func::FuncOp kernel, const KernelKey &key) -> llvm::LogicalResult {
                                widenGpuNests(kernel);
                                auto launches = divideGpuKernel(kernel);
                                if (failed(launches))
                                  return llvm::LogicalResult::failure();
                                uses[key] = std::move(*launches);
                                return llvm::success();
                              },
                              options.onLowered);
  if (!kernels)
    return kernels.takeError();
  if (Error error = checkOperands(image))
    return std::move(error);
  accessBooleansAsBytes(**kernels);
  for (GlobalVariable &global : (*kernels)->globals()) // shared memory
    global.setLinkage(GlobalValue::InternalLinkage);
  auto machine = createHostMachine(sim ? portableHostArch() : "x86-64", 2);
  if (!machine)
    return machine.takeError();
  Module empty("gmc", context);
  Module &tables = sim ? **kernels : empty;
  tables.setTargetTriple((*machine)->getTargetTriple());
  tables.setDataLayout((*machine)->createDataLayout());

  std::map<KernelKey, std::vector<LaunchEntry>> entries;
  for (auto &[key, launches] : uses) {
    std::vector<LaunchEntry> &list = entries[key]; // none for tensors without elements
    for (const GpuLaunch &launch : launches) {
      Function *kernel = formKernel(**kernels, launch);
      if (8 * kernel->arg_size() > kParameterBytes)
        return failure("kernel " + launch.function + " has " + Twine(kernel->arg_size()) + " operands, more than the " +
                       Twine(kParameterBytes / 8) +
                       " that a launch can have: split the node, such as a Concat, in two");
      LaunchEntry entry{nullptr, launch.function, blocksOf(launch), threadsOf(launch), 0};
      if (entry.extent > INT32_MAX)
        return failure("kernel " + launch.function +
                       " has more blocks than a launch may have: use a smaller --micro-batch");
      if (sim) {
        auto function = simulateKernel(kernel, threadsOf(launch), options.sanitize);
        if (!function)
          return function.takeError();
        entry.function = *function;
      }
      list.push_back(std::move(entry));
    }
  }
  std::string deviceImage;
  if (!sim) {
    std::string ptxText;
    std::vector<std::pair<GmcImageEntry, std::string>> codes;
    for (uint32_t sm : sms) {
      std::unique_ptr<MemoryBuffer> text;
      auto ptx = emitPtx(**kernels, sm, options.tools.libdevice,
                         options.emit == GpuCodegenOptions::Emit::Llvm ? &text : nullptr);
      if (!ptx)
        return ptx.takeError();
      if (text)
        return text;
      if (options.emit == GpuCodegenOptions::Emit::Ptx) {
        ptxText += StringRef(*ptx).drop_back();
        continue;
      }
      if (!options.tools.ptxas.empty()) {
        auto cubin = assemblePtx(StringRef(*ptx).drop_back(), sm, options.tools.ptxas);
        if (!cubin)
          return cubin.takeError();
        codes.push_back({{sm, GMC_IMAGE_CUBIN, 0, 0}, std::string(cubin->begin(), cubin->end())});
      }
      if (sm == sms.front())
        codes.push_back({{sm, GMC_IMAGE_PTX, 0, 0}, std::move(*ptx)});
    }
    if (options.emit == GpuCodegenOptions::Emit::Ptx) {
      for (auto &[key, launches] : uses) {
        auto op = dyn_cast<CostOpInterface>(kernelRoot(module.lookupSymbol<mlir::func::FuncOp>(key.first)));
        for (const GpuLaunch &launch : launches)
          ptxText += describeTraffic(launch, op ? op.getCostClass() : CostClass::Elementwise);
      }
      return MemoryBuffer::getMemBufferCopy(ptxText);
    }
    deviceImage = packImage(codes);
  }
  emitModelTables(tables, image, [&](const KernelUse &use) -> const std::vector<LaunchEntry> & {
    return entries.at({use.kernel, use.aliases});
  }, deviceImage);
  optimizeModule(tables, **machine, 2);
  if (options.sanitize)
    sanitizeModule(tables, **machine);
  if (options.emit != GpuCodegenOptions::Emit::Object)
    return printLlvm(tables);
  return emitMachineCode(tables, **machine, CodeGenFileType::ObjectFile);
}

} // namespace gmc
