// What a library computes for an op against the op's portable kernel, over shapes that take every path; the same bits
// again, at other addresses, and over operands that the op's results may overwrite.
#include "dialects/NN/Conv.h"
#include "compiler/Codegen/Jit.h"
#include "dialects/NN/LayerNorm.h"
#include "dialects/NN/Matmul.h"
#include "dialects/NN/Norm.h"
#include "dialects/NN/Pool.h"
#include "runtime/host/OneDnn.h"
#include "runtime/host/ThreadPool.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include <cmath>
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using namespace gmc;
using Shape = std::vector<int64_t>;

namespace {

struct Conv {
  int64_t n, c, m, group;
  Shape in, kernel, strides, dilations, pads;
};

int64_t count(const Shape &shape) {
  int64_t result = 1;
  for (int64_t dim : shape)
    result *= dim;
  return result;
}

/// Memory whose start is 64 bytes times `offset` behind a multiple of 4096.
struct Buffer {
  Buffer(size_t bytes, size_t offset) : memory(bytes + 8192 + offset * 64) {
    auto address = reinterpret_cast<uintptr_t>(memory.data());
    start = reinterpret_cast<char *>((address + 4095) / 4096 * 4096 + offset * 64);
  }
  std::vector<char> memory;
  char *start;
};

class LibraryTest : public ::testing::Test {
protected:
  void SetUp() override {
    context.loadDialect<nn::NNDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect, memref::MemRefDialect,
                        scf::SCFDialect, vector::VectorDialect, LLVM::LLVMDialect>();
    std::string problem;
    library = rt::OneDnn::load(threads, 0, problem);
    if (!library)
      GTEST_SKIP() << "oneDNN is not to be had here (package libdnnl2): " << problem;
  }

  /// Operands of random numbers: in [-1, 1), multiples of 1/4 where `steps`, so that there are equal ones, and those
  /// that are `positive` in [0.5, 1.5).
  struct Operands {
    SmallVector<Shape> shapes;
    bool steps = false;
    SmallVector<size_t> positive = {};
  };

