// Kernels on bf16 and f16 against the same kernels on f32: equal bits where the operands are those numbers widened and
// the result is rounded once.
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
#include "passes/Precision/Precision.h"
#include <chrono>
#include <gtest/gtest.h>
#include <random>

using namespace mlir;

namespace {

/// An op over operands whose data are of the type written as T; S stands for what statistics are stored as, f32. Where
/// LLVM chooses the association of a long sum, it may choose another one for another type: then results are near, not
/// equal.
struct Case {
  const char *name, *arguments, *results, *body;
  bool ordered = true;
};

const Case cases[] = {
    {"matmul", "tensor<37x70xT>, tensor<70x45xT>, tensor<45xT>", "tensor<37x45xT>",
     "nn.matmul %a0, %a1 bias %a2 : (tensor<37x70xT>, tensor<70x45xT>, tensor<45xT>) -> tensor<37x45xT>"},
    {"matmul of a long contraction", "tensor<19x4500xT>, tensor<4500x50xT>", "tensor<19x50xT>",
     "nn.matmul %a0, %a1 : (tensor<19x4500xT>, tensor<4500x50xT>) -> tensor<19x50xT>"},
    {"matmul, many rows in blocks", "tensor<300x2200xT>, tensor<2200x20xT>", "tensor<300x20xT>",
     "nn.matmul %a0, %a1 : (tensor<300x2200xT>, tensor<2200x20xT>) -> tensor<300x20xT>"},
    {"matmul, left transposed", "tensor<70x37xT>, tensor<70x45xT>", "tensor<37x45xT>",
     "nn.matmul %a0, %a1 {transpose_a = true} : (tensor<70x37xT>, tensor<70x45xT>) -> tensor<37x45xT>"},
    {"matmul, right transposed", "tensor<3x13x70xT>, tensor<3x45x70xT>", "tensor<3x13x45xT>",
     "nn.matmul %a0, %a1 {transpose_b = true} : (tensor<3x13x70xT>, tensor<3x45x70xT>) -> tensor<3x13x45xT>"},
    {"matmul, both transposed", "tensor<70x37xT>, tensor<45x70xT>", "tensor<37x45xT>",
     "nn.matmul %a0, %a1 {transpose_a = true, transpose_b = true} : (tensor<70x37xT>, tensor<45x70xT>) -> tensor<37x45xT>"},
    {"conv", "tensor<2x40x9x9xT>, tensor<21x40x3x3xT>, tensor<21xT>", "tensor<2x21x9x9xT>",
     "nn.conv %a0, %a1, %a2 {dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : "
     "(tensor<2x40x9x9xT>, tensor<21x40x3x3xT>, tensor<21xT>) -> tensor<2x21x9x9xT>"},
    {"conv of many filters", "tensor<1x40x5x5xT>, tensor<300x40x3x3xT>", "tensor<1x300x3x3xT>",
     "nn.conv %a0, %a1 {dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 2, 2>} : "
     "(tensor<1x40x5x5xT>, tensor<300x40x3x3xT>) -> tensor<1x300x3x3xT>"},
    {"depthwise conv", "tensor<2x6x11x13xT>, tensor<6x1x3x3xT>", "tensor<2x6x11x13xT>",
     "nn.conv %a0, %a1 {dilations = array<i64: 1, 1>, group = 6 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : "
     "(tensor<2x6x11x13xT>, tensor<6x1x3x3xT>) -> tensor<2x6x11x13xT>"},
    {"conv_transpose", "tensor<2x40x6x6xT>, tensor<40x9x3x3xT>", "tensor<2x9x13x13xT>",
     "nn.conv_transpose %a0, %a1 {dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 2, 2>} : "
     "(tensor<2x40x6x6xT>, tensor<40x9x3x3xT>) -> tensor<2x9x13x13xT>"},
    {"conv_weight_grad", "tensor<3x5x12x12xT>, tensor<3x8x10x10xT>", "tensor<8x5x3x3xT>",
     "nn.conv_weight_grad %a0, %a1 {dilations = array<i64: 1, 1>, kernel = array<i64: 3, 3>, pads = array<i64: 0, 0, 0, 0>, "
     "strides = array<i64: 1, 1>} : (tensor<3x5x12x12xT>, tensor<3x8x10x10xT>) -> tensor<8x5x3x3xT>"},
    {"max_pool", "tensor<2x3x9x9xT>", "tensor<2x3x4x4xT>",
     "nn.max_pool %a0 {dilations = array<i64: 1, 1>, kernel = array<i64: 3, 3>, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 2, 2>} : "
     "(tensor<2x3x9x9xT>) -> tensor<2x3x4x4xT>"},
    {"max_pool_grad", "tensor<2x3x9x9xT>, tensor<2x3x4x4xT>", "tensor<2x3x9x9xT>",
     "nn.max_pool_grad %a0, %a1 {dilations = array<i64: 1, 1>, kernel = array<i64: 3, 3>, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 2, 2>} : "
     "(tensor<2x3x9x9xT>, tensor<2x3x4x4xT>) -> tensor<2x3x9x9xT>"},
    {"avg_pool", "tensor<2x3x9x9xT>", "tensor<2x3x4x4xT>",
     "nn.avg_pool %a0 {dilations = array<i64: 1, 1>, kernel = array<i64: 3, 3>, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 2, 2>} : "
     "(tensor<2x3x9x9xT>) -> tensor<2x3x4x4xT>"},
    {"avg_pool_grad", "tensor<2x3x4x4xT>", "tensor<2x3x9x9xT>",
     "nn.avg_pool_grad %a0 {dilations = array<i64: 1, 1>, input = array<i64: 9, 9>, kernel = array<i64: 3, 3>, pads = array<i64: 0, 0, 0, 0>, strides = "
     "array<i64: 2, 2>} : (tensor<2x3x4x4xT>) -> tensor<2x3x9x9xT>"},
    {"batch_norm", "tensor<4x3x5x5xT>, tensor<3xS>, tensor<3xS>, tensor<3xS>, tensor<3xS>",
     "tensor<4x3x5x5xT>, tensor<3xS>, tensor<3xS>, tensor<3xS>, tensor<3xS>",
     "nn.batch_norm %a0, %a1, %a2, %a3, %a4 {training = true} : (tensor<4x3x5x5xT>, tensor<3xS>, tensor<3xS>, tensor<3xS>, "
     "tensor<3xS>) -> (tensor<4x3x5x5xT>, tensor<3xS>, tensor<3xS>, tensor<3xS>, tensor<3xS>)",
     false},
    {"batch_norm_grad", "tensor<4x3x5x5xT>, tensor<3xS>, tensor<3xS>, tensor<3xS>, tensor<4x3x5x5xT>",
     "tensor<4x3x5x5xT>, tensor<3xS>, tensor<3xS>",
     "nn.batch_norm_grad %a0, %a1, %a2, %a3, %a4 {training = true} : (tensor<4x3x5x5xT>, tensor<3xS>, tensor<3xS>, tensor<3xS>, "
     "tensor<4x3x5x5xT>) -> (tensor<4x3x5x5xT>, tensor<3xS>, tensor<3xS>)",
     false},
    {"group_norm", "tensor<4x6x5x5xT>, tensor<6xS>, tensor<6xS>", "tensor<4x6x5x5xT>, tensor<4x2xS>, tensor<4x2xS>",
     "nn.group_norm %a0, %a1, %a2 {groups = 2 : i64} : (tensor<4x6x5x5xT>, tensor<6xS>, tensor<6xS>) -> (tensor<4x6x5x5xT>, "
     "tensor<4x2xS>, tensor<4x2xS>)",
     false},
    {"group_norm_grad", "tensor<4x6x5x5xT>, tensor<6xS>, tensor<4x2xS>, tensor<4x2xS>, tensor<4x6x5x5xT>",
     "tensor<4x6x5x5xT>, tensor<6xS>, tensor<6xS>",
     "nn.group_norm_grad %a0, %a1, %a2, %a3, %a4 : (tensor<4x6x5x5xT>, tensor<6xS>, tensor<4x2xS>, tensor<4x2xS>, "
     "tensor<4x6x5x5xT>) -> (tensor<4x6x5x5xT>, tensor<6xS>, tensor<6xS>)",
     false},
    {"softmax", "tensor<6x50xT>", "tensor<6x50xT>",
     "nn.softmax %a0 {axis = 1 : i64} : (tensor<6x50xT>) -> tensor<6x50xT>", false},
    {"softmax_grad", "tensor<6x50xT>, tensor<6x50xT>", "tensor<6x50xT>",
     "nn.softmax_grad %a0, %a1 {axis = 1 : i64} : (tensor<6x50xT>, tensor<6x50xT>) -> tensor<6x50xT>", false},
    {"dropout", "tensor<6x50xT>", "tensor<6x50xT>",
     "nn.dropout %a0 {node_id = 7 : i64, ratio = 0.3 : f64, training = true} : (tensor<6x50xT>) -> tensor<6x50xT>"},
    {"transpose", "tensor<6x50xT>", "tensor<50x6xT>",
     "nn.transpose %a0 {perm = array<i64: 1, 0>} : (tensor<6x50xT>) -> tensor<50x6xT>"},
    {"concat", "tensor<6x5xT>, tensor<6x3xT>", "tensor<6x8xT>",
     "nn.concat %a0, %a1 {axis = 1 : i64} : (tensor<6x5xT>, tensor<6x3xT>) -> tensor<6x8xT>"},
    {"reduce_sum", "tensor<6x500xT>", "tensor<6xT>",
     "nn.reduce_sum %a0 {axes = array<i64: 1>} : (tensor<6x500xT>) -> tensor<6xT>", false},
    {"add", "tensor<6x50xT>, tensor<50xT>", "tensor<6x50xT>",
     "nn.fused(%a0, %a1) : (tensor<6x50xT>, tensor<50xT>) -> tensor<6x50xT> {\n^bb0(%x: T, %y: T):\n%u = EXT(%x)\n%v = "
     "EXT(%y)\n%s = arith.addf %u, %v : f32\n%r = TRUNC(%s)\nnn.yield %r : T\n}"},
};

/// Text with T, S and the conversions of fused regions for one element type.
std::string textOf(const Case &c, const std::string &type, unsigned *numResults) {
  std::string text = "func.func @f(";
  std::string arguments = c.arguments, results = c.results, body = c.body;
  unsigned argument = 0;
  for (size_t at = 0; (at = arguments.find("tensor<", at)) != std::string::npos; ++argument) {
    std::string name = "%a" + std::to_string(argument) + ": ";
    arguments.insert(at, name);
    at += name.size() + 1;
  }
  *numResults = 0;
  for (size_t at = 0; (at = results.find("tensor<", at)) != std::string::npos; ++at)
    ++*numResults;
  std::string names;
  for (unsigned r = 0; r < *numResults; ++r)
    names += (r ? ", %r" : "%r") + std::to_string(r);
  text +=
      arguments + ") -> (" + results + ") {\n" + names + " = " + body + "\nreturn " + names + " : " + results + "\n}";
  auto replace = [&](const std::string &from, const std::string &to) {
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
      text.replace(at, from.size(), to);
  };
  bool wide = type == "f32";
  for (const char *name : {"x", "y", "s"}) { // EXT(%x) and TRUNC(%s)
    replace("EXT(%" + std::string(name) + ")", wide ? "arith.addf %" + std::string(name) + ", %zero : f32"
                                                    : "arith.extf %" + std::string(name) + " : " + type + " to f32");
    replace("TRUNC(%" + std::string(name) + ")", wide ? "arith.addf %" + std::string(name) + ", %zero : f32"
                                                      : "arith.truncf %" + std::string(name) + " : f32 to " + type);
  }
  if (wide)
    replace("^bb0(%x: T, %y: T):\n", "^bb0(%x: T, %y: T):\n%zero = arith.constant -0.0 : f32\n");
  replace("xT>", "x" + type + ">");
  replace("xS>", "xf32>");
  replace(": T", ": " + type);
  return text;
}

class PrecisionTest : public ::testing::TestWithParam<bool> {
protected:
  PrecisionTest() {
    context.loadDialect<gmc::nn::NNDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect,
                        memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect, LLVM::LLVMDialect>();
  }

