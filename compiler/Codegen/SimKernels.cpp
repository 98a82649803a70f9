//===- SimKernels.cpp - GPU kernels as functions for the CPU --------------------------------------------===//

#include "compiler/Codegen/SimKernels.h"
#include "compiler/Codegen/LowerKernels.h"
#include "dialects/Interfaces/GpuBlock.h"
#include "gmc/Sim.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsNVPTX.h"
#include "llvm/IR/ReplaceConstant.h"
#include "llvm/Transforms/Utils/Cloning.h"
#include "llvm/Transforms/Utils/ValueMapper.h"

using namespace llvm;

namespace gmc {

namespace {

constexpr uint64_t sanitizerGap = 32;

/// Pointers into shared memory as plain pointers: on the CPU there is one address space.
struct SharedToGeneric : ValueMapTypeRemapper {
  Type *remapType(Type *type) override {
    if (auto *pointer = dyn_cast<PointerType>(type))
      return pointer->getAddressSpace() == GpuBlock::sharedSpace ? PointerType::get(type->getContext(), 0) : type;
    if (auto *array = dyn_cast<ArrayType>(type))
      return ArrayType::get(remapType(array->getElementType()), array->getNumElements());
    if (auto *record = dyn_cast<StructType>(type); record && record->isLiteral()) {
      SmallVector<Type *> elements;
      for (Type *element : record->elements())
        elements.push_back(remapType(element));
      return StructType::get(type->getContext(), elements, record->isPacked());
    }
    return type;
  }
};

class KernelSimulation {
public:
  KernelSimulation(Function *kernel, int64_t threads, bool sanitize)
      : kernel(kernel), module(*kernel->getParent()), context(kernel->getContext()), threads(threads),
        sanitize(sanitize), i32(Type::getInt32Ty(context)), i64(Type::getInt64Ty(context)),
        pointer(PointerType::get(context, 0)), voidType(Type::getVoidTy(context)),
        buffers(kernel->getFunctionType()->params()) {}

  Expected<Function *> run() {
    findShared();
    bool waits = !shared.empty();
    for (Instruction &instruction : instructions(kernel))
      if (auto *call = dyn_cast<IntrinsicInst>(&instruction))
        waits |= call->getCalledFunction()->getName().starts_with("llvm.nvvm.") && !isIndexRead(call);
    auto entry = waits ? runAsFibers() : runInLoop();
    if (entry)
      kernel->eraseFromParent();
    return entry;
  }

private:
  static bool isIndexRead(const IntrinsicInst *call) {
    return call->getIntrinsicID() == Intrinsic::nvvm_read_ptx_sreg_ctaid_x ||
           call->getIntrinsicID() == Intrinsic::nvvm_read_ptx_sreg_tid_x;
  }

  /// The variables of address space 3 that the kernel uses.
  void findShared() {
    SmallVector<Constant *> variables;
    for (GlobalVariable &global : module.globals())
      if (global.getAddressSpace() == GpuBlock::sharedSpace &&
          global.getName().starts_with((kernel->getName() + "_shared").str()))
        variables.push_back(&global);
    convertUsersOfConstantsToInstructions(variables, kernel);
    for (Constant *variable : variables)
      if (!variable->use_empty())
        shared.push_back(cast<GlobalVariable>(variable));
  }

  Function *create(ArrayRef<Type *> types, const Twine &name) {
    return Function::Create(FunctionType::get(voidType, types, false), GlobalValue::InternalLinkage, name, module);
  }

