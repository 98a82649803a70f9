// The GPU's kernels that memory bounds, as the sim target runs them, against the host's: rows, columns, planes, losses,
// updates, over sizes that take every path: part of a warp, a block, rows too long to be kept, rows that begin inside
// of 16 bytes.
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
#include <cstring>
#include <gtest/gtest.h>

using namespace mlir;

namespace {

class GpuMemoryBoundTest : public ::testing::Test {
protected:
  GpuMemoryBoundTest() {
    context.loadDialect<gmc::nn::NNDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect,
                        memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect, LLVM::LLVMDialect>();
  }

  static float wide(uint16_t bits) {
    uint32_t all = static_cast<uint32_t>(bits) << 16;
    float x;
    std::memcpy(&x, &all, 4);
    return x;
  }

  /// Element `i` of argument `a`, in [-2, 2); integers are labels below `labels`, one of them -100.
  static float number(unsigned a, size_t i) {
    return static_cast<float>((i * 2654435761u + a * 40503u) % 4096) / 1024.f - 2;
  }

  std::vector<float> elements(const char *data, Type type) {
    std::vector<float> values;
    auto shaped = cast<ShapedType>(type);
    for (int64_t i = 0; i < shaped.getNumElements(); ++i)
      if (shaped.getElementType().isBF16())
        values.push_back(wide(reinterpret_cast<const uint16_t *>(data)[i]));
      else if (shaped.getElementType().isInteger(64))
        values.push_back(static_cast<float>(reinterpret_cast<const int64_t *>(data)[i]));
      else
        values.push_back(reinterpret_cast<const float *>(data)[i]);
    return values;
  }

  /// Runs `body` of a function with these arguments and results on both targets: each number of sim's must be the
  /// host's.
  void compare(const std::string &arguments, const std::string &results, const std::string &body,
               double tolerance = 2e-5, int64_t labels = 1) {
    std::string text = "func.func @f(" + arguments + ") -> (" + results + ") {\n" + body + "}";
    SCOPED_TRACE(text);
    auto module = parseSourceString<ModuleOp>(text, &context);
    ASSERT_TRUE(module);
    auto function = *module->getOps<func::FuncOp>().begin();
    std::vector<std::vector<char>> out[2];
    for (bool sim : {false, true}) {
      gmc::JitOptions options;
      options.threads = 2;
      options.sim = sim;
      auto program = gmc::JitProgram::compile(function, options);
      ASSERT_TRUE(bool(program)) << llvm::toString(program.takeError());
      for (unsigned a = 0; a < (*program)->numArguments(); ++a) {
        Type element = cast<ShapedType>(function.getArgumentTypes()[a]).getElementType();
        std::vector<char> data((*program)->argumentBytes(a));
        for (size_t i = 0; i * gmc::elementBytes(element) < data.size(); ++i)
          if (element.isF32()) {
            reinterpret_cast<float *>(data.data())[i] = number(a, i);
          } else if (element.isBF16()) {
            float x = number(a, i);
            std::memcpy(&data[2 * i], reinterpret_cast<char *>(&x) + 2, 2);
          } else {
            reinterpret_cast<int64_t *>(data.data())[i] = i % 7 == 3 ? -100 : static_cast<int64_t>(i * 13 % labels);
          }
        (*program)->setArgument(a, data.data(), data.size());
      }
      (*program)->run();
      for (unsigned r = 0; r < (*program)->numResults(); ++r) {
        out[sim].emplace_back((*program)->resultBytes(r));
        (*program)->getResult(r, out[sim].back().data());
      }
    }
    for (auto [r, type] : llvm::enumerate(function.getResultTypes())) {
      std::vector<float> host = elements(out[0][r].data(), type), sim = elements(out[1][r].data(), type);
      double scale = 1e-3;
      for (float x : host)
        scale = std::max<double>(scale, std::abs(x));
      for (size_t i = 0; i < host.size(); ++i)
        ASSERT_NEAR(sim[i], host[i], tolerance * scale) << "result " << r << ", element " << i;
    }
  }

