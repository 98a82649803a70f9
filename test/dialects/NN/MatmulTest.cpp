// The kernels of nn.matmul, for the host and for the GPU (as the sim target runs them), against plain loops over the
// definition, over shapes that take every path: tiles and what is left of them, transposes, broadcast batches, k in
// slices.
#include "compiler/Codegen/Jit.h"
#include "dialects/NN/Matmul.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using Shape = std::vector<int64_t>;

namespace {

int64_t count(const Shape &shape) {
  int64_t result = 1;
  for (int64_t dim : shape)
    result *= dim;
  return result;
}

enum class Element { F32, F16, BF16 };

/// A number as its element type holds it, and back.
uint16_t narrow(float x, Element type) {
  uint16_t bits;
  if (type == Element::F16) {
    auto half = static_cast<_Float16>(x);
    std::memcpy(&bits, &half, 2);
    return bits;
  }
  uint32_t all;
  std::memcpy(&all, &x, 4);
  return static_cast<uint16_t>((all + 0x7fff + (all >> 16 & 1)) >> 16);
}
float widen(uint16_t bits, Element type) {
  if (type == Element::F16) {
    _Float16 half;
    std::memcpy(&half, &bits, 2);
    return half;
  }
  uint32_t all = static_cast<uint32_t>(bits) << 16;
  float x;
  std::memcpy(&x, &all, 4);
  return x;
}

/// The parameter: whether the GPU's kernels.
class MatmulTest : public ::testing::TestWithParam<bool> {
protected:
  MatmulTest() {
    context.loadDialect<gmc::nn::NNDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect,
                        memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect, LLVM::LLVMDialect>();
  }

  std::vector<float> random(int64_t size) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::vector<float> values(size);
    for (float &v : values)
      v = uniform(engine);
    return values;
  }

  /// Batches as given; the last two dimensions are m, n and k in the order that the transposes ask for.
  void check(Shape batchA, Shape batchB, int64_t m, int64_t n, int64_t k, bool ta, bool tb, bool bias,
             Element type = Element::F32) {
    SCOPED_TRACE("m " + std::to_string(m) + " n " + std::to_string(n) + " k " + std::to_string(k) + (ta ? " ta" : "") +
                 (tb ? " tb" : ""));
    Shape shapeA(batchA), shapeB(batchB), batch(std::max(batchA.size(), batchB.size()), 1);
    shapeA.insert(shapeA.end(), {ta ? k : m, ta ? m : k});
    shapeB.insert(shapeB.end(), {tb ? n : k, tb ? k : n});
    for (const Shape &from : {batchA, batchB})
      for (size_t d = 0; d < from.size(); ++d)
        batch[batch.size() - from.size() + d] = std::max(batch[batch.size() - from.size() + d], from[d]);
    OpBuilder b(&context);
    Location loc = b.getUnknownLoc();
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
    Type element = type == Element::F32   ? b.getF32Type()
                   : type == Element::F16 ? Type(b.getF16Type())
                                          : b.getBF16Type();
    SmallVector<Type> types{RankedTensorType::get(shapeA, element), RankedTensorType::get(shapeB, element)}, results;
    if (bias)
      types.push_back(RankedTensorType::get({n}, element));
    b.setInsertionPointToEnd(module->getBody());
    auto function = func::FuncOp::create(b, loc, "f", b.getFunctionType(types, {}));
    Block *block = function.addEntryBlock();
    b.setInsertionPointToEnd(block);
    gmc::nn::MatmulOp::Properties p;
    p.transpose_a = b.getBoolAttr(ta);
    p.transpose_b = b.getBoolAttr(tb);
    ASSERT_TRUE(succeeded(gmc::nn::MatmulOp::inferReturnTypes(
        &context, loc, block->getArguments(), DictionaryAttr::get(&context), OpaqueProperties(&p), {}, results)));
    auto op = gmc::nn::MatmulOp::create(b, loc, results, block->getArguments(), p);
    func::ReturnOp::create(b, loc, op->getResults());
    function.setType(b.getFunctionType(types, results));
    gmc::JitOptions options;
    options.sim = GetParam();
    auto compiled = gmc::JitProgram::compile(function, options);
    ASSERT_TRUE(static_cast<bool>(compiled)) << llvm::toString(compiled.takeError());
    gmc::JitProgram &program = **compiled;

    auto x = random(count(shapeA)), y = random(count(shapeB)), c = random(n);
    auto set = [&](unsigned i, std::vector<float> &values) {
      if (type == Element::F32)
        return program.setArgument(i, values.data(), values.size() * 4);
      std::vector<uint16_t> bits;
      for (float &v : values) {
        bits.push_back(narrow(v, type));
        v = widen(bits.back(), type);
      }
      program.setArgument(i, bits.data(), bits.size() * 2);
    };
    set(0, x);
    set(1, y);
    if (bias)
      set(2, c);
    program.run();
    std::vector<float> actual(count(batch) * m * n);
    if (type == Element::F32) {
      ASSERT_EQ(program.resultBytes(0), actual.size() * 4);
      program.getResult(0, actual.data());
    } else {
      std::vector<uint16_t> bits(actual.size());
      ASSERT_EQ(program.resultBytes(0), bits.size() * 2);
      program.getResult(0, bits.data());
      for (size_t i = 0; i < bits.size(); ++i)
        actual[i] = widen(bits[i], type);
    }
    /// Which matrix of an operand the result's matrix `i` is made of.
    auto matrixOf = [&](const Shape &dims, int64_t i) {
      int64_t index = 0, stride = 1;
      for (size_t d = batch.size(); d-- > 0; i /= batch[d]) {
        if (batch.size() - d > dims.size())
          continue;
        int64_t size = dims[d - (batch.size() - dims.size())];
        index += (size == 1 ? 0 : i % batch[d]) * stride;
        stride *= size;
      }
      return index;
    };
    double tolerance = 4e-7 * std::sqrt(double(k)) * 8 + 1e-15; // terms of one order, added one by one
    double rounding = type == Element::F32 ? 0 : type == Element::F16 ? 0x1p-11 : 0x1p-8; // of the result
    for (int64_t i = 0; i < count(batch); ++i) {
      const float *left = x.data() + matrixOf(batchA, i) * m * k, *right = y.data() + matrixOf(batchB, i) * k * n;
      for (int64_t r = 0; r < m; ++r)
        for (int64_t j = 0; j < n; ++j) {
          double sum = bias ? c[j] : 0;
          for (int64_t l = 0; l < k; ++l)
            sum += double(ta ? left[l * m + r] : left[r * k + l]) * (tb ? right[j * k + l] : right[l * n + j]);
          ASSERT_NEAR(actual[(i * m + r) * n + j], sum, tolerance + rounding * std::abs(sum))
              << "at " << i << ", " << r << ", " << j;
        }
    }
  }

