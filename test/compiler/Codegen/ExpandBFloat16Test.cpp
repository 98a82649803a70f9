// What moves bfloats moves integers, and leaves no bfloat that code generation could extend and round.
#include "compiler/Codegen/ExpandBFloat16.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Support/SourceMgr.h"
#include <gtest/gtest.h>

using namespace llvm;

TEST(ExpandBFloat16Test, WhatMovesIsLeftAsIntegers) {
  LLVMContext context;
  SMDiagnostic problem;
  auto module = parseAssemblyString(R"(
    define void @f(ptr %from, ptr %to, i1 %again) {
    entry:
      %x = load bfloat, ptr %from
      %v = load <4 x bfloat>, ptr %from
      br i1 %again, label %more, label %end
    more:
      %element = extractelement <4 x bfloat> %v, i64 2
      %y = select i1 %again, bfloat %element, bfloat 0.0
      br label %end
    end:
      %z = phi bfloat [ %x, %entry ], [ %y, %more ]
      store bfloat %z, ptr %to
      %w = insertelement <4 x bfloat> %v, bfloat %z, i64 1
      %s = shufflevector <4 x bfloat> %w, <4 x bfloat> zeroinitializer, <4 x i32> <i32 3, i32 1, i32 4, i32 0>
      store <4 x bfloat> %s, ptr %to
      ret void
    })",
                                    problem, context);
  ASSERT_TRUE(module) << problem.getMessage().str();
  gmc::moveBFloat16AsBits(*module);
  EXPECT_FALSE(verifyModule(*module, &errs()));
  for (Instruction &instruction : instructions(*module->getFunction("f")))
    EXPECT_TRUE(instruction.use_empty() || !instruction.getType()->getScalarType()->isBFloatTy())
        << instruction.getOpcodeName();
}