  static std::string tensor(std::initializer_list<int64_t> shape, const char *element = "f32") {
    std::string text = "tensor<";
    for (int64_t d : shape)
      text += std::to_string(d) + "x";
    return text + element + ">";
  }

  static std::string list(const std::vector<int64_t> &values, const char *separator) {
    std::string text;
    for (int64_t v : values)
      text += (text.empty() ? "" : separator) + std::to_string(v);
    return text;
  }

  MLIRContext context;
};

constexpr int64_t rowSizes[] = {1, 3, 10, 64, 101, 129, 768, 1000, 4099, 20001};

TEST_F(GpuMemoryBoundTest, SoftmaxAndItsGradient) {
  for (int64_t size : rowSizes)
    for (const char *op : {"softmax", "log_softmax"}) {
      std::string t = tensor({5, size}), name = op;
      compare("%x: " + t + ", %g: " + t, t + ", " + t,
              " %y = nn." + name + " %x {axis = 1 : i64} : (" + t + ") -> " + t + "\n %d = nn." + name +
                  "_grad %y, %g {axis = 1 : i64} : (" + t + ", " + t + ") -> " + t + "\n return %y, %d : " + t + ", " +
                  t + "\n");
    }
  std::string t = tensor({6, 200}, "bf16"), column = tensor({6, 12, 5});
  compare("%x: " + t, t, " %y = nn.softmax %x {axis = 1 : i64} : (" + t + ") -> " + t + "\n return %y : " + t + "\n",
          1e-2);
  compare("%x: " + column, column,
          " %y = nn.softmax %x {axis = 1 : i64} : (" + column + ") -> " + column + "\n return %y : " + column + "\n");
}

TEST_F(GpuMemoryBoundTest, RowsReadThroughTheirNeighbours) {
  // Producers are fused into the loads of a softmax, one of them broadcast; consumers into its stores.
  for (int64_t size : {20, 33}) {
    std::string t = tensor({9, size}), r = tensor({size});
    compare("%x: " + t + ", %y: " + t + ", %r: " + r, t,
            " %0 = nn.mul %x, %y : " + t + ", " + t + "\n %1 = nn.add %0, %r : " + t + ", " + r +
                "\n %2 = nn.softmax %1 {axis = 1 : i64} : (" + t + ") -> " + t + "\n %3 = nn.sub %2, %r : " + t + ", " +
                r + "\n return %3 : " + t + "\n");
  }
}

TEST_F(GpuMemoryBoundTest, LayerNormAndItsGradients) {
  for (int64_t size : rowSizes) {
    if (size < 10)
      continue; // variances near zero
    std::string t = tensor({7, size}), r = tensor({size}), s = tensor({7});
    compare("%x: " + t + ", %w: " + r + ", %b: " + r + ", %g: " + t,
            t + ", " + s + ", " + s + ", " + t + ", " + r + ", " + r,
            " %y, %m, %i = nn.layer_norm %x scale %w bias %b {axis = 1 : i64} : (" + t + ", " + r + ", " + r +
                ") -> (" + t + ", " + s + ", " + s +
                ")\n %d = nn.layer_norm_grad %x, %m, %i, %g scale %w {axis = 1 : i64} : (" + t + ", " + s + ", " + s +
                ", " + t + ", " + r + ") -> " + t +
                "\n %p, %q = nn.layer_norm_param_grad %x, %m, %i, %g {axis = 1 : i64} : (" + t + ", " + s + ", " + s +
                ", " + t + ") -> (" + r + ", " + r + ")\n return %y, %m, %i, %d, %p, %q : " + t + ", " + s + ", " + s +
                ", " + t + ", " + r + ", " + r + "\n",
            5e-5);
  }
}

TEST_F(GpuMemoryBoundTest, NumbersOfShortRows) {
  // A warp has several rows, whose numbers are read and written together: of one block, of blocks that are not full, of rows that begin
  // inside of 16 bytes; and rows that are no whole groups.
  for (int64_t rows : {12, 36, 6})
    for (int64_t size : {10, 32})
      for (std::string element : {"f32", "bf16"}) {
        std::string t = tensor({rows, size}, element.c_str()), r = tensor({size}, element.c_str()), s = tensor({rows}), v = tensor({rows}, element.c_str());
        std::string l = tensor({rows}, "i64"), one = tensor({1});
        double tolerance = element == "f32" ? 5e-5 : 2e-2;
        compare("%x: " + t + ", %w: " + r + ", %g: " + t, t + ", " + s + ", " + s + ", " + t + ", " + r + ", " + r,
                " %y, %m, %i = nn.layer_norm %x scale %w {axis = 1 : i64} : (" + t + ", " + r + ") -> (" + t + ", " + s + ", " + s +
                    ")\n %d = nn.layer_norm_grad %x, %m, %i, %g scale %w {axis = 1 : i64} : (" + t + ", " + s + ", " + s + ", " + t + ", " + r + ") -> " + t +
                    "\n %p, %q = nn.layer_norm_param_grad %x, %m, %i, %g {axis = 1 : i64} : (" + t + ", " + s + ", " + s + ", " + t + ") -> (" + r + ", " + r +
                    ")\n return %y, %m, %i, %d, %p, %q : " + t + ", " + s + ", " + s + ", " + t + ", " + r + ", " + r + "\n",
                tolerance);
        compare("%x: " + t + ", %l: " + l, v + ", " + v + ", " + one + ", " + one,
                " %a = nn.reduce_mean %x {axes = array<i64: 1>} : (" + t + ") -> " + v + "\n %b = nn.reduce_max %x {axes = array<i64: 1>} : (" + t + ") -> " + v +
                    "\n %s, %n = nn.softmax_cross_entropy %x, %l {class_axis = 1 : i64} : (" + t + ", " + l + ") -> (" + one + ", " + one +
                    ")\n return %a, %b, %s, %n : " + v + ", " + v + ", " + one + ", " + one + "\n",
                tolerance, size);
      }
  std::string t = tensor({64, 8}, "i1"), v = tensor({64}, "i1"), x = tensor({64, 8}), y = tensor({64});
  compare("%x: " + x + ", %z: " + x, y, " %t = nn.greater %x, %z : " + x + ", " + x + "\n %m = nn.reduce_max %t {axes = array<i64: 1>} : (" + t + ") -> " + v +
          "\n %y = nn.cast %m {to = f32} : (" + v + ") -> " + y + "\n return %y : " + y + "\n", 0);
}

TEST_F(GpuMemoryBoundTest, Losses) {
  for (int64_t size : {2, 10, 64, 1001}) {
    std::string t = tensor({37, size}), l = tensor({37}, "i64"), one = tensor({1});
    compare("%x: " + t + ", %l: " + l + ", %g: " + one, one + ", " + one + ", " + t + ", " + one,
            " %s, %n = nn.softmax_cross_entropy %x, %l {class_axis = 1 : i64} : (" + t + ", " + l + ") -> (" + one +
                ", " + one + ")\n %d = nn.softmax_cross_entropy_grad %x, %l, %g {class_axis = 1 : i64} : (" + t + ", " +
                l + ", " + one + ") -> " + t + "\n %c = nn.count_correct %x, %l {class_axis = 1 : i64} : (" + t + ", " +
                l + ") -> " + one + "\n return %s, %n, %d, %c : " + one + ", " + one + ", " + t + ", " + one + "\n",
            2e-5, size);
  }
  for (int64_t size : {5, 3001}) {
    std::string t = tensor({3, size}), one = tensor({1});
    compare("%x: " + t + ", %t: " + t, one + ", " + one,
            " %s, %n = nn.mse_loss %x, %t : (" + t + ", " + t + ") -> (" + one + ", " + one +
                ")\n return %s, %n : " + one + ", " + one + "\n");
    compare("%x: " + t, one, " %s = nn.grad_norm_sq %x : " + t + "\n return %s : " + one + "\n");
  }
}

TEST_F(GpuMemoryBoundTest, LossesOfPlanes) {
  // Classes that are not the last axis: neighbouring labels a thread, where planes are whole vectors and where they are not; so many
  // labels that blocks add segments of them.
  struct Case {
    int64_t samples, classes, rows, columns;
    const char *element;
  };
  for (auto [n, c, h, w, element] : {Case{2, 3, 8, 12, "f32"}, Case{3, 21, 5, 7, "f32"}, Case{2, 2, 160, 128, "f32"}, Case{2, 5, 16, 8, "bf16"}}) {
    std::string t = tensor({n, c, h, w}, element), l = tensor({n, h, w}, "i64"), one = tensor({1}), v = tensor({c}, element);
    double tolerance = element == std::string("f32") ? 2e-5 : 1e-2;
    compare("%x: " + t + ", %l: " + l + ", %g: " + one, one + ", " + one + ", " + t + ", " + one,
            " %s, %n = nn.softmax_cross_entropy %x, %l {class_axis = 1 : i64} : (" + t + ", " + l + ") -> (" + one + ", " + one +
                ")\n %d = nn.softmax_cross_entropy_grad %x, %l, %g {class_axis = 1 : i64} : (" + t + ", " + l + ", " + one + ") -> " + t +
                "\n %c = nn.count_correct %x, %l {class_axis = 1 : i64} : (" + t + ", " + l + ") -> " + one +
                "\n return %s, %n, %d, %c : " + one + ", " + one + ", " + t + ", " + one + "\n",
            tolerance, c);
    compare("%x: " + t + ", %l: " + l + ", %g: " + one, one + ", " + one + ", " + t,
            " %s, %n = nn.nll_loss %x, %l {class_axis = 1 : i64} : (" + t + ", " + l + ") -> (" + one + ", " + one +
                ")\n %d = nn.nll_grad %l, %g {class_axis = 1 : i64, type = " + t + "} : (" + l + ", " + one + ") -> " + t +
                "\n return %s, %n, %d : " + one + ", " + one + ", " + t + "\n",
            tolerance, c);
  }
  std::string t = tensor({37, 10}), l = tensor({37}, "i64"), one = tensor({1});
  compare("%l: " + l + ", %g: " + one, t,
          " %d = nn.nll_grad %l, %g {class_axis = 1 : i64, type = " + t + "} : (" + l + ", " + one + ") -> " + t + "\n return %d : " + t + "\n",
          0, 10);
}

TEST_F(GpuMemoryBoundTest, Reductions) {
  struct Case {
    std::vector<int64_t> shape, axes, out;
  };
  for (const Case &c : std::vector<Case>{{{6, 40}, {1}, {6}},
                                         {{6, 41}, {1}, {6}},
                                         {{300, 20}, {0}, {20}},
                                         {{70, 33}, {0}, {33}},
                                         {{8, 3, 7, 7}, {0, 2, 3}, {3}},
                                         {{9, 4, 16, 16}, {0, 2, 3}, {4}},
                                         {{50000}, {0}, {}},
                                         {{2, 40003}, {1}, {2}},
                                         {{5, 6, 7}, {0, 2}, {6}},
                                         {{3, 600, 8}, {1}, {3, 8}}})
    for (const char *op : {"sum", "mean", "max"}) {
      std::string from = "tensor<" + list(c.shape, "x") + "xf32>",
                  to = c.out.empty() ? "tensor<f32>" : "tensor<" + list(c.out, "x") + "xf32>";
      compare("%x: " + from, to,
              std::string(" %y = nn.reduce_") + op + " %x {axes = array<i64: " + list(c.axes, ", ") + ">} : (" + from +
                  ") -> " + to + "\n return %y : " + to + "\n",
              1e-4);
    }
}

TEST_F(GpuMemoryBoundTest, ReductionsOfColumnsThatBeginAnywhere) {
  // Rows that begin at two or at all places of 16 bytes, in one part and in several, of one row of blocks and of more, with kept and
  // with reduced dimensions around them, and ends inside of 16 bytes; also of what a product makes that is never written.
  struct Case {
    std::string from, axes, to;
  };
  for (const Case &c : {Case{"40x258x", "0", "258x"}, Case{"70x301x", "0", "301x"}, Case{"1001x259x", "0", "259x"}, Case{"300x1030x", "0", "1030x"},
                        Case{"3x40x259x", "1", "3x259x"}, Case{"3x300x262x", "1", "3x262x"}, Case{"4x5x6x261x", "0, 2", "5x261x"},
                        Case{"3x2x70x261x", "0, 2", "2x261x"}})
    for (std::string element : {"f32", "bf16"})
      for (std::string op : {"sum", "mean", "max"}) {
        if (op == "max" && element == "bf16")
          continue;
        std::string from = "tensor<" + c.from + element + ">", to = "tensor<" + c.to + element + ">";
        std::string reduce = " %y = nn.reduce_" + op + " %p {axes = array<i64: " + c.axes + ">} : (" + from + ") -> " + to + "\n return %y : " + to + "\n";
        double tolerance = element == "f32" ? 1e-4 : 8e-3;
        if (op == "mean")
          compare("%x: " + from + ", %z: " + from, to, " %p = nn.mul %x, %z : " + from + ", " + from + "\n" + reduce, tolerance);
        else
          compare("%p: " + from, to, reduce, tolerance);
      }
}

TEST_F(GpuMemoryBoundTest, BatchAndGroupNorm) {
  for (auto [n, c, h] : {std::tuple{4, 3, 8}, std::tuple{5, 2, 7}, std::tuple{64, 3, 12}, std::tuple{9, 5, 9}, std::tuple{6, 4, 1}}) {
    std::string t = tensor({n, c, h, h}), v = tensor({c});
    compare("%x: " + t + ", %w: " + v + ", %b: " + v + ", %rm: " + v + ", %rv: " + v + ", %g: " + t,
            t + ", " + v + ", " + v + ", " + v + ", " + v + ", " + t + ", " + v + ", " + v,
            " %y, %m, %i, %nm, %nv = nn.batch_norm %x, %w, %b, %rm, %rv {training = true} : (" + t + ", " + v + ", " +
                v + ", " + v + ", " + v + ") -> (" + t + ", " + v + ", " + v + ", " + v + ", " + v +
                ")\n %d, %p, %q = nn.batch_norm_grad %x, %w, %m, %i, %g {training = true} : (" + t + ", " + v + ", " +
                v + ", " + v + ", " + t + ") -> (" + t + ", " + v + ", " + v +
                ")\n return %y, %m, %i, %nm, %nv, %d, %p, %q : " + t + ", " + v + ", " + v + ", " + v + ", " + v +
                ", " + t + ", " + v + ", " + v + "\n",
            5e-5);
  }
  for (auto [n, c, h] : {std::tuple{2, 4, 8}, std::tuple{3, 6, 5}}) {
    std::string t = tensor({n, c, h, h}), v = tensor({c}), s = tensor({n, 2});
    compare("%x: " + t + ", %w: " + v + ", %b: " + v + ", %g: " + t,
            t + ", " + s + ", " + s + ", " + t + ", " + v + ", " + v,
            " %y, %m, %i = nn.group_norm %x, %w, %b {groups = 2 : i64} : (" + t + ", " + v + ", " + v + ") -> (" + t +
                ", " + s + ", " + s + ")\n %d, %p, %q = nn.group_norm_grad %x, %w, %m, %i, %g : (" + t + ", " + v +
                ", " + s + ", " + s + ", " + t + ") -> (" + t + ", " + v + ", " + v +
                ")\n return %y, %m, %i, %d, %p, %q : " + t + ", " + s + ", " + s + ", " + t + ", " + v + ", " + v +
                "\n",
            5e-5);
  }
}

TEST_F(GpuMemoryBoundTest, Transposes) {
  for (auto [r, c] : {std::pair{64, 96}, std::pair{33, 70}, std::pair{5, 130}, std::pair{2, 3}})
    for (const char *element : {"f32", "bf16"}) {
      std::string from = tensor({3, r, c}, element), to = tensor({3, c, r}, element),
                  moved = tensor({c, 3, r}, element);
      compare("%x: " + from, to,
              " %y = nn.transpose %x {perm = array<i64: 0, 2, 1>} : (" + from + ") -> " + to + "\n return %y : " + to +
                  "\n",
              0);
      compare("%x: " + from, moved,
              " %y = nn.transpose %x {perm = array<i64: 2, 0, 1>} : (" + from + ") -> " + moved +
                  "\n return %y : " + moved + "\n",
              0);
    }
}

TEST_F(GpuMemoryBoundTest, EmbeddingsAndTheirGradients) {
  // Indices repeat, in the same block of rows and far apart; -100 counts from the end. Even numbers of rows have theirs read in pairs.
  struct Case {
    int64_t rows, features;
    const char *element = "f32";
    double tolerance = 1e-6;
  };
  for (auto [rows, features, element, tolerance] :
       {Case{40, 64}, Case{300, 8}, Case{70, 1100}, Case{33, 7}, Case{301, 12}, Case{40, 24, "bf16", 8e-3}, Case{90, 12, "bf16", 2e-2}}) {
    std::string table = tensor({150, features}, element), index = tensor({rows}, "i64"), taken = tensor({rows, features}, element);
    compare("%t: " + table + ", %i: " + index + ", %g: " + taken, taken + ", " + table,
            " %y = nn.gather %t, %i {axis = 0 : i64} : (" + table + ", " + index + ") -> " + taken +
                "\n %d = nn.gather_grad %g, %i {axis = 0 : i64, size = 150 : i64} : (" + taken + ", " + index + ") -> " + table +
                "\n return %y, %d : " + taken + ", " + table + "\n",
            tolerance, 11);
  }
}

TEST_F(GpuMemoryBoundTest, Pools) {
  struct Case {
    std::vector<int64_t> x, out, kernel, strides, pads, dilations;
    bool ceil = false;
  };
  for (const Case &c : std::vector<Case>{
           {{5, 6, 28, 28}, {14, 14}, {2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}},              // planes of whole vectors
           {{3, 5, 7, 7}, {3, 3}, {2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}},                  // several planes are; the last block has fewer
           {{40, 60, 5, 6}, {5, 6}, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}},                // many planes a block
           {{1, 3, 57, 57}, {28, 28}, {3, 3}, {2, 2}, {0, 0, 0, 0}, {1, 1}},              // planes that begin inside of a vector
           {{2, 2, 112, 112}, {56, 56}, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}},            // rows of a plane
           {{1, 2, 101, 103}, {101, 103}, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}},          // rows that begin inside of a vector
           {{1, 2, 90, 90}, {30, 30}, {5, 5}, {3, 3}, {2, 2, 1, 1}, {1, 1}},              // windows of different reach
           {{1, 2, 16389}, {4097}, {4}, {4}, {0, 0}, {1}},                                // an axis of its own
           {{2, 1, 16389}, {8195}, {3}, {2}, {1, 1}, {1}},
           {{2, 3, 9, 10, 11}, {4, 5, 5}, {3, 2, 3}, {2, 2, 2}, {0, 0, 0, 0, 0, 0}, {1, 1, 1}},
           {{2, 3, 20, 20}, {8, 8}, {3, 3}, {2, 2}, {0, 0, 0, 0}, {2, 2}},                // gaps in windows
           {{1, 2, 80, 100}, {78, 98}, {2, 2}, {1, 1}, {0, 0, 0, 0}, {2, 2}},
           {{2, 3, 21, 21}, {7, 7}, {2, 2}, {3, 3}, {0, 0, 0, 0}, {1, 1}},                // gaps between windows
           {{1, 1, 130, 130}, {44, 44}, {2, 2}, {3, 3}, {1, 1, 1, 1}, {1, 1}},
           {{2, 3, 10, 11}, {5, 5}, {3, 3}, {2, 2}, {0, 0, 0, 0}, {1, 1}, true},          // a window past the end
           {{1, 1, 4, 20000}, {2, 10000}, {2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}}})         // rows too long for shared memory
    for (std::string element : {"f32", "bf16"}) {
      std::vector<int64_t> out{c.x[0], c.x[1]}, spatial(c.x.begin() + 2, c.x.end());
      out.insert(out.end(), c.out.begin(), c.out.end());
      std::string x = "tensor<" + list(c.x, "x") + "x" + element + ">", y = "tensor<" + list(out, "x") + "x" + element + ">",
                  indices = "tensor<" + list(out, "x") + "xi64>";
      std::string window = "kernel = array<i64: " + list(c.kernel, ", ") + ">, strides = array<i64: " + list(c.strides, ", ") +
                           ">, pads = array<i64: " + list(c.pads, ", ") + ">, dilations = array<i64: " + list(c.dilations, ", ") +
                           ">, ceil_mode = " + (c.ceil ? "true" : "false");
      double tolerance = element == "f32" ? 1e-6 : 8e-3;
      compare("%x: " + x + ", %g: " + y, y + ", " + x,
              " %y = nn.max_pool %x {" + window + "} : (" + x + ") -> " + y + "\n %d = nn.max_pool_grad %x, %g {" + window + "} : (" + x +
                  ", " + y + ") -> " + x + "\n return %y, %d : " + y + ", " + x + "\n",
              tolerance);
      for (std::string pad : {"true", "false"})
        compare("%x: " + x + ", %g: " + y, y + ", " + x,
                " %y = nn.avg_pool %x {" + window + ", count_include_pad = " + pad + "} : (" + x + ") -> " + y +
                    "\n %d = nn.avg_pool_grad %g {" + window + ", count_include_pad = " + pad + ", input = array<i64: " + list(spatial, ", ") +
                    ">} : (" + y + ") -> " + x + "\n return %y, %d : " + y + ", " + x + "\n",
                tolerance);
      compare("%x: " + x, indices, " %i = nn.max_pool_indices %x {" + window + "} : (" + x + ") -> " + indices + "\n return %i : " + indices + "\n", 0);
    }
}

