// Pools and resampling by the GPU's kernels, as the sim target runs them, against the host's: planes that begin anywhere,
// rows of planes, windows and positions that reach over the rows of a block.
#include "GpuComparison.h"

namespace {

using GpuWindowTest = GpuComparison;

TEST_F(GpuWindowTest, Pools) {
  struct Case {
    std::vector<int64_t> x, out, kernel, strides, pads, dilations;
    bool ceil = false;
  };
  for (const Case &c : std::vector<Case>{
           {{5, 6, 28, 28}, {14, 14}, {2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}}, // planes of whole vectors
           {{3, 5, 7, 7}, {3, 3}, {2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}}, // several planes are; the last block has fewer
           {{40, 60, 5, 6}, {5, 6}, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}},       // many planes a block
           {{1, 3, 57, 57}, {28, 28}, {3, 3}, {2, 2}, {0, 0, 0, 0}, {1, 1}},     // planes that begin inside of a vector
           {{2, 2, 112, 112}, {56, 56}, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}},   // rows of a plane
           {{1, 2, 101, 103}, {101, 103}, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}}, // rows that begin inside of a vector
           {{1, 2, 90, 90}, {30, 30}, {5, 5}, {3, 3}, {2, 2, 1, 1}, {1, 1}},     // windows of different reach
           {{1, 2, 16389}, {4097}, {4}, {4}, {0, 0}, {1}},                       // an axis of its own
           {{2, 1, 16389}, {8195}, {3}, {2}, {1, 1}, {1}},
           {{2, 3, 9, 10, 11}, {4, 5, 5}, {3, 2, 3}, {2, 2, 2}, {0, 0, 0, 0, 0, 0}, {1, 1, 1}},
           {{2, 3, 20, 20}, {8, 8}, {3, 3}, {2, 2}, {0, 0, 0, 0}, {2, 2}}, // gaps in windows
           {{1, 2, 80, 100}, {78, 98}, {2, 2}, {1, 1}, {0, 0, 0, 0}, {2, 2}},
           {{2, 3, 21, 21}, {7, 7}, {2, 2}, {3, 3}, {0, 0, 0, 0}, {1, 1}}, // gaps between windows
           {{1, 1, 130, 130}, {44, 44}, {2, 2}, {3, 3}, {1, 1, 1, 1}, {1, 1}},
           {{2, 3, 10, 11}, {5, 5}, {3, 3}, {2, 2}, {0, 0, 0, 0}, {1, 1}, true},  // a window past the end
           {{1, 1, 4, 20000}, {2, 10000}, {2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}}}) // rows too long for shared memory
    for (std::string element : {"f32", "bf16"}) {
      std::vector<int64_t> out{c.x[0], c.x[1]}, spatial(c.x.begin() + 2, c.x.end());
      out.insert(out.end(), c.out.begin(), c.out.end());
      std::string x = "tensor<" + list(c.x, "x") + "x" + element + ">",
                  y = "tensor<" + list(out, "x") + "x" + element + ">", indices = "tensor<" + list(out, "x") + "xi64>";
      std::string window =
          "kernel = array<i64: " + list(c.kernel, ", ") + ">, strides = array<i64: " + list(c.strides, ", ") +
          ">, pads = array<i64: " + list(c.pads, ", ") + ">, dilations = array<i64: " + list(c.dilations, ", ") +
          ">, ceil_mode = " + (c.ceil ? "true" : "false");
      double tolerance = element == "f32" ? 1e-6 : 8e-3;
      compare("%x: " + x + ", %g: " + y, y + ", " + x,
              " %y = nn.max_pool %x {" + window + "} : (" + x + ") -> " + y + "\n %d = nn.max_pool_grad %x, %g {" +
                  window + "} : (" + x + ", " + y + ") -> " + x + "\n return %y, %d : " + y + ", " + x + "\n",
              tolerance);
      for (std::string pad : {"true", "false"})
        compare("%x: " + x + ", %g: " + y, y + ", " + x,
                " %y = nn.avg_pool %x {" + window + ", count_include_pad = " + pad + "} : (" + x + ") -> " + y +
                    "\n %d = nn.avg_pool_grad %g {" + window + ", count_include_pad = " + pad +
                    ", input = array<i64: " + list(spatial, ", ") + ">} : (" + y + ") -> " + x +
                    "\n return %y, %d : " + y + ", " + x + "\n",
                tolerance);
      compare("%x: " + x, indices,
              " %i = nn.max_pool_indices %x {" + window + "} : (" + x + ") -> " + indices +
                  "\n return %i : " + indices + "\n",
              0);
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
        result.terms[i].emplace_back(result.terms[i].empty() ? i * terms.size() / size : result.terms[i].back().first,
                                     0);
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
    return " " + name + "p = nn.constant dense<[" + positions + "]> : " + type("i32") + "\n " + name +
           "w = nn.constant dense<[" + weights + "]> : " + type(element) + "\n";
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

TEST_F(GpuWindowTest, ResamplingAndItsGradient) {
  struct Case {
    std::vector<int64_t> x, axes, out;
  };
  for (const Case &c : std::vector<Case>{
           {{3, 2, 8, 12}, {2, 3}, {16, 24}},  // planes of whole vectors
           {{2, 3, 5, 7}, {2, 3}, {11, 13}},   // planes that begin inside of a vector, no whole scale; several a block
           {{45, 50, 3, 3}, {2, 3}, {6, 6}},   // many planes a block, the last block has fewer
           {{1, 3, 32, 40}, {2, 3}, {64, 80}}, // rows of a plane
           {{1, 2, 61, 53}, {2, 3}, {101, 103}},    // rows that begin inside of a vector
           {{1, 2, 120, 90}, {2, 3}, {50, 31}},     // fewer than there were, some are read by none
           {{2, 90, 60}, {1}, {131}},               // rows alone
           {{2, 3, 300}, {2}, {601}},               // columns alone
           {{1, 20, 30, 4}, {2, 1}, {60, 40}},      // channels behind the axes, which come in any order
           {{2, 9, 10, 11}, {0, 1, 2}, {3, 18, 7}}, // an axis in which there are no planes
           {{1, 3, 20000}, {1}, {6}}})              // rows too long for shared memory
    for (std::string element : {"f32", "bf16"})
      for (auto [linear, alignCorners] : {std::pair{true, false}, std::pair{true, true}, std::pair{false, false}}) {
        std::vector<int64_t> out = c.x;
        std::vector<AxisTable> tables, gradients;
        auto resample = [&](const std::string &result, const std::string &x, const std::string &name,
                            const std::string &from, const std::string &to, const std::vector<AxisTable> &tables) {
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
        std::string x = "tensor<" + list(c.x, "x") + "x" + element + ">",
                    y = "tensor<" + list(out, "x") + "x" + element + ">";
        compare("%x: " + x + ", %g: " + y, y + ", " + x,
                resample("%y", "%x", "%f", x, y, tables) + resample("%d", "%g", "%b", y, x, gradients) +
                    " return %y, %d : " + y + ", " + x + "\n",
                element == "f32" ? 1e-6 : 8e-3);
      }
}

} // namespace
