// How many registers the values of a function take.
#include "compiler/Codegen/RegisterPressure.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/SourceMgr.h"
#include <gtest/gtest.h>

namespace {

unsigned pressure(const std::string &body) {
  llvm::LLVMContext context;
  llvm::SMDiagnostic error;
  auto module = llvm::parseAssemblyString(
      "target datalayout = \"e-i64:64-v16:16-v32:32-n16:32:64\"\ndefine void @f(ptr %p, i32 %n) {\n" + body + "\n}",
      error, context);
  EXPECT_TRUE(module) << error.getMessage().str();
  return gmc::registerPressure(*module->getFunction("f"));
}

TEST(RegisterPressureTest, SizesOfTypes) {
  const std::string store = "\nstore volatile i32 0, ptr %p\n";
  auto held = [&](const std::string &type) {
    return pressure("%x = load volatile " + type + ", ptr %p" + store + "store " + type + " %x, ptr %p\nret void");
  };
  EXPECT_EQ(held("float"), 1u);
  EXPECT_EQ(held("bfloat"), 1u);
  EXPECT_EQ(held("i64"), 2u);
  EXPECT_EQ(held("ptr"), 2u);
  EXPECT_EQ(held("<8 x bfloat>"), 4u);
  EXPECT_EQ(held("i1"), 0u);
}

TEST(RegisterPressureTest, OrderOfUse) {
  // Both values at a time, or one after the other.
  EXPECT_EQ(
      pressure("%x = load i32, ptr %p\n%y = load i32, ptr %p\nstore i32 %x, ptr %p\nstore i32 %y, ptr %p\nret void"),
      2u);
  EXPECT_EQ(
      pressure("%x = load i32, ptr %p\nstore i32 %x, ptr %p\n%y = load i32, ptr %p\nstore i32 %y, ptr %p\nret void"),
      1u);
  EXPECT_EQ(pressure("store i32 %n, ptr %p\nret void"), 0u);
}

TEST(RegisterPressureTest, Loops) {
  // What is used behind a loop or in its next turns is held all through it: %k, %i, %sum and the %x that is added.
  EXPECT_EQ(pressure(R"(
    %k = load i32, ptr %p
    br label %loop
  loop:
    %i = phi i32 [ 0, %0 ], [ %next, %loop ]
    %sum = phi i32 [ 0, %0 ], [ %more, %loop ]
    %x = load volatile i32, ptr %p
    %more = add i32 %sum, %x
    %next = add i32 %i, 1
    %done = icmp eq i32 %next, %n
    br i1 %done, label %end, label %loop
  end:
    %both = add i32 %more, %k
    store i32 %both, ptr %p
    ret void)"),
            4u);
}

TEST(RegisterPressureTest, Branches) {
  // Of two ways, the one that takes more.
  EXPECT_EQ(pressure(R"(
    %which = icmp eq i32 %n, 0
    br i1 %which, label %many, label %few
  many:
    %a = load i64, ptr %p
    %b = load i64, ptr %p
    store i64 %a, ptr %p
    store i64 %b, ptr %p
    br label %few
  few:
    %c = load i32, ptr %p
    store i32 %c, ptr %p
    ret void)"),
            4u);
}

} // namespace
