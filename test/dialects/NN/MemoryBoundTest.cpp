// Transpositions, softmax, normalized rows and sums, compiled to machine code, against plain C++.
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
    context.loadDialect<gmc::nn::NNDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect,
                        memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect, LLVM::LLVMDialect>();
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
  std::vector<std::vector<int64_t>> shapes = {{64, 128}, {37, 70},    {3, 50},        {16, 5},
                                              {130, 65}, {2, 33, 20}, {1, 19, 1, 40}, {3, 17, 4, 18}};
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
        auto program = compile("func.func @f(%x: " + from + ") -> " + to +
                                   " {\n %0 = nn.transpose %x {perm = array<i64: " + permText + ">} : (" + from +
                                   ") -> " + to + "\n return %0 : " + to + " }",
                               2);
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
          ASSERT_EQ(0, memcmp(&y[i * bytes], &x[source * bytes], bytes))
              << from << " perm " << permText << " element " << i;
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
    auto program =
        compile("func.func @f(%x: " + type + ") -> " + type + " {\n %0 = nn.softmax %x {axis = 1 : i64} : (" + type +
                    ") -> " + type + "\n return %0 : " + type + " }",
                threads);
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

/// exp of what softmax passes to it, over the whole range, as the ratio of two classes' probabilities.
TEST_F(MemoryBoundTest, SoftmaxExponential) {
  constexpr int rows = 4000;
  std::string type = typeText({rows, 16}, "f32");
  auto program = compile("func.func @f(%x: " + type + ") -> " + type + " {\n %0 = nn.softmax %x {axis = 1 : i64} : (" +
                             type + ") -> " + type + "\n return %0 : " + type + " }",
                         2);
  ASSERT_TRUE(program);
  std::vector<float> x(rows * 16, -INFINITY), y(rows * 16);
  for (int r = 0; r < rows; ++r)
    x[r * 16 + 3] = 0, x[r * 16 + 9] = -0.0225f * r;
  program->setArgument(0, x.data(), x.size() * 4);
  program->run();
  program->getResult(0, y.data());
  for (int r = 0; r < rows; ++r) {
    double e = std::exp(double(x[r * 16 + 9]));
    ASSERT_EQ(y[r * 16], 0) << "of -inf, row " << r;
    ASSERT_NEAR(y[r * 16 + 3], 1 / (1 + e), 1.2e-7) << r;
    if (e < 1.17549435e-38)
      ASSERT_EQ(y[r * 16 + 9], 0) << r;
    else
      ASSERT_NEAR(y[r * 16 + 9], e / (1 + e), 2.5e-7 * e) << r;
  }
}

/// Results that are written past the caches, by two threads: with rows and columns that are whole lines, and that are
/// not.
TEST_F(MemoryBoundTest, Streamed) {
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{4096, 4096}, {4099, 4100}}) {
    std::string from = typeText({rows, columns}, "f32"), to = typeText({columns, rows}, "f32"),
                row = typeText({rows}, "f32");
    std::vector<float> x(rows * columns), y(rows * columns);
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = float(i * 7919 % 1009) / 1009 - .5f;
    auto transpose =
        compile("func.func @f(%x: " + from + ") -> " + to + " {\n %0 = nn.transpose %x {perm = array<i64: 1, 0>} : (" +
                    from + ") -> " + to + "\n return %0 : " + to + " }",
                2);
    ASSERT_TRUE(transpose);
    transpose->setArgument(0, x.data(), x.size() * 4);
    transpose->run();
    transpose->getResult(0, y.data());
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c)
        ASSERT_EQ(y[c * rows + r], x[r * columns + c]) << r << " " << c;
    transpose.reset();
    auto norm =
        compile("func.func @f(%x: " + from + ") -> " + from + " {\n %0:3 = nn.layer_norm %x {axis = 1 : i64} : (" +
                    from + ") -> (" + from + ", " + row + ", " + row + ")\n return %0#0 : " + from + " }",
                2);
    ASSERT_TRUE(norm);
    norm->setArgument(0, x.data(), x.size() * 4);
    norm->run();
    norm->getResult(0, y.data());
    for (int64_t r = 0; r < rows; ++r) {
      double mean = 0, variance = 0;
      for (int64_t c = 0; c < columns; ++c)
        mean += x[r * columns + c] / double(columns);
      for (int64_t c = 0; c < columns; ++c)
        variance += (x[r * columns + c] - mean) * (x[r * columns + c] - mean) / double(columns);
      for (int64_t c = 0; c < columns; ++c)
        ASSERT_NEAR(y[r * columns + c], (x[r * columns + c] - mean) / std::sqrt(variance + 1e-5), 2e-6)
            << r << " " << c;
    }
  }
}

/// Sums whose rows do not follow each other in memory, with fewer and more rows than are prefetched.
TEST_F(MemoryBoundTest, SumOfPlanes) {
  for (auto [n, channels, plane] : {std::array<int64_t, 3>{5, 37, 1000}, {1, 40, 3000}, {300, 3, 257}}) {
    std::string from = typeText({n, channels, plane}, "f32"), to = typeText({channels}, "f32");
    auto program = compile("func.func @f(%x: " + from + ") -> " + to +
                               " {\n %0 = \"nn.reduce_sum\"(%x) <{axes = array<i64: 0, 2>}> : (" + from + ") -> " + to +
                               "\n return %0 : " + to + " }",
                           2);
    ASSERT_TRUE(program);
    std::vector<float> x(n * channels * plane), y(channels);
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = float(i * 7919 % 1009) / 1009;
    program->setArgument(0, x.data(), x.size() * 4);
    program->run();
    program->getResult(0, y.data());
    for (int64_t c = 0; c < channels; ++c) {
      double sum = 0;
      for (int64_t i = 0; i < n; ++i)
        for (int64_t k = 0; k < plane; ++k)
          sum += x[(i * channels + c) * plane + k];
      ASSERT_NEAR(y[c], sum, 1e-5 * sum) << from << " channel " << c;
    }
  }
}

} // namespace