  const llvm::fltSemantics &semantics() const {
    return GetParam() ? llvm::APFloat::IEEEhalf() : llvm::APFloat::BFloat();
  }
  uint16_t narrow(float x) const {
    llvm::APFloat value(x);
    bool exact;
    value.convert(semantics(), llvm::APFloat::rmNearestTiesToEven, &exact);
    return static_cast<uint16_t>(value.bitcastToAPInt().getZExtValue());
  }
  float widen(uint16_t bits) const {
    llvm::APFloat value(semantics(), llvm::APInt(16, bits));
    bool exact;
    value.convert(llvm::APFloat::IEEEsingle(), llvm::APFloat::rmNearestTiesToEven, &exact);
    return value.convertToFloat();
  }

  std::unique_ptr<gmc::JitProgram> compile(func::FuncOp function) {
    auto program = gmc::JitProgram::compile(function);
    if (!program) {
      ADD_FAILURE() << llvm::toString(program.takeError());
      return nullptr;
    }
    return std::move(*program);
  }
  func::FuncOp parse(const std::string &text) {
    modules.push_back(parseSourceString<ModuleOp>(text, &context));
    EXPECT_TRUE(modules.back()) << text;
    return modules.back() ? *modules.back()->getOps<func::FuncOp>().begin() : func::FuncOp();
  }

