// Kernels compiled to machine code against the same arithmetic done here in plain C++.
#include "compiler/Codegen/Jit.h"
#include "dialects/NN/NN.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Parser/Parser.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace mlir;

namespace {

class JitTest : public ::testing::Test {
protected:
  JitTest() {
    context.loadDialect<gmc::nn::NNDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect,
                        memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect, LLVM::LLVMDialect>();
  }
  std::unique_ptr<gmc::JitProgram> compile(const char *text, bool fuse = true) {
    module = parseSourceString<ModuleOp>(text, &context);
    EXPECT_TRUE(module);
    gmc::JitOptions options;
    options.fuse = fuse;
    auto program = gmc::JitProgram::compile(*module->getOps<func::FuncOp>().begin(), options);
    if (!program) {
      ADD_FAILURE() << llvm::toString(program.takeError());
      return nullptr;
    }
    return std::move(*program);
  }
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

TEST_F(JitTest, ElementwiseChainWithBroadcast) {
  auto run = [&](bool fuse) {
    auto p = compile(R"(
      func.func @f(%x: tensor<2x3x5xf32>, %b: tensor<3x1xf32>) -> (tensor<2x3x5xf32>, tensor<3x1xf32>) {
        %two = nn.constant dense<2.0> : tensor<f32>
        %0 = nn.add %x, %b : tensor<2x3x5xf32>, tensor<3x1xf32>
        %1 = nn.mul %0, %two : tensor<2x3x5xf32>, tensor<f32>
        %2 = nn.tanh %1 : tensor<2x3x5xf32>
        %3 = "nn.reduce_sum"(%2) <{axes = array<i64: 0, 2>}> : (tensor<2x3x5xf32>) -> tensor<3xf32>
        %4 = nn.reshape %3 {shape = array<i64: 3, 1>} : (tensor<3xf32>) -> tensor<3x1xf32>
        return %2, %4 : tensor<2x3x5xf32>, tensor<3x1xf32>
      })", fuse);
    std::vector<float> x(30), b{0.5f, -1.f, 0.25f}, y(30), s(3);
    for (int i = 0; i < 30; ++i)
      x[i] = 0.1f * i - 1.4f;
    p->setArgument(0, x.data(), 120);
    p->setArgument(1, b.data(), 12);
    p->run();
    p->getResult(0, y.data());
    p->getResult(1, s.data());
    float sums[3] = {};
    for (int i = 0; i < 30; ++i) {
      int c = i / 5 % 3;
      float want = std::tanh((x[i] + b[c]) * 2.0f);
      EXPECT_NEAR(y[i], want, 2e-6f) << i;
      sums[c] += want;
    }
    for (int c = 0; c < 3; ++c)
      EXPECT_NEAR(s[c], sums[c], 1e-5f);
    return y;
  };
  EXPECT_EQ(run(true), run(false)); // fusion changes no bit
}

TEST_F(JitTest, ConstantsBooleansAndDoubles) {
  auto p = compile(R"(
    func.func @f(%x: tensor<4xf64>) -> (tensor<4xf64>, tensor<4xi1>, tensor<4xi64>) {
      %c = nn.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf64>
      %zero = nn.constant dense<0.0> : tensor<f64>
      %0 = nn.pow %x, %c : tensor<4xf64>, tensor<4xf64>
      %1 = nn.greater %0, %zero : tensor<4xf64>, tensor<f64>
      %2 = nn.cast %1 {to = i64} : (tensor<4xi1>) -> tensor<4xi64>
      return %0, %1, %2 : tensor<4xf64>, tensor<4xi1>, tensor<4xi64>
    })");
  double x[4] = {-2, -3, -0.5, 2}, y[4];
  char flags[4];
  int64_t ints[4];
  p->setArgument(0, x, 32);
  p->run();
  p->getResult(0, y);
  p->getResult(1, flags);
  p->getResult(2, ints);
  double want[4] = {-2, 9, -0.125, 16};
  for (int i = 0; i < 4; ++i) {
    EXPECT_DOUBLE_EQ(y[i], want[i]);
    EXPECT_EQ(flags[i], want[i] > 0);
    EXPECT_EQ(ints[i], want[i] > 0);
  }
}

} // namespace
