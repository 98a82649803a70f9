// The GPU's kernels that memory bounds, as the sim target runs them, against the host's: rows, columns, planes, losses,
// updates, over sizes that take every path: part of a warp, a block, rows too long to be kept, rows that begin inside
// of 16 bytes.
#include "GpuComparison.h"

namespace {

using GpuMemoryBoundTest = GpuComparison;

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
  // A warp has several rows, whose numbers are read and written together: of one block, of blocks that are not full, of
  // rows that begin inside of 16 bytes; and rows that are no whole groups.
  for (int64_t rows : {12, 36, 6})
    for (int64_t size : {10, 32})
      for (std::string element : {"f32", "bf16"}) {
        std::string t = tensor({rows, size}, element.c_str()), r = tensor({size}, element.c_str()), s = tensor({rows}),
                    v = tensor({rows}, element.c_str());
        std::string l = tensor({rows}, "i64"), one = tensor({1});
        double tolerance = element == "f32" ? 5e-5 : 2e-2;
        compare("%x: " + t + ", %w: " + r + ", %g: " + t, t + ", " + s + ", " + s + ", " + t + ", " + r + ", " + r,
                " %y, %m, %i = nn.layer_norm %x scale %w {axis = 1 : i64} : (" + t + ", " + r + ") -> (" + t + ", " +
                    s + ", " + s + ")\n %d = nn.layer_norm_grad %x, %m, %i, %g scale %w {axis = 1 : i64} : (" + t +
                    ", " + s + ", " + s + ", " + t + ", " + r + ") -> " + t +
                    "\n %p, %q = nn.layer_norm_param_grad %x, %m, %i, %g {axis = 1 : i64} : (" + t + ", " + s + ", " +
                    s + ", " + t + ") -> (" + r + ", " + r + ")\n return %y, %m, %i, %d, %p, %q : " + t + ", " + s +
                    ", " + s + ", " + t + ", " + r + ", " + r + "\n",
                tolerance);
        compare("%x: " + t + ", %l: " + l, v + ", " + v + ", " + one + ", " + one,
                " %a = nn.reduce_mean %x {axes = array<i64: 1>} : (" + t + ") -> " + v +
                    "\n %b = nn.reduce_max %x {axes = array<i64: 1>} : (" + t + ") -> " + v +
                    "\n %s, %n = nn.softmax_cross_entropy %x, %l {class_axis = 1 : i64} : (" + t + ", " + l + ") -> (" +
                    one + ", " + one + ")\n return %a, %b, %s, %n : " + v + ", " + v + ", " + one + ", " + one + "\n",
                tolerance, size);
      }
  std::string t = tensor({64, 8}, "i1"), v = tensor({64}, "i1"), x = tensor({64, 8}), y = tensor({64});
  compare("%x: " + x + ", %z: " + x, y,
          " %t = nn.greater %x, %z : " + x + ", " + x + "\n %m = nn.reduce_max %t {axes = array<i64: 1>} : (" + t +
              ") -> " + v + "\n %y = nn.cast %m {to = f32} : (" + v + ") -> " + y + "\n return %y : " + y + "\n",
          0);
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
  // Classes that are not the last axis: neighbouring labels a thread, where planes are whole vectors and where they are
  // not; so many labels that blocks add segments of them.
  struct Case {
    int64_t samples, classes, rows, columns;
    const char *element;
  };
  for (auto [n, c, h, w, element] :
       {Case{2, 3, 8, 12, "f32"}, Case{3, 21, 5, 7, "f32"}, Case{2, 2, 160, 128, "f32"}, Case{2, 5, 16, 8, "bf16"}}) {
    std::string t = tensor({n, c, h, w}, element), l = tensor({n, h, w}, "i64"), one = tensor({1}),
                v = tensor({c}, element);
    double tolerance = element == std::string("f32") ? 2e-5 : 1e-2;
    compare("%x: " + t + ", %l: " + l + ", %g: " + one, one + ", " + one + ", " + t + ", " + one,
            " %s, %n = nn.softmax_cross_entropy %x, %l {class_axis = 1 : i64} : (" + t + ", " + l + ") -> (" + one +
                ", " + one + ")\n %d = nn.softmax_cross_entropy_grad %x, %l, %g {class_axis = 1 : i64} : (" + t + ", " +
                l + ", " + one + ") -> " + t + "\n %c = nn.count_correct %x, %l {class_axis = 1 : i64} : (" + t + ", " +
                l + ") -> " + one + "\n return %s, %n, %d, %c : " + one + ", " + one + ", " + t + ", " + one + "\n",
            tolerance, c);
    compare("%x: " + t + ", %l: " + l + ", %g: " + one, one + ", " + one + ", " + t,
            " %s, %n = nn.nll_loss %x, %l {class_axis = 1 : i64} : (" + t + ", " + l + ") -> (" + one + ", " + one +
                ")\n %d = nn.nll_grad %l, %g {class_axis = 1 : i64, type = " + t + "} : (" + l + ", " + one + ") -> " +
                t + "\n return %s, %n, %d : " + one + ", " + one + ", " + t + "\n",
            tolerance, c);
  }
  std::string t = tensor({37, 10}), l = tensor({37}, "i64"), one = tensor({1});
  compare("%l: " + l + ", %g: " + one, t,
          " %d = nn.nll_grad %l, %g {class_axis = 1 : i64, type = " + t + "} : (" + l + ", " + one + ") -> " + t +
              "\n return %d : " + t + "\n",
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
  // Rows that begin at two or at all places of 16 bytes, in one part and in several, of one row of blocks and of more,
  // with kept and with reduced dimensions around them, and ends inside of 16 bytes; also of what a product makes that
  // is never written. Rows so short that several are read as one, in one part and in several, and where they do not
  // come out even.
  struct Case {
    std::string from, axes, to;
  };
  for (const Case &c : {Case{"40x258x", "0", "258x"}, Case{"70x301x", "0", "301x"}, Case{"1001x259x", "0", "259x"},
                        Case{"300x1030x", "0", "1030x"}, Case{"3x40x259x", "1", "3x259x"},
                        Case{"3x300x262x", "1", "3x262x"}, Case{"4x5x6x261x", "0, 2", "5x261x"},
                        Case{"3x2x70x261x", "0, 2", "2x261x"}, Case{"64x6x", "0", "6x"}, Case{"800x100x", "0", "100x"},
                        Case{"4x400x37x", "0, 1", "37x"}, Case{"40000x5x", "0", "5x"}, Case{"601x37x", "0", "37x"}})
    for (std::string element : {"f32", "bf16"})
      for (std::string op : {"sum", "mean", "max"}) {
        if (op == "max" && element == "bf16")
          continue;
        std::string from = "tensor<" + c.from + element + ">", to = "tensor<" + c.to + element + ">";
        std::string reduce = " %y = nn.reduce_" + op + " %p {axes = array<i64: " + c.axes + ">} : (" + from + ") -> " +
                             to + "\n return %y : " + to + "\n";
        double tolerance = element == "f32" ? 1e-4 : 8e-3;
        if (op == "mean")
          compare("%x: " + from + ", %z: " + from, to, " %p = nn.mul %x, %z : " + from + ", " + from + "\n" + reduce,
                  tolerance);
        else
          compare("%p: " + from, to, reduce, tolerance);
      }
}

TEST_F(GpuMemoryBoundTest, BatchAndGroupNorm) {
  for (auto [n, c, h] :
       {std::tuple{4, 3, 8}, std::tuple{5, 2, 7}, std::tuple{64, 3, 12}, std::tuple{9, 5, 9}, std::tuple{6, 4, 1}}) {
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
  // Indices repeat, in the same block of rows and far apart; -100 counts from the end. Even numbers of rows have theirs
  // read in pairs.
  struct Case {
    int64_t rows, features;
    const char *element = "f32";
    double tolerance = 1e-6;
  };
  for (auto [rows, features, element, tolerance] :
       {Case{40, 64}, Case{300, 8}, Case{70, 1100}, Case{33, 7}, Case{301, 12}, Case{40, 24, "bf16", 8e-3},
        Case{90, 12, "bf16", 2e-2}}) {
    std::string table = tensor({150, features}, element), index = tensor({rows}, "i64"),
                taken = tensor({rows, features}, element);
    compare("%t: " + table + ", %i: " + index + ", %g: " + taken, taken + ", " + table,
            " %y = nn.gather %t, %i {axis = 0 : i64} : (" + table + ", " + index + ") -> " + taken +
                "\n %d = nn.gather_grad %g, %i {axis = 0 : i64, size = 150 : i64} : (" + taken + ", " + index +
                ") -> " + table + "\n return %y, %d : " + taken + ", " + table + "\n",
            tolerance, 11);
  }
}

} // namespace
