#include "compiler/Import/Importer.h"
#include "compiler/Import/KernelInterpreter.h"
#include "dialects/NN/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"
#include <cmath>

using namespace gmc;
using namespace mlir;

namespace {

class InterpreterTest : public ::testing::Test {
protected:
  InterpreterTest() : context(makeRegistry(), MLIRContext::Threading::DISABLED) { context.loadAllAvailableDialects(); }

  static DialectRegistry makeRegistry() {
    DialectRegistry registry;
    registerImportDialects(registry);
    return registry;
  }

  /// The first nn op in `ir` run on `operands`.
  FailureOr<SmallVector<HostTensor>> run(StringRef ir, ArrayRef<HostTensor> operands, int64_t maxSteps = 1 << 20) {
    module = parseSourceString<ModuleOp>(ir, &context);
    if (!module)
      return failure();
    Operation *found = nullptr;
    module->walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (!found && isa<nn::NNDialect>(op->getDialect()))
        found = op;
    });
    return interpretKernel(found, operands, maxSteps);
  }

  template <typename T> HostTensor tensor(ArrayRef<int64_t> shape, Type type, ArrayRef<T> values) {
    HostTensor result = HostTensor::zeros(RankedTensorType::get(shape, type));
    std::memcpy(result.data.data(), values.data(), values.size() * sizeof(T));
    return result;
  }
  template <typename T> std::vector<T> values(const HostTensor &tensor) {
    std::vector<T> result(tensor.data.size() / sizeof(T));
    std::memcpy(result.data(), tensor.data.data(), tensor.data.size());
    return result;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  Builder b{&context};
};

TEST_F(InterpreterTest, ElementwiseBroadcasts) {
  auto result = run("func.func @f(%x: tensor<2x3xf32>, %y: tensor<3xf32>) -> tensor<2x3xf32> {\n"
                    "  %z = nn.sub %x, %y : tensor<2x3xf32>, tensor<3xf32>\n  return %z : tensor<2x3xf32>\n}",
                    {tensor<float>({2, 3}, b.getF32Type(), {1, 2, 3, 4, 5, 6}),
                     tensor<float>({3}, b.getF32Type(), {10, 20, 30})});
  ASSERT_TRUE(succeeded(result));
  EXPECT_EQ(values<float>((*result)[0]), (std::vector<float>{-9, -18, -27, -6, -15, -24}));
}

TEST_F(InterpreterTest, EveryFloatStepIsRoundedToItsType) {
  const char *ir = "func.func @f(%x: tensor<1xf32>, %y: tensor<1xf32>) -> tensor<1xf32> {\n"
                   "  %z = nn.fused(%x, %y) : (tensor<1xf32>, tensor<1xf32>) -> tensor<1xf32> {\n"
                   "  ^bb0(%a: f32, %b: f32):\n    %p = arith.addf %a, %b : f32\n    %q = arith.subf %p, %a : f32\n"
                   "    nn.yield %q : f32\n  }\n  return %z : tensor<1xf32>\n}";
  auto result =
      run(ir, {tensor<float>({1}, b.getF32Type(), {16777216.0f}), tensor<float>({1}, b.getF32Type(), {1.0f})});
  ASSERT_TRUE(succeeded(result));
  EXPECT_EQ(values<float>((*result)[0])[0], 0.0f); // 2^24 + 1 is no f32; in double the difference would be 1
}

TEST_F(InterpreterTest, ReductionMatchesASumByHand) {
  auto result = run(
      "func.func @f(%x: tensor<2x3x2xi64>) -> tensor<2x2xi64> {\n"
      "  %z = nn.reduce_sum %x {axes = array<i64: 1>} : (tensor<2x3x2xi64>) -> tensor<2x2xi64>\n  return %z : tensor<2x2xi64>\n}",
      {tensor<int64_t>({2, 3, 2}, b.getI64Type(), {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})});
  ASSERT_TRUE(succeeded(result));
  EXPECT_EQ(values<int64_t>((*result)[0]), (std::vector<int64_t>{9, 12, 27, 30}));
}

TEST_F(InterpreterTest, UnsignedAndNarrowIntegersWrap) {
  auto u8 = IntegerType::get(&context, 8, IntegerType::Unsigned);
  auto result = run("func.func @f(%x: tensor<2xui8>) -> tensor<2xui8> {\n"
                    "  %z = nn.add %x, %x : tensor<2xui8>, tensor<2xui8>\n  return %z : tensor<2xui8>\n}",
                    {tensor<uint8_t>({2}, u8, {200, 3}), tensor<uint8_t>({2}, u8, {200, 3})});
  ASSERT_TRUE(succeeded(result));
  EXPECT_EQ(values<uint8_t>((*result)[0]), (std::vector<uint8_t>{144, 6}));
  result = run("func.func @f(%x: tensor<2xui8>) -> tensor<2xf32> {\n"
               "  %z = nn.cast %x {to = f32} : (tensor<2xui8>) -> tensor<2xf32>\n  return %z : tensor<2xf32>\n}",
               {tensor<uint8_t>({2}, u8, {200, 3})});
  ASSERT_TRUE(succeeded(result)); // 200 is not -56
  EXPECT_EQ(values<float>((*result)[0])[0], 200.0f);
}

TEST_F(InterpreterTest, IntegerDivisionByZeroIsAFailure) {
  auto zero = tensor<int64_t>({1}, b.getI64Type(), {0});
  EXPECT_TRUE(failed(run("func.func @f(%x: tensor<1xi64>) -> tensor<1xi64> {\n"
                         "  %z = nn.div %x, %x : tensor<1xi64>, tensor<1xi64>\n  return %z : tensor<1xi64>\n}",
                         {zero, zero})));
}

TEST_F(InterpreterTest, StepsAreBounded) {
  auto x = HostTensor::zeros(RankedTensorType::get({1000}, b.getF32Type()));
  const char *ir = "func.func @f(%x: tensor<1000xf32>) -> tensor<1000xf32> {\n"
                   "  %z = nn.exp %x : tensor<1000xf32>\n  return %z : tensor<1000xf32>\n}";
  EXPECT_TRUE(failed(run(ir, {x}, 500)));
  EXPECT_TRUE(succeeded(run(ir, {x}, 100000)));
}

TEST_F(InterpreterTest, TensorsAndAttributesRoundTrip) {
  auto type = RankedTensorType::get({2, 2}, b.getI1Type());
  auto bools = DenseElementsAttr::get(type, ArrayRef<bool>{true, false, false, true});
  EXPECT_EQ(HostTensor::from(bools).toAttr(), bools);
  auto splat = DenseElementsAttr::get(RankedTensorType::get({5}, b.getF64Type()), 2.5);
  HostTensor wide = HostTensor::from(splat);
  EXPECT_EQ(wide.data.size(), 40u);
  EXPECT_TRUE(wide.toAttr().isSplat());
}

} // namespace
