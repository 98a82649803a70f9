//===- Libraries.cpp - calls of oneDNN against the portable kernels that stand behind them -----------------===//
//
// bench-libraries [--rounds=N] [--only=NAME]: each op of a list by its portable kernel and by each form of its library
// call, in turns, on one thread. What is printed is the least processor time of the rounds in microseconds, the ratio
// of the library's to the kernel's, and the bytes of workspace that the call takes.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "compiler/Codegen/Jit.h"
#include "dialects/NN/NN.h"
#include "runtime/host/OneDnn.h"
#include "runtime/host/ThreadPool.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/Format.h"
#include <CLI/CLI.hpp>
#include <ctime>

using namespace mlir;

namespace {

struct Case {
  std::string name, text; ///< of a function with one op
};

std::string tensor(std::vector<int64_t> shape) {
  std::string text = "tensor<";
  for (int64_t dim : shape)
    text += std::to_string(dim) + "x";
  return text + "f32>";
}

std::string function(const std::string &op, const std::string &attributes, std::vector<std::string> operands,
                     std::vector<std::string> results) {
  std::string arguments, values, types, out, returned;
  for (size_t i = 0; i < operands.size(); ++i) {
    std::string comma = i ? ", " : "", name = "%a" + std::to_string(i);
    arguments += comma + name + ": " + operands[i];
    values += comma + name;
    types += comma + operands[i];
  }
  for (size_t i = 0; i < results.size(); ++i) {
    std::string comma = i ? ", " : "";
    out += comma + results[i];
    returned += comma + (results.size() > 1 ? "%r#" + std::to_string(i) : "%r");
  }
  std::string bound = results.size() > 1 ? "%r:" + std::to_string(results.size()) : "%r";
  return "func.func @f(" + arguments + ") -> (" + out + ") {\n " + bound + " = \"nn." + op + "\"(" + values + ") <{" +
         attributes + "}> : (" + types + ") -> (" + out + ")\n return " + returned + " : " + out + " }";
}

void addPools(std::vector<Case> &list, int64_t n, int64_t c, int64_t size, int64_t kernel, int64_t stride,
              int64_t pad) {
  auto pair = [](int64_t v) { return std::to_string(v) + ", " + std::to_string(v); };
  std::string window = "kernel = array<i64: " + pair(kernel) + ">, strides = array<i64: " + pair(stride) +
                       ">, pads = array<i64: " + pair(pad) + ", " + pair(pad) + ">, dilations = array<i64: 1, 1>";
  int64_t out = (size + 2 * pad - kernel) / stride + 1;
  std::string x = tensor({n, c, size, size}), y = tensor({n, c, out, out});
  std::string shape = " " + x.substr(7, x.size() - 12) + " k" + std::to_string(kernel) + " s" + std::to_string(stride);
  list.push_back({"max_pool" + shape, function("max_pool", window, {x}, {y})});
  list.push_back({"max_pool_grad" + shape, function("max_pool_grad", window, {x, y}, {x})});
  list.push_back({"avg_pool" + shape, function("avg_pool", window, {x}, {y})});
  list.push_back({"avg_pool_grad" + shape,
                  function("avg_pool_grad", "input = array<i64: " + pair(size) + ">, " + window, {y}, {x})});
}

void addBatchNorm(std::vector<Case> &list, int64_t n, int64_t c, int64_t size) {
  std::string x = tensor({n, c, size, size}), v = tensor({c}), shape = " " + x.substr(7, x.size() - 12);
  list.push_back({"batch_norm" + shape, function("batch_norm", "training = true", {x, v, v, v, v}, {x, v, v, v, v})});
  list.push_back(
      {"batch_norm_grad" + shape, function("batch_norm_grad", "training = true", {x, v, v, v, x}, {x, v, v})});
}

void addLayerNorm(std::vector<Case> &list, int64_t rows, int64_t size) {
  std::string x = tensor({rows, size}), s = tensor({size}), m = tensor({rows}),
              shape = " " + x.substr(7, x.size() - 12);
  list.push_back(
      {"layer_norm" + shape,
       function("layer_norm", "axis = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1>", {x, s, s}, {x, m, m})});
  list.push_back({"layer_norm_grad" + shape, function("layer_norm_grad", "axis = 1 : i64", {x, m, m, x, s}, {x})});
}

std::vector<Case> cases() {
  std::vector<Case> list;
  addPools(list, 64, 6, 28, 2, 2, 0);    // lenet5
  addPools(list, 16, 64, 112, 3, 2, 1);  // resnet18
  addPools(list, 32, 64, 32, 2, 2, 0);
  addPools(list, 32, 64, 32, 3, 1, 1);
  addPools(list, 32, 64, 33, 3, 2, 0);
  addBatchNorm(list, 32, 16, 32); // resnet8
  addBatchNorm(list, 32, 64, 8);
  addBatchNorm(list, 16, 64, 56); // resnet18
  addBatchNorm(list, 16, 512, 7);
  addLayerNorm(list, 2048, 768); // gpt2
  addLayerNorm(list, 4096, 64);
  return list;
}

double now() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) * 1e6 + double(time.tv_nsec) * 1e-3;
}

