//===- LowerMma.cpp - matrix instructions on architectures without them ---------------------------------===//

#include "compiler/Codegen/LowerMma.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsNVPTX.h"

using namespace llvm;

namespace gmc {

/// m16n8k8 takes the registers of the lower 8 k, then of the upper.
static Value *inTwoHalves(IRBuilder<> &b, CallInst *call) {
  Value *result = nullptr;
  for (unsigned half = 0; half < 2; ++half) {
    SmallVector<Value *> arguments{call->getArgOperand(2 * half), call->getArgOperand(2 * half + 1),
                                   call->getArgOperand(4 + half)};
    for (unsigned i = 0; i < 4; ++i)
      arguments.push_back(result ? b.CreateExtractValue(result, i) : call->getArgOperand(6 + i));
    result = b.CreateIntrinsic(call->getType(), Intrinsic::nvvm_mma_m16n8k8_row_col_f32_f32, arguments);
  }
  return result;
}

/// FUNCTION(a0..a3, b0, b1, c0..c3): lane 4 g + q wants rows g and g + 8 of A, which lanes 4 g .. 4 g + 3 hold, and
/// columns 2 q and 2 q + 1 of B, which four lanes each hold.
static Function *multiplyByShuffles(Module &module, FunctionType *type) {
  LLVMContext &context = module.getContext();
  auto *function = Function::Create(type, GlobalValue::InternalLinkage, "gmc_mma_bf16", module);
  function->addFnAttr(Attribute::Convergent);
  IRBuilder<> b(BasicBlock::Create(context, "entry", function));
  Type *i32 = b.getInt32Ty(), *f32 = b.getFloatTy();
  Value *thread = b.CreateIntrinsic(i32, Intrinsic::nvvm_read_ptx_sreg_tid_x, {});
  Value *lane = b.CreateAnd(thread, 31), *group = b.CreateAnd(lane, 28), *pair = b.CreateAnd(lane, 3);
  auto from = [&](unsigned argument, Value *source) {
    return b.CreateIntrinsic(i32, Intrinsic::nvvm_shfl_sync_idx_i32,
                             {b.getInt32(-1), function->getArg(argument), source, b.getInt32(31)});
  };
  auto number = [&](Value *two, unsigned half) {
    return b.CreateBitCast(half ? b.CreateAnd(two, 0xffff0000u) : b.CreateShl(two, 16), f32);
  };
  SmallVector<Value *> sums;
  for (unsigned i = 0; i < 4; ++i)
    sums.push_back(function->getArg(6 + i));
  for (unsigned k = 0; k < 8; ++k) { // a pair of k each
    unsigned upper = k / 4, q = k % 4;
    Value *source = b.CreateOr(group, q), *column = b.CreateOr(b.CreateShl(pair, 3), q);
    Value *rows[] = {from(2 * upper, source), from(2 * upper + 1, source)};
    Value *columns[] = {from(4 + upper, column), from(4 + upper, b.CreateOr(column, 4))};
    for (unsigned half = 0; half < 2; ++half)
      for (unsigned i = 0; i < 4; ++i)
        sums[i] = b.CreateIntrinsic(Intrinsic::fma, {f32},
                                    {number(rows[i / 2], half), number(columns[i % 2], half), sums[i]});
  }
  Value *result = PoisonValue::get(type->getReturnType());
  for (unsigned i = 0; i < 4; ++i)
    result = b.CreateInsertValue(result, sums[i], i);
  b.CreateRet(result);
  return function;
}

void lowerMma(Module &module, uint32_t sm) {
  if (sm >= 80)
    return;
  for (Function &callee : make_early_inc_range(module)) {
    Intrinsic::ID id = callee.getIntrinsicID();
    bool bf16 = id == Intrinsic::nvvm_mma_m16n8k16_row_col_bf16;
    if (!bf16 && id != Intrinsic::nvvm_mma_m16n8k16_row_col_f32_f32)
      continue;
    Function *instead = bf16 ? multiplyByShuffles(module, callee.getFunctionType()) : nullptr;
    for (User *user : make_early_inc_range(callee.users())) {
      auto *call = cast<CallInst>(user);
      IRBuilder<> b(call);
      Value *result = bf16 ? b.CreateCall(instead, SmallVector<Value *>(call->args())) : inTwoHalves(b, call);
      call->replaceAllUsesWith(result);
      call->eraseFromParent();
    }
    callee.eraseFromParent();
  }
}

} // namespace gmc
