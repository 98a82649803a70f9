// Transpositions and softmax, compiled to machine code, against plain C++.
#include "compiler/Codegen/Jit.h"
#include "dialects/NN/NN.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
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

class MemoryBoundTest : public ::testing::Test {
protected:
  MemoryBoundTest() {
    context.loadDialect<gmc::nn::NNDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect, memref::MemRefDialect,
                        scf::SCFDialect, vector::VectorDialect, LLVM::LLVMDialect>();
  }
  std::unique_ptr<gmc::JitProgram> compile(const std::string &text, int threads) {
    auto module = parseSourceString<ModuleOp>(text, &context);
    EXPECT_TRUE(module) << text;
    gmc::JitOptions options;
    options.threads = threads;
    auto program = gmc::JitProgram::compile(*module->getOps<func::FuncOp>().begin(), options);
    EXPECT_TRUE(bool(program));
    return program ? std::move(*program) : nullptr;
  }
  MLIRContext context;
};

std::string typeText(llvm::ArrayRef<int64_t> shape, const char *element) {
  std::string text = "tensor<";
  for (int64_t d : shape)
    text += std::to_string(d) + "x";
  return text + element + ">";
}

/// Every permutation of shapes that hold whole tiles, parts of tiles, neither, and dimensions of one element.
TEST_F(MemoryBoundTest, Transpose) {
  std::vector<std::vector<int64_t>> shapes = {{64, 128}, {37, 70}, {3, 50}, {16, 5}, {130, 65}, {2, 33, 20}, {1, 19, 1, 40}, {3, 17, 4, 18}};
  for (auto &[element, bytes] : {std::pair{"f32", 4}, std::pair{"f64", 8}, std::pair{"bf16", 2}, std::pair{"i64", 8}})
    for (const std::vector<int64_t> &shape : shapes) {
      std::vector<int64_t> perm(shape.size());
      for (size_t d = 0; d < perm.size(); ++d)
        perm[d] = d;
      while (std::next_permutation(perm.begin(), perm.end())) {
        std::vector<int64_t> out, strides(shape.size(), 1);
        std::string permText;
        for (int64_t d : perm) {
          out.push_back(shape[d]);
          permText += (permText.empty() ? "" : ", ") + std::to_string(d);
        }
        for (size_t d = shape.size() - 1; d-- > 0;)
          strides[d] = strides[d + 1] * shape[d + 1];
        std::string from = typeText(shape, element), to = typeText(out, element);
        auto program = compile("func.func @f(%x: " + from + ") -> " + to + " {\n %0 = nn.transpose %x {perm = array<i64: " + permText +
                                   ">} : (" + from + ") -> " + to + "\n return %0 : " + to + " }", 2);
        ASSERT_TRUE(program);
        size_t count = program->argumentBytes(0) / bytes;
        std::vector<char> x(count * bytes), y(count * bytes);
        for (size_t i = 0; i < x.size(); ++i)
          x[i] = static_cast<char>(i * 31 + i / 256 * 7);
        program->setArgument(0, x.data(), x.size());
        program->run();
        program->getResult(0, y.data());
        for (size_t i = 0; i < count; ++i) {
          size_t rest = i, source = 0;
          for (size_t d = out.size(); d-- > 0; rest /= out[d])
            source += rest % out[d] * strides[perm[d]];
          ASSERT_EQ(0, memcmp(&y[i * bytes], &x[source * bytes], bytes)) << from << " perm " << permText << " element " << i;
        }
      }
    }
}

TEST_F(MemoryBoundTest, Softmax) {
  constexpr int rows = 9, size = 700;
  float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  std::vector<float> x(rows * size), y(rows * size), again(rows * size);
  for (int i = 0; i < rows * size; ++i)
    x[i] = std::sin(i * 0.37f) * (i / size + 1) * 3;
  x[size + 5] = inf;                                                      // row 1: NaN
  x[2 * size + 699] = nan, x[3 * size] = -nan;                            // rows 2 and 3: NaN
  std::fill_n(&x[4 * size], size, -inf);                                  // row 4: NaN
  std::fill_n(&x[5 * size], size, -inf), x[5 * size + 3] = -200;          // row 5: one
  std::fill_n(&x[6 * size], size, -0.0f), x[6 * size + 1] = 0.0f;         // row 6: all equal
  std::string type = typeText({rows, size}, "f32");
  for (int threads : {1, 2}) {
    auto program = compile("func.func @f(%x: " + type + ") -> " + type + " {\n %0 = nn.softmax %x {axis = 1 : i64} : (" + type + ") -> " +
                               type + "\n return %0 : " + type + " }", threads);
    ASSERT_TRUE(program);
    program->setArgument(0, x.data(), x.size() * 4);
    program->run();
    program->getResult(0, threads == 1 ? y.data() : again.data());
  }
  EXPECT_EQ(0, memcmp(y.data(), again.data(), y.size() * 4)) << "the number of threads changes bits";
  for (int r = 0; r < rows; ++r) {
    double max = -INFINITY, sum = 0;
    for (int j = 0; j < size; ++j)
      max = std::fmax(max, x[r * size + j]);
    for (int j = 0; j < size; ++j)
      sum += std::exp(double(x[r * size + j]) - max);
    for (int j = 0; j < size; ++j) {
      double want = std::exp(double(x[r * size + j]) - max) / sum, got = y[r * size + j];
      if (r >= 1 && r <= 4)
        ASSERT_TRUE(std::isnan(got)) << r << " " << j;
      else
        ASSERT_NEAR(got, want, 1e-6 * want + 1e-9) << r << " " << j;
    }
  }
}

} // namespace