  /// The kernel's code with `extra` arguments behind its own.
  Function *cloneWith(ArrayRef<Type *> extra, ArrayRef<GlobalVariable *> variables) {
    SmallVector<Type *> types(buffers);
    llvm::append_range(types, extra);
    Function *thread = create(types, kernel->getName() + "_thread");
    ValueToValueMapTy map;
    for (unsigned i = 0; i < buffers.size(); ++i)
      map[kernel->getArg(i)] = thread->getArg(i);
    for (auto [i, variable] : enumerate(variables))
      map[variable] = thread->getArg(buffers.size() + i);
    SmallVector<ReturnInst *> returns;
    SharedToGeneric types3;
    CloneFunctionInto(thread, kernel, map, CloneFunctionChangeType::LocalChangesOnly, returns, "", nullptr, &types3);
    thread->setLinkage(GlobalValue::InternalLinkage);
    thread->removeFnAttr("nvvm.maxntid");
    thread->removeFnAttr("nvvm.minctasm");
    return thread;
  }

  Expected<Function *> runInLoop();
  Expected<Function *> runAsFibers();
  void rewriteMatrixLoads();
  void lowerMatrixLoad(CallInst *call, Value *self);
  bool lowerCall(IntrinsicInst *call, Value *self);
  Value *lowerMma(IRBuilder<> &b, IntrinsicInst *call, Value *self,
                  function_ref<Value *(StringRef, Type *, ArrayRef<Value *>)> runtime);