  /// Compares the op with properties `p` in every form that there is; `sums` elements are added up.
  template <typename OpT> void check(typename OpT::Properties p, const Operands &given, double sums) {
    const SmallVector<Shape> &shapes = given.shapes;
    SCOPED_TRACE(OpT::getOperationName().str());
    OpBuilder b(&context);
    Location loc = b.getUnknownLoc();
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
    SmallVector<Type> types, results;
    for (const Shape &shape : shapes)
      types.push_back(RankedTensorType::get(shape, b.getF32Type()));
    b.setInsertionPointToEnd(module->getBody());
    auto function = func::FuncOp::create(b, loc, "f", b.getFunctionType(types, {}));
    Block *block = function.addEntryBlock();
    b.setInsertionPointToEnd(block);
    ASSERT_TRUE(succeeded(OpT::inferReturnTypes(&context, loc, block->getArguments(), DictionaryAttr::get(&context),
                                                OpaqueProperties(&p), {}, results)));
    auto op = OpT::create(b, loc, results, block->getArguments(), p);
    func::ReturnOp::create(b, loc, op->getResults());
    function.setType(b.getFunctionType(types, results));
    auto portable = JitProgram::compile(function);
    ASSERT_TRUE(static_cast<bool>(portable)) << llvm::toString(portable.takeError());

    std::vector<std::vector<float>> operands;
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (auto [i, shape] : llvm::enumerate(shapes)) {
      auto &data = operands.emplace_back(count(shape));
      for (float &v : data) {
        v = uniform(engine);
        if (given.steps)
          v = std::round(v * 4) / 4;
        if (llvm::is_contained(given.positive, i))
          v = v / 2 + 1;
      }
      (*portable)->setArgument(i, data.data(), data.size() * 4);
    }
    (*portable)->run();
    std::vector<std::vector<float>> expected;
    for (size_t r = 0; r < results.size(); ++r)
      (*portable)->getResult(r, expected.emplace_back((*portable)->resultBytes(r) / 4).data());

    auto call = op.getLibraryCall();
    ASSERT_TRUE(call.has_value());
    EXPECT_EQ(call->operandCount(), shapes.size());
    EXPECT_EQ(call->resultCount(), results.size());
    // Result -> the operand that it overwrites; first none.
    std::vector<std::pair<size_t, size_t>> inPlace{{0, SIZE_MAX}};
    for (size_t r = 0; r < results.size(); ++r)
      for (unsigned operand : cast<RematOpInterface>(op.getOperation()).getInPlaceOperands(r))
        inPlace.push_back({r, operand});
    int forms = 0;
    for (CallForm form : {CallForm::Direct, CallForm::Packed}) {
      auto prepared = library->prepare(*call, form);
      if (!prepared)
        continue;
      ++forms;
      std::vector<std::vector<float>> first;
      for (auto [over, overwritten] : inPlace)
        for (size_t offset : {0, 0, 1, 37}) {
          std::vector<Buffer> buffers;
          std::vector<char *> addresses;
          buffers.reserve(operands.size() + expected.size() + 1);
          for (auto &data : operands) {
            addresses.push_back(buffers.emplace_back(data.size() * 4, offset).start);
            std::memcpy(addresses.back(), data.data(), data.size() * 4);
          }
          for (auto [r, data] : llvm::enumerate(expected))
            addresses.push_back(r == over && overwritten != SIZE_MAX
                                    ? addresses[overwritten]
                                    : buffers.emplace_back(data.size() * 4, offset).start);
          // What the workspace holds must not matter, nor may what is behind it change.
          Buffer &scratch = buffers.emplace_back(prepared->scratchBytes + 64, offset);
          std::memset(scratch.start, 0xff, prepared->scratchBytes + 64);
          prepared->run(addresses.data(), scratch.start);
          for (int i = 0; i < 64; ++i)
            ASSERT_EQ(static_cast<unsigned char>(scratch.start[prepared->scratchBytes + i]), 0xff);
          bool known = !first.empty();
          for (auto [r, values] : llvm::enumerate(expected)) {
            auto *actual = reinterpret_cast<const float *>(addresses[operands.size() + r]);
            if (!known) {
              first.emplace_back(actual, actual + values.size());
              for (size_t i = 0; i < values.size(); ++i)
                ASSERT_NEAR(actual[i], values[i], 1e-6 * std::sqrt(sums) * 4 * std::max(1.f, std::abs(values[i])))
                    << prepared->implementation << ", result " << r << ", element " << i << " of " << values.size();
            }
            ASSERT_EQ(std::memcmp(actual, first[r].data(), values.size() * 4), 0)
                << prepared->implementation << " has other bits at offset " << offset << ", result " << over
                << " over operand " << overwritten;
          }
          for (size_t i = 0; i < operands.size(); ++i)
            if (i != overwritten)
              ASSERT_EQ(std::memcmp(addresses[i], operands[i].data(), operands[i].size() * 4), 0) << "operand " << i;
        }
      // What the compiler is told is what is executed.
      std::string problem;
      auto described = rt::OneDnn::load(threads, 0, problem, rt::OneDnn::Use::Describe)->prepare(*call, form);
      ASSERT_TRUE(described);
      EXPECT_EQ(described->scratchBytes, prepared->scratchBytes);
      EXPECT_EQ(described->implementation, prepared->implementation);
    }
    computed += forms > 0;
    ++checked;
  }

  /// The three ops of one convolution.
  void conv(const Conv &t, bool bias) {
    size_t rank = t.in.size();
    Builder b(&context);
    Shape xs{t.n, t.c}, ws{t.m, t.c / t.group}, ys{t.n, t.m}, exact(t.pads);
    int64_t outer = 1;
    for (size_t d = 0; d < rank; ++d) {
      int64_t extent = (t.kernel[d] - 1) * t.dilations[d] + 1;
      int64_t out = (t.in[d] + t.pads[d] + t.pads[d + rank] - extent) / t.strides[d] + 1;
      exact[d + rank] = (out - 1) * t.strides[d] + extent - t.in[d] - t.pads[d];
      xs.push_back(t.in[d]), ws.push_back(t.kernel[d]), ys.push_back(out);
      outer *= out;
    }
    auto properties = [&](auto p, const Shape &pads) {
      p.strides = b.getDenseI64ArrayAttr(t.strides);
      p.pads = b.getDenseI64ArrayAttr(pads);
      p.dilations = b.getDenseI64ArrayAttr(t.dilations);
      p.group = b.getI64IntegerAttr(t.group);
      return p;
    };
    int64_t taps = count(t.kernel);
    SmallVector<Shape> forward{xs, ws}, transposed{ys, ws};
    if (bias)
      forward.push_back({t.m}), transposed.push_back({t.c});
    check<nn::ConvOp>(properties(nn::ConvOp::Properties(), t.pads), {forward}, t.c / t.group * taps);
    check<nn::ConvTransposeOp>(properties(nn::ConvTransposeOp::Properties(), exact), {transposed},
                               t.m / t.group * taps);
    auto p = properties(nn::ConvWeightGradOp::Properties(), t.pads);
    p.kernel = b.getDenseI64ArrayAttr(t.kernel);
    check<nn::ConvWeightGradOp>(p, {{xs, ys}}, t.n * outer);
  }