  MLIRContext context;
  std::vector<OwningOpRef<ModuleOp>> modules;
  std::mt19937 engine{11};
};

TEST_P(PrecisionTest, EveryKernelRoundsOnce) {
  std::string type = GetParam() ? "f16" : "bf16";
  for (const Case &c : cases) {
    SCOPED_TRACE(c.name);
    unsigned numResults = 0;
    func::FuncOp narrowFunction = parse(textOf(c, type, &numResults)),
                 wideFunction = parse(textOf(c, "f32", &numResults));
    ASSERT_TRUE(narrowFunction && wideFunction);
    auto low = compile(narrowFunction), reference = compile(wideFunction);
    ASSERT_TRUE(low && reference);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (unsigned i = 0; i < low->numArguments(); ++i) {
      bool isNarrow = !cast<ShapedType>(narrowFunction.getArgumentTypes()[i]).getElementType().isF32();
      std::vector<float> wide(reference->argumentBytes(i) / 4);
      std::vector<uint16_t> bits(wide.size());
      for (size_t k = 0; k < wide.size(); ++k) {
        wide[k] = isNarrow ? uniform(engine) : uniform(engine) + 1.5f;
        bits[k] = narrow(wide[k]);
        if (isNarrow)
          wide[k] = widen(bits[k]);
      }
      reference->setArgument(i, wide.data(), wide.size() * 4);
      isNarrow ? low->setArgument(i, bits.data(), bits.size() * 2) : low->setArgument(i, wide.data(), wide.size() * 4);
    }
    low->run();
    reference->run();
    for (unsigned r = 0; r < numResults; ++r) {
      bool isNarrow = !cast<ShapedType>(narrowFunction.getResultTypes()[r]).getElementType().isF32();
      std::vector<float> expected(reference->resultBytes(r) / 4);
      reference->getResult(r, expected.data());
      std::vector<char> actual(low->resultBytes(r));
      low->getResult(r, actual.data());
      for (size_t k = 0; k < expected.size(); ++k) {
        float found = isNarrow ? widen(reinterpret_cast<uint16_t *>(actual.data())[k])
                               : reinterpret_cast<float *>(actual.data())[k];
        float wanted = isNarrow ? widen(narrow(expected[k])) : expected[k];
        float ulp = std::abs(wanted) * (!isNarrow ? 1e-5f : GetParam() ? 0x1p-10f : 0x1p-7f);
        if (c.ordered)
          ASSERT_EQ(found, wanted) << "element " << k << " of result " << r;
        else
          ASSERT_NEAR(found, wanted, ulp + 1e-6f) << "element " << k << " of result " << r;
      }
    }
  }
}

/// Ties, subnormal numbers, overflow, infinities and NaN, in a loop that vectorizes and at its end.
TEST_P(PrecisionTest, RoundsToNearestEven) {
  std::string type = GetParam() ? "f16" : "bf16";
  std::vector<uint32_t> patterns = {0,          0x80000000, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f817fff, 0xbf818000,
                                    0x00000001, 0x00008000, 0x00018000, 0x007fffff, 0x7f7fffff, 0x7f800000, 0xff800000,
                                    0x7fc00000, 0x3f801000, 0x3f803000, 0x477fefff, 0x477ff000, 0x33000000, 0x33000001,
                                    0x387fe000, 0x387fd000, 0x38000fff};
  while (patterns.size() < 1000)
    patterns.push_back(engine());
  std::string size = std::to_string(patterns.size());
  auto program =
      compile(parse("func.func @f(%x: tensor<" + size + "xf32>) -> (tensor<" + size + "x" + type + ">, tensor<" + size +
                    "xf32>) {\n%0 = nn.cast %x {to = " + type + "} : (tensor<" + size + "xf32>) -> tensor<" + size +
                    "x" + type + ">\n%1 = nn.cast %0 {to = f32} : (tensor<" + size + "x" + type + ">) -> tensor<" +
                    size + "xf32>\nreturn %0, %1 : tensor<" + size + "x" + type + ">, tensor<" + size + "xf32>\n}"));
  ASSERT_TRUE(program);
  program->setArgument(0, patterns.data(), patterns.size() * 4);
  program->run();
  std::vector<uint16_t> low(patterns.size());
  std::vector<float> wide(patterns.size());
  program->getResult(0, low.data());
  program->getResult(1, wide.data());
  for (size_t i = 0; i < patterns.size(); ++i) {
    float x;
    std::memcpy(&x, &patterns[i], 4);
    if (std::isnan(x)) {
      EXPECT_TRUE(std::isnan(widen(low[i])) && std::isnan(wide[i])) << std::hex << patterns[i];
      continue;
    }
    EXPECT_EQ(low[i], narrow(x)) << std::hex << patterns[i];
    EXPECT_EQ(wide[i], widen(low[i])) << std::hex << patterns[i];
  }
}

/// What the pass makes of a step: every tensor is rounded once, as if each op were computed in f32 on rounded operands.
TEST_P(PrecisionTest, PassRoundsAtTensorBoundaries) {
  func::FuncOp function = parse(R"(
    func.func @f(%x: tensor<8x16xf32>, %w: tensor<16x8xf32> {nn.name = "w", nn.role = "parameter"},
                 %b: tensor<8xf32> {nn.name = "b", nn.role = "parameter"}) -> (tensor<8x8xf32>, tensor<8xf32>) {
      %0 = nn.matmul %x, %w : (tensor<8x16xf32>, tensor<16x8xf32>) -> tensor<8x8xf32>
      %1 = nn.add %0, %b : tensor<8x8xf32>, tensor<8xf32>
      %2 = nn.relu %1 : tensor<8x8xf32>
      %3 = nn.matmul %2, %w {transpose_b = true} : (tensor<8x8xf32>, tensor<16x8xf32>) -> tensor<8x16xf32>
      %4 = nn.matmul %3, %w : (tensor<8x16xf32>, tensor<16x8xf32>) -> tensor<8x8xf32>
      %5 = nn.reduce_sum %4 {axes = array<i64: 0>} : (tensor<8x8xf32>) -> tensor<8xf32>
      return %4, %5 : tensor<8x8xf32>, tensor<8xf32>
    })");
  ASSERT_TRUE(function);
  ASSERT_TRUE(succeeded(gmc::applyPrecision(function, GetParam() ? gmc::Precision::Fp16 : gmc::Precision::Bf16)));
  auto program = compile(function);
  ASSERT_TRUE(program);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> x(128), w(128), b(8), y(64), s(8);
  for (auto *values : {&x, &w, &b})
    for (float &v : *values)
      v = uniform(engine);
  program->setArgument(0, x.data(), 512);
  program->setArgument(1, w.data(), 512);
  program->setArgument(2, b.data(), 32);
  program->run();
  program->getResult(0, y.data());
  program->getResult(1, s.data());
  auto round = [&](double v) { return widen(narrow(static_cast<float>(v))); };
  // Sums of 16 products of numbers of at most 11 bits each are exact enough in f64 that only ties could differ from
  // f32.
  auto product = [&](const std::vector<float> &p, const std::vector<float> &q, int m, int n, int k, bool transposed) {
    std::vector<float> r(m * n);
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        double sum = 0;
        for (int l = 0; l < k; ++l)
          sum += double(round(p[i * k + l])) * round(transposed ? q[j * k + l] : q[l * n + j]);
        r[i * n + j] = round(sum);
      }
    return r;
  };
  std::vector<float> h = product(x, w, 8, 8, 16, false);
  for (int i = 0; i < 64; ++i)
    h[i] = round(std::max(0.0f, h[i] + b[i % 8]));
  std::vector<float> expected = product(product(h, w, 8, 16, 8, true), w, 8, 8, 16, false), sums(8);
  double step = GetParam() ? 1.0 / 1024 : 1.0 / 128;
  int different = 0;
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(y[i], round(y[i]));
    EXPECT_NEAR(y[i], expected[i], std::abs(expected[i]) * 4 * step + step / 4);
    different += y[i] != expected[i];
    sums[i % 8] += y[i];
  }
  EXPECT_LE(different, 6);
  for (int i = 0; i < 8; ++i)
    EXPECT_NEAR(s[i], sums[i], 1e-4) << "a sum is not rounded";
}