  Function *kernel;
  Module &module;
  LLVMContext &context;
  int64_t threads;
  bool sanitize;
  Type *i32, *i64, *pointer, *voidType;
  SmallVector<Type *> buffers;
  SmallVector<GlobalVariable *> shared;
  Value *mmaOperands = nullptr, *mmaSums = nullptr, *matrices = nullptr;
};

constexpr StringLiteral matrixLoad = "gmc_load_matrices", transposedMatrixLoad = "gmc_load_matrices_transposed";

/// PART(buffers..., begin, end): thread after thread, which is exact because none waits for another.
Expected<Function *> KernelSimulation::runInLoop() {
  Function *thread = cloneWith({i32, i32}, {});
  thread->addFnAttr(Attribute::AlwaysInline);
  for (Instruction &instruction : make_early_inc_range(instructions(thread))) {
    auto *call = dyn_cast<IntrinsicInst>(&instruction);
    if (!call || !isIndexRead(call))
      continue;
    bool block = call->getIntrinsicID() == Intrinsic::nvvm_read_ptx_sreg_ctaid_x;
    call->replaceAllUsesWith(thread->getArg(buffers.size() + (block ? 0 : 1)));
    call->eraseFromParent();
  }
  SmallVector<Type *> types(buffers);
  types.append({i64, i64});
  Function *part = create(types, kernel->getName() + "_blocks");
  for (unsigned i = 0; i < buffers.size(); ++i)
    part->addParamAttr(i, Attribute::NoAlias);
  Value *begin = part->getArg(buffers.size()), *end = part->getArg(buffers.size() + 1);
  auto *entry = BasicBlock::Create(context, "entry", part), *blocks = BasicBlock::Create(context, "blocks", part),
       *lanes = BasicBlock::Create(context, "threads", part), *next = BasicBlock::Create(context, "next", part),
       *done = BasicBlock::Create(context, "done", part);
  IRBuilder<> b(entry);
  b.CreateCondBr(b.CreateICmpSLT(begin, end), blocks, done);
  b.SetInsertPoint(blocks);
  PHINode *block = b.CreatePHI(i64, 2);
  block->addIncoming(begin, entry);
  b.CreateBr(lanes);
  b.SetInsertPoint(lanes);
  PHINode *lane = b.CreatePHI(i32, 2);
  lane->addIncoming(b.getInt32(0), blocks);
  SmallVector<Value *> arguments;
  for (unsigned i = 0; i < buffers.size(); ++i)
    arguments.push_back(part->getArg(i));
  arguments.push_back(b.CreateTrunc(block, i32));
  arguments.push_back(lane);
  b.CreateCall(thread, arguments);
  Value *nextLane = b.CreateAdd(lane, b.getInt32(1));
  lane->addIncoming(nextLane, lanes);
  b.CreateCondBr(b.CreateICmpSLT(nextLane, b.getInt32(threads)), lanes, next);
  b.SetInsertPoint(next);
  Value *nextBlock = b.CreateAdd(block, b.getInt64(1));
  block->addIncoming(nextBlock, next);
  b.CreateCondBr(b.CreateICmpSLT(nextBlock, end), blocks, done);
  b.SetInsertPoint(done);
  b.CreateRetVoid();
  return emitEntry(part);
}

/// ldmatrix takes a pointer into shared memory, which the copy of the kernel has none of: calls of a function that
/// takes a number stand in for it until then.
void KernelSimulation::rewriteMatrixLoads() {
  for (Instruction &instruction : make_early_inc_range(instructions(kernel))) {
    auto *call = dyn_cast<IntrinsicInst>(&instruction);
    if (!call)
      continue;
    Intrinsic::ID id = call->getIntrinsicID();
    bool transposed = id == Intrinsic::nvvm_ldmatrix_sync_aligned_m8n8_x4_trans_b16;
    if (!transposed && id != Intrinsic::nvvm_ldmatrix_sync_aligned_m8n8_x4_b16)
      continue;
    IRBuilder<> b(call);
    FunctionCallee instead = module.getOrInsertFunction(transposed ? transposedMatrixLoad : matrixLoad,
                                                        FunctionType::get(call->getType(), {i64}, false));
    Value *result = b.CreateCall(instead, {b.CreatePtrToInt(call->getArgOperand(0), i64)});
    call->replaceAllUsesWith(result);
    call->eraseFromParent();
  }
}

void KernelSimulation::lowerMatrixLoad(CallInst *call, Value *self) {
  IRBuilder<> b(call);
  if (!matrices) {
    IRBuilder<> entry(&*call->getFunction()->getEntryBlock().begin());
    matrices = entry.CreateAlloca(ArrayType::get(i32, 4));
  }
  bool transposed = call->getCalledFunction()->getName() == transposedMatrixLoad;
  FunctionCallee runtime = module.getOrInsertFunction(
      "gmc_sim_load_matrices", FunctionType::get(voidType, {pointer, i32, pointer, pointer}, false));
  b.CreateCall(runtime, {self, b.getInt32(transposed), b.CreateIntToPtr(call->getArgOperand(0), pointer), matrices});
  Value *result = PoisonValue::get(call->getType());
  for (unsigned i = 0; i < 4; ++i)
    result = b.CreateInsertValue(result, b.CreateLoad(i32, b.CreateConstGEP1_64(i32, matrices, i)), i);
  call->replaceAllUsesWith(result);
  call->eraseFromParent();
}

/// Registers go through memory of the thread, which is the same for all of its mma.
Value *KernelSimulation::lowerMma(IRBuilder<> &b, IntrinsicInst *call, Value *self,
                                  function_ref<Value *(StringRef, Type *, ArrayRef<Value *>)> runtime) {
  Type *f32 = b.getFloatTy();
  if (!mmaOperands) {
    IRBuilder<> entry(&*call->getFunction()->getEntryBlock().begin());
    mmaOperands = entry.CreateAlloca(ArrayType::get(i32, 6));
    mmaSums = entry.CreateAlloca(ArrayType::get(f32, 4));
  }
  unsigned registers = call->arg_size() - 4;
  for (unsigned i = 0; i < registers; ++i)
    b.CreateStore(call->getArgOperand(i), b.CreateConstGEP1_64(i32, mmaOperands, i));
  for (unsigned i = 0; i < 4; ++i)
    b.CreateStore(call->getArgOperand(registers + i), b.CreateConstGEP1_64(f32, mmaSums, i));
  bool bf16 = call->getIntrinsicID() == Intrinsic::nvvm_mma_m16n8k16_row_col_bf16;
  unsigned type = bf16 ? GMC_SIM_MMA_BF16 : registers == 6 ? GMC_SIM_MMA_F16 : GMC_SIM_MMA_F16_K8;
  runtime("gmc_sim_mma", voidType, {self, b.getInt32(type), mmaOperands, mmaSums});
  Value *result = PoisonValue::get(call->getType());
  for (unsigned i = 0; i < 4; ++i)
    result = b.CreateInsertValue(result, b.CreateLoad(f32, b.CreateConstGEP1_64(f32, mmaSums, i)), i);
  return result;
}

/// Replaces one device instruction; false where it is not known.
bool KernelSimulation::lowerCall(IntrinsicInst *call, Value *self) {
  IRBuilder<> b(call);
  auto field = [&](unsigned i) {
    auto *record = StructType::get(context, {pointer, pointer, i32, i32}); // GmcSimThread
    return b.CreateLoad(i32, b.CreateStructGEP(record, self, i));
  };
  auto runtime = [&](StringRef name, Type *result, ArrayRef<Value *> arguments) -> Value * {
    SmallVector<Type *> types;
    for (Value *argument : arguments)
      types.push_back(argument->getType());
    return b.CreateCall(module.getOrInsertFunction(name, FunctionType::get(result, types, false)), arguments);
  };
  Value *result = nullptr;
  Intrinsic::ID id = call->getIntrinsicID();
  StringRef name = call->getCalledFunction()->getName();
  if (id == Intrinsic::nvvm_read_ptx_sreg_ctaid_x) {
    result = field(2);
  } else if (id == Intrinsic::nvvm_read_ptx_sreg_tid_x) {
    result = field(3);
  } else if (id == Intrinsic::nvvm_barrier_cta_sync_aligned_all) {
    if (auto *number = dyn_cast<ConstantInt>(call->getArgOperand(0)); !number || !number->isZero())
      return false;
    runtime("gmc_sim_barrier", voidType, {self});
  } else if (id == Intrinsic::nvvm_bar_warp_sync) {
    runtime("gmc_sim_sync_warp", voidType, {self, call->getArgOperand(0)});
  } else if (id == Intrinsic::nvvm_vote_ballot_sync) {
    Value *predicate = b.CreateZExt(call->getArgOperand(1), i32);
    result = runtime("gmc_sim_ballot", i32, {self, call->getArgOperand(0), predicate});
  } else if (id == Intrinsic::nvvm_mma_m16n8k16_row_col_bf16 || id == Intrinsic::nvvm_mma_m16n8k16_row_col_f32_f32 ||
             id == Intrinsic::nvvm_mma_m16n8k8_row_col_f32_f32) {
    result = lowerMma(b, call, self, runtime);
  } else if (name.consume_front("llvm.nvvm.shfl.sync.")) {
    unsigned kind = name.starts_with("bfly")   ? GMC_SIM_SHUFFLE_XOR
                    : name.starts_with("up")   ? GMC_SIM_SHUFFLE_UP
                    : name.starts_with("down") ? GMC_SIM_SHUFFLE_DOWN
                                               : GMC_SIM_SHUFFLE_IDX;
    Value *value = b.CreateBitCast(call->getArgOperand(1), i32);
    Value *both = runtime("gmc_sim_shuffle", i64, {self, call->getArgOperand(0), b.getInt32(kind), value,
                                                   call->getArgOperand(2), call->getArgOperand(3)});
    result = b.CreateBitCast(b.CreateTrunc(both, i32), call->getArgOperand(1)->getType());
    if (auto *record = dyn_cast<StructType>(call->getType())) {
      Value *inside = b.CreateTrunc(b.CreateLShr(both, 32), b.getInt1Ty());
      result = b.CreateInsertValue(b.CreateInsertValue(PoisonValue::get(record), result, 0), inside, 1);
    }
  } else {
    return false;
  }
  if (result)
    call->replaceAllUsesWith(result);
  call->eraseFromParent();
  return true;
}

/// ENTRY(operands, begin, end) hands the function of one thread to the runtime.
Expected<Function *> KernelSimulation::runAsFibers() {
  // What another thread writes to a buffer, an argument without aliases would hide: noalias goes.
  rewriteMatrixLoads();
  SmallVector<Type *> extra(shared.size(), pointer);
  extra.push_back(pointer);
  Function *thread = cloneWith(extra, shared);
  for (unsigned i = 0; i < buffers.size(); ++i)
    thread->removeParamAttr(i, Attribute::NoAlias);
  Value *self = thread->getArg(thread->arg_size() - 1);
  for (Instruction &instruction : make_early_inc_range(instructions(thread))) {
    if (auto *plain = dyn_cast<CallInst>(&instruction); plain && plain->getCalledFunction() &&
                                                       plain->getCalledFunction()->getName().starts_with(matrixLoad)) {
      lowerMatrixLoad(plain, self);
      continue;
    }
    auto *call = dyn_cast<IntrinsicInst>(&instruction);
    if (!call || !call->getCalledFunction()->getName().starts_with("llvm.nvvm."))
      continue;
    std::string name = call->getCalledFunction()->getName().str();
    if (!lowerCall(call, self))
      return createStringError(
          ("kernel " + kernel->getName() + " uses " + name + ", which the sim target cannot run").str());
  }

  Function *start = create({pointer}, kernel->getName() + "_start");
  IRBuilder<> b(BasicBlock::Create(context, "entry", start));
  auto *record = StructType::get(context, {pointer, pointer, i32, i32}); // GmcSimThread
  Value *operands = b.CreateLoad(pointer, b.CreateStructGEP(record, start->getArg(0), 0));
  Value *memory = b.CreateLoad(pointer, b.CreateStructGEP(record, start->getArg(0), 1));
  SmallVector<Value *> arguments;
  for (unsigned i = 0; i < buffers.size(); ++i)
    arguments.push_back(b.CreateLoad(pointer, b.CreateConstGEP1_64(pointer, operands, i)));
  uint64_t bytes = 0;
  for (GlobalVariable *variable : shared) {
    bytes = alignTo(bytes, 16);
    arguments.push_back(b.CreateConstGEP1_64(b.getInt8Ty(), memory, bytes));
    bytes += module.getDataLayout().getTypeAllocSize(variable->getValueType());
    if (!sanitize)
      continue;
    Value *gap = b.CreateConstGEP1_64(b.getInt8Ty(), memory, bytes);
    auto type = FunctionType::get(voidType, {pointer, i64}, false);
    b.CreateCall(module.getOrInsertFunction("__asan_poison_memory_region", type), {gap, b.getInt64(sanitizerGap)});
    bytes += sanitizerGap;
  }
  arguments.push_back(start->getArg(0));
  b.CreateCall(thread, arguments);
  b.CreateRetVoid();

  Constant *text = ConstantDataArray::getString(context, kernel->getName());
  auto *name = new GlobalVariable(module, text->getType(), true, GlobalValue::PrivateLinkage, text);
  Constant *fields[] = {start, name, ConstantInt::get(i32, threads), ConstantInt::get(i32, bytes)}; // GmcSimKernel
  Constant *description = ConstantStruct::getAnon(fields);
  auto *global = new GlobalVariable(module, description->getType(), true, GlobalValue::PrivateLinkage, description);
  Function *entry = create({pointer, i64, i64}, kernel->getName() + "_entry");
  b.SetInsertPoint(BasicBlock::Create(context, "entry", entry));
  Value *call[] = {global, entry->getArg(0), entry->getArg(1), entry->getArg(2)};
  b.CreateCall(
      module.getOrInsertFunction("gmc_sim_run", FunctionType::get(voidType, {pointer, pointer, i64, i64}, false)),
      call);
  b.CreateRetVoid();
  return entry;
}

} // namespace

Expected<Function *> simulateKernel(Function *kernel, int64_t threads, bool sanitize) {
  return KernelSimulation(kernel, threads, sanitize).run();
}

} // namespace gmc
