#include "compiler/Codegen/ExpandBFloat16.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"

using namespace llvm;

namespace gmc {

namespace {

bool isBFloat(Type *type) { return type->getScalarType()->isBFloatTy(); }

/// `type` with elements of `element`.
Type *withElement(Type *type, Type *element) {
  auto *vector = dyn_cast<VectorType>(type);
  return vector ? static_cast<Type *>(VectorType::get(element, vector->getElementCount())) : element;
}

Value *extend(IRBuilder<> &b, Value *x) {
  Type *i16 = withElement(x->getType(), b.getInt16Ty()), *i32 = withElement(x->getType(), b.getInt32Ty());
  Value *bits = b.CreateShl(b.CreateZExt(b.CreateBitCast(x, i16), i32), 16);
  return b.CreateBitCast(bits, withElement(x->getType(), b.getFloatTy()));
}

/// Adding half of the last kept place, less one unless that place is odd, carries exactly where rounding goes up. A NaN
/// keeps its sign and becomes quiet.
Value *truncate(IRBuilder<> &b, Value *x) {
  Type *i16 = withElement(x->getType(), b.getInt16Ty()), *i32 = withElement(x->getType(), b.getInt32Ty());
  auto number = [&](uint64_t v) { return ConstantInt::get(i32, v); };
  Value *bits = b.CreateBitCast(x, i32), *high = b.CreateLShr(bits, 16);
  Value *odd = b.CreateAnd(high, number(1));
  Value *rounded = b.CreateLShr(b.CreateAdd(bits, b.CreateAdd(odd, number(0x7fff))), 16);
  Value *isNaN = b.CreateICmpUGT(b.CreateAnd(bits, number(0x7fffffff)), number(0x7f800000));
  Value *result = b.CreateSelect(isNaN, b.CreateOr(high, number(0x40)), rounded);
  return b.CreateBitCast(b.CreateTrunc(result, i16), withElement(x->getType(), b.getBFloatTy()));
}

/// The instruction in float, or null for one that only moves bits.
Value *expand(Instruction &instruction) {
  IRBuilder<> b(&instruction);
  b.setFastMathFlags(isa<FPMathOperator>(instruction) ? instruction.getFastMathFlags() : FastMathFlags());
  Type *type = instruction.getType();
  if (auto *cast = dyn_cast<CastInst>(&instruction)) {
    Value *x = cast->getOperand(0);
    if (isa<BitCastInst>(cast) || (!isBFloat(type) && !isBFloat(x->getType())))
      return nullptr;
    Type *floats = withElement(type, b.getFloatTy());
    Value *from = isBFloat(x->getType()) ? extend(b, x) : x;
    switch (cast->getOpcode()) {
    case Instruction::FPExt:
      return from->getType() == type ? from : b.CreateFPExt(from, type);
    case Instruction::FPTrunc:
      return truncate(b, from->getType() == floats ? from : b.CreateFPTrunc(from, floats));
    default: // between integers and bfloat
      return isBFloat(type) ? truncate(b, b.CreateCast(cast->getOpcode(), from, floats))
                            : b.CreateCast(cast->getOpcode(), from, type);
    }
  }
  bool touches = isBFloat(type) || any_of(instruction.operands(), [](Value *v) { return isBFloat(v->getType()); });
  if (!touches)
    return nullptr;
  auto widened = [&](unsigned i) {
    Value *v = instruction.getOperand(i);
    return isBFloat(v->getType()) ? extend(b, v) : v;
  };
  if (auto *binary = dyn_cast<BinaryOperator>(&instruction))
    return truncate(b, b.CreateBinOp(binary->getOpcode(), widened(0), widened(1)));
  if (auto *compare = dyn_cast<FCmpInst>(&instruction))
    return b.CreateFCmp(compare->getPredicate(), widened(0), widened(1));
  if (isa<UnaryOperator>(instruction))
    return truncate(b, b.CreateFNeg(widened(0)));
  auto *call = dyn_cast<IntrinsicInst>(&instruction);
  switch (call ? call->getIntrinsicID() : Intrinsic::not_intrinsic) {
  case Intrinsic::masked_load:
  case Intrinsic::masked_store:
  case Intrinsic::masked_gather:
  case Intrinsic::masked_scatter:
  case Intrinsic::not_intrinsic:
    return nullptr;
  default:
    break;
  }
  SmallVector<Value *> arguments;
  for (unsigned i = 0; i < call->arg_size(); ++i)
    arguments.push_back(widened(i));
  Value *result = isBFloat(type)
                      ? b.CreateIntrinsic(withElement(type, b.getFloatTy()), call->getIntrinsicID(), arguments)
                      : b.CreateIntrinsic(type, call->getIntrinsicID(), arguments);
  return isBFloat(type) ? truncate(b, result) : result;
}

} // namespace

void expandBFloat16(Module &module) {
  for (Function &function : module)
    for (Instruction &instruction : make_early_inc_range(instructions(function)))
      if (Value *value = expand(instruction)) {
        instruction.replaceAllUsesWith(value);
        instruction.eraseFromParent();
      }
}

} // namespace gmc