/// What nn.resample has along an axis: positions and weights of a result's terms, as many for each output.
struct AxisTable {
  std::vector<std::vector<std::pair<int64_t, double>>> terms;
  int64_t size; ///< of the input

  AxisTable(int64_t size, int64_t outputs, bool linear, bool alignCorners) : terms(outputs), size(size) {
    for (int64_t o = 0; o < outputs; ++o) {
      double x = alignCorners ? o * (size - 1.) / (outputs - 1.) : (o + .5) * size / outputs - .5;
      int64_t first = std::floor(linear ? x : x + .5);
      auto inside = [&](int64_t i) { return std::clamp<int64_t>(i, 0, size - 1); };
      terms[o].emplace_back(inside(first), linear ? 1 - (x - first) : 1);
      if (linear)
        terms[o].emplace_back(inside(first + 1), x - first);
    }
  }
  /// Of the gradient: an input has the outputs that it is part of.
  AxisTable transposed() const {
    AxisTable result = *this;
    result.terms.assign(size, {});
    result.size = terms.size();
    size_t widest = 1;
    for (size_t o = 0; o < terms.size(); ++o)
      for (auto [i, weight] : terms[o]) {
        result.terms[i].emplace_back(o, weight);
        widest = std::max(widest, result.terms[i].size());
      }
    for (size_t i = 0; i < result.terms.size(); ++i)
      while (result.terms[i].size() < widest)
        result.terms[i].emplace_back(result.terms[i].empty() ? i * terms.size() / size : result.terms[i].back().first, 0);
    return result;
  }