  void checkTransposes(Shape batchA, Shape batchB, int64_t m, int64_t n, int64_t k, bool bias,
                       Element type = Element::F32) {
    for (bool ta : {false, true})
      for (bool tb : {false, true})
        check(batchA, batchB, m, n, k, ta, tb, bias, type);
  }

  MLIRContext context;
  std::mt19937 engine{11};
};

TEST_P(MatmulTest, WholeTiles) { checkTransposes({}, {}, 64, 64, 64, false); }
TEST_P(MatmulTest, Remainders) {
  checkTransposes({}, {}, 67, 37, 21, true);
  checkTransposes({}, {}, 66, 70, 50, true); // rows of 8-byte alignment
  checkTransposes({}, {}, 5, 132, 7, false);
}
TEST_P(MatmulTest, FewRowsOrColumns) {
  checkTransposes({}, {}, 1, 40, 33, true);
  checkTransposes({}, {}, 40, 1, 33, true);
  checkTransposes({}, {}, 3, 5, 2, false);
}
TEST_P(MatmulTest, LargeTiles) { check({}, {}, 1500, 770, 20, false, false, true); }
TEST_P(MatmulTest, LongSums) {
  checkTransposes({}, {}, 40, 24, 1000, true); // k is cut in slices
  check({2}, {2}, 33, 17, 700, true, false, false);
  check({}, {}, 20, 24, 4500, true, false, true); // in 17 slices: 16 sums are added first
}
TEST_P(MatmulTest, Batches) {
  checkTransposes({3}, {3}, 36, 20, 28, false);
  check({2, 3}, {2, 3}, 20, 24, 16, false, true, false);
  check({2, 1}, {3}, 20, 24, 16, false, false, true); // broadcast on both sides
  check({4}, {}, 12, 24, 16, false, false, true);     // one taller product
  check({}, {4}, 12, 24, 16, true, false, false);
}
TEST_P(MatmulTest, OddRowsInHalfPrecision) {
  // Of an odd number of elements, which start at odd places: read in pairs where the buffer has an even number of them.
  for (Element type : {Element::F16, Element::BF16}) {
    checkTransposes({2}, {2}, 35, 41, 37, false, type);
    checkTransposes({2}, {2}, 64, 39, 49, true, type);
    checkTransposes({}, {}, 38, 47, 45, false, type); // one operand of an even number, one of an odd one
    checkTransposes({}, {}, 46, 15, 66, false, type);
    checkTransposes({}, {}, 33, 80, 65, false, type);
  }
  check({2}, {2}, 137, 133, 65, false, false, false, Element::BF16);
  check({2}, {2}, 69, 137, 79, true, true, false, Element::F16);
  for (int64_t k : {961, 2049, 4501, 5153}) // in slices, the last with and without a whole tile of k
    check({}, {}, 22, 34, k, false, true, true, Element::BF16);
}
TEST_P(MatmulTest, CutDepths) {
  for (int64_t k : {513, 1027, 2051, 3077, 4101, 8197})
    checkTransposes({}, {}, 12, 20, k, false);
}
TEST_P(MatmulTest, HalfPrecision) {
  for (Element type : {Element::F16, Element::BF16}) {
    checkTransposes({}, {}, 64, 64, 64, false, type);
    checkTransposes({}, {}, 70, 36, 52, true, type);
    checkTransposes({2}, {2}, 37, 21, 19, true, type);
    checkTransposes({}, {}, 24, 40, 1000, true, type);
    check({}, {}, 1400, 650, 40, false, true, true, type);
  }
  check({}, {}, 1500, 1600, 40, true, false, false, Element::BF16); // the largest tiles
}
INSTANTIATE_TEST_SUITE_P(Targets, MatmulTest, ::testing::Bool(),
                         [](const auto &info) { return info.param ? "Sim" : "Host"; });

} // namespace
