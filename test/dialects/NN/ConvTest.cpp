// The kernels of the convolution ops, for the host and for the GPU (as the sim target runs them), against plain loops
// over the definition, over shapes that take every path.
#include "dialects/NN/Conv.h"
#include "compiler/Codegen/Jit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include <chrono>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using Shape = std::vector<int64_t>;

namespace {

struct Case {
  int64_t n, c, m, group;
  Shape in, kernel, strides, dilations, pads;
};

int64_t count(const Shape &shape) {
  int64_t result = 1;
  for (int64_t dim : shape)
    result *= dim;
  return result;
}

/// Calls body(position) for every position of the box `shape`, row-major.
template <typename F> void forBox(const Shape &shape, F body) {
  Shape at(shape.size(), 0);
  for (int64_t i = 0, total = count(shape); i < total; ++i) {
    body(at);
    for (size_t d = shape.size(); d-- > 0;) {
      if (++at[d] < shape[d])
        break;
      at[d] = 0;
    }
  }
}

template <typename T> Type elementOf(MLIRContext *context) {
  if constexpr (std::is_same_v<T, double>)
    return Float64Type::get(context);
  else if constexpr (std::is_same_v<T, float>)
    return Float32Type::get(context);
  else
    return Float16Type::get(context);
}

/// The parameter: whether the GPU's kernels.
class ConvTest : public ::testing::TestWithParam<bool> {
protected:
  ConvTest() {
    context.loadDialect<gmc::nn::NNDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect,
                        memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect, LLVM::LLVMDialect>();
  }

  /// A function of the op over arguments of `shapes`, compiled.
  template <typename OpT>
  std::unique_ptr<gmc::JitProgram> compile(const Case &t, Type element, ArrayRef<Shape> shapes, const Shape &pads,
                                           Shape *result) {
    OpBuilder b(&context);
    Location loc = b.getUnknownLoc();
    module = ModuleOp::create(loc);
    SmallVector<Type> types, results;
    for (const Shape &shape : shapes)
      types.push_back(RankedTensorType::get(shape, element));
    b.setInsertionPointToEnd(module->getBody());
    auto function = func::FuncOp::create(b, loc, "f", b.getFunctionType(types, {}));
    Block *block = function.addEntryBlock();
    b.setInsertionPointToEnd(block);
    typename OpT::Properties p;
    p.strides = b.getDenseI64ArrayAttr(t.strides);
    p.pads = b.getDenseI64ArrayAttr(pads);
    p.dilations = b.getDenseI64ArrayAttr(t.dilations);
    p.group = b.getI64IntegerAttr(t.group);
    if constexpr (std::is_same_v<OpT, gmc::nn::ConvWeightGradOp>)
      p.kernel = b.getDenseI64ArrayAttr(t.kernel);
    EXPECT_TRUE(succeeded(OpT::inferReturnTypes(&context, loc, block->getArguments(), DictionaryAttr::get(&context),
                                                OpaqueProperties(&p), {}, results)));
    auto op = OpT::create(b, loc, results, block->getArguments(), p);
    func::ReturnOp::create(b, loc, op->getResults());
    function.setType(b.getFunctionType(types, results));
    *result = Shape(cast<ShapedType>(results[0]).getShape());
    gmc::JitOptions options;
    options.sim = GetParam();
    auto program = gmc::JitProgram::compile(function, options);
    if (!program) {
      ADD_FAILURE() << llvm::toString(program.takeError());
      return nullptr;
    }
    return std::move(*program);
  }

  template <typename T> std::vector<T> random(int64_t size) {
    std::uniform_real_distribution<double> uniform(-1, 1);
    std::vector<T> values(size);
    for (T &v : values)
      v = uniform(engine);
    return values;
  }

  template <typename T>
  void expectNear(const std::vector<T> &actual, const std::vector<double> &expected, double sums) {
    ASSERT_EQ(actual.size(), expected.size());
    double tolerance = (sizeof(T) == 8 ? 1e-14 : 4e-7) * std::sqrt(sums) * 4 + 1e-15;
    double rounding = sizeof(T) == 2 ? 0x1p-11 : 0; // of the result
    for (size_t i = 0; i < actual.size(); ++i)
      if (std::isfinite(expected[i]))
        ASSERT_NEAR(double(actual[i]), expected[i], tolerance + rounding * std::abs(expected[i]))
            << "at element " << i << " of " << actual.size();
      else
        ASSERT_FALSE(std::isfinite(double(actual[i]))) << "at element " << i << " of " << actual.size();
  }

