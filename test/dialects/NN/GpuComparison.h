// Functions of nn ops by the GPU's kernels, as the sim target runs them, and by the host's.
#ifndef GMC_TEST_GPUCOMPARISON_H
#define GMC_TEST_GPUCOMPARISON_H

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

class GpuComparison : public ::testing::Test {
protected:
  GpuComparison() {
    context.loadDialect<gmc::nn::NNDialect, mlir::func::FuncDialect, mlir::arith::ArithDialect, mlir::math::MathDialect,
                        mlir::memref::MemRefDialect, mlir::scf::SCFDialect, mlir::vector::VectorDialect,
                        mlir::LLVM::LLVMDialect>();
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

  std::vector<float> elements(const char *data, mlir::Type type) {
    std::vector<float> values;
    auto shaped = mlir::cast<mlir::ShapedType>(type);
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
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    ASSERT_TRUE(module);
    auto function = *module->getOps<mlir::func::FuncOp>().begin();
    std::vector<std::vector<char>> out[2];
    for (bool sim : {false, true}) {
      gmc::JitOptions options;
      options.threads = 2;
      options.sim = sim;
      auto program = gmc::JitProgram::compile(function, options);
      ASSERT_TRUE(bool(program)) << llvm::toString(program.takeError());
      for (unsigned a = 0; a < (*program)->numArguments(); ++a) {
        mlir::Type element = mlir::cast<mlir::ShapedType>(function.getArgumentTypes()[a]).getElementType();
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

  mlir::MLIRContext context;
};

#endif
