//===- RegisterPressure.cpp - how many registers a GPU kernel asks for ----------------------------------===//

#include "compiler/Codegen/RegisterPressure.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/PostOrderIterator.h"
#include "llvm/IR/CFG.h"
#include "llvm/IR/DataLayout.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/Module.h"

using namespace llvm;

namespace gmc {

static unsigned registersOf(const Value *value) {
  if (!isa<Instruction>(value) || isa<AllocaInst>(value))
    return 0;
  Type *type = value->getType();
  if (type->isVoidTy() || type->isIntOrIntVectorTy(1))
    return 0;
  const DataLayout &layout = cast<Instruction>(value)->getModule()->getDataLayout();
  return (layout.getTypeSizeInBits(type).getFixedValue() + 31) / 32;
}

namespace {

/// Values that are alive, and what they take.
struct Alive {
  DenseSet<const Value *> values;
  unsigned registers = 0;

  void add(const Value *value) {
    if (unsigned size = registersOf(value); size && values.insert(value).second)
      registers += size;
  }
  void remove(const Value *value) {
    if (values.erase(value))
      registers -= registersOf(value);
  }
};

} // namespace

unsigned registerPressure(const Function &function) {
  DenseMap<const BasicBlock *, Alive> atBegin;
  unsigned most = 0;
  // What is alive at the end of a block: what its successors need at their beginning, of their phis what comes from
  // this block.
  auto atEnd = [&](const BasicBlock &block) {
    Alive alive;
    for (const BasicBlock *next : successors(&block)) {
      if (auto it = atBegin.find(next); it != atBegin.end())
        for (const Value *value : it->second.values)
          alive.add(value);
      for (const PHINode &phi : next->phis())
        alive.add(phi.getIncomingValueForBlock(&block));
    }
    return alive;
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (const BasicBlock *block : post_order(&function)) {
      Alive alive = atEnd(*block);
      most = std::max(most, alive.registers);
      for (const Instruction &instruction : reverse(*block)) {
        if (isa<PHINode>(instruction))
          break;
        alive.remove(&instruction);
        for (const Use &operand : instruction.operands())
          alive.add(operand.get());
        most = std::max(most, alive.registers);
      }
      for (const PHINode &phi : block->phis())
        alive.remove(&phi);
      Alive &before = atBegin[block];
      if (before.values.size() != alive.values.size()) { // they only become more
        before = std::move(alive);
        changed = true;
      }
    }
  }
  return most;
}

} // namespace gmc