template <typename F> double micros(F run) {
  double start = now();
  run();
  return now() - start;
}

} // namespace

int main(int argc, char **argv) {
  int rounds = 15;
  std::string only;
  CLI::App app("calls of oneDNN against portable kernels");
  app.add_option("--rounds", rounds, "measurements of each")->check(CLI::PositiveNumber);
  app.add_option("--only", only, "ops whose name contains this");
  CLI11_PARSE(app, argc, argv);
  gmc::rt::ThreadPool pool(1);
  std::string problem;
  auto library = gmc::rt::OneDnn::load(pool, 0, problem);
  if (!library) {
    llvm::errs() << "oneDNN is not to be had: " << problem << "\n";
    return 1;
  }
  MLIRContext context;
  context.loadDialect<gmc::nn::NNDialect, func::FuncDialect, arith::ArithDialect, math::MathDialect,
                      memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect, LLVM::LLVMDialect>();
  llvm::outs() << "op                                        kernel us     oneDNN us  ratio  workspace  kernels\n";
  for (const Case &c : cases()) {
    if (!llvm::StringRef(c.name).contains(only))
      continue;
    OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(c.text, &context);
    if (!module)
      return 1;
    func::FuncOp function = *module->getOps<func::FuncOp>().begin();
    auto op = dyn_cast<gmc::LibraryOpInterface>(&function.getBody().front().front());
    auto call = op ? op.getLibraryCall() : std::nullopt;
    gmc::JitOptions options;
    options.threads = 1;
    auto program = gmc::JitProgram::compile(function, options);
    if (!program) {
      llvm::errs() << c.name << ": " << llvm::toString(program.takeError()) << "\n";
      return 1;
    }
    // Operands, results and workspace of the library's call lie apart.
    std::vector<std::vector<float>> memory;
    for (unsigned i = 0; i < (*program)->numArguments(); ++i) {
      auto &data = memory.emplace_back((*program)->argumentBytes(i) / 4 + 16);
      for (size_t k = 0; k < data.size(); ++k)
        data[k] = float(k * 7919 % 1009) / 1009 + .1f;
      (*program)->setArgument(i, data.data(), (*program)->argumentBytes(i));
    }
    for (unsigned i = 0; i < (*program)->numResults(); ++i)
      memory.emplace_back((*program)->resultBytes(i) / 4 + 16);
    auto aligned = [](std::vector<float> &data) {
      return reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(data.data()) + 63) / 64 * 64);
    };
    std::vector<char *> addresses;
    for (auto &data : memory)
      addresses.push_back(aligned(data));
    double portable = 1e18;
    for (int round = 0; round < rounds; ++round)
      portable = std::min(portable, micros([&] { (*program)->run(); }));
    llvm::outs() << llvm::format("%-40s %10.1f", c.name.c_str(), portable);
    bool any = false;
    for (gmc::CallForm form : {gmc::CallForm::Direct, gmc::CallForm::Packed}) {
      auto prepared = call ? library->prepare(*call, form) : nullptr;
      if (!prepared)
        continue;
      std::vector<float> scratch(prepared->scratchBytes / 4 + 16);
      double best = 1e18;
      for (int round = 0; round < rounds; ++round)
        best = std::min(best, micros([&] { prepared->run(addresses.data(), aligned(scratch)); }));
      llvm::outs() << llvm::format("%s%15.1f %6.2f %10llu  ",
                                   any ? "\n                                                   " : "", best,
                                   best / portable, (unsigned long long)prepared->scratchBytes)
                   << prepared->implementation;
      any = true;
    }
    llvm::outs() << (any ? "\n" : "              -\n");
  }
  return 0;
}