  /// Runs the three ops of one trilinear form and compares with its definition. `infinities`: one in the input of each,
  /// which must reach the results that it is a term of and no other, as one multiplied with a zero of some padding of k
  /// would.
  template <typename T> void check(const Case &t, bool bias, bool infinities = false) {
    SCOPED_TRACE(std::to_string(t.c) + " channels to " + std::to_string(t.m));
    size_t rank = t.in.size();
    Type element = elementOf<T>(&context);
    Shape xs{t.n, t.c}, ws{t.m, t.c / t.group}, ys{t.n, t.m}, exact(t.pads), out;
    for (size_t d = 0; d < rank; ++d) {
      int64_t extent = (t.kernel[d] - 1) * t.dilations[d] + 1;
      out.push_back((t.in[d] + t.pads[d] + t.pads[d + rank] - extent) / t.strides[d] + 1);
      exact[d + rank] = (out[d] - 1) * t.strides[d] + extent - t.in[d] - t.pads[d];
    }
    xs.insert(xs.end(), t.in.begin(), t.in.end());
    ws.insert(ws.end(), t.kernel.begin(), t.kernel.end());
    ys.insert(ys.end(), out.begin(), out.end());
    auto x = random<T>(count(xs)), w = random<T>(count(ws)), dy = random<T>(count(ys)), yb = random<T>(t.m),
         xb = random<T>(t.c);
    auto source = dy; // of the transposed form
    if (infinities)
      x[count(t.in) - 1] = source[count(out) - 1] = std::numeric_limits<double>::infinity();
    std::vector<double> y(dy.size()), dx(x.size()), dw(w.size());
    int64_t inner = count(t.in), outer = count(out), taps = count(t.kernel);
    for (int64_t n = 0; n < t.n; ++n) {
      for (int64_t m = 0; m < t.m; ++m)
        for (int64_t o = 0; o < outer; ++o)
          y[(n * t.m + m) * outer + o] = bias ? double(yb[m]) : 0;
      for (int64_t c = 0; c < t.c; ++c)
        for (int64_t i = 0; i < inner; ++i)
          dx[(n * t.c + c) * inner + i] = bias ? double(xb[c]) : 0;
    }
    int64_t cg = t.c / t.group, mg = t.m / t.group;
    int64_t o = 0;
    forBox(out, [&](const Shape &at) {
      int64_t k = 0;
      forBox(t.kernel, [&](const Shape &tap) {
        int64_t i = 0;
        bool inside = true;
        for (size_t d = 0; d < rank; ++d) {
          int64_t p = at[d] * t.strides[d] - t.pads[d] + tap[d] * t.dilations[d];
          inside &= p >= 0 && p < t.in[d];
          i = i * t.in[d] + p;
        }
        for (int64_t n = 0; inside && n < t.n; ++n)
          for (int64_t m = 0; m < t.m; ++m)
            for (int64_t c = 0; c < cg; ++c) {
              int64_t xi = (n * t.c + m / mg * cg + c) * inner + i, wi = (m * cg + c) * taps + k,
                      yi = (n * t.m + m) * outer + o;
              y[yi] += double(x[xi]) * double(w[wi]);
              dx[xi] += double(source[yi]) * double(w[wi]);
              dw[wi] += double(dy[yi]) * double(x[xi]);
            }
        ++k;
      });
      ++o;
    });
    auto run = [&](auto program, std::vector<const std::vector<T> *> arguments, size_t size) {
      std::vector<T> result(size);
      if (!program)
        return result;
      for (size_t i = 0; i < arguments.size(); ++i)
        program->setArgument(i, arguments[i]->data(), arguments[i]->size() * sizeof(T));
      program->run();
      program->getResult(0, result.data());
      return result;
    };
    Shape shape;
    SmallVector<Shape> forward{xs, ws}, transposed{ys, ws};
    std::vector<const std::vector<T> *> forwardData{&x, &w}, transposedData{&source, &w};
    if (bias) {
      forward.push_back({t.m}), forwardData.push_back(&yb);
      transposed.push_back({t.c}), transposedData.push_back(&xb);
    }
    {
      SCOPED_TRACE("nn.conv");
      auto p = compile<gmc::nn::ConvOp>(t, element, forward, t.pads, &shape);
      EXPECT_EQ(shape, ys);
      expectNear(run(std::move(p), forwardData, y.size()), y, cg * taps);
    }
    {
      SCOPED_TRACE("nn.conv_transpose");
      auto p = compile<gmc::nn::ConvTransposeOp>(t, element, transposed, exact, &shape);
      EXPECT_EQ(shape, xs);
      expectNear(run(std::move(p), transposedData, dx.size()), dx, mg * taps);
    }
    {
      SCOPED_TRACE("nn.conv_weight_grad");
      auto p = compile<gmc::nn::ConvWeightGradOp>(t, element, {xs, ys}, t.pads, &shape);
      EXPECT_EQ(shape, ws);
      expectNear(run(std::move(p), {&x, &dy}, dw.size()), dw, t.n * outer);
    }
  }

