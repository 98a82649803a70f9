//===- StreamStores.cpp - large results written past the caches -----------------------------------------===//

#include "compiler/Codegen/StreamStores.h"
#include "dialects/Interfaces/KernelBuilder.h"
#include "llvm/Analysis/ValueTracking.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicsX86.h"
#include "llvm/Transforms/Utils/Local.h"

using namespace mlir;

namespace gmc {

static constexpr uint64_t lineBytes = 64;
static constexpr llvm::StringLiteral streamedAttr = "gmc-streamed";

llvm::SmallVector<KernelArgument> kernelArguments(func::FuncOp kernel, const KernelUse &use, const ModelImage &image) {
  llvm::SmallVector<KernelArgument> arguments;
  for (Type type : kernel.getArgumentTypes())
    arguments.push_back({image.alignment % lineBytes == 0, byteSize(type) >= KernelBuilder::streamedBytes});
  for (const ImageProgram &program : image.programs)
    for (const ImageStep &step : program.steps)
      if (step.use.kernel == use.kernel && step.use.aliases == use.aliases)
        for (auto [argument, offset] : llvm::zip_equal(arguments, step.operands))
          argument.lineAligned &= offset % lineBytes == 0;
  return arguments;
}

void annotateArguments(llvm::Function &part, llvm::ArrayRef<KernelArgument> arguments) {
  llvm::LLVMContext &context = part.getContext();
  for (auto [i, argument] : llvm::enumerate(arguments)) {
    if (!argument.lineAligned)
      continue;
    part.addParamAttr(i, llvm::Attribute::getWithAlignment(context, llvm::Align(lineBytes)));
    if (argument.streamed)
      part.addParamAttr(i, llvm::Attribute::get(context, streamedAttr));
  }
}

/// The streamed argument of `function` that `pointer` goes to, or null.
static llvm::Argument *streamedArgument(llvm::Value *pointer) {
  auto *argument = llvm::dyn_cast<llvm::Argument>(llvm::getUnderlyingObject(pointer, /*MaxLookup=*/0));
  return argument && argument->getParent()->getAttributes().hasParamAttr(argument->getArgNo(), streamedAttr) ? argument
                                                                                                             : nullptr;
}

/// Makes the stores of `function` non-temporal that may be; says whether there are any.
static bool streamFunction(llvm::Function &function) {
  const llvm::DataLayout &layout = function.getParent()->getDataLayout();
  llvm::SmallVector<std::pair<llvm::StoreInst *, llvm::Argument *>> stores;
  llvm::SmallPtrSet<llvm::Value *, 4> alsoRead;
  for (llvm::Instruction &instruction : llvm::instructions(function)) {
    if (auto *store = llvm::dyn_cast<llvm::StoreInst>(&instruction)) {
      if (llvm::Argument *to = streamedArgument(store->getPointerOperand());
          to && store->getValueOperand()->getType()->isVectorTy() &&
          layout.getTypeStoreSize(store->getValueOperand()->getType()).getFixedValue() % lineBytes == 0)
        stores.push_back({store, to});
      continue;
    }
    if (!instruction.mayReadFromMemory())
      continue;
    for (llvm::Value *operand : instruction.operands())
      if (operand->getType()->isPtrOrPtrVectorTy())
        alsoRead.insert(llvm::getUnderlyingObject(operand, /*MaxLookup=*/0));
  }
  bool any = false;
  llvm::MDNode *yes = llvm::MDNode::get(function.getContext(), llvm::ConstantAsMetadata::get(llvm::ConstantInt::get(
                                                                   llvm::Type::getInt32Ty(function.getContext()), 1)));
  for (auto [store, to] : stores) {
    llvm::Align known = std::max(store->getAlign(), llvm::getKnownAlignment(store->getPointerOperand(), layout, store));
    if (alsoRead.contains(to) || known < lineBytes)
      continue;
    store->setAlignment(known);
    store->setMetadata(llvm::LLVMContext::MD_nontemporal, yes);
    any = true;
  }
  return any;
}

void streamStores(llvm::Module &module) {
  for (llvm::Function &function : module) {
    if (function.isDeclaration() || !streamFunction(function))
      continue;
    // Such stores are not ordered: a fence stands before what tells another thread that they are done.
    for (llvm::BasicBlock &block : function)
      if (auto *end = llvm::dyn_cast<llvm::ReturnInst>(block.getTerminator()))
        llvm::IRBuilder<>(end).CreateIntrinsic(llvm::Intrinsic::x86_sse_sfence, {});
  }
}

} // namespace gmc
