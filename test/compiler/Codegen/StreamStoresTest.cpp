// Which stores go past the caches.
#include "compiler/Codegen/StreamStores.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/SourceMgr.h"
#include <gtest/gtest.h>

namespace {

/// Parses a function f, streams its stores, and returns how many became non-temporal and how many fences there are.
std::pair<int, int> streamed(const std::string &arguments, const std::string &body) {
  llvm::LLVMContext context;
  llvm::SMDiagnostic error;
  auto module = llvm::parseAssemblyString("target triple = \"x86_64-pc-linux-gnu\"\ndefine void @f(" + arguments +
                                              ") {\n" + body + "\nret void\n}",
                                          error, context);
  EXPECT_TRUE(module) << error.getMessage().str();
  gmc::streamStores(*module);
  int stores = 0, fences = 0;
  for (llvm::Instruction &i : llvm::instructions(*module->getFunction("f"))) {
    stores += llvm::isa<llvm::StoreInst>(i) && i.hasMetadata(llvm::LLVMContext::MD_nontemporal);
    fences += llvm::isa<llvm::CallInst>(i);
  }
  return {stores, fences};
}

const std::string vector = "<16 x float> zeroinitializer, ptr ",
                  large = "ptr noalias align 64 \"gmc-streamed\" %y, i64 %i";

TEST(StreamStoresTest, WholeLines) {
  EXPECT_EQ(streamed(large, "store " + vector + "%y, align 4"), std::pair(1, 1));
  EXPECT_EQ(
      streamed(large, "%k = shl i64 %i, 4\n%p = getelementptr float, ptr %y, i64 %k\nstore " + vector + "%p, align 4"),
      std::pair(1, 1));
}

TEST(StreamStoresTest, PartsOfLines) {
  EXPECT_EQ(streamed(large, "%p = getelementptr float, ptr %y, i64 %i\nstore " + vector + "%p, align 4"),
            std::pair(0, 0));
  EXPECT_EQ(streamed(large, "store <8 x float> zeroinitializer, ptr %y, align 64"), std::pair(0, 0));
  EXPECT_EQ(streamed(large, "store float 0.0, ptr %y, align 64"), std::pair(0, 0));
}

TEST(StreamStoresTest, SmallOrReadAgain) {
  EXPECT_EQ(streamed("ptr noalias align 64 %y", "store " + vector + "%y, align 64"), std::pair(0, 0));
  EXPECT_EQ(streamed(large, "%p = getelementptr float, ptr %y, i64 %i\n%v = load float, ptr %p, align 4\nstore " +
                                vector + "%y, align 64"),
            std::pair(0, 0));
}

} // namespace