  template <typename T> void checkGathers() {
    SCOPED_TRACE(std::to_string(8 * sizeof(T)) + " bits");
    check<T>({2, 64, 40, 1, {10, 14}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, true, true);    // slices of one tap
    check<T>({2, 30, 35, 1, {9, 7}, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}}, false,
             true); // and of the channels read at once some
    check<T>({1, 21, 36, 1, {13, 9}, {3, 2}, {2, 1}, {1, 1}, {0, 1, 1, 1}}, false, true);    // slices of several taps
    check<T>({2, 3, 16, 1, {19, 21}, {7, 7}, {2, 2}, {1, 1}, {3, 3, 3, 3}}, true,
             true); // fewer channels than read at once
    check<T>({2, 24, 32, 2, {8, 11}, {3, 3}, {1, 1}, {2, 3}, {2, 3, 2, 3}}, false, true);    // groups, dilations
    check<T>({2, 64, 32, 1, {7, 7}, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}}, true,
             true); // pointwise, lines of an odd length
    check<T>({1, 17, 20, 1, {14, 14}, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}}, false, true);   // channels read one by one
    check<T>({2, 40, 24, 1, {13, 28}, {1, 1}, {2, 2}, {1, 1}, {0, 0, 0, 0}}, false, true); // one tap, but not pointwise
    check<T>({2, 16, 24, 1, {12, 16}, {3, 1}, {1, 1}, {1, 1}, {1, 0, 1, 0}}, false, true);   // lines at their place
    check<T>({3, 24, 12, 1, {45}, {5}, {2}, {1}, {2, 1}}, true, true);
    check<T>({1, 16, 20, 1, {5, 6, 9}, {3, 3, 2}, {1, 2, 1}, {1, 1, 2}, {1, 1, 0, 1, 1, 2}}, false, true);
    check<T>({1, 8, 12, 1, {9, 9}, {3, 3}, {1, 1}, {1, 1}, {-1, 2, 1, -1}}, false, true);    // pads that crop
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  std::mt19937 engine{7};
};

TEST_P(ConvTest, TwoDimensional) {
  check<float>({2, 3, 16, 1, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, true);
  check<float>({3, 16, 7, 1, {20, 37}, {5, 3}, {1, 1}, {1, 1}, {0, 2, 1, 0}}, false);
  check<double>({2, 5, 13, 1, {9, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, true);
}
TEST_P(ConvTest, Strides) {
  check<float>({2, 4, 9, 1, {17, 18}, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}}, true);
  check<float>({1, 8, 8, 1, {12, 12}, {1, 1}, {2, 2}, {1, 1}, {0, 0, 0, 0}}, false);
  check<float>({2, 6, 6, 1, {23, 19}, {2, 5}, {3, 2}, {1, 1}, {1, 0, 2, 3}}, false);
  check<double>({1, 4, 5, 1, {14, 9}, {3, 3}, {2, 1}, {1, 1}, {1, 1, 1, 1}}, false);
}
TEST_P(ConvTest, Dilations) {
  check<float>({2, 4, 6, 1, {15, 15}, {3, 3}, {1, 1}, {2, 3}, {2, 3, 2, 3}}, false);
  check<float>({2, 4, 6, 1, {17, 21}, {3, 4}, {2, 4}, {3, 2}, {2, 1, 2, 1}}, true); // 3 and 2 coprime; 2 divides 4
  check<float>({1, 4, 6, 1, {19, 21}, {4, 3}, {4, 6}, {6, 4}, {3, 1, 4, 1}}, false);
}
TEST_P(ConvTest, Groups) {
  check<float>({2, 8, 16, 2, {9, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, true);
  check<float>({2, 6, 6, 6, {11, 13}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, true); // depthwise
  check<float>({2, 6, 12, 6, {11, 13}, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}}, false);
  check<float>({1, 4, 4, 4, {16, 16}, {5, 5}, {1, 2}, {2, 1}, {4, 2, 4, 2}}, false);
}
TEST_P(ConvTest, OneAndThreeDimensional) {
  check<float>({2, 4, 10, 1, {50}, {5}, {1}, {1}, {2, 2}}, true);
  check<float>({2, 4, 10, 1, {51}, {4}, {3}, {2}, {2, 5}}, false);
  check<float>({1, 3, 5, 1, {5, 6, 7}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1, 1, 1, 1}}, true);
  check<float>({1, 4, 4, 1, {8, 7, 9}, {2, 3, 3}, {2, 1, 2}, {1, 2, 1}, {0, 1, 1, 1, 1, 0}}, false);
}
TEST_P(ConvTest, ChunksAndTails) {
  check<float>({2, 40, 21, 1, {6, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}}, true); // several chunks of channels
  check<float>({1, 33, 64, 1, {4, 4}, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}}, true);
  check<float>({1, 2, 5, 1, {300}, {200}, {1}, {1}, {0, 0}}, true);                 // more taps than a chunk
  check<float>({1, 5, 4, 1, {7, 7}, {7, 7}, {1, 1}, {1, 1}, {-1, 0, 2, 0}}, false); // a negative pad crops
}

TEST_P(ConvTest, GpuTiles) {
  check<float>({3, 16, 72, 1, {20, 20}, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}},
               true); // rows and columns past a tile; k in slices
  check<float>({4, 24, 36, 1, {12, 12}, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}}, true);   // pointwise, wide accesses
  check<float>({2, 24, 20, 2, {9, 9}, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}}, false);    // pointwise, narrow ones
  check<float>({2, 32, 64, 4, {16, 16}, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}}, true);   // groups, residue classes
  check<float>({1, 4, 8, 1, {6, 6}, {1, 1}, {3, 2}, {1, 1}, {0, 0, 0, 0}}, true);       // classes that no tap reaches
}
TEST_P(ConvTest, Gathers) { checkGathers<float>(); }
TEST_P(ConvTest, GathersInHalfPrecision) { checkGathers<_Float16>(); }
INSTANTIATE_TEST_SUITE_P(Targets, ConvTest, ::testing::Bool(),
                         [](const auto &info) { return info.param ? "Sim" : "Host"; });