  void matmul(Shape batchA, Shape batchB, int64_t m, int64_t n, int64_t k, bool bias = false) {
    for (bool ta : {false, true})
      for (bool tb : {false, true}) {
        SCOPED_TRACE(std::to_string(ta) + std::to_string(tb));
        Shape a(batchA), c(batchB);
        a.insert(a.end(), {ta ? k : m, ta ? m : k});
        c.insert(c.end(), {tb ? n : k, tb ? k : n});
        SmallVector<Shape> shapes{a, c};
        if (bias)
          shapes.push_back({n});
        Builder b(&context);
        nn::MatmulOp::Properties p;
        p.transpose_a = b.getBoolAttr(ta);
        p.transpose_b = b.getBoolAttr(tb);
        check<nn::MatmulOp>(p, {shapes}, k);
      }
  }

  /// The four ops of one pool: x is [n, c, in...].
  void pool(int64_t n, int64_t c, Shape in, Shape kernel, Shape strides, Shape pads, bool countPad = false,
            bool ceil = false) {
    Builder b(&context);
    auto properties = [&](auto p) {
      p.kernel = b.getDenseI64ArrayAttr(kernel);
      p.strides = b.getDenseI64ArrayAttr(strides);
      p.pads = b.getDenseI64ArrayAttr(pads);
      p.dilations = b.getDenseI64ArrayAttr(Shape(in.size(), 1));
      p.ceil_mode = b.getBoolAttr(ceil);
      return p;
    };
    Shape xs{n, c}, ys{n, c};
    for (size_t d = 0; d < in.size(); ++d) {
      int64_t room = in[d] + pads[d] + pads[d + in.size()] - kernel[d];
      xs.push_back(in[d]);
      ys.push_back((room + (ceil ? strides[d] - 1 : 0)) / strides[d] + 1);
    }
    check<nn::MaxPoolOp>(properties(nn::MaxPoolOp::Properties()), {{xs}, true}, 1);
    check<nn::MaxPoolGradOp>(properties(nn::MaxPoolGradOp::Properties()), {{xs, ys}, true}, count(kernel));
    auto mean = properties(nn::AvgPoolOp::Properties());
    mean.count_include_pad = b.getBoolAttr(countPad);
    check<nn::AvgPoolOp>(mean, {{xs}}, count(kernel));
    auto gradient = properties(nn::AvgPoolGradOp::Properties());
    gradient.count_include_pad = mean.count_include_pad;
    gradient.input = b.getDenseI64ArrayAttr(in);
    check<nn::AvgPoolGradOp>(gradient, {{ys}}, count(kernel));
  }

  void batchNorm(const Shape &x, bool training) {
    Builder b(&context);
    Shape v{x[1]};
    double sums = static_cast<double>(count(x) / x[1]);
    nn::BatchNormOp::Properties p;
    p.training = b.getBoolAttr(training);
    p.epsilon = b.getF64FloatAttr(1e-3);
    p.momentum = b.getF64FloatAttr(0.75);
    check<nn::BatchNormOp>(p, {{x, v, v, v, v}, false, {4}}, sums);
    nn::BatchNormGradOp::Properties g;
    g.training = p.training;
    check<nn::BatchNormGradOp>(g, {{x, v, v, v, x}, false, {3}}, sums);
  }

