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

/// The bits of a bfloat, from where it is made: one that another block sees would be extended and rounded between the
/// two.
Value *bitsOf(Value *x) {
  Type *bits = withElement(x->getType(), Type::getInt16Ty(x->getContext()));
  if (auto *cast = dyn_cast<BitCastInst>(x); cast && cast->getOperand(0)->getType() == bits)
    return cast->getOperand(0);
  if (auto *constant = dyn_cast<Constant>(x))
    return ConstantExpr::getBitCast(constant, bits);
  if (auto *argument = dyn_cast<Argument>(x))
    return IRBuilder<>(&*argument->getParent()->getEntryBlock().getFirstInsertionPt()).CreateBitCast(x, bits);
  auto *instruction = cast<Instruction>(x);
  return new BitCastInst(x, bits, "", *instruction->getInsertionPointAfterDef());
}

/// An instruction that loads, stores or moves bfloats, of integers: what takes its place, nullptr for any other.
Value *moveBits(Instruction &instruction) {
  IRBuilder<> b(&instruction);
  if (auto *store = dyn_cast<StoreInst>(&instruction)) {
    if (!isBFloat(store->getValueOperand()->getType()))
      return nullptr;
    StoreInst *moved =
        b.CreateAlignedStore(bitsOf(store->getValueOperand()), store->getPointerOperand(), store->getAlign());
    moved->copyMetadata(*store);
    return moved;
  }
  Type *type = instruction.getType();
  if (!isBFloat(type))
    return nullptr;
  Type *bits = withElement(type, b.getInt16Ty());
  if (auto *load = dyn_cast<LoadInst>(&instruction)) {
    LoadInst *moved = b.CreateAlignedLoad(bits, load->getPointerOperand(), load->getAlign());
    moved->copyMetadata(*load);
    return b.CreateBitCast(moved, type);
  }
  if (auto *phi = dyn_cast<PHINode>(&instruction)) {
    PHINode *joined = b.CreatePHI(bits, phi->getNumIncomingValues());
    for (auto [block, value] : zip(phi->blocks(), phi->incoming_values()))
      joined->addIncoming(bitsOf(value), block);
    b.SetInsertPoint(phi->getParent(), phi->getParent()->getFirstInsertionPt());
    return b.CreateBitCast(joined, type);
  }
  if (auto *select = dyn_cast<SelectInst>(&instruction))
    return b.CreateBitCast(
        b.CreateSelect(select->getCondition(), bitsOf(select->getTrueValue()), bitsOf(select->getFalseValue())), type);
  if (auto *element = dyn_cast<ExtractElementInst>(&instruction))
    return b.CreateBitCast(b.CreateExtractElement(bitsOf(element->getVectorOperand()), element->getIndexOperand()),
                           type);
  if (auto *element = dyn_cast<InsertElementInst>(&instruction))
    return b.CreateBitCast(
        b.CreateInsertElement(bitsOf(element->getOperand(0)), bitsOf(element->getOperand(1)), element->getOperand(2)),
        type);
  if (auto *shuffle = dyn_cast<ShuffleVectorInst>(&instruction))
    return b.CreateBitCast(b.CreateShuffleVector(bitsOf(shuffle->getOperand(0)), bitsOf(shuffle->getOperand(1)),
                                                 shuffle->getShuffleMask()),
                           type);
  return nullptr;
}

/// What bits are of that became a bfloat and bits again. Left apart, the first half may come to another block than the
/// second, and the bfloat between them is extended and rounded.
Value *bitsBehind(Instruction &instruction) {
  auto *cast = dyn_cast<BitCastInst>(&instruction);
  auto *before = cast ? dyn_cast<BitCastInst>(cast->getOperand(0)) : nullptr;
  return before && isBFloat(before->getType()) && before->getOperand(0)->getType() == cast->getType()
             ? before->getOperand(0)
             : nullptr;
}

void rewrite(Module &module, Value *(*replacement)(Instruction &)) {
  for (Function &function : module)
    for (Instruction &instruction : make_early_inc_range(instructions(function)))
      if (Value *value = replacement(instruction)) {
        if (!instruction.getType()->isVoidTy())
          instruction.replaceAllUsesWith(value);
        instruction.eraseFromParent();
      }
}

} // namespace

void expandBFloat16(Module &module) { rewrite(module, expand); }

void moveBFloat16AsBits(Module &module) {
  rewrite(module, moveBits);
  rewrite(module, bitsBehind);
}

} // namespace gmc