/// GFLOP/s of the three ops at shapes of common nets; prints, and fails only below what is useful at all.
TEST_P(ConvTest, DISABLED_Speed) {
  auto time = [&](const char *name, const Case &t) {
    Type element = Float32Type::get(&context);
    Shape xs{t.n, t.c, t.in[0], t.in[1]}, ws{t.m, t.c / t.group, t.kernel[0], t.kernel[1]}, ys{t.n, t.m}, exact(t.pads),
        shape;
    for (size_t d = 0; d < 2; ++d) {
      int64_t out = (t.in[d] + t.pads[d] + t.pads[d + 2] - (t.kernel[d] - 1) * t.dilations[d] - 1) / t.strides[d] + 1;
      ys.push_back(out);
      exact[d + 2] = (out - 1) * t.strides[d] + (t.kernel[d] - 1) * t.dilations[d] + 1 - t.in[d] - t.pads[d];
    }
    double flops = 2.0 * count(ys) * (t.c / t.group) * count(t.kernel);
    auto measure = [&](std::unique_ptr<gmc::JitProgram> p) {
      for (size_t i = 0; i < p->numArguments(); ++i) {
        auto data = random<float>(p->argumentBytes(i) / 4);
        p->setArgument(i, data.data(), data.size() * 4);
      }
      p->run();
      double best = 1e9;
      for (int i = 0; i < 5; ++i) {
        auto start = std::chrono::steady_clock::now();
        p->run();
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      }
      return flops / best * 1e-9;
    };
    double forward = measure(compile<gmc::nn::ConvOp>(t, element, {xs, ws}, t.pads, &shape));
    double input = measure(compile<gmc::nn::ConvTransposeOp>(t, element, {ys, ws}, exact, &shape));
    double weight = measure(compile<gmc::nn::ConvWeightGradOp>(t, element, {xs, ys}, t.pads, &shape));
    printf("%-28s forward %6.1f  input gradient %6.1f  weight gradient %6.1f GFLOP/s\n", name, forward, input, weight);
    fflush(stdout);
  };
  Shape one{1, 1}, same{1, 1, 1, 1};
  time("lenet conv1 b64", {64, 1, 6, 1, {28, 28}, {5, 5}, one, one, {2, 2, 2, 2}});
  time("lenet conv2 b64", {64, 6, 16, 1, {14, 14}, {5, 5}, one, one, {0, 0, 0, 0}});
  time("resnet8 16x32x32 b32", {32, 16, 16, 1, {32, 32}, {3, 3}, one, one, same});
  time("resnet8 32x16x16 s2 b32", {32, 16, 32, 1, {32, 32}, {3, 3}, {2, 2}, one, same});
  time("resnet8 64x8x8 b32", {32, 64, 64, 1, {8, 8}, {3, 3}, one, one, same});
  time("resnet18 conv1 b4", {4, 3, 64, 1, {224, 224}, {7, 7}, {2, 2}, one, {3, 3, 3, 3}});
  time("resnet18 64x56x56 b4", {4, 64, 64, 1, {56, 56}, {3, 3}, one, one, same});
  time("resnet18 512x7x7 b4", {4, 512, 512, 1, {7, 7}, {3, 3}, one, one, same});
  time("mobilenet 1x1 96x28x28 b4", {4, 96, 96, 1, {28, 28}, one, one, one, {0, 0, 0, 0}});
  time("mobilenet dw 96x28x28 b4", {4, 96, 96, 96, {28, 28}, {3, 3}, one, one, same});
}

} // namespace