  void layerNorm(const Shape &x, int64_t axis, bool scale, bool bias) {
    Builder b(&context);
    int64_t rows = count(Shape(x.begin(), x.begin() + axis)), size = count(x) / rows;
    nn::LayerNormOp::Properties p;
    p.axis = b.getI64IntegerAttr(axis);
    p.epsilon = b.getF64FloatAttr(1e-3);
    p.center = b.getBoolAttr(true);
    p.operandSegmentSizes = {1, scale, bias};
    Operands forward{{x}}, backward{{x, {rows}, {rows}, x}, false, {2}};
    for (int i = 0; i < scale + bias; ++i)
      forward.shapes.push_back({size});
    if (scale)
      backward.shapes.push_back({size});
    check<nn::LayerNormOp>(p, forward, static_cast<double>(size));
    nn::LayerNormGradOp::Properties g;
    g.axis = p.axis;
    g.center = p.center;
    check<nn::LayerNormGradOp>(g, backward, static_cast<double>(size));
  }

  /// With AVX-512 the library has a kernel of its own for all of these; with less, for some.
  void expectAllComputed() {
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
      EXPECT_EQ(computed, checked);
  }

  MLIRContext context;
  std::mt19937 engine{7};
  rt::ThreadPool threads{2};
  std::unique_ptr<rt::OneDnn> library;
  int checked = 0, computed = 0;
};

TEST_F(LibraryTest, Convolution) {
  conv({2, 3, 16, 1, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, true);
  conv({3, 16, 7, 1, {20, 37}, {5, 3}, {1, 1}, {1, 1}, {0, 2, 1, 0}}, false); // asymmetric pads, odd sizes
  conv({1, 33, 19, 1, {7, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, true);
  conv({1, 1, 6, 1, {28, 28}, {5, 5}, {1, 1}, {1, 1}, {2, 2, 2, 2}}, true);
  expectAllComputed();
}
TEST_F(LibraryTest, StridesAndDilations) {
  conv({2, 4, 9, 1, {17, 18}, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}}, true);
  conv({1, 8, 8, 1, {12, 12}, {1, 1}, {2, 2}, {1, 1}, {0, 0, 0, 0}}, false);
  conv({2, 6, 6, 1, {23, 19}, {2, 5}, {3, 2}, {1, 1}, {1, 0, 2, 3}}, false);
  conv({2, 16, 32, 1, {15, 15}, {3, 3}, {1, 1}, {2, 3}, {2, 3, 2, 3}}, true);
}
TEST_F(LibraryTest, Groups) {
  conv({2, 32, 64, 2, {9, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, true);
  conv({2, 48, 48, 48, {11, 13}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, true); // depthwise
  conv({2, 32, 32, 32, {11, 13}, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}}, false);
  conv({2, 8, 16, 2, {9, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, true);
}
TEST_F(LibraryTest, ChannelMix) {
  conv({3, 24, 40, 1, {7, 9}, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}}, true);
  conv({1, 5, 3, 1, {4, 4}, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}}, false);
  expectAllComputed();
}
TEST_F(LibraryTest, OneAndThreeDimensional) {
  conv({2, 16, 32, 1, {50}, {5}, {1}, {1}, {2, 2}}, true);
  conv({1, 16, 16, 1, {5, 6, 7}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1, 1, 1, 1}}, true);
}
TEST_F(LibraryTest, ManySamplesInPieces) {
  // 12 samples of 1.6 MB each: more than is packed at a time.
  conv({12, 64, 64, 1, {56, 56}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, true);
  expectAllComputed();
}
TEST_F(LibraryTest, MatrixProducts) {
  matmul({}, {}, 64, 120, 400, true);
  matmul({}, {}, 1, 10, 84, true);
  matmul({}, {}, 37, 1, 19);
  matmul({}, {}, 5, 7, 1);
  matmul({3, 4}, {3, 4}, 17, 23, 31);
  matmul({3, 4}, {}, 17, 23, 31);
  matmul({}, {5}, 16, 16, 16);
  matmul({1, 4}, {3, 1}, 8, 9, 10);
  expectAllComputed();
}
TEST_F(LibraryTest, Pools) {
  pool(3, 16, {12, 12}, {2, 2}, {2, 2}, {0, 0, 0, 0});
  pool(2, 6, {28, 28}, {2, 2}, {2, 2}, {0, 0, 0, 0}); // channels that fill no vector
  pool(2, 33, {13, 17}, {3, 3}, {2, 2}, {1, 1, 1, 1});
  pool(5, 7, {9, 8}, {3, 2}, {1, 2}, {1, 0, 0, 1}, true);
  pool(1, 20, {7, 7}, {7, 7}, {1, 1}, {0, 0, 0, 0});
  expectAllComputed();
}
TEST_F(LibraryTest, PoolsWhoseLastWindowReachesPastTheInput) {
  pool(2, 16, {11, 14}, {2, 2}, {2, 2}, {0, 0, 0, 0}); // rows that no window reads
  pool(2, 16, {11, 14}, {3, 3}, {2, 2}, {0, 0, 0, 0}, false, true);
  pool(2, 16, {8, 8}, {3, 3}, {2, 2}, {1, 1, 1, 1}, false, true);
  expectAllComputed();
}
TEST_F(LibraryTest, PoolsOfOneAndThreeDimensions) {
  pool(2, 16, {6, 8, 10}, {2, 3, 2}, {2, 1, 2}, {0, 1, 0, 0, 1, 0});
  expectAllComputed();
  pool(4, 16, {30}, {3}, {2}, {1, 1}); // by plain loops in 2.6, which are not used
}
TEST_F(LibraryTest, ManySamplesInAPool) {
  pool(9, 64, {56, 56}, {3, 3}, {2, 2}, {1, 1, 1, 1});
  expectAllComputed();
}
TEST_F(LibraryTest, WindowsWithGapsAndOtherDivisorsAreNoPoolCall) {
  OpBuilder b(&context);
  Location loc = b.getUnknownLoc();
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  b.setInsertionPointToEnd(module->getBody());
  auto function =
      func::FuncOp::create(b, loc, "f", b.getFunctionType({RankedTensorType::get({1, 1, 8}, b.getF32Type())}, {}));
  Block *block = function.addEntryBlock();
  b.setInsertionPointToEnd(block);
  auto array = [&](Shape values) { return b.getDenseI64ArrayAttr(values); };
  auto dilated = nn::MaxPoolOp::create(b, loc, block->getArgument(0), array({2}), array({1}), array({0, 0}), array({2}),
                                       b.getBoolAttr(false));
  EXPECT_FALSE(dilated.getLibraryCall().has_value());
  // ceil_mode adds a position that count_include_pad does not count.
  auto mean = nn::AvgPoolOp::create(b, loc, block->getArgument(0), array({3}), array({2}), array({0, 0}), array({1}),
                                    b.getBoolAttr(true), b.getBoolAttr(true));
  EXPECT_FALSE(mean.getLibraryCall().has_value());
}
TEST_F(LibraryTest, BatchNormalization) {
  for (bool training : {true, false}) {
    batchNorm({4, 16, 9, 7}, training);
    batchNorm({3, 5, 8}, training);
    batchNorm({64, 33}, training);
    batchNorm({2, 8, 3, 4, 5}, training);
    batchNorm({16, 64, 28, 28}, training);
  }
  EXPECT_EQ(computed, checked);
}
TEST_F(LibraryTest, LayerNormalization) {
  layerNorm({6, 64}, 1, true, true);
  layerNorm({2, 5, 37}, 2, true, true);
  layerNorm({7, 3, 40}, 1, true, false);
  layerNorm({300, 16}, 1, false, false);
  layerNorm({1, 768}, 1, true, true);
  EXPECT_EQ(computed, checked);
}
TEST_F(LibraryTest, OtherElementTypesAreNoCall) {
  OpBuilder b(&context);
  Location loc = b.getUnknownLoc();
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  b.setInsertionPointToEnd(module->getBody());
  Type type = RankedTensorType::get({4, 4}, b.getF64Type());
  auto function = func::FuncOp::create(b, loc, "f", b.getFunctionType({type, type}, {type}));
  Block *block = function.addEntryBlock();
  b.setInsertionPointToEnd(block);
  Value product = nn::matmul(b, loc, block->getArgument(0), block->getArgument(1));
  EXPECT_FALSE(cast<LibraryOpInterface>(product.getDefiningOp()).getLibraryCall().has_value());
}

} // namespace