/// Times of f32 and of low precision; prints only.
TEST_P(PrecisionTest, DISABLED_Speed) {
  std::string type = GetParam() ? "f16" : "bf16";
  for (const char *text :
       {"tensor<512x512xT>, tensor<512x512xT>|tensor<512x512xT>|nn.matmul %a0, %a1 : (tensor<512x512xT>, "
        "tensor<512x512xT>) -> tensor<512x512xT>",
        "tensor<4x64x56x56xT>, tensor<64x64x3x3xT>|tensor<4x64x56x56xT>|nn.conv %a0, %a1 {dilations = "
        "array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>} : (tensor<4x64x56x56xT>, "
        "tensor<64x64x3x3xT>) -> tensor<4x64x56x56xT>"}) {
    SmallVector<StringRef> parts;
    StringRef(text).split(parts, '|');
    std::string a = parts[0].str(), r = parts[1].str(), body = parts[2].str();
    double times[2];
    for (bool wide : {false, true}) {
      unsigned numResults;
      auto program = compile(parse(textOf({"", a.c_str(), r.c_str(), body.c_str()}, wide ? "f32" : type, &numResults)));
      double best = 1e9;
      for (int i = 0; i < 5; ++i) {
        auto start = std::chrono::steady_clock::now();
        program->run();
        best =
            std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
      }
      times[wide] = best;
    }
    printf("%-40.40s %s %.2f ms, f32 %.2f ms\n", body.c_str(), type.c_str(), times[0], times[1]);
  }
}

INSTANTIATE_TEST_SUITE_P(Low, PrecisionTest, ::testing::Bool(),
                         [](const auto &info) { return info.param ? "f16" : "bf16"; });

} // namespace