  std::string type(const std::string &element) const {
    return "tensor<" + std::to_string(terms.size()) + "x" + std::to_string(terms[0].size()) + "x" + element + ">";
  }
  /// Definitions of `name`p and `name`w.
  std::string constants(const std::string &name, const std::string &element) const {
    std::string positions, weights;
    for (const auto &row : terms) {
      std::string rowPositions, rowWeights;
      for (auto [position, weight] : row) {
        rowPositions += (rowPositions.empty() ? "" : ", ") + std::to_string(position);
        rowWeights += (rowWeights.empty() ? "" : ", ") + std::to_string(weight);
      }
      positions += (positions.empty() ? "[" : ", [") + rowPositions + "]";
      weights += (weights.empty() ? "[" : ", [") + rowWeights + "]";
    }
    return " " + name + "p = nn.constant dense<[" + positions + "]> : " + type("i32") + "\n " + name + "w = nn.constant dense<[" +
           weights + "]> : " + type(element) + "\n";
  }
  std::string reach() const {
    int64_t below = 0, above = 0, outputs = terms.size();
    for (int64_t o = 0; o < outputs; ++o)
      for (auto [position, weight] : terms[o]) {
        below = std::max(below, o * size / outputs - position);
        above = std::max(above, position - o * size / outputs);
      }
    return std::to_string(below) + ", " + std::to_string(above);
  }
};

TEST_F(GpuMemoryBoundTest, ResamplingAndItsGradient) {
  struct Case {
    std::vector<int64_t> x, axes, out;
  };
  for (const Case &c : std::vector<Case>{
           {{3, 2, 8, 12}, {2, 3}, {16, 24}},         // planes of whole vectors
           {{2, 3, 5, 7}, {2, 3}, {11, 13}},          // planes that begin inside of a vector, no whole scale; several a block
           {{45, 50, 3, 3}, {2, 3}, {6, 6}},          // many planes a block, the last block has fewer
           {{1, 3, 32, 40}, {2, 3}, {64, 80}},        // rows of a plane
           {{1, 2, 61, 53}, {2, 3}, {101, 103}},      // rows that begin inside of a vector
           {{1, 2, 120, 90}, {2, 3}, {50, 31}},       // fewer than there were, some are read by none
           {{2, 90, 60}, {1}, {131}},                 // rows alone
           {{2, 3, 300}, {2}, {601}},                 // columns alone
           {{1, 20, 30, 4}, {2, 1}, {60, 40}},        // channels behind the axes, which come in any order
           {{2, 9, 10, 11}, {0, 1, 2}, {3, 18, 7}},   // an axis in which there are no planes
           {{1, 3, 20000}, {1}, {6}}})                // rows too long for shared memory
    for (std::string element : {"f32", "bf16"})
      for (auto [linear, alignCorners] : {std::pair{true, false}, std::pair{true, true}, std::pair{false, false}}) {
        std::vector<int64_t> out = c.x;
        std::vector<AxisTable> tables, gradients;
        auto resample = [&](const std::string &result, const std::string &x, const std::string &name, const std::string &from,
                            const std::string &to, const std::vector<AxisTable> &tables) {
          std::string constants, positions, weights, positionTypes, weightTypes, reach;
          for (auto [i, table] : llvm::enumerate(tables)) {
            std::string each = name + std::to_string(i);
            constants += table.constants(each, element);
            positions += (i ? ", " : "") + each + "p";
            weights += (i ? ", " : "") + each + "w";
            positionTypes += ", " + table.type("i32");
            weightTypes += ", " + table.type(element);
            reach += (i ? ", " : "") + table.reach();
          }
          return constants + " " + result + " = nn.resample " + x + " at " + positions + " by " + weights +
                 " {axes = array<i64: " + list(c.axes, ", ") + ">, reach = array<i64: " + reach + ">} : (" + from +
                 positionTypes + weightTypes + ") -> " + to + "\n";
        };
        for (size_t i = 0; i < c.axes.size(); ++i) {
          out[c.axes[i]] = c.out[i];
          tables.emplace_back(c.x[c.axes[i]], c.out[i], linear, alignCorners);
          gradients.push_back(tables.back().transposed());
        }
        std::string x = "tensor<" + list(c.x, "x") + "x" + element + ">", y = "tensor<" + list(out, "x") + "x" + element + ">";
        compare("%x: " + x + ", %g: " + y, y + ", " + x,
                resample("%y", "%x", "%f", x, y, tables) + resample("%d", "%g", "%b", y, x, gradients) + " return %y, %d : " + y +
                    ", " + x + "\n",
                element == "f32" ? 1e-6 : 8e-3);
      }
}

} // namespace
